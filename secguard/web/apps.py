from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "secguard.web"
    label = "web"

    def ready(self) -> None:
        from secguard import compiling, moments  # noqa: PLC0415 - the database's driver is known only now

        compiling.compile_nothing()
        moments.read_fast()
