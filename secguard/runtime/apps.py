from datetime import timedelta

from django.apps import AppConfig


class RuntimeConfig(AppConfig):
    name = "secguard.runtime"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.decisions.services import OBSERVERS  # noqa: PLC0415 - models are loaded only now
        from secguard.events.services import inbox  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.planning.counting import register_counting  # noqa: PLC0415
        from secguard.runtime import planning  # noqa: PLC0415
        from secguard.runtime.controls import SENSOR_RULE  # noqa: PLC0415
        from secguard.runtime.services import baselines, intake  # noqa: PLC0415

        OBSERVERS.append(SENSOR_RULE)
        intake.FOLLOWERS.append(baselines.follow)
        inbox.register(intake.CHANNEL, intake.FOLD)
        registry.register(intake.FOLD, intake.fold)
        registry.every(timedelta(minutes=1), intake.FOLD)
        register_counting(*planning.COUNTINGS)
