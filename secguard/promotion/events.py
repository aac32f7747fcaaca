"""Promotions as a source of events (``events.sources``): each state that one is in and that was not told yet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.db.models import F
from django.urls import reverse

from secguard import bulk
from secguard.events.record import Kind, Line, story_of
from secguard.events.sources import SOURCE, After, Pulled, Told
from secguard.findings.severity import Severity
from secguard.promotion.lifecycle import PromotionStatus as Status
from secguard.promotion.models import Promotion

NAME: Final = "promotions"
SEVERITIES: Final[Mapping[Status, Severity]] = {
    Status.WAITING: Severity.NEGLIGIBLE,
    Status.RUNNING: Severity.NEGLIGIBLE,
    Status.PROMOTED: Severity.NEGLIGIBLE,
    Status.WITHDRAWN: Severity.NEGLIGIBLE,
    Status.FAILED: Severity.MEDIUM,
    Status.REFUSED: Severity.HIGH,
    Status.RECALLED: Severity.HIGH,
}


def pull(after: After, limit: int, now: datetime) -> Pulled:
    """``sources.register``: promotions whose state is another than was told of them, which each row itself knows."""
    rows = Promotion.objects.exclude(status=F("told")).order_by("pk")
    # Rows that somebody changes in this moment are left for the next time: nobody waits for anybody.
    mine = rows.select_for_update(of=("self",), no_key=True, skip_locked=True)
    found = list(mine.select_related("source__application", "environment", "requested_by")[:limit])
    bulk.update(Promotion, ("told",), [(row.pk, row.status) for row in found])
    return Pulled([_line(row, now) for row in found], dict(after))


def _line(row: Promotion, now: datetime) -> Line:
    status = Status(row.status)
    owner = row.source.application
    at = row.finished_at if not row.is_open and row.finished_at else now if row.told else row.requested_at
    return Line(
        kind=Kind.PROMOTION,
        source=SOURCE,
        rule=f"promotion to {row.environment.name}",
        title=f"{status.value.capitalize()}: {row.source.name} to {row.environment.name}",
        at=at,
        severity=SEVERITIES[status],
        outcome=status.value,
        application_id=owner.pk if owner else None,
        team_id=owner.team_id if owner else None,
        digest=row.digest,
        actor=row.requested_by.username if row.requested_by else "",
        story=story_of("promotion", row.pk, status.value, owner and owner.pk, owner and owner.team_id),
        ref=f"promotion:{row.pk}",
        detail=_detail(row),
        keep=True,
    )


def _detail(row: Promotion) -> dict[str, Any]:
    told: dict[str, Any] = {"destination": row.destination_name, "tags": row.tags, "why": row.why[:2_000]}
    return {name: value for name, value in told.items() if value}


def address(pk: int, _event: Told) -> str:
    return reverse("promotions:detail", args=[pk])
