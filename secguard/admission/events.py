"""Admission decisions as a source of events (``events.sources``): what came and what was counted since it was told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db.models import F
from django.urls import reverse

from secguard import bulk
from secguard.admission.answer import Outcome
from secguard.admission.models import AdmissionDecision
from secguard.events.record import Kind, Line, story_of
from secguard.events.sources import SOURCE, After, Pulled, Told
from secguard.findings.severity import Severity

NAME: Final = "admissions"
SEVERITIES: Final[Mapping[Outcome, Severity]] = {
    Outcome.ALLOWED: Severity.NEGLIGIBLE,
    Outcome.WARNED: Severity.LOW,
    Outcome.WOULD_DENY: Severity.LOW,
    Outcome.GRACE: Severity.MEDIUM,
    Outcome.BROKEN_GLASS: Severity.HIGH,
    Outcome.DENIED: Severity.HIGH,
}
WORDS: Final[Mapping[Outcome, str]] = {
    Outcome.ALLOWED: "Allowed",
    Outcome.WARNED: "Allowed, warned",
    Outcome.GRACE: "In its grace",
    Outcome.BROKEN_GLASS: "Broken glass",
    Outcome.WOULD_DENY: "Would be denied",
    Outcome.DENIED: "Denied",
}


def pull(after: After, limit: int, _now: datetime) -> Pulled:
    """``sources.register``: rows whose count is more than was told of them, which each row itself knows."""
    rows = AdmissionDecision.objects.filter(count__gt=F("told")).order_by("pk")
    # Rows that are being counted in this moment are left for the next time: nobody waits for anybody.
    mine = rows.select_for_update(of=("self",), no_key=True, skip_locked=True)
    found = list(mine.select_related("cluster", "repository__application")[:limit])
    bulk.update(AdmissionDecision, ("told",), [(row.pk, row.count) for row in found])
    return Pulled([_line(row) for row in found], dict(after))


def _line(row: AdmissionDecision) -> Line:
    outcome = Outcome(row.outcome)
    application = row.repository.application if row.repository else None
    about = row.reference or f"what {row.workload_kind} {row.workload_name} asks for"
    return Line(
        kind=Kind.ADMISSION,
        source=SOURCE,
        rule=f"admission in {row.mode} mode",
        title=f"{WORDS[outcome]}: {about}",
        at=row.last_at,
        severity=SEVERITIES[outcome],
        outcome=outcome.value,
        cluster=row.cluster.name,
        namespace=row.namespace,
        workload=row.workload_name,
        application_id=application.pk if application else None,
        team_id=application.team_id if application else None,
        digest=row.digest,
        actor=row.requested_by,
        story=story_of("admission", row.pk, application and application.pk, application and application.team_id),
        ref=f"admission:{row.pk}",
        detail=_detail(row),
        count=row.count - row.told,
        keep=row.told == 0,
    )


def _detail(row: AdmissionDecision) -> dict[str, Any]:
    told = {"mode": row.mode, "workload_kind": row.workload_kind, "review": row.uid, "reason": row.reason[:2_000]}
    if row.evaluation_id:
        told["evaluation"] = str(row.evaluation_id)
    if row.answered_by != "server":
        told["answered_by"] = row.answered_by
    return {name: text for name, text in told.items() if text}


def address(pk: int, _event: Told) -> str:
    return reverse("admissions:detail", args=[pk])
