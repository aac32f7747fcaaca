from django.apps import AppConfig


class FindingsConfig(AppConfig):
    name = "secguard.findings"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.findings import services  # noqa: PLC0415
        from secguard.jobs.registry import register  # noqa: PLC0415

        register(services.TELL, services.tell)
