from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Conflict, Invalid
from secguard.events.record import Kind
from secguard.exports import targets
from secguard.exports.targets import Audience, Cursor, Event, State
from tests.exports.telling import item

STEPS = [(state, event) for state in State for event in Event]


@pytest.mark.parametrize(("state", "event"), STEPS)
def test_every_step_is_of_the_table_or_refused(state: State, event: Event) -> None:
    if (state, event) in targets.TRANSITIONS:
        assert targets.after(state, event) in State
    else:
        with pytest.raises(Conflict, match=f"The target is {state}; only one that is"):
            targets.after(state, event)


def test_a_paused_target_is_neither_sent_to_nor_woken_by_its_sink() -> None:
    assert State.PAUSED not in targets.SENT_TO
    assert not {(State.PAUSED, Event.TAKE), (State.PAUSED, Event.FAIL)} & targets.TRANSITIONS.keys()


def test_waits_grow_to_a_bound() -> None:
    waits = [targets.wait(n) for n in range(1, 100)]
    assert waits == sorted(waits)
    assert waits[0] == timedelta(seconds=5)
    assert waits[-1] == timedelta(minutes=5)


@pytest.mark.parametrize(
    ("audience", "wanted"),
    [
        (Audience(), True),
        (Audience(kinds=frozenset({"process"})), True),
        (Audience(kinds=frozenset({"audit", "gate"})), False),
        (Audience(least_severity=3), True),
        (Audience(least_severity=4), False),
        (Audience(is_wide=False, teams=frozenset({5})), True),
        (Audience(is_wide=False, teams=frozenset({6})), False),
        (Audience(is_wide=False, teams=frozenset({6}), applications=frozenset({8})), True),
        (Audience(is_wide=False, applications=frozenset({9})), False),
        (Audience(is_wide=False, teams=frozenset({5}), kinds=frozenset({"audit"})), False),
    ],
)
def test_who_is_told(audience: Audience, wanted: bool) -> None:
    line = item(kind=Kind.PROCESS, severity=3, team_id=5, application_id=8).line
    assert audience.wants(line) is wanted


def test_what_belongs_to_nobody_is_for_the_organisation_alone() -> None:
    line = item().line
    assert Audience().wants(line)
    assert not Audience(is_wide=False, teams=frozenset({1})).wants(line)
    assert not Audience(is_wide=False, applications=frozenset({1})).wants(line)


def test_without_its_last_team_a_target_is_told_nothing() -> None:
    assert not Audience(is_wide=False).wants(item(team_id=5, application_id=8).line)


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1), st.dates(min_value=date(1000, 1, 1)))
def test_a_cursor_round_trips(txid: int, number: int, day: date) -> None:
    made = Cursor(txid, number, day)
    assert targets.cursor(str(made)) == made


@given(st.one_of(st.text(max_size=40), st.sampled_from(["1-2-20261340", "1-2", "-1-2-20260101", "1-2-20260101 "])))
def test_any_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(Invalid, match="There is no cursor"):
        targets.cursor(text)
