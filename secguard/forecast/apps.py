from datetime import timedelta

from django.apps import AppConfig


class ForecastConfig(AppConfig):
    name = "secguard.forecast"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.forecast import services, tasks  # noqa: PLC0415 - models are loaded only now
        from secguard.forecast.services.computing import COMPUTE  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.notifications import kinds  # noqa: PLC0415

        registry.register(COMPUTE, tasks.compute)
        registry.every(timedelta(hours=1), COMPUTE)
        for kind in services.KINDS:
            kinds.register(kind)
