from datetime import timedelta

from django.apps import AppConfig


class ScansConfig(AppConfig):
    name = "secguard.scans"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.advisories.services import ADVISORIES_CHANGED, ON_MERGE  # noqa: PLC0415 - models are loaded now
        from secguard.jobs.registry import every, register  # noqa: PLC0415
        from secguard.notifications import kinds  # noqa: PLC0415
        from secguard.planning.counting import register_counting  # noqa: PLC0415
        from secguard.scans import planning, services  # noqa: PLC0415
        from secguard.scans.services import asking, looking, matching, rematching, telling, tidying, watching  # noqa: PLC0415

        ADVISORIES_CHANGED.append(rematching.follow_advisories)
        ON_MERGE += [services.forget_contents, rematching.follow_merge]
        rematching.HIT.append(telling.tell_of_hits)
        services.SCANNED.append(looking.conclude)
        register(services.TAKE_IN, services.work, max_attempts=5, failed=services.failed)
        register(asking.LOOK, looking.look, max_attempts=6, failed=looking.failed)
        register(matching.REMATCH, rematching.rematch)
        register(rematching.CATCH_UP, rematching.catch_up)
        register(watching.DUE, watching.due)
        register(watching.ONE, watching.one, max_attempts=2)
        register(tidying.TIDY, tidying.tidy)
        every(timedelta(minutes=10), rematching.CATCH_UP)
        every(watching.EVERY, watching.DUE)
        every(timedelta(days=1), tidying.TIDY)
        register_counting(*planning.COUNTINGS)
        for kind in telling.KINDS:
            kinds.register(kind)
