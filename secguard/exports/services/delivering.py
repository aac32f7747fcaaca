"""Send what waits, at least once: the position of a target moves when its sink took a batch, and at no other time.

Whoever dies in between, or whose batch may have been lost on the way, sends it again; the receiver knows an event that
it has by its number. One job for each target, held by its lease: a sink that stalls keeps its own events waiting in the
store and holds up nobody else's, and no more than one batch of any is in memory.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db.models import F
from django.utils import timezone

from secguard.errors import SecGuardError, Unavailable
from secguard.events.models import Event
from secguard.exports import queries, targets
from secguard.exports.models import ExportTarget, ExportTargetQuerySet
from secguard.exports.services.sending import send
from secguard.exports.targets import SENT_TO, Cursor, State
from secguard.jobs import services as jobs
from secguard.jobs.lifecycle import Queue
from secguard.jobs.registry import Run

log = structlog.get_logger(__name__)

DELIVER: Final = "exports.deliver"
BATCH: Final = 500
"""Events in one connection or one request: what is sent again at most, when a sink is restarted."""
RUN_SECONDS: Final = 30.0
"""Then the job makes room for others, and is asked for again."""
AHEAD: Final = (
    "The position is after transactions that are still to come: the database was restored into another server. Choose "
    "where to go on from: now, or from the oldest event."
)


def look(now: datetime | None = None) -> int:
    """Ask for the delivery to every target that is due and that anything waits for; returns how many.

    Writes down how much waits for each, the paused ones too.
    """
    at = now or timezone.now()
    asked = 0
    due = set(ExportTarget.objects.due(at).values_list("pk", flat=True))
    for target in ExportTarget.objects.prefetch_related("teams", "applications").order_by("pk"):
        _count_waiting(target)
        if target.pk in due and _has_more(target):
            jobs.enqueue(DELIVER, {"target": target.pk}, key=str(target.pk), queue=Queue.SCHEDULED)
            asked += 1
    return asked


def _has_more(target: ExportTarget) -> bool:
    if queries.is_ahead(target.position):
        _fail(target, Unavailable(AHEAD, code="export-ahead"), timezone.now())
        return False
    return queries.has_more(target.position, target.audience())


def _count_waiting(target: ExportTarget) -> None:
    count, since = queries.waiting(target.position, target.audience())
    if (count, since) != (target.waiting, target.waiting_since):
        _at(target).update(waiting=count, waiting_since=since)


def deliver(target_id: int, run: Run, now: datetime | None = None) -> int:
    """The job: send one target what waits, batch by batch; returns how many events. Safe to run twice."""
    until, sent = time.monotonic() + RUN_SECONDS, 0
    while (target := _next(target_id, now or timezone.now())) is not None:
        run.progress(f"sent {sent:,}", sent)
        if time.monotonic() > until:
            jobs.enqueue(DELIVER, {"target": target_id}, key=str(target_id), queue=Queue.SCHEDULED, again=True)
            break
        batch = queries.read(Event.objects.all(), target.position, target.audience(), BATCH, now or timezone.now())
        if batch.items:
            run.require_lease()
            try:
                send(target, batch.items, now or timezone.now())
            except SecGuardError as error:
                _fail(target, error, now or timezone.now())
                break
        if not _move(target, batch.cursor, len(batch.items), now or timezone.now()):
            break
        sent += len(batch.items)
        if not batch.more:
            break
    return sent


def _next(target_id: int, now: datetime) -> ExportTarget | None:
    return ExportTarget.objects.due(now).prefetch_related("teams", "applications").filter(pk=target_id).first()


def _at(target: ExportTarget) -> ExportTargetQuerySet:
    """The target as it was read: nobody moved or edited it in between."""
    return ExportTarget.objects.filter(
        pk=target.pk,
        revision=target.revision,
        position_txid=target.position_txid,
        position_id=target.position_id,
    )


def _move(target: ExportTarget, to: Cursor, count: int, now: datetime) -> bool:
    """The sink has everything up to there; says whether that could be written down."""
    columns = {"position_txid": to.txid, "position_id": to.id, "position_day": to.day}
    if count:
        columns |= {"sent": F("sent") + count, "sent_at": now, "failures": 0, "reason": "", "next_at": now}
        if target.state != State.RUNNING:
            columns |= {"state": targets.after(State(target.state), targets.Event.TAKE).value, "since": now}
    return bool(_at(target).filter(state=target.state).update(**columns))


def _fail(target: ExportTarget, error: SecGuardError, now: datetime) -> None:
    """The batch stays where it is; the next attempt waits longer each time, or as long as the sink asked for."""
    failures = target.failures + 1
    wait = targets.wait(failures)
    if isinstance(error, Unavailable) and error.retry_after:
        wait = max(wait, min(timedelta(seconds=error.retry_after), targets.LONGEST_WAIT))
    columns = {"failures": failures, "reason": error.detail[:500], "next_at": now + wait}
    if target.state != State.STALLED:
        columns |= {"state": targets.after(State(target.state), targets.Event.FAIL).value, "since": now}
        log.warning("An export target stalls.", target=target.pk, code=error.code)
    _at(target).filter(state__in=SENT_TO).update(**columns)


def given_up(args: Mapping[str, Any], code: str, words: str) -> None:
    """What to do where a job failed for a reason of ours: the target says so, and is tried again later."""
    target = _next(int(args["target"]), timezone.now())
    if target is not None:
        _fail(target, Unavailable(words, code=code), timezone.now())
