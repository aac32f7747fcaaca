"""What is normal for a number that is counted each hour or day, from what it was before. Pure.

The range is the median and so many median absolute deviations around it: a spike among the days it is learned from
moves neither. 1.4826 makes the deviation comparable to a standard deviation (Rousseeuw and Croux 1993, section 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import median
from typing import Final

WIDTH: Final = 3.5
"""Deviations to each side (Iglewicz and Hoaglin 1993 take this for outliers)."""
SCALE: Final = 1.4826
LEAST: Final = 7
"""From fewer numbers nothing is learned."""
FLOOR: Final = 3.0
"""No range is narrower to each side: of what is rare two more are no news."""
SHARE: Final = 0.1
"""Nor narrower than so much of the median: what is the same every day may be a tenth more once."""


class Step(StrEnum):
    HOUR = "hour"
    DAY = "day"

    @property
    def length(self) -> timedelta:
        return timedelta(hours=1) if self is Step.HOUR else timedelta(days=1)


HISTORY: Final = {Step.HOUR: timedelta(days=14), Step.DAY: timedelta(days=42)}
"""What came before a point so long is what it is held against: at the same time of day, or on every day."""


@dataclass(frozen=True, slots=True)
class Band:
    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Point:
    """So many in the step that begins at ``at``; ``band`` is None where too little came before it to know.

    Of a step that is not over (``is_whole`` false) nothing says yet that too little came in it.
    """

    at: datetime
    value: int
    band: Band | None
    is_whole: bool = True

    @property
    def is_outside(self) -> bool:
        if self.band is None:
            return False
        return self.value > self.band.high or (self.is_whole and self.value < self.band.low)


def begin_of(at: datetime, step: Step) -> datetime:
    hour = at.replace(minute=0, second=0, microsecond=0)
    return hour if step is Step.HOUR else hour.replace(hour=0)


def band_of(values: Sequence[int]) -> Band | None:
    """The range of normal that ``values`` speak of; None where they are too few."""
    if len(values) < LEAST:
        return None
    middle = median(values)
    deviation = SCALE * median(abs(value - middle) for value in values)
    reach = max(WIDTH * deviation, FLOOR, SHARE * middle)
    return Band(middle, max(0.0, middle - reach), middle + reach)


def points(
    counts: Mapping[datetime, int], since: datetime, until: datetime, *, first: datetime, step: Step, now: datetime
) -> list[Point]:
    """A point for each step from ``since`` (a step's beginning) to before ``until``, and none of the future.

    ``counts`` holds the steps in which something came, with those of ``HISTORY`` before ``since``; ``first`` is when
    the counting began: what lies before it is unknown, and no zero.
    """
    found, at = [], since
    while at < min(until, now):
        band = band_of(_before(counts, at, first, step))
        found.append(Point(at, counts.get(at, 0), band, is_whole=at + step.length <= now))
        at += step.length
    return found


def _before(counts: Mapping[datetime, int], at: datetime, first: datetime, step: Step) -> list[int]:
    """What came before ``at``: for an hour at this time of day, an hour earlier and later too; for a day each day."""
    found, begin = [], max(at - HISTORY[step], first)
    day = at - timedelta(days=1)
    while day >= begin:
        hours = (-1, 0, 1) if step is Step.HOUR else (0,)
        found += [counts.get(day + timedelta(hours=n), 0) for n in hours if day + timedelta(hours=n) >= begin]
        day -= timedelta(days=1)
    return found
