from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "secguard.web"
    label = "web"

    def ready(self) -> None:
        from secguard import moments  # noqa: PLC0415 - the database's driver is known only now

        moments.read_fast()
