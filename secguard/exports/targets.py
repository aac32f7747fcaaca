"""Where events are sent: kinds of sinks and formats, a target's states, whose events it is told, and how far. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from secguard.errors import Conflict, Invalid
from secguard.events.record import Line


class Sink(StrEnum):
    """``syslog-tcp`` protects nothing: it is there for who names it. UDP is not: it cannot tell what was taken."""

    SYSLOG_TLS = "syslog-tls"
    SYSLOG_TCP = "syslog-tcp"
    WEBHOOK = "webhook"


SYSLOG: Final = frozenset({Sink.SYSLOG_TLS, Sink.SYSLOG_TCP})


class Format(StrEnum):
    """``text``: the title alone, with structured data beside it; ``json``: our own document."""

    CEF = "cef"
    OCSF = "ocsf"
    JSON = "json"
    TEXT = "text"


class State(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    STALLED = "stalled"


class Event(StrEnum):
    TAKE = "take"
    """The sink took what it was sent."""
    FAIL = "fail"
    PAUSE = "pause"
    RESUME = "resume"


TRANSITIONS: Final[dict[tuple[State, Event], State]] = {
    (State.RUNNING, Event.TAKE): State.RUNNING,
    (State.STALLED, Event.TAKE): State.RUNNING,
    (State.RUNNING, Event.FAIL): State.STALLED,
    (State.STALLED, Event.FAIL): State.STALLED,
    (State.RUNNING, Event.PAUSE): State.PAUSED,
    (State.STALLED, Event.PAUSE): State.PAUSED,
    (State.PAUSED, Event.RESUME): State.RUNNING,
}
SENT_TO: Final = frozenset({State.RUNNING, State.STALLED})
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(minutes=5)


def after(state: State, event: Event) -> State:
    """The state after ``event``; ``Conflict`` naming the state found where the table has no such step."""
    found = TRANSITIONS.get((state, event))
    if found is None:
        allowed = " or ".join(source for source, what in TRANSITIONS if what == event)
        raise Conflict(f"The target is {state}; only one that is {allowed} can {event}.", code="export-target-state")
    return found


def wait(failures: int) -> timedelta:
    """How long a sink is left alone after so many failures: doubled each time, bounded."""
    found: timedelta = min(FIRST_WAIT * 2 ** min(max(failures, 1) - 1, 16), LONGEST_WAIT)
    return found


@dataclass(frozen=True, slots=True)
class Audience:
    """Which events a target is told. No kinds: all of them. Teams and applications add up.

    ``is_wide``: everybody's events, and those that belong to nobody. It is said, and does not follow from an empty
    list: when the last of its teams is removed, a target is told nothing.
    """

    kinds: frozenset[str] = frozenset()
    least_severity: int = 0
    is_wide: bool = True
    teams: frozenset[int] = frozenset()
    applications: frozenset[int] = frozenset()

    def wants(self, line: Line) -> bool:
        """``exports.queries`` asks the same of the database."""
        if self.kinds and line.kind not in self.kinds:
            return False
        if line.severity < self.least_severity:
            return False
        return self.is_wide or line.team_id in self.teams or line.application_id in self.applications


class Cursor(NamedTuple):
    """How far the store was read: after the row of that transaction and number. ``day`` bounds where to look on."""

    txid: int
    id: int
    day: date

    def __str__(self) -> str:
        return f"{self.txid}-{self.id}-{self.day:%Y%m%d}"


_CURSOR: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,18})-([0-9]{4})([0-9]{2})([0-9]{2})", re.ASCII)


def cursor(text: str) -> Cursor:
    """The cursor that ``str`` wrote. Raises ``Invalid``."""
    found = _CURSOR.fullmatch(text)
    try:
        if found:
            txid, number, *day = map(int, found.groups())
            return Cursor(txid, number, date(*day))
    except ValueError:
        pass
    raise Invalid(
        f"There is no cursor {text[:60]!r}; expected one that an answer gave in Next-Cursor, or none to begin.",
        code="export-cursor",
        where="after",
    )
