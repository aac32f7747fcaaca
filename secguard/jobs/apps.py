from django.apps import AppConfig


class JobsConfig(AppConfig):
    name = "secguard.jobs"
    label = "jobs"
