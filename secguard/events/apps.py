from datetime import timedelta

from django.apps import AppConfig


class EventsConfig(AppConfig):
    name = "secguard.events"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.events import audited, planning, sources, tasks  # noqa: PLC0415 - models are loaded only now
        from secguard.events.services.ageing import AGE  # noqa: PLC0415
        from secguard.events.services.collecting import COLLECT  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.planning import checks, counting  # noqa: PLC0415

        sources.register(audited.NAME, audited.pull)
        sources.lead("audit", audited.address)
        registry.register(COLLECT, tasks.collect)
        registry.every(timedelta(seconds=10), COLLECT)
        registry.register(AGE, tasks.age)
        registry.every(timedelta(hours=1), AGE)
        checks.register(*planning.CHECKS)
        counting.register_counting(*planning.COUNTINGS)
