"""A job's life: its states, and which event leads from which to which. Pure: time is an argument."""

from __future__ import annotations

import random
from datetime import timedelta
from enum import StrEnum

from secguard.errors import Conflict


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Event(StrEnum):
    CLAIM = "claim"
    SUCCEED = "succeed"
    RETRY = "retry"
    FAIL = "fail"
    CANCEL = "cancel"


class Queue(StrEnum):
    """Interactive work (somebody waits) never stands behind scheduled work (DESIGN rule 9)."""

    INTERACTIVE = "interactive"
    SCHEDULED = "scheduled"


TRANSITIONS: dict[tuple[Status, Event], Status] = {
    (Status.QUEUED, Event.CLAIM): Status.RUNNING,
    (Status.QUEUED, Event.CANCEL): Status.CANCELLED,
    (Status.RUNNING, Event.SUCCEED): Status.SUCCEEDED,
    (Status.RUNNING, Event.RETRY): Status.QUEUED,
    (Status.RUNNING, Event.FAIL): Status.FAILED,
    (Status.RUNNING, Event.CANCEL): Status.CANCELLED,
}
OPEN = (Status.QUEUED, Status.RUNNING)
ENDED = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)

LEASE = timedelta(seconds=30)
RENEW_EVERY = timedelta(seconds=7)
FIRST_DELAY = timedelta(seconds=2)
LONGEST_DELAY = timedelta(minutes=10)


def sources(event: Event) -> list[Status]:
    """The states from which ``event`` may happen: what a conditional UPDATE asks for."""
    return [source for (source, what) in TRANSITIONS if what == event]


def target(status: Status, event: Event) -> Status:
    """The state after ``event``; ``Conflict`` naming the state found where the table has no such step."""
    found = TRANSITIONS.get((status, event))
    if found is None:
        allowed = ", ".join(sources(event))
        raise Conflict(f"The job is {status}; only a job that is {allowed} can {event}.", code="job-state")
    return found


def delay(attempts: int, jitter: float | None = None) -> timedelta:
    """How long to wait after the given number of attempts: doubled each time, bounded, spread by ``jitter`` in [0, 1).

    Half of the wait is fixed and half random ("equal jitter"), so that jobs that failed together return apart.
    """
    spread = random.random() if jitter is None else jitter  # noqa: S311 - spreads load, guards nothing
    whole: timedelta = min(FIRST_DELAY * 2 ** min(max(attempts, 1) - 1, 16), LONGEST_DELAY)
    return whole / 2 + whole / 2 * spread
