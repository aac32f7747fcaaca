from datetime import timedelta

from django.apps import AppConfig


class ChannelsConfig(AppConfig):
    name = "secguard.channels"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.channels import services, tasks  # noqa: PLC0415 - models are loaded only now
        from secguard.channels.services.setting_up import POST  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.notifications.services import FOLLOWERS  # noqa: PLC0415

        FOLLOWERS.append(services.follow)
        registry.register("channels.deliver", tasks.deliver)
        registry.register(POST, tasks.post)
        registry.register("channels.prune", tasks.prune)
        registry.every(timedelta(minutes=1), "channels.deliver")
        registry.every(timedelta(days=1), "channels.prune")
