"""When somebody is written to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.notifications.rhythm import (
    DAILY_HOUR,
    FIRST_DELAY,
    LONGEST_DELAY,
    SETTLE,
    SETTLE_MOST,
    Rhythm,
    Wishes,
    delay,
    is_due,
)

NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def due(wishes: Wishes, now: datetime = NOON, *, age: timedelta = MINUTE, sent: timedelta | None = None) -> bool:
    last = None if sent is None else now - sent
    return is_due(wishes, first=now - age, latest=now - age, last_sent=last, now=now)


def test_what_still_comes_in_is_waited_for_but_not_for_ever() -> None:
    wishes = Wishes(Rhythm.AT_ONCE)
    fresh = {"latest": NOON - SETTLE / 2, "last_sent": None, "now": NOON}
    assert not is_due(wishes, first=NOON - MINUTE, **fresh)
    assert is_due(wishes, first=NOON - SETTLE_MOST, **fresh)
    assert is_due(wishes, first=NOON - MINUTE, latest=NOON - SETTLE, last_sent=None, now=NOON)


@pytest.mark.parametrize(("sent", "expected"), [(None, True), (59 * MINUTE, False), (HOUR, True)])
def test_hourly_is_at_once_after_a_quiet_hour(sent: timedelta | None, expected: bool) -> None:
    assert due(Wishes(Rhythm.HOURLY), sent=sent) is expected


def test_at_once_counts_no_last_message() -> None:
    assert due(Wishes(Rhythm.AT_ONCE), sent=MINUTE)


@pytest.mark.parametrize(
    ("hour", "age", "sent", "expected"),
    [
        (12, MINUTE, None, False),  # came after seven: tomorrow
        (12, 6 * HOUR, None, True),  # came before seven
        (12, 6 * HOUR, 4 * HOUR, False),  # today's is written
        (6, 24 * HOUR, None, True),  # came before yesterday's seven, and nobody wrote
        (6, 24 * HOUR, 24 * HOUR, True),
        (6, 24 * HOUR, 22 * HOUR, False),  # yesterday's is written
        (6, 10 * HOUR, None, False),
    ],
)
def test_daily_is_once_a_day_from_seven(hour: int, age: timedelta, sent: timedelta | None, expected: bool) -> None:
    assert due(Wishes(Rhythm.DAILY), NOON.replace(hour=hour), age=age, sent=sent) is expected


def test_seven_is_where_the_person_is() -> None:
    tokyo = Wishes(Rhythm.DAILY, zone=ZoneInfo("Asia/Tokyo"))
    at = datetime(2026, 11, 24, 22, 1, tzinfo=UTC)  # 07:01 in Tokyo
    assert due(tokyo, at, age=HOUR)
    assert not due(tokyo, at - 2 * MINUTE, age=HOUR)


@pytest.mark.parametrize(("start", "end", "quiet"), [(22, 7, {22, 23, 0, 3, 6}), (9, 17, {9, 12, 16}), (5, 5, set())])
def test_quiet_hours_wrap_round_midnight(start: int, end: int, quiet: set[int]) -> None:
    wishes = Wishes(Rhythm.AT_ONCE, start, end)
    for hour in (0, 3, 6, 7, 9, 12, 16, 17, 21, 22, 23):
        assert wishes.is_quiet(NOON.replace(hour=hour)) is (hour in quiet)
        assert due(wishes, NOON.replace(hour=hour)) is (hour not in quiet)


zones = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"]
)


@given(zones, st.integers(0, 730 * 48))
def test_a_person_is_written_to_daily_and_never_twice(zone: str, half_hours: int) -> None:
    """Walk three days in steps of ten minutes, with news all the time: one message a day, whatever the clocks do."""
    wishes = Wishes(Rhythm.DAILY, zone=ZoneInfo(zone))
    at, sent = datetime(2026, 1, 1, tzinfo=UTC) + half_hours * timedelta(minutes=30), []
    first = at - DAY
    for _ in range(3 * 144):
        if is_due(wishes, first=first, latest=first, last_sent=sent[-1] if sent else None, now=at):
            sent.append(at)
            first = at
        at += timedelta(minutes=10)
    days = [moment.astimezone(ZoneInfo(zone)).date() for moment in sent[1:]]
    assert len(days) == len(set(days))
    assert len(sent) in (3, 4)


@given(st.integers(1, 10_000))
def test_back_off_grows_within_bounds(attempts: int) -> None:
    assert FIRST_DELAY <= delay(attempts) <= delay(attempts + 1) <= LONGEST_DELAY


@pytest.mark.parametrize("rhythm", list(Rhythm))
@pytest.mark.parametrize("ahead", [timedelta(hours=6), timedelta(days=40_000)])
def test_a_clock_that_was_set_back_keeps_no_news(rhythm: Rhythm, ahead: timedelta) -> None:
    """News and a last message of a time to come: what waits is told after a day at the latest."""
    wishes = Wishes(rhythm=rhythm)
    told = [
        hour
        for hour in range(49)
        if is_due(
            wishes,
            first=NOON + ahead,
            latest=NOON + ahead,
            last_sent=NOON + ahead,
            now=NOON + hour * HOUR,
        )
    ]
    assert told
    assert told[0] <= 25


def test_a_message_by_a_clock_ahead_is_this_days_message() -> None:
    wishes = Wishes(rhythm=Rhythm.DAILY)
    seven = datetime(2026, 11, 24, DAILY_HOUR, tzinfo=UTC)
    news = {"first": seven - timedelta(hours=1), "latest": seven - timedelta(hours=1)}
    sent = seven + timedelta(hours=3)  # the clock ran three hours ahead
    assert not is_due(wishes, **news, last_sent=sent, now=seven + timedelta(hours=1))
    assert not is_due(wishes, **news, last_sent=sent, now=seven + timedelta(hours=5))
    assert is_due(wishes, **news, last_sent=sent, now=seven + timedelta(days=1))
