"""Slices are read from URLs: what is none is refused with words, and the same one is always written alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.dashboards.slices import PERIODS, Slice, read
from secguard.errors import Invalid

NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True) | st.just("")


@given(NAMES, NAMES, NAMES, st.sampled_from(PERIODS))
def test_what_is_written_is_read_again(team: str, application: str, environment: str, days: int) -> None:
    of = Slice(team, application, environment, days)
    assert read(dict(parse_qsl(of.query)), 30) == of


def test_the_period_has_a_default_and_words() -> None:
    assert read({}, 7) == Slice(days=7)
    assert Slice("payments", "", "production", 1).words == "team payments, environment production, last day"
    now = datetime(2026, 11, 28, tzinfo=UTC)
    assert Slice(days=7).since(now) == now - timedelta(days=7)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"team": "a" * 101}, "team"),
        ({"application": "a b"}, "application"),
        ({"environment": "<b>"}, "environment"),
        ({"team": "a\x00"}, "team"),
        ({"days": "4"}, "days"),
        ({"days": "-7"}, "days"),
        ({"days": "٧"}, "days"),
    ],
)
def test_what_is_no_slice_is_refused(values: dict[str, str], where: str) -> None:
    with pytest.raises(Invalid) as refused:
        read(values, 7)
    assert refused.value.where == where
