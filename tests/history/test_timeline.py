"""Pages of a merged timeline: nothing twice, nothing left out, whatever shares an instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.history import timeline
from secguard.history.timeline import Event, Kind, Place

START = datetime(2026, 1, 1, tzinfo=UTC)
PLACES = st.builds(
    Place, st.integers(0, 3).map(lambda n: START + timedelta(minutes=n)), st.integers(0, 4), st.integers(0, 9)
)


@given(st.sets(PLACES, max_size=40), st.integers(1, 7))
def test_pages_together_are_the_whole_in_order(places: set[Place], limit: int) -> None:
    sources = [[Event(p, Kind.SEEN, "", "") for p in places if p.rank == rank] for rank in range(5)]
    found: list[Place] = []
    after: Place | None = None
    while True:
        cut = [[e for e in s if after is None or e.place.order < after.order] for s in sources]
        page, after = timeline.newest_first(cut, limit)
        found += [e.place for e in page]
        if after is None:
            break
    assert found == sorted(places, key=lambda p: p.order, reverse=True)


@given(PLACES)
def test_a_place_survives_its_cursor(place: Place) -> None:
    assert timeline.decode(place.encode()) == place


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_what_is_no_cursor_is_refused_as_such(text: str) -> None:
    try:
        place = timeline.decode(text)
    except ValueError:
        return
    assert timeline.decode(place.encode()) == place


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31", datetime(2026, 1, 31, 23, 59, 59, 999_999, UTC)),
        ("2026-01-31T12:30", datetime(2026, 1, 31, 12, 30, tzinfo=UTC)),
        ("2026-01-31T12:30:00+02:00", datetime(2026, 1, 31, 10, 30, tzinfo=UTC)),
    ],
)
def test_people_name_instants_in_utc(text: str, moment: datetime) -> None:
    assert timeline.instant_of(text) == moment


def test_what_is_no_date_is_refused() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        timeline.instant_of("last Tuesday")
