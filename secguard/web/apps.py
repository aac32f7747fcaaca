from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "secguard.web"
    label = "web"
