"""Send one event that says it is a test, to see whether it arrives."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.utils import timezone

from secguard.accounts.models import User
from secguard.errors import Invalid, NotAllowed, Unavailable
from secguard.events.record import Kind, Line, story_of
from secguard.exports import queries
from secguard.exports.item import Item
from secguard.exports.models import ExportTarget
from secguard.exports.services.sending import send
from secguard.findings.severity import Severity
from secguard.jobs import services as jobs
from secguard.jobs.lifecycle import Queue
from secguard.jobs.models import Job

TEST: Final = "exports.test"


def send_test(target_id: int, *, actor: User) -> Job:
    """Asks for a test message at once, of a paused target too; what became of it stands with the target.

    Raises ``NotFound``, ``NotAllowed``.
    """
    target = queries.find(actor, target_id)
    return jobs.enqueue(TEST, {"target": target.pk}, key=str(target.pk), queue=Queue.INTERACTIVE, again=True)


def deliver_test(target_id: int, now: datetime | None = None) -> None:
    """The job. What goes wrong is written down, and not tried again: whoever asked for it reads the reason."""
    at = now or timezone.now()
    target = ExportTarget.objects.filter(pk=target_id).first()
    if target is None:
        return
    words = ""
    try:
        send(target, [test_item(target, at)], at)
    except (Invalid, NotAllowed, Unavailable) as error:
        words = error.detail[:500]
    ExportTarget.objects.filter(pk=target_id).update(tested_at=at, test_error=words)


def test_item(target: ExportTarget, at: datetime) -> Item:
    """An event that is in no store; its number is 0."""
    line = Line(
        kind=Kind.OTHER,
        source="secguard",
        rule="export-test",
        title=f"A test of the export target {target.name}",
        at=at,
        story=story_of("export-test", target.pk),
        severity=Severity.NEGLIGIBLE,
    )
    return Item(id=0, line=line, received_at=at)
