"""Controls: what mitigates elsewhere, and whether one holds at an instant (DESIGN rules 4 and 5). Pure.

A control holds while it is confirmed, not retired, not contradicted, and what keeps it alive was seen to hold no longer
ago than was agreed. Its state is no column: it is read off the evidence, the schedule and the instant.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from msgspec import Struct

from secguard.errors import Conflict, Invalid


class ControlKind(StrEnum):
    NETWORK_POLICY = "network-policy"
    WAF_OR_IPS_RULE = "waf-or-ips-rule"
    RUNTIME_PROFILE = "runtime-profile"
    CONFIGURATION = "configuration"
    PROCESS = "process"


class ControlStatus(StrEnum):
    PROPOSED = "proposed"
    CONFIRMED = "confirmed"
    RETIRED = "retired"


class ControlEvent(StrEnum):
    CONFIRM = "confirm"
    RETIRE = "retire"


class EvidenceKind(StrEnum):
    """How something about a control came to be known, and what keeps a control alive."""

    HEARTBEAT = "heartbeat"
    """A call of the API by what knows: the firewall's own job, a pipeline."""
    CHECK = "check"
    """A person looked."""
    OBSERVATION = "observation"
    """SecGuard saw it itself."""


class Says(StrEnum):
    HOLDS = "holds"
    CONTRADICTS = "contradicts"


class ControlState(StrEnum):
    """What a control is at an instant. Decisions count on it in the first two alone."""

    ALIVE = "alive"
    GOING_STALE = "going-stale"
    STALE = "stale"
    CONTRADICTED = "contradicted"
    PROPOSED = "proposed"
    RETIRED = "retired"


COUNTS: Final = frozenset({ControlState.ALIVE, ControlState.GOING_STALE})

_S, _E = ControlStatus, ControlEvent
TRANSITIONS: Final[dict[tuple[ControlStatus, ControlEvent], ControlStatus]] = {
    (_S.PROPOSED, _E.CONFIRM): _S.CONFIRMED,
    (_S.PROPOSED, _E.RETIRE): _S.RETIRED,
    (_S.CONFIRMED, _E.RETIRE): _S.RETIRED,
}

_PARTICIPLE: Final = {_E.CONFIRM: "confirmed", _E.RETIRE: "retired"}

MIN_HOURS: Final = 1
MAX_HOURS: Final = 366 * 24
SKEW: Final = timedelta(minutes=5)
"""How far the clock of whoever reports may be ahead of ours; what it says of then was seen now."""
MAX_AGE: Final = timedelta(hours=MAX_HOURS)


def after(status: str, event: ControlEvent) -> ControlStatus:
    """The status after ``event``; raises ``Conflict`` that names the status found and those expected."""
    try:
        return TRANSITIONS[(ControlStatus(status), event)]
    except (KeyError, ValueError):
        fitting = " or ".join(s.value for s, e in TRANSITIONS if e is event)
        raise Conflict(
            f"The control is {status}; only one that is {fitting} can be {_PARTICIPLE[event]}. Reload to see "
            "what happened in the meantime.",
            code="control-state",
        ) from None


class Sighting(Struct, frozen=True, kw_only=True):
    """One piece of evidence: what was seen of a control when, and when it became known here."""

    kind: EvidenceKind
    says: Says
    seen_at: datetime
    noted_at: datetime


class Life(Struct, frozen=True, kw_only=True):
    """What people agreed about a control: since when it counts, until when, and what keeps it alive how often."""

    kept_alive_by: EvidenceKind
    every: timedelta
    confirmed_at: datetime | None = None
    retired_at: datetime | None = None


class Known(Struct, frozen=True, kw_only=True):
    """What all the evidence together comes to: this much of it is kept beside a control, so that a list can ask."""

    last_seen_at: datetime | None = None
    """When what keeps it alive was last seen to hold."""
    contradicted_at: datetime | None = None
    """Since when evidence contradicts that nothing of its kind has answered yet."""


def gather(life: Life, sightings: Iterable[Sighting], now: datetime) -> Known:
    """What ``sightings``, in whatever order, come to at ``now``: what came later, or was seen later, is not known.

    Only evidence of the kind that was agreed keeps a control alive. A contradiction of any kind stands until the same
    kind of evidence says later that the control holds: a heartbeat does not outvote what a person or SecGuard saw.
    """
    known = [s for s in sightings if s.noted_at <= now and s.seen_at <= now]
    fitting = [s.seen_at for s in known if s.kind is life.kept_alive_by and s.says is Says.HOLDS]
    latest: dict[EvidenceKind, Sighting] = {}
    for sighting in known:
        last = latest.get(sighting.kind)
        if last is None or _order(sighting) > _order(last):
            latest[sighting.kind] = sighting
    against = [s.seen_at for s in latest.values() if s.says is Says.CONTRADICTS]
    return Known(last_seen_at=max(fitting, default=None), contradicted_at=min(against, default=None))


