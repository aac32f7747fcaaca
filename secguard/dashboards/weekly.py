"""When a weekly letter is written. Pure: time is an argument."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def next_time(weekday: int, hour: int, zone: tzinfo, now: datetime) -> datetime:
    """The first instant after ``now`` at which it is that ``hour`` of that ``weekday`` (0: Monday) in ``zone``, in UTC.

    An hour that the change to summer time leaves out is the one after it.
    """
    today = now.astimezone(zone).date()
    for ahead in range(9):
        day = today + timedelta(days=ahead)
        found = datetime.combine(day, time(hour), tzinfo=zone).astimezone(UTC)
        if day.weekday() == weekday and found > now:
            return found
    raise AssertionError("a week has every day of the week")
