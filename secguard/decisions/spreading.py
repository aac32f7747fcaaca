"""Ends of many decisions that were asked for together, spread so that not all of them come due on one morning. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

MAX_SPREAD = 60
"""Working days."""

_SATURDAY = 5


def spread(ends: Sequence[datetime], days: int, now: datetime) -> list[datetime]:
    """The ends, spread evenly over the ``days`` working days that end with each one's own; never later than it.

    Without ``days``, for one, and for an end that has passed they stay as they are. Days already gone by are left out,
    so an end that is near is spread over what is left. The same ends in the same order are spread in the same way.
    """
    if days < 1:
        return list(ends)
    chosen: dict[int, datetime] = {}
    for end in dict.fromkeys(ends):
        places = [place for place, other in enumerate(ends) if other == end]
        slots = _slots(end, days, now)
        for nth, place in enumerate(places):
            # The first of them the latest: one alone keeps its end.
            chosen[place] = slots[-1 - nth * len(slots) // len(places)]
    return [chosen[place] for place in range(len(ends))]


def _slots(end: datetime, days: int, now: datetime) -> list[datetime]:
    """The working days before and at ``end``, at its hour, that are still to come; the earliest first."""
    found = [end]
    day = end
    while len(found) < days:
        day -= timedelta(days=1)
        if day <= now:
            break
        if day.weekday() < _SATURDAY:
            found.append(day)
    return found[::-1]
