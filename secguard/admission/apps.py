from django.apps import AppConfig


class AdmissionConfig(AppConfig):
    name = "secguard.admission"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.admission.views.glass import waiting  # noqa: PLC0415 - models are loaded now
        from secguard.web.navigation import register_badge  # noqa: PLC0415

        register_badge("break-glass:list", waiting)
