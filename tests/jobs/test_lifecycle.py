from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Conflict
from secguard.jobs.lifecycle import (
    ENDED,
    FIRST_DELAY,
    LONGEST_DELAY,
    OPEN,
    TRANSITIONS,
    Event,
    Status,
    delay,
    sources,
    target,
)


def test_every_state_is_open_or_ended():
    assert sorted((*OPEN, *ENDED)) == sorted(Status)


def test_nothing_leads_out_of_an_ended_state():
    assert not {source for source, _ in TRANSITIONS} & set(ENDED)


@given(st.sampled_from(list(Status)), st.sampled_from(list(Event)))
def test_a_step_is_in_the_table_or_refused_by_name(status, event):
    if status in sources(event):
        assert target(status, event) == TRANSITIONS[status, event]
    else:
        with pytest.raises(Conflict, match=f"The job is {status}; only a job that is"):
            target(status, event)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_delays_are_bounded_and_never_below_half(attempts, jitter):
    assert FIRST_DELAY / 2 <= delay(attempts, jitter) <= LONGEST_DELAY


@given(st.integers(1, 8), st.floats(0, 1, exclude_max=True))
def test_delays_double_until_the_bound(attempts, jitter):
    assert abs(delay(attempts + 1, jitter) - delay(attempts, jitter) * 2) <= timedelta(microseconds=4)


def test_jitter_spreads_the_second_half():
    assert delay(1, 0.0) == timedelta(seconds=1)
    assert delay(1, 0.5) == timedelta(seconds=1.5)
