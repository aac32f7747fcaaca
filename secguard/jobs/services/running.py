"""One run of one job: the lease it holds, and the progress it reports."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from django.db import Error, connection
from django.utils import timezone

from secguard.jobs.lifecycle import LEASE, RENEW_EVERY, Status
from secguard.jobs.models import Job, JobQuerySet

log = structlog.get_logger(__name__)

PROGRESS_EVERY_SECONDS = 0.25


class LeaseLost(Exception):
    """The job was cancelled, or another worker has it: whatever this one still does counts for nothing."""


def _depth() -> int:
    return len(connection.atomic_blocks)


def held(job_id: int, owner: str) -> JobQuerySet:
    """The job as one row, as long as ``owner`` holds it: every write of a run goes through this."""
    return Job.objects.filter(pk=job_id, status=Status.RUNNING, lease_owner=owner)


@dataclass
class JobRun:
    """A claimed job; satisfies ``registry.Run``, which is all that a handler may use."""

    job: Job
    owner: str
    lost: threading.Event = field(default_factory=threading.Event)
    _written_at: float = 0.0
    _held_until: float = field(default_factory=lambda: time.monotonic() + LEASE.total_seconds())
    _outer_depth: int = 0

    @property
    def job_id(self) -> int:
        return self.job.pk

    @property
    def args(self) -> Mapping[str, Any]:
        args: dict[str, Any] = self.job.args
        return args

    @property
    def attempt(self) -> int:
        return self.job.attempts

    def begin(self) -> None:
        """Remembers how deep in transactions the handler is called: progress is written at that depth only."""
        self._outer_depth = _depth()

    def progress(self, text: str, done: int = 0, total: int = 0) -> None:
        """Shows how far the job is, at most about four times a second; ``LeaseLost`` where it is no longer ours.

        Inside of the handler's own transaction nothing is written: nobody could see it before the commit.
        """
        if self.lost.is_set():
            raise LeaseLost
        now = time.monotonic()
        if _depth() > self._outer_depth or now - self._written_at < PROGRESS_EVERY_SECONDS:
            return
        self._written_at = now
        try:
            self.renew(progress_text=text[:255], progress_done=done, progress_total=total)
        except Error:
            if _depth():
                raise
            # A database that is away for a moment costs no work; whether the lease held, the next renewal says.
            log.warning("Progress could not be written; going on.", job=self.job_id, exc_info=True)
            connection.close()
        if self.lost.is_set():
            raise LeaseLost

    def require_lease(self) -> None:
        """Raises ``LeaseLost`` where nobody could extend the lease for so long that the job may be another worker's."""
        if self.lost.is_set() or time.monotonic() > self._held_until:
            raise LeaseLost

    def renew(self, **columns: Any) -> None:
        """Extends the lease (and writes the given columns); sets ``lost`` where it was no longer held."""
        until = time.monotonic() + LEASE.total_seconds()
        if held(self.job_id, self.owner).update(lease_until=timezone.now() + LEASE, **columns):
            self._held_until = until
        else:
            self.lost.set()


@contextlib.contextmanager
def keep_lease(run: JobRun) -> Iterator[None]:
    """Renews the lease from a thread of its own while the handler runs."""
    run.begin()
    if _depth():
        # Called inside a transaction: a second connection could not see the row.
        yield
        return
    done = threading.Event()
    keeper = threading.Thread(target=_renew_until, args=(run, done), name=f"lease-{run.job_id}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()


def _renew_until(run: JobRun, done: threading.Event) -> None:
    try:
        while not done.wait(RENEW_EVERY.total_seconds()) and not run.lost.is_set():
            try:
                run.renew()
            except Error:
                log.warning("The lease could not be renewed; trying again.", job=run.job_id, exc_info=True)
                connection.close()  # it may be broken for good; the next renewal gets a new one
    finally:
        connection.close()
