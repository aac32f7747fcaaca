"""A simulation's states, and what a draft changes about a verdict. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from secguard.errors import Conflict


class Status(StrEnum):
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Event(StrEnum):
    FINISH = "finish"
    FAIL = "fail"
    CANCEL = "cancel"


TRANSITIONS: Final[dict[tuple[Status, Event], Status]] = {
    (Status.WAITING, Event.FINISH): Status.DONE,
    (Status.WAITING, Event.FAIL): Status.FAILED,
    (Status.WAITING, Event.CANCEL): Status.CANCELLED,
}


def target(status: Status, event: Event) -> Status:
    """The state after ``event``; ``Conflict`` naming the state found where the table has no such step."""
    found = TRANSITIONS.get((status, event))
    if found is None:
        raise Conflict(f"The simulation is {status}; only one that waits or runs can {event}.", code="simulation-state")
    return found


class Origin(StrEnum):
    """What was judged again."""

    ESTATE = "estate"
    """An image as it is now, against the policy in force."""
    GATE = "gate"
    """A verdict of the period, from its stored input."""
    ADMISSION = "admission"
    """The verdict behind an answer to a cluster in the period."""
    PROMOTION = "promotion"
    """A promotion that was asked for in the period, from the stored inputs of the verdicts that it rests on."""


EACH_TIME: Final = (Origin.ADMISSION, Origin.PROMOTION)
"""What is counted as often as it was asked, and belongs to the repository that was asked about."""


class Change(StrEnum):
    """What the draft makes of a verdict."""

    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    WARNED = "warned"
    """It passed, and would be warned of."""
    CLEARED = "cleared"
    """It was warned of, and would pass."""


_CHANGES: Final[dict[tuple[str, str], Change]] = {
    ("pass", "block"): Change.BLOCKED,
    ("warn", "block"): Change.BLOCKED,
    ("block", "pass"): Change.UNBLOCKED,
    ("block", "warn"): Change.UNBLOCKED,
    ("pass", "warn"): Change.WARNED,
    ("warn", "pass"): Change.CLEARED,
}


def change_of(was: str, would: str) -> Change | None:
    """What becomes of a verdict ``was`` that would be ``would``; ``None``: nothing."""
    return _CHANGES.get((was, would))
