from datetime import timedelta

from django.apps import AppConfig


class ExportsConfig(AppConfig):
    name = "secguard.exports"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.exports import planning, tasks  # noqa: PLC0415 - models are loaded only now
        from secguard.exports.services.delivering import DELIVER, given_up  # noqa: PLC0415
        from secguard.exports.services.testing import TEST  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.planning import checks  # noqa: PLC0415

        registry.register("exports.look", tasks.look)
        registry.register(DELIVER, tasks.deliver, max_attempts=3, failed=given_up)
        registry.register(TEST, tasks.test)
        registry.every(timedelta(seconds=15), "exports.look")
        checks.register(*planning.CHECKS)
