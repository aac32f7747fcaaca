from django.apps import AppConfig


class WorkloadsConfig(AppConfig):
    name = "secguard.workloads"
    default_auto_field = "django.db.models.BigAutoField"
