from django.apps import AppConfig


class ScansConfig(AppConfig):
    name = "secguard.scans"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.advisories.services import ON_MERGE  # noqa: PLC0415 - models are loaded only now
        from secguard.jobs.registry import every, register  # noqa: PLC0415
        from secguard.scans import services  # noqa: PLC0415
        from secguard.scans.services import asking, looking, watching  # noqa: PLC0415

        ON_MERGE.append(services.forget_contents)
        register(services.TAKE_IN, services.work, max_attempts=5, failed=services.failed)
        register(asking.LOOK, looking.look, max_attempts=6, failed=looking.failed)
        services.SCANNED.append(looking.conclude)
        register(watching.DUE, watching.due)
        register(watching.ONE, watching.one, max_attempts=2)
        every(watching.EVERY, watching.DUE)
