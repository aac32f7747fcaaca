"""Asking for a job, calling it off, and waiting for its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from secguard.errors import Conflict, NotFound, Unavailable
from secguard.jobs import registry
from secguard.jobs.adapters import waking
from secguard.jobs.lifecycle import ENDED, Event, Queue, Status, sources
from secguard.jobs.models import Job


def enqueue(
    kind: str,
    args: Mapping[str, Any],
    *,
    key: str,
    queue: Queue | str = Queue.INTERACTIVE,
    again: bool = False,
    after: timedelta = timedelta(0),
) -> Job:
    """Asks for a job inside the caller's transaction and returns it; a worker is woken once that is committed.

    ``args`` are ids. Where a job of this ``kind`` and ``key`` is open already, that one is returned; with ``again`` it
    then runs once more if it has begun, because what it works on has changed. ``NotFound`` where nothing is registered
    for the kind.
    """
    handler = registry.handler(kind)
    for _attempt in range(3):
        job = _open_job(kind, key, again=again)
        if job is None:
            job = _insert(handler, dict(args), key=key, queue=Queue(queue), after=after)
        if job is not None:
            wake_after_commit(job.queue)
            return job
    raise Unavailable(f"The job {kind} {key} keeps ending while it is asked for; try again.", retry_after=1)


def wake_after_commit(queue: str) -> None:
    """Wakes a worker once the caller's transaction is committed; a wake-up that fails fails nothing else."""

    def wake() -> None:  # a named function: Django cannot log the failure of a partial
        waking.wake(queue)

    transaction.on_commit(wake, robust=True)


def _open_job(kind: str, key: str, *, again: bool) -> Job | None:
    job = Job.objects.open().filter(kind=kind, key=key).first()
    if job is None or not again:
        return job
    # Counted even where the job only waits: it may begin, and read, before this transaction is committed.
    counted = Job.objects.open().filter(pk=job.pk).update(requests=F("requests") + 1)
    return job if counted else None


def _insert(handler: registry.Handler, args: dict[str, Any], *, key: str, queue: Queue, after: timedelta) -> Job | None:
    now = timezone.now()
    try:
        with transaction.atomic():
            return Job.objects.create(
                kind=handler.kind,
                key=key,
                args=args,
                queue=queue,
                max_attempts=handler.max_attempts,
                run_after=now + after,
                created_at=now,
            )
    except IntegrityError:
        return None  # somebody else asked for the same between our look and our insert


def cancel(job_id: int) -> Job:
    """Cancels an open job: it does not begin, or stops at its next progress. ``NotFound``; ``Conflict`` if it ended."""
    cancelled = cancel_if_open(job_id)
    job = Job.objects.filter(pk=job_id).first()
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    if not cancelled:
        raise Conflict(f"The job {job_id} is {job.status}; only a queued or running one can be cancelled.")
    return job


def cancel_if_open(job_id: int) -> bool:
    """Cancels a job where it is open; says whether it was."""
    cancelled = Job.objects.filter(pk=job_id, status__in=sources(Event.CANCEL)).update(
        status=Status.CANCELLED, finished_at=timezone.now(), lease_owner="", lease_until=None
    )
    return bool(cancelled)


def hurry(job_id: int) -> bool:
    """Lets a job that waits for its next attempt begin now; says whether it waited."""
    now = timezone.now()
    waiting = Job.objects.filter(pk=job_id, status=Status.QUEUED, run_after__gt=now)
    queue = waiting.values_list("queue", flat=True).first()
    if queue is None or not waiting.update(run_after=now):
        return False
    wake_after_commit(queue)
    return True


def wait_for(job_id: int, seconds: float) -> Job:
    """The job once it has ended, or as it is after ``seconds``. ``NotFound`` where there is none.

    Outside of a transaction only: inside of one, another process's progress would not be seen.
    """
    job = None
    for _ in looks(seconds):
        job = Job.objects.filter(pk=job_id).first()
        if job is None or job.status in ENDED:
            break
    if job is None:
        raise NotFound(f"There is no job {job_id}.")
    return job


def looks(seconds: float) -> Iterator[None]:
    """Yields for each look that is worth while within ``seconds``: once at once, and once at the end.

    The pauses grow with the time that passed: whoever waits learns of the end within a fortieth of it.
    """
    begun = time.monotonic()
    yield
    while (passed := time.monotonic() - begun) < seconds:
        time.sleep(min(max(passed / 40, 0.015), 0.25, seconds - passed))
        yield
