"""The next letter: always after now, at that hour of that day where the person is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from secguard.dashboards.weekly import next_time

ZONES = st.sampled_from([UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Pacific/Auckland"), ZoneInfo("America/New_York")])
NOW = st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(st.integers(0, 6), st.integers(0, 23), ZONES, NOW)
def test_it_is_the_next_one(weekday: int, hour: int, zone: ZoneInfo, now: datetime) -> None:
    at = next_time(weekday, hour, zone, now)
    assert now < at <= now + timedelta(days=7, hours=1)
    there = at.astimezone(zone)
    assert there.weekday() == weekday
    # An hour that the change to summer time leaves out is the one after it.
    assert there.hour in (hour, hour + 1)


def test_at_the_hour_itself_it_is_a_week_later() -> None:
    monday = datetime(2026, 11, 30, 8, tzinfo=UTC)
    assert next_time(0, 8, UTC, monday) == monday + timedelta(days=7)
    assert next_time(0, 8, UTC, monday - timedelta(seconds=1)) == monday
