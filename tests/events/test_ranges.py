"""What is normal is learned from what was before, and one spike does not become normal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from secguard.events.ranges import FLOOR, LEAST, Step, band_of, begin_of, points

MIDNIGHT = datetime(2026, 11, 28, tzinfo=UTC)


def test_few_numbers_say_nothing() -> None:
    assert band_of([5] * (LEAST - 1)) is None
    assert band_of([5] * LEAST) is not None


def test_one_spike_moves_the_range_by_nothing() -> None:
    quiet = [100, 104, 98, 101, 97, 103, 99, 102]
    calm, spiked = band_of(quiet), band_of([*quiet, 100_000])
    assert calm
    assert spiked
    assert spiked.high < 1.1 * calm.high


def test_what_is_rare_or_ever_the_same_has_some_room() -> None:
    rare, same = band_of([0] * 9), band_of([1_000] * 9)
    assert rare
    assert (rare.low, rare.high) == (0, FLOOR)
    assert same
    assert (same.low, same.high) == (900, 1_100)


@given(st.lists(st.integers(0, 10**9), min_size=LEAST, max_size=60))
def test_the_median_is_inside_and_nothing_is_below_zero(values: list[int]) -> None:
    band = band_of(values)
    assert band is not None
    assert 0 <= band.low <= band.median <= band.high
    assert min(values) <= band.median <= max(values)


def daily_rhythm(days: int) -> dict[datetime, int]:
    """A thousand at noon, ten at night."""
    hours = (MIDNIGHT - timedelta(hours=n) for n in range(1, 24 * days + 1))
    return {at: 1_000 if 8 <= at.hour < 18 else 10 for at in hours}


def test_an_hour_is_held_against_this_time_of_day() -> None:
    counts = daily_rhythm(14) | {MIDNIGHT + timedelta(hours=n): 1_000 for n in (3, 12)}
    found = points(
        counts, MIDNIGHT, MIDNIGHT + timedelta(days=1), first=MIDNIGHT - timedelta(days=14), step=Step.HOUR,
        now=MIDNIGHT + timedelta(hours=13),
    )  # fmt: skip
    assert len(found) == 13
    outside = [point.at.hour for point in found if point.is_outside]
    assert 3 in outside, "a day's load at night"
    assert 12 not in outside
    assert set(range(9, 12)) <= set(outside), "nothing came by day"


def test_an_hour_that_is_not_over_is_not_too_little() -> None:
    counts, noon = daily_rhythm(14), MIDNIGHT + timedelta(hours=12)
    (point,) = points(
        counts, noon, noon + timedelta(hours=1), first=MIDNIGHT - timedelta(days=14), step=Step.HOUR,
        now=noon + timedelta(minutes=1),
    )  # fmt: skip
    assert point.band
    assert point.value < point.band.low
    assert not point.is_outside


def test_what_lies_before_the_first_count_is_no_zero() -> None:
    counts = {MIDNIGHT - timedelta(days=n): 50 for n in range(1, 9)} | {MIDNIGHT: 50}
    same = {"since": MIDNIGHT, "until": MIDNIGHT + timedelta(days=1), "step": Step.DAY}
    now = MIDNIGHT + timedelta(days=2)
    (young,) = points(counts, **same, first=MIDNIGHT - timedelta(days=8), now=now)
    (old,) = points(counts, **same, first=MIDNIGHT - timedelta(days=42), now=now)
    assert young.band
    assert young.band.median == 50
    assert old.band
    assert old.band.median == 0


def test_steps_begin_where_the_clock_says() -> None:
    at = MIDNIGHT + timedelta(hours=5, minutes=59, seconds=1)
    assert begin_of(at, Step.HOUR) == MIDNIGHT + timedelta(hours=5)
    assert begin_of(at, Step.DAY) == MIDNIGHT
