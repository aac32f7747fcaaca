"""How a control stands: for one application by what was measured, for a scope by its applications. Pure.

What is not known never counts as a pass, and no exception does: a control passes for a scope only where it passes for
every application in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from typing import Final

from secguard.compliance.framework import Control, Framework

TRUST: Final = timedelta(hours=24)
"""So long a measurement counts where none follows it. What nobody has looked at for longer is not measured."""
ONE_DAY: Final = timedelta(days=1)


class State(IntEnum):
    """From the best to the worst: of several, the greatest counts."""

    PASS = 0
    EXCEPTION = 1
    """It would lack what is asked for, did no approved decision cover that."""
    UNMEASURED = 2
    FAIL = 3

    @property
    def word(self) -> str:
        return WORDS[self]


WORDS: Final = {
    State.PASS: "pass",
    State.EXCEPTION: "exception",
    State.UNMEASURED: "not-measured",
    State.FAIL: "fail",
}
BY_WORD: Final = {word: state for state, word in WORDS.items()}
Counts = tuple[int, int, int, int]
"""Applications by state, in the order of ``State``."""
NONE: Final[Counts] = (0, 0, 0, 0)


def effective(state: State, turns_at: datetime | None, at: datetime) -> State:
    """What a measurement is worth at ``at``: once the clock may have turned it and nobody has looked again, only a
    fail still stands."""
    if state is State.FAIL or turns_at is None or turns_at > at:
        return state
    return State.UNMEASURED


def of_control(control: Control, measured: Mapping[str, State]) -> State:
    """A control at one application: the worst of its checks. A check without a measurement is not measured."""
    if not control.checks:
        return State.UNMEASURED
    return max(measured.get(name, State.UNMEASURED) for name in control.checks)


def of_scope(counts: Counts) -> State:
    """A control over several applications; over none, nothing was measured."""
    return next((state for state in reversed(State) if counts[state]), State.UNMEASURED)


def count(framework: Framework, applications: Iterable[Mapping[str, State]]) -> dict[str, Counts]:
    """{control: its applications by state}, for each control; ``applications`` are what was measured of each."""
    found = {control.id: [0, 0, 0, 0] for control in framework.controls}
    for measured in applications:
        for control in framework.controls:
            found[control.id][of_control(control, measured)] += 1
    return {id_: (n[0], n[1], n[2], n[3]) for id_, n in found.items()}


def add(several: Sequence[Mapping[str, Counts]]) -> dict[str, Counts]:
    """The counts of scopes that share no application, taken together."""
    found: dict[str, Counts] = {}
    for counts in several:
        for id_, n in counts.items():
            had = found.get(id_, NONE)
            found[id_] = (had[0] + n[0], had[1] + n[1], had[2] + n[2], had[3] + n[3])
    return found


def tally(counts: Mapping[str, Counts]) -> Counts:
    """Controls by state."""
    found = [0, 0, 0, 0]
    for one in counts.values():
        found[of_scope(one)] += 1
    return found[0], found[1], found[2], found[3]


def end_of(day: date) -> datetime:
    """The last instant of a day (UTC) that is told apart: how it stood then is how the day ended."""
    return datetime.combine(day + ONE_DAY, time.min, UTC) - timedelta(microseconds=1)
