"""How a requirement stands: measurements outvote people, people count where nothing is measured, and time ends it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from secguard.planning.checklist import UNKEPT, Answer, By, State, Waiver, holds_until, stand
from secguard.planning.checks import Outcome
from secguard.planning.template import Requirement, Stage, Template, TemplateError, parse_template, shipped

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MEASURED = Requirement(id="scanned", stage=Stage.BUILD, title="Scan", about="Scan it.", check="images-scanned")
ASKED = Requirement(id="threats", stage=Stage.PLAN, title="Model", about="Model threats.", answer_days=30)
TEMPLATE = Template(name="t", title="T", requirements=(MEASURED, ASKED))


def answer(one: Requirement = ASKED, at: datetime = NOW - DAY, **columns: object) -> Answer:
    given = {"id": 1, "digest": one.digest, "is_kept": True, "until": at + 30 * DAY} | columns
    return Answer(requirement=one.id, answered_at=at, **given)  # type: ignore[arg-type]


def waiver(one: Requirement = ASKED, at: datetime = NOW - DAY, **columns: object) -> Waiver:
    given = {"id": 1, "digest": one.digest, "is_approved": True, "until": at + 30 * DAY} | columns
    return Waiver(requirement=one.id, asked_at=at, **given)  # type: ignore[arg-type]


def states(*answers: Answer, waivers: tuple[Waiver, ...] = (), outcome: str = "", now: datetime = NOW) -> list[State]:
    outcomes = {"images-scanned": Outcome(state=outcome, says="")} if outcome else {}  # type: ignore[arg-type]
    return [item.state for item in stand(TEMPLATE, outcomes, answers, waivers, now).items]


def test_what_nobody_measured_or_answered_is_open_and_counts_as_not_kept() -> None:
    found = stand(TEMPLATE, {}, [], [], NOW)
    assert [(i.state, i.by) for i in found.items] == [(State.OPEN, By.NOBODY)] * 2
    assert found.missing == ("scanned", "threats")
    assert found.next_change is None


@pytest.mark.parametrize(("outcome", "state"), [("kept", State.KEPT), ("missing", State.MISSING)])
def test_a_measurement_outvotes_every_answer(outcome: str, state: State) -> None:
    for said in (True, False):
        assert states(answer(MEASURED, is_kept=said), outcome=outcome)[0] is state


def test_a_measurement_that_the_clock_may_have_turned_is_none() -> None:
    """Until it is made again; and what was lacking is taken for lacking until then."""
    for state, after in (("kept", State.OPEN), ("missing", State.MISSING)):
        outcomes = {"images-scanned": Outcome(state=state, says="All.", changes_at=NOW)}  # type: ignore[arg-type]
        assert stand(TEMPLATE, outcomes, [], [], NOW - DAY).items[0].state == state
        found = stand(TEMPLATE, outcomes, [], [], NOW)
        assert (found.items[0].state, found.next_change) == (after, None)


def test_a_person_counts_where_nothing_could_be_measured() -> None:
    assert states(answer(MEASURED), outcome="unmeasured")[0] is State.KEPT
    assert states(answer(is_kept=False))[1] is State.MISSING


def test_a_check_that_comes_later_keeps_what_was_answered() -> None:
    """The question is the same; only from then on it may be measured."""
    later = replace(ASKED, check="images-scanned")
    template = replace(TEMPLATE, requirements=(later,))
    for outcome, state, by in (("unmeasured", State.KEPT, By.ANSWERED), ("missing", State.MISSING, By.MEASURED)):
        outcomes = {"images-scanned": Outcome(state=outcome, says="")}  # type: ignore[arg-type]
        (item,) = stand(template, outcomes, [answer(ASKED)], [], NOW).items
        assert (item.state, item.by, item.answer is not None) == (state, by, True)


def test_the_last_answer_counts_and_an_ended_one_does_not_bring_back_the_one_before() -> None:
    first, last = answer(at=NOW - 3 * DAY), answer(at=NOW - 2 * DAY, id=2, until=NOW)
    assert states(first)[1] is State.KEPT
    assert states(first, last)[1] is State.OPEN


def test_an_answer_ends_with_its_question() -> None:
    found = stand(TEMPLATE, {}, [answer(digest="another")], [], NOW).items[1]
    assert (found.state, found.ended) == (State.OPEN, "what is asked has changed since")


@pytest.mark.parametrize("columns", [{"is_approved": False}, {"digest": "another"}, {"until": NOW}])
def test_not_applicable_counts_only_approved_in_time_and_for_what_was_asked(columns: dict[str, object]) -> None:
    assert states(waivers=(waiver(),))[1] is State.NOT_APPLICABLE
    assert states(waivers=(waiver(**columns),))[1] is State.OPEN


def test_a_newer_request_that_waits_does_not_end_the_one_in_force() -> None:
    waits = waiver(id=2, at=NOW - DAY / 2, is_approved=False)
    assert states(waivers=(waiver(), waits))[1] is State.NOT_APPLICABLE


def test_an_answer_holds_no_longer_than_its_requirement_says() -> None:
    assert holds_until(NOW, ASKED, None) == NOW + 30 * DAY
    assert holds_until(NOW, ASKED, NOW + 90 * DAY) == NOW + 30 * DAY
    assert holds_until(NOW, ASKED, NOW + DAY) == NOW + DAY


at = st.integers(-60, 60).map(lambda hours: NOW + timedelta(hours=hours))
requirements = st.sampled_from([MEASURED, ASKED])
answers = st.builds(
    lambda one, said, when, until, number: answer(
        one, when, is_kept=said, until=max(until, when + timedelta(hours=1)), id=number
    ),
    requirements,
    st.booleans(),
    at,
    at,
    st.integers(1, 99),
)
waivers = st.builds(
    lambda one, yes, when, until, number: waiver(
        one, when, is_approved=yes, until=max(until, when + timedelta(hours=1)), id=number
    ),
    requirements,
    st.booleans(),
    at,
    at,
    st.integers(1, 99),
)
outcomes = st.one_of(
    st.just({}),
    st.builds(
        lambda state, when: {"images-scanned": Outcome(state=state, says="", changes_at=when)},
        st.sampled_from(["kept", "missing", "unmeasured"]),
        st.none() | at,
    ),
)


@given(outcomes, st.lists(answers, max_size=4), st.lists(waivers, max_size=4), st.integers(0, 100))
def test_nothing_changes_by_the_clock_before_the_next_change(
    measured: dict[str, Outcome], said: list[Answer], waived: list[Waiver], part: int
) -> None:
    found = stand(TEMPLATE, measured, said, waived, NOW)
    until = found.next_change or NOW + 400 * DAY
    assert until > NOW
    later = NOW + (until - NOW) * part / 101
    assert [i.state for i in stand(TEMPLATE, measured, said, waived, later).items] == [i.state for i in found.items]


@given(outcomes, st.lists(answers, max_size=4), st.lists(waivers, max_size=4))
def test_nothing_is_kept_or_left_out_without_a_word_in_force(
    measured: dict[str, Outcome], said: list[Answer], waived: list[Waiver]
) -> None:
    for item in stand(TEMPLATE, measured, said, waived, NOW).items:
        if item.state is State.NOT_APPLICABLE:
            assert item.waiver is not None
            assert item.waiver.is_approved
            assert item.waiver.until > NOW
        elif item.state is State.KEPT and item.by is By.ANSWERED:
            assert item.answer is not None
            assert item.answer.is_kept
            assert item.answer.until > NOW
        elif item.state is State.KEPT:
            assert item.outcome is not None
            assert item.outcome.state == "kept"
        else:
            assert item.state in UNKEPT


def test_the_shipped_template_asks_in_every_stage() -> None:
    template = parse_template(shipped())
    assert {r.stage for r in template.requirements} == set(Stage)
    assert all(r.source for r in template.requirements)


def test_every_fault_of_a_template_is_told_with_its_line() -> None:
    text = """name: Own Template
title: Own
requirements:
  - id: one
    stage: built
    title: T
    about: A
    check: images-scaned
  - id: one
    stage: run
    title: T
    answer_days: 9999
    colour: red
"""
    with pytest.raises(TemplateError) as refused:
        parse_template(text, {"images-scanned"})
    told = "\n".join(map(str, refused.value.problems))
    for words in ("line 1", "built", "did you mean 'images-scanned'", "'about'", "9999", "'colour'", "stands twice"):
        assert words in told
