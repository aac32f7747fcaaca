from django.apps import AppConfig


class DecisionsConfig(AppConfig):
    name = "secguard.decisions"
    default_auto_field = "django.db.models.BigAutoField"
