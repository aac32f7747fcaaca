from django.apps import AppConfig


class FindingsConfig(AppConfig):
    name = "secguard.findings"
    default_auto_field = "django.db.models.BigAutoField"
