"""The audit log as a source of events: in the order of its sequence, which is the order in which it was committed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.urls import reverse

from secguard.audit.models import AuditEntry
from secguard.events.record import Kind, Line, fingerprint_of, story_of
from secguard.events.sources import FIRST_DAYS, SOURCE, After, Pulled, Told
from secguard.findings.severity import Severity

NAME: Final = "audit"


def pull(after: After, limit: int, now: datetime) -> Pulled:
    """``sources.register``: whoever writes the log stands in line until their commit, so nothing comes in later."""
    last = int(after["sequence"]) if after else _begin(now)
    entries = list(AuditEntry.objects.filter(sequence__gt=last).order_by("sequence")[:limit])
    return Pulled([_line(e) for e in entries], {"sequence": entries[-1].sequence if entries else last})


def _begin(now: datetime) -> int:
    rows = AuditEntry.objects.filter(at__lt=now - FIRST_DAYS).order_by("-at", "-sequence")
    return rows.values_list("sequence", flat=True).first() or 0


def _line(entry: AuditEntry) -> Line:
    about = entry.subject_type.replace("-", " ")
    detail: dict[str, Any] = {"subject_type": entry.subject_type, "subject_id": entry.subject_id} | (
        {"token": entry.token} if entry.token else {}
    )
    return Line(
        kind=Kind.AUDIT,
        source=SOURCE,
        rule=entry.action,
        title=f"{entry.action}: {about} {entry.subject}",
        at=entry.at,
        severity=Severity.NEGLIGIBLE,
        team_id=entry.team_id,
        actor=entry.actor,
        story=story_of("audit", entry.action, entry.team_id, entry.subject_type, entry.subject_id, entry.subject),
        fingerprint=fingerprint_of("audit", entry.sequence),
        ref=f"audit:{entry.sequence}",
        detail=detail,
        keep=True,
    )


def address(sequence: int, _event: Told) -> str:
    return reverse("audit:detail", args=[sequence])
