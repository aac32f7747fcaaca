"""Each stage's state follows from what was counted; what was not measured is never good."""

from __future__ import annotations

import pytest

from secguard.dashboards.stages import Counts, Stage, State, standings, worst

WHOLE = {
    "has_checklist": True,
    "images": 2,
    "judged": 2,
    "promoted": 2,
    "workloads": 2,
    "asking": 2,
    "edges": 4,
    "events": 9,
}


def test_nothing_counted_is_not_measured_anywhere() -> None:
    assert {standing.state for standing in standings(Counts()).values()} == {State.UNMEASURED}


def test_everything_in_order_is_good_everywhere() -> None:
    assert {standing.state for standing in standings(Counts(**WHOLE)).values()} == {State.GOOD}


@pytest.mark.parametrize(
    ("stage", "changed", "state"),
    [
        (Stage.PLAN, {"unkept": 1}, State.BAD),
        (Stage.PLAN, {"unanswered": 1}, State.ATTENTION),
        (Stage.BUILD, {"build_blocked": 1}, State.BAD),
        (Stage.BUILD, {"unscanned": 1}, State.ATTENTION),
        (Stage.BUILD, {"never_scanned": 2}, State.UNMEASURED),
        (Stage.JUDGE, {"overdue": 1}, State.BAD),
        (Stage.JUDGE, {"blocked": 1}, State.BAD),
        (Stage.JUDGE, {"due_soon": 1}, State.ATTENTION),
        (Stage.JUDGE, {"judged": 1}, State.ATTENTION),
        (Stage.JUDGE, {"judged": 0, "overdue": 3}, State.UNMEASURED),
        (Stage.REGISTER, {"promoted": 1}, State.ATTENTION),
        (Stage.REGISTER, {"promoted": 0}, State.UNMEASURED),
        (Stage.REGISTER, {"promoted": 0, "recalled": 1}, State.BAD),
        (Stage.ADMIT, {"would_not_start": 1}, State.BAD),
        (Stage.ADMIT, {"broken_glass": 1}, State.BAD),
        (Stage.ADMIT, {"refused": 1}, State.ATTENTION),
        (Stage.ADMIT, {"asking": 1}, State.ATTENTION),
        (Stage.ADMIT, {"asking": 0}, State.UNMEASURED),
        (Stage.RUN, {"not_promoted": 1}, State.BAD),
        (Stage.RUN, {"unknown": 1}, State.BAD),
        (Stage.RUN, {"not_scanned": 1}, State.ATTENTION),
        (Stage.RUN, {"incidents": 1}, State.ATTENTION),
        (Stage.RUN, {"incidents": 1, "severe_incidents": 1, "unknown": 1}, State.BAD),
        (Stage.TALK, {"odd_edges": 1}, State.BAD),
        (Stage.TALK, {"new_edges": 1}, State.ATTENTION),
        (Stage.LEARN, {"severe_events": 1}, State.ATTENTION),
    ],
)
def test_each_fault_shows_at_its_own_stage_alone(stage: Stage, changed: dict[str, int], state: State) -> None:
    found = standings(Counts(**WHOLE | changed))
    assert found[stage].state is state
    rest = {name: standing.state for name, standing in found.items() if name is not stage}
    assert set(rest.values()) == {State.GOOD}


def test_the_worst_comes_first() -> None:
    assert worst([State.GOOD, State.UNMEASURED]) is State.UNMEASURED
    assert worst([State.UNMEASURED, State.ATTENTION]) is State.ATTENTION
    assert worst([State.ATTENTION, State.BAD]) is State.BAD
