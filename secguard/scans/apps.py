from django.apps import AppConfig


class ScansConfig(AppConfig):
    name = "secguard.scans"
    default_auto_field = "django.db.models.BigAutoField"
