from datetime import timedelta

from django.apps import AppConfig


class LaboratoryConfig(AppConfig):
    name = "secguard.laboratory"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.jobs.registry import every, register  # noqa: PLC0415
        from secguard.laboratory import services  # noqa: PLC0415

        register(services.SIMULATE, services.replay_draft, max_attempts=3, failed=services.give_up)
        register(services.FORGET, services.forget_expired)
        every(timedelta(hours=1), services.FORGET)
