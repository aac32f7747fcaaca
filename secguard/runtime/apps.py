from datetime import timedelta

from django.apps import AppConfig


class RuntimeConfig(AppConfig):
    name = "secguard.runtime"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.jobs import registry  # noqa: PLC0415 - models are loaded only now
        from secguard.runtime.services import intake  # noqa: PLC0415

        registry.register(intake.FOLD, intake.fold)
        registry.every(timedelta(minutes=1), intake.FOLD)
