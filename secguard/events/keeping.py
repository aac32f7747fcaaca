"""What is kept in full, what is counted, and for how long. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from secguard.events.record import Kind, Line

IN_FULL: Final = 5
"""Of one story in one hour so many are kept in full; the rest is counted."""

DEFAULT_DAYS: Final[Mapping[Kind, int]] = {
    Kind.AUDIT: 400,
    Kind.GATE: 400,
    Kind.ADMISSION: 400,
    Kind.PROMOTION: 400,
    Kind.PROCESS: 30,
    Kind.FILE: 30,
    Kind.NETWORK: 30,
    Kind.MALWARE: 180,
    Kind.LOG_GROWTH: 14,
    Kind.API_AUDIT: 90,
    Kind.FLOW: 7,
    Kind.OTHER: 30,
}
"""For how many days raw detail is kept where nobody has said otherwise. Counts stay ``TALLY_DAYS``."""
LEAST_DAYS: Final = 8
"""The store must know what it has heard for as long as the same may arrive again (``record.EARLIEST``)."""
MOST_DAYS: Final = 3_650
TALLY_DAYS: Final = 400


class At(NamedTuple):
    """Where a story is counted: the hour it happened in, and the story."""

    hour: datetime
    story: str


@dataclass(slots=True)
class Counted:
    """What one delivery adds to a story in an hour; ``line`` is the first of it, whose words stand for all."""

    line: Line
    count: int
    first_at: datetime
    last_at: datetime


def hour_of(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def counted(lines: Iterable[Line]) -> dict[At, Counted]:
    """What the lines add up to, by story and hour, in the order of their keys."""
    found: dict[At, Counted] = {}
    for line in lines:
        at = At(hour_of(line.at), line.story)
        if (there := found.get(at)) is None:
            found[at] = Counted(line, line.count, line.at, line.at)
        else:
            there.count += line.count
            there.first_at = min(there.first_at, line.at)
            there.last_at = max(there.last_at, line.at)
    return dict(sorted(found.items()))


def in_full(lines: Iterable[Line], before: Mapping[At, int]) -> list[Line]:
    """The lines that are kept in full. ``before`` says how often each story had come in that hour before them."""
    seen: dict[At, int] = {}
    kept = []
    for line in lines:
        at = At(hour_of(line.at), line.story)
        have = seen.get(at, before.get(at, 0))
        if line.keep or have < IN_FULL:
            kept.append(line)
        seen[at] = have + 1
    return kept


def first_day_kept(now: datetime, days: int) -> datetime:
    """The day, at its beginning, from which raw detail is still kept."""
    return (now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)


HEARD_DAYS: Final = 9
"""For how many days fingerprints are kept: two more than the same may arrive again in (``record.EARLIEST``)."""
MEASURED_DAYS: Final = 7
"""The rate of so many whole days is what a forecast goes on."""


def over(rows: Mapping[Kind, int], bound: int) -> dict[Kind, int]:
    """How many of each kind go so that ``bound`` are left: the kinds with most rows go down to one common level."""
    level, left = bound, bound
    for n, count in enumerate(sorted(rows.values()), start=1):
        level = max(left, 0) // (len(rows) - n + 1)
        if count > level:
            break
        left -= count
    else:
        return {}
    return {kind: count - level for kind, count in rows.items() if count > level}


class Forecast(NamedTuple):
    """What a kind takes once its retention is reached, at the rate it has now."""

    rows: int
    bytes: int


def forecast(rows: int, size: int, per_day: float | None, days: int) -> Forecast | None:
    """``per_day``: rows of a day; ``None``, and where there is no row to learn a row's size from: nobody knows yet."""
    if per_day is None or not rows:
        return None
    expected = round(per_day * days)
    return Forecast(expected, round(expected * size / rows))
