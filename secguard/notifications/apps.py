from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "secguard.notifications"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.notifications.queries import unread_count  # noqa: PLC0415 - models are loaded only now
        from secguard.web.navigation import register_badge  # noqa: PLC0415

        register_badge("notifications:list", unread_count)
