from datetime import timedelta

from django.apps import AppConfig


class AdvisoriesConfig(AppConfig):
    name = "secguard.advisories"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.advisories import services  # noqa: PLC0415 - models are loaded only now
        from secguard.jobs import registry  # noqa: PLC0415

        registry.register(services.IMPORT, services.work, failed=services.failed)
        registry.register(services.FETCH, services.fetch, max_attempts=2, failed=services.fetch_failed)
        registry.register(services.DUE, services.enqueue_due)
        registry.every(timedelta(minutes=5), services.DUE)
