"""Finding what was left lying: abandoned jobs, lost wake-ups, periodic work, old rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.utils import timezone

from secguard.jobs import registry
from secguard.jobs.adapters import processes, waking
from secguard.jobs.lifecycle import LEASE, Queue, Status, delay
from secguard.jobs.models import Job, JobQuerySet
from secguard.jobs.services.asking import enqueue
from secguard.jobs.services.doing import try_again
from secguard.jobs.services.running import JobRun

log = structlog.get_logger(__name__)

WAKE_AT_ONCE = 4
KEEP_SUCCEEDED = timedelta(days=7)
KEEP_OTHERS = timedelta(days=90)
PRUNE_BATCH = 1_000


def sweep(now: datetime | None = None) -> int:
    """Gives abandoned jobs back, enqueues periodic ones, and wakes workers for what is due; returns what it found.

    Every worker does this every few seconds, and beat sends it too: any one of them is enough.
    """
    given, now = now, now or timezone.now()
    found = _set_back(now)
    for job in Job.objects.filter(status=Status.RUNNING):
        if (job.lease_until and job.lease_until < now) or processes.is_gone(job.lease_owner):
            _abandoned(job)
            found += 1
    for item in registry.periodic():
        _enqueue_periodic(item, now)
    now = given or timezone.now()  # what was given back just now is due now, not at the next sweep
    for queue in Queue:
        waiting = len(Job.objects.due(now).filter(queue=queue).values_list("pk")[:WAKE_AT_ONCE])
        found += waiting
        for _ in range(waiting):
            waking.wake(queue)
    return found


def _set_back(now: datetime) -> int:
    """What a clock that ran ahead left in the future waits for no time that is still to come; returns how much it was.

    A lease is never longer than ``LEASE``: a worker that lives renews the shorter one, what a dead one left is free
    soon. A job that was asked for later than now is due now.
    """
    late = now + 2 * LEASE
    held = Job.objects.filter(status=Status.RUNNING, lease_until__gt=late)
    asked = Job.objects.filter(status=Status.QUEUED, queue__in=list(Queue), run_after__gt=late, created_at__gt=late)
    # Plain looks first: an idle worker takes no write lock, of which SQLite has only one.
    leases = held.update(lease_until=now + LEASE) if held.exists() else 0
    jobs = asked.update(created_at=now, run_after=now) if asked.exists() else 0
    if leases or jobs:
        log.warning("The clock was set back: jobs waited for a time to come.", leases=leases, queued=jobs)
    return leases + jobs


def _abandoned(job: Job) -> None:
    log.warning("A worker left a job behind.", job=job.pk, kind=job.kind, attempt=job.attempts)
    words = f"The worker stopped in the middle of attempt {job.attempts} of {job.max_attempts}."
    run = JobRun(job=job, owner=job.lease_owner)
    try_again(run, words, "worker-lost", timedelta(0) if job.attempts == 1 else delay(job.attempts - 1))


def _enqueue_periodic(item: registry.Periodic, now: datetime) -> None:
    key = f"every {item.interval}: {int(now.timestamp() // item.interval.total_seconds())}"
    if not Job.objects.filter(kind=item.kind, key=key).exists():
        enqueue(item.kind, {}, key=key, queue=item.queue)


def prune(now: datetime | None = None) -> int:
    """Deletes succeeded jobs after a week and other ended ones after ninety days; returns how many."""
    now = now or timezone.now()
    ended = Job.objects.filter(finished_at__isnull=False)
    return _delete(ended.filter(status=Status.SUCCEEDED, finished_at__lt=now - KEEP_SUCCEEDED)) + _delete(
        ended.exclude(status=Status.SUCCEEDED).filter(finished_at__lt=now - KEEP_OTHERS)
    )


def _delete(jobs: JobQuerySet) -> int:
    deleted = 0
    while ids := list(jobs.order_by("finished_at").values_list("pk", flat=True)[:PRUNE_BATCH]):
        deleted += Job.objects.filter(pk__in=ids).delete()[0]
    return deleted


def prune_job(_run: registry.Run) -> Mapping[str, Any]:
    """The handler of the daily pruning."""
    return {"deleted": prune()}
