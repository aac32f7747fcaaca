from datetime import timedelta

from django.apps import AppConfig


class TrackersConfig(AppConfig):
    name = "secguard.trackers"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.jobs import registry  # noqa: PLC0415 - models are loaded only now
        from secguard.trackers import tasks  # noqa: PLC0415
        from secguard.trackers.services.setting_up import TRY, WORK  # noqa: PLC0415

        registry.register("trackers.keep", tasks.keep)
        registry.register(WORK, tasks.work)
        registry.register(TRY, tasks.try_it)
        registry.register("trackers.prune", tasks.prune)
        registry.every(timedelta(minutes=1), "trackers.keep")
        registry.every(timedelta(days=1), "trackers.prune")
