from datetime import timedelta

from django.apps import AppConfig
from django.http import HttpRequest
from django.utils import timezone


def waiting_badge(request: HttpRequest) -> int:
    """How many requests wait for this person: the number beside the queue in the navigation."""
    from secguard.decisions.queries import waiting_count  # noqa: PLC0415 - models are loaded only after the apps

    return waiting_count(request.user, timezone.now())  # type: ignore[arg-type]


class DecisionsConfig(AppConfig):
    name = "secguard.decisions"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from secguard.accounts.services import APPLICATION_FOLLOWERS  # noqa: PLC0415 - models are loaded only now
        from secguard.advisories.services import DECIDED_BY_OTHERS  # noqa: PLC0415
        from secguard.decisions import planning, services, tasks  # noqa: PLC0415
        from secguard.decisions.queries.deadlines import deadlines_of  # noqa: PLC0415
        from secguard.decisions.services.controls_telling import KINDS as CONTROL_KINDS  # noqa: PLC0415
        from secguard.decisions.services.controls_workloads import WORKLOADS  # noqa: PLC0415
        from secguard.decisions.services.telling import KINDS  # noqa: PLC0415
        from secguard.findings import services as findings  # noqa: PLC0415
        from secguard.images import services as images  # noqa: PLC0415
        from secguard.jobs import registry  # noqa: PLC0415
        from secguard.notifications import kinds  # noqa: PLC0415
        from secguard.planning import checks  # noqa: PLC0415
        from secguard.web.navigation import register_badge  # noqa: PLC0415

        findings.TIME_TO_FIX.append(services.time_to_fix)
        findings.DEADLINE_ROWS.append(deadlines_of)
        findings.EXPOSURES_CHANGED.append(services.follow_exposures)
        findings.RISKS_CHANGED.append(services.follow_risks)
        findings.RISK_MERGED.append(services.follow_merge)
        APPLICATION_FOLLOWERS.append(services.follow_application)
        images.REPOSITORY_FOLLOWERS.append(services.follow_repository)
        DECIDED_BY_OTHERS.append(services.decided_by_others)
        services.OBSERVERS.append(WORKLOADS)
        checks.register(*planning.CHECKS)
        registry.register("decisions.end", tasks.end_due)
        registry.register("decisions.escalate", tasks.escalate)
        registry.register("decisions.review", tasks.review)
        registry.register("decisions.tell-ending", tasks.tell_ending)
        registry.register("decisions.controls", tasks.controls)
        registry.register("decisions.deadlines", tasks.deadlines)
        registry.every(timedelta(minutes=1), "decisions.end")
        registry.every(timedelta(minutes=5), "decisions.escalate")
        registry.every(timedelta(hours=6), "decisions.tell-ending")
        registry.every(timedelta(minutes=5), "decisions.controls")
        registry.every(timedelta(days=1), "decisions.deadlines")
        for kind in (*KINDS, *CONTROL_KINDS):
            kinds.register(kind)
        register_badge("decisions:queue", waiting_badge)
