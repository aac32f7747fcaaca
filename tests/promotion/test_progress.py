"""A promotion's steps as a page shows them."""

from __future__ import annotations

import pytest

from secguard.promotion.lifecycle import STEP_WORDS, PromotionStatus, Step
from secguard.promotion.progress import StepState, shown_steps

S = PromotionStatus
ORDER = [step.value for step in Step]


def begun(count: int, *, minute: int = 0) -> dict[str, str]:
    """The first ``count`` steps, begun one second after the other."""
    return {step: f"2026-11-27T10:{minute:02}:{second:02}+00:00" for second, step in enumerate(ORDER[:count])}


def states(status: PromotionStatus, steps: dict[str, str], *, voted: bool = False, arrived: bool = False) -> str:
    """One letter a step: d(one), n(ow), s(topped), a(head)."""
    shown = shown_steps(status, steps, is_voted_on=voted, has_arrived=arrived)
    assert [s.title for s in shown] == [STEP_WORDS[step] for step in Step]
    return "".join(s.state.value[0] for s in shown)


@pytest.mark.parametrize(
    ("status", "steps", "more", "expected"),
    [
        (S.RUNNING, begun(0), {}, "aaaaaaaa"),  # no worker has begun
        (S.RUNNING, begun(0), {"voted": True}, "aaaaaaaa"),  # approved, and no worker has begun
        (S.WAITING, begun(0), {"voted": True}, "dnaaaaaa"),
        (S.RUNNING, begun(3), {}, "ddnaaaaa"),
        (S.RUNNING, begun(8), {}, "dddddddn"),
        (S.FAILED, begun(4), {}, "dddsaaaa"),
        (S.REFUSED, begun(0), {}, "saaaaaaa"),  # by the verdict, when it was asked for
        (S.REFUSED, begun(0), {"voted": True}, "dsaaaaaa"),  # by a person
        (S.REFUSED, begun(6), {}, "dddddsaa"),  # the verdict changed on the way
        (S.WITHDRAWN, begun(0), {"voted": True}, "dsaaaaaa"),
        (S.WITHDRAWN, begun(0), {}, "aaaaaaaa"),
        (S.WITHDRAWN, begun(3), {}, "ddsaaaaa"),
        (S.RECALLED, begun(8), {}, "ddddddds"),  # in the last instant
        (S.RECALLED, begun(8), {"arrived": True}, "dddddddd"),
        (S.PROMOTED, begun(8), {"arrived": True}, "dddddddd"),
    ],
)
def test_what_is_done_and_what_comes(
    status: PromotionStatus, steps: dict[str, str], more: dict[str, bool], expected: str
) -> None:
    assert states(status, steps, **more) == expected


def test_tried_again_it_is_at_the_step_that_was_begun_last() -> None:
    again = begun(5) | begun(2, minute=7)
    shown = shown_steps(S.RUNNING, again, is_voted_on=False, has_arrived=False)
    assert [s.state for s in shown[:4]] == [StepState.DONE, StepState.NOW, StepState.AHEAD, StepState.AHEAD]
    assert [s.at and s.at.minute for s in shown[:4]] == [7, 7, None, None], "what is ahead has no time"


def test_of_two_at_one_instant_the_later_step_counts() -> None:
    same = dict.fromkeys(ORDER[:3], "2026-11-27T10:00:00+00:00")
    assert states(S.RUNNING, same) == "ddnaaaaa"
