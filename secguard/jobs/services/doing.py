"""What a worker does: claim a due job, run its handler, write the outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import F
from django.utils import timezone

from secguard.errors import SecGuardError, Unavailable
from secguard.jobs import registry
from secguard.jobs.adapters import processes, waking
from secguard.jobs.lifecycle import LEASE, Event, Queue, Status, delay, sources
from secguard.jobs.models import Job
from secguard.jobs.services.running import JobRun, LeaseLost, held, keep_lease

log = structlog.get_logger(__name__)

WORK_SECONDS = 10.0
WRITE_AGAIN_SECONDS = 1.0

_stopping = threading.Event()


def claim(queue: Queue | str, now: datetime | None = None) -> JobRun | None:
    """Takes the oldest due job of a queue for this process, or nothing where none is due."""
    now = now or timezone.now()
    due = Job.objects.due(now).filter(queue=queue)
    # A plain look first: an idle worker takes no write lock, of which SQLite has only one.
    while due.exists():
        with transaction.atomic():
            job = due.select_for_update(skip_locked=True).first()
            run = _claim(job, now) if job else None
        if run or job is None:
            return run
    return None


def _claim(job: Job, now: datetime) -> JobRun | None:
    owner = str(processes.this_process())
    claimed = Job.objects.filter(pk=job.pk, status__in=sources(Event.CLAIM)).update(
        status=Status.RUNNING,
        attempts=F("attempts") + 1,
        answering=F("requests"),
        lease_owner=owner,
        lease_until=now + LEASE,
        started_at=now,
    )
    if not claimed:
        return None
    job.refresh_from_db()
    return JobRun(job=job, owner=owner)


def work(queue: Queue | str, seconds: float = WORK_SECONDS) -> int:
    """Does due jobs of a queue for about ``seconds``, or until the worker stops; returns how many it did.

    Where more are due after that, it wakes a worker again, so that no wake-up keeps a worker for ever.
    """
    until = time.monotonic() + seconds
    done = 0
    while time.monotonic() < until and not _stopping.is_set():
        run = claim(queue)
        if run is None:
            return done
        run_job(run)
        done += 1
    waking.wake(str(queue))
    return done


def stop() -> None:
    """No further job begins in this process; the one that runs is finished."""
    _stopping.set()


def stopping(seconds: float) -> bool:
    """Waits ``seconds``, or until this process is told to stop; True where it is."""
    return _stopping.wait(seconds)


def run_job(run: JobRun) -> Status:
    """Does a claimed job and writes its outcome; returns the state it left the job in.

    Never raises for what the handler raises. A process that is told to exit gives the job back first.
    """
    with structlog.contextvars.bound_contextvars(job=run.job_id, kind=run.job.kind):
        return _write(_do(run))


def _do(run: JobRun) -> Callable[[], Status]:
    """Has the handler do the job; returns what writes the outcome."""
    try:
        handler = registry.handler(run.job.kind)
        with keep_lease(run):
            result = handler.work(run)
    except LeaseLost:
        log.info("The job is no longer this worker's; its result is dropped.")
        return partial(_status, run)
    except Unavailable as error:
        wait = max(timedelta(seconds=error.retry_after), delay(run.attempt))
        return partial(try_again, run, error.detail, error.code, wait)
    except SecGuardError as error:
        return partial(_fail, run.job, error.detail, error.code, owner=run.owner)
    except Exception as error:
        log.exception("The job's handler failed.", attempt=run.attempt)
        return partial(try_again, run, _words(run.job, error), "internal", delay(run.attempt))
    except BaseException:
        _give_back(run.job, owner=run.owner)
        raise
    return partial(_succeed, run, dict(result or {}))


def _write(outcome: Callable[[], Status]) -> Status:
    """Writes an outcome; while the database does not take it, again, for as long as the lease may still be ours.

    After that the sweep gives the job to whoever is there.
    """
    until = time.monotonic() + LEASE.total_seconds()
    while True:
        try:
            return outcome()
        except (OperationalError, InterfaceError):
            if connection.in_atomic_block or time.monotonic() > until:
                raise
            log.warning("The job's outcome could not be written; trying again.", exc_info=True)
            connection.close()  # it may be broken for good
            time.sleep(WRITE_AGAIN_SECONDS)


def _status(run: JobRun) -> Status:
    return Status(Job.objects.values_list("status", flat=True).get(pk=run.job_id))


def _words(job: Job, error: Exception) -> str:
    # The exception's own text may hold what nobody should read here; the log has it.
    return f"Internal error ({type(error).__name__}) in attempt {job.attempts}; the log has it under job {job.pk}."


def _succeed(run: JobRun, result: dict[str, Any]) -> Status:
    mine = held(run.job_id, run.owner)
    ended = mine.filter(requests=run.job.answering).update(
        status=Status.SUCCEEDED,
        result=result,
        error="",
        error_code="",
        finished_at=timezone.now(),
        lease_owner="",
        lease_until=None,
    )
    if ended:
        return Status.SUCCEEDED
    # Asked for again while it ran: once more, with all attempts.
    mine.update(status=Status.QUEUED, attempts=0, run_after=timezone.now(), lease_owner="", lease_until=None)
    return _status(run)


def try_again(run: JobRun, words: str, code: str, wait: timedelta) -> Status:
    if run.job.attempts >= run.job.max_attempts:
        return _fail(run.job, words, code, owner=run.owner)
    held(run.job_id, run.owner).update(
        status=Status.QUEUED,
        run_after=timezone.now() + wait,
        error=words,
        error_code=code,
        lease_owner="",
        lease_until=None,
    )
    return Status.QUEUED


def _fail(job: Job, words: str, code: str, *, owner: str) -> Status:
    with transaction.atomic():
        failed = held(job.pk, owner).update(
            status=Status.FAILED,
            error=words,
            error_code=code,
            finished_at=timezone.now(),
            lease_owner="",
            lease_until=None,
        )
        tell = registry.handler(job.kind).failed if failed else None
        if tell:
            tell(job.args, code, words)
    return Status.FAILED


def _give_back(job: Job, *, owner: str) -> None:
    held(job.pk, owner).update(
        status=Status.QUEUED,
        attempts=F("attempts") - 1,
        run_after=timezone.now(),
        lease_owner="",
        lease_until=None,
    )
