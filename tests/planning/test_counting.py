"""Checks that count rows, whatever the rows: what they come to, and what is said of them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from secguard.planning.checks import CHECKS, Check, Outcome, register
from secguard.planning.counting import PARTS, Counting, Rows, Shown, soonest
from tests.measuring import DAY, NOW

SHOWN = Shown(noun="image", plural="images", page="/images/", slugs=lambda ids: {1: "shop"}, nothing="Nothing.")
IDS = st.frozensets(st.integers(1, 12))


def outcome_of(rows: Rows) -> Outcome:
    counting = Counting(
        name="x", about="X.", of=SHOWN, measure=lambda ids, now: {1: rows}, kept="good", lacking="bad", untold="dark"
    )
    return counting.ask([1], NOW)[1]


@st.composite
def measured(draw: st.DrawFn) -> Rows:
    total = draw(IDS)
    lacking = frozenset(i for i in total if draw(st.booleans()))
    untold = frozenset(i for i in total - lacking if draw(st.booleans()))
    return Rows(total=total, lacking=lacking, untold=untold)


@given(measured())
def test_it_is_kept_only_where_there_is_something_and_all_of_it_is_known_to_have_it(rows: Rows) -> None:
    found = outcome_of(rows)
    assert (found.state == "kept") == bool(rows.total and not rows.lacking and not rows.untold)
    assert (found.state == "missing") == bool(rows.lacking)


@given(measured())
def test_every_number_that_is_said_leads_to_as_many_rows(rows: Rows) -> None:
    found = outcome_of(rows)
    said = [int(number) for number in re.findall(r"(\d+)(?= of \d+ image)", found.says)]
    behind = []
    for label, path in found.links:
        part, _, which = path.removeprefix("/images/?").partition("=")
        assert (part in PARTS, which) == (True, "shop:x")
        behind.append(len(getattr(rows, part)))
        assert label.startswith(f"{behind[-1]} image")
    assert not said or said == behind


@given(measured(), st.booleans())
def test_that_there_are_none_is_well_only_where_it_would_have_been_told(rows: Rows, is_blind: bool) -> None:
    words = {"name": "x", "about": "X.", "of": SHOWN, "kept": "good", "lacking": "bad", "blind": "Nobody tells."}
    quiet = Counting(measure=lambda ids, now: {1: replace(rows, is_blind=is_blind)}, quiet="None.", **words)
    found = quiet.ask([1, 2], NOW)
    bad = bool(rows.lacking)
    assert (found[1].state == "missing", found[1].state == "kept") == (bad, not (bad or rows.untold or is_blind))
    assert found[1].says.endswith(" Nobody tells.") == is_blind
    assert rows.total or found[1].links == ()
    assert (found[2].state, found[2].says) == ("unmeasured", "Nothing. Nobody tells.")


@given(st.lists(st.none() | st.integers(0, 9).map(lambda n: NOW + n * DAY)))
def test_the_soonest_is_the_first_of_those_that_there_are(instants: list) -> None:
    there = [at for at in instants if at is not None]
    assert soonest(*instants) == (min(there) if there else None)


def test_a_name_is_one_checks() -> None:
    check = Check(name="of-this-test", about="X.", ask=lambda ids, now: {})
    try:
        register(check)
        register(check)
        with pytest.raises(ValueError, match="of-this-test"):
            register(Check(name="of-this-test", about="Y.", ask=lambda ids, now: {}))
    finally:
        del CHECKS["of-this-test"]
