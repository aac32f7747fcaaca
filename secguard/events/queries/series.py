"""How much came each hour or day, and whether that is as ever."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import NamedTuple

from django.db.models import Min, QuerySet, Sum

from secguard.events import ranges
from secguard.events.models import Tally
from secguard.events.ranges import Point, Step


class Series(NamedTuple):
    points: list[Point]
    step: Step

    @property
    def outside(self) -> list[Point]:
        return [point for point in self.points if point.is_outside]


def series(rows: QuerySet[Tally], since: datetime, now: datetime, step: Step) -> Series:
    """What ``rows`` (tallies, narrowed by anything but time) add up to in each step from ``since`` to ``now``.

    Each with the range that the time before it speaks of (``ranges``). Two queries.
    """
    begin = ranges.begin_of(since, step)
    learned = rows.filter(hour__gte=begin - ranges.HISTORY[step], hour__lt=now).order_by()
    counts: Counter[datetime] = Counter()
    for hour, count in learned.values_list("hour").annotate(n=Sum("count")):
        counts[ranges.begin_of(hour, step)] += count
    first = Tally.objects.aggregate(first=Min("hour"))["first"] or now
    return Series(ranges.points(counts, begin, now, first=first, step=step, now=now), step)
