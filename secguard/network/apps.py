from datetime import timedelta

from django.apps import AppConfig


class NetworkConfig(AppConfig):
    name = "secguard.network"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.accounts.services import APPLICATION_FOLLOWERS  # noqa: PLC0415 - models are loaded only now
        from secguard.events import sources  # noqa: PLC0415
        from secguard.events.services import inbox  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.network import planning, tasks  # noqa: PLC0415
        from secguard.network.services import intake, judging  # noqa: PLC0415
        from secguard.planning.counting import register_counting  # noqa: PLC0415

        intake.FOLLOWERS.append(judging.follow)
        APPLICATION_FOLLOWERS.append(lambda _application: judging.ask())
        sources.lead("network-edge", tasks.address)
        registry.register(judging.JUDGE, judging.judge)
        inbox.register(intake.CHANNEL, intake.FOLD)
        registry.register(intake.FOLD, intake.fold)
        registry.every(timedelta(minutes=1), intake.FOLD)
        registry.register("network.keep", tasks.keep)
        registry.every(timedelta(minutes=5), "network.keep")
        register_counting(*planning.COUNTINGS)