def _order(sighting: Sighting) -> tuple[datetime, bool]:
    """Of two of one instant the contradiction is the last."""
    return sighting.seen_at, sighting.says is Says.CONTRADICTS


def due_at(life: Life, known: Known) -> datetime | None:
    """When evidence must have come next; before now where it is overdue, ``None`` where nothing was seen yet."""
    return None if known.last_seen_at is None else known.last_seen_at + life.every


def state(life: Life, known: Known, now: datetime) -> ControlState:
    """What the control is at ``now``: a function of its evidence, its schedule and the instant, and of nothing else."""
    if life.retired_at is not None and life.retired_at <= now:
        return ControlState.RETIRED
    if life.confirmed_at is None or life.confirmed_at > now:
        return ControlState.PROPOSED
    if known.contradicted_at is not None:
        return ControlState.CONTRADICTED
    due = due_at(life, known)
    # What another host wrote down may be ahead of this one's clock by a little, and by no more.
    if known.last_seen_at is None or known.last_seen_at > now + SKEW or due is None or due <= now:
        return ControlState.STALE
    return ControlState.GOING_STALE if due - now <= warning(life.every) else ControlState.ALIVE


def holds_until(life: Life, known: Known, now: datetime) -> datetime | None:
    """Until when the control holds if nothing more becomes known; ``None`` where it does not hold at ``now``."""
    return due_at(life, known) if state(life, known, now) in COUNTS else None


def warning(every: timedelta) -> timedelta:
    """How long before its end a control is going stale: a quarter of the time agreed."""
    return every / 4


# --- what decisions make of it ---


def counts_until(expires_at: datetime, controls_until: datetime | None) -> datetime:
    """Until when a decision counts: its own end, or that of the first control that it leans on, whichever is first."""
    return expires_at if controls_until is None else min(expires_at, controls_until)


def first_end(ends: Iterable[datetime | None], now: datetime) -> datetime:
    """Of the ends of all the controls that a decision leans on the first; ``now`` where one holds no longer."""
    found = list(ends)
    return now if not found or None in found else min(e for e in found if e is not None)


def leans_on(held: datetime | None, ends: Iterable[datetime | None], now: datetime) -> datetime:
    """Until when a decision may count on its controls from ``now`` on, where until now it was ``held``.

    What has ended is not made longer by evidence that comes later: it is asked for anew.
    """
    if held is not None and held <= now:
        return held
    return first_end(ends, now)


def crosses(old: datetime | None, new: datetime, every: timedelta) -> bool:
    """Whether an end moved so far that lists are to be written anew: once in a quarter of the time agreed.

    A heartbeat each minute then rewrites nothing; what lists show is never later than what holds.
    """
    step = every / 4
    if old is None or new < old:
        return True
    return (old - _ZERO) // step != (new - _ZERO) // step


_ZERO: Final = datetime(2020, 1, 1, tzinfo=UTC)


# --- what people send ---


def check_hours(hours: int) -> int:
    """How often evidence must come, in hours; ``Invalid`` outside an hour to a year."""
    if not MIN_HOURS <= hours <= MAX_HOURS:
        raise Invalid(
            f"Evidence every {hours} hours is not possible; expected are {MIN_HOURS} to {MAX_HOURS} (a year).",
            where="every_hours",
        )
    return hours


def check_seen(seen_at: datetime | None, now: datetime) -> datetime:
    """When something was seen: now where nothing is said; ``Invalid`` for what is to come, and for the long past."""
    if seen_at is None:
        return now
    if seen_at > now + SKEW:
        raise Invalid(
            f"It was seen at {seen_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC, which is still to come; expected is a time "
            f"not after {now.astimezone(UTC):%Y-%m-%d %H:%M} UTC.",
            where="seen_at",
        )
    if seen_at < now - MAX_AGE:
        raise Invalid(
            f"It was seen at {seen_at.astimezone(UTC):%Y-%m-%d} UTC, more than a year ago: that says nothing of today.",
            where="seen_at",
        )
    return min(seen_at, now)


def word(kind: type[StrEnum], text: Any, what: str, where: str) -> Any:
    """The member of ``kind`` that ``text`` names; ``Invalid`` naming all of them."""
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(k.value for k in kind)
        raise Invalid(f"{str(text)[:40]!r} is no {what}; expected is one of {known}.", where=where) from None
