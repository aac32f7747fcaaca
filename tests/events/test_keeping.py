"""What goes where there is too much, and what a kind will take."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from secguard.events.keeping import forecast, over
from secguard.events.record import Kind

COUNTS = st.dictionaries(st.sampled_from(list(Kind)), st.integers(0, 10_000), min_size=1)


def test_the_most_common_kinds_go_first() -> None:
    rows = {Kind.PROCESS: 900, Kind.FILE: 600, Kind.AUDIT: 50}
    assert over(rows, 1_550) == {}
    assert over(rows, 1_000) == {Kind.PROCESS: 425, Kind.FILE: 125}
    assert over(rows, 1_450) == {Kind.PROCESS: 100}


@given(COUNTS, st.integers(0, 50_000))
def test_so_many_are_left_and_no_rarer_kind_pays(rows: dict[Kind, int], bound: int) -> None:
    gone = over(rows, bound)
    left = {kind: count - gone.get(kind, 0) for kind, count in rows.items()}
    assert sum(left.values()) <= max(bound, 0) or not gone
    assert sum(rows.values()) <= bound or sum(left.values()) > bound - len(rows)
    assert all(left[kind] >= 0 for kind in rows)
    if gone:
        assert all(left[kind] == max(left.values()) for kind in gone)


def test_a_forecast_goes_on_the_rate_and_the_size_of_a_row() -> None:
    found = forecast(1_000, 500_000, 200.0, 30)
    assert found is not None
    assert (found.rows, found.bytes) == (6_000, 3_000_000)
    assert forecast(1_000, 500_000, None, 30) is None
    assert forecast(0, 0, 0.0, 30) is None
