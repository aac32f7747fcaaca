"""An incident's life and that of what is proposed to contain it: states, and which event leads from which to which.
Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from secguard.errors import Conflict


class Status(StrEnum):
    """``attack``: it is being contained."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    EXPECTED = "expected"
    ATTACK = "attack"
    CONTAINED = "contained"
    CLOSED = "closed"


class Act(StrEnum):
    """What people do with one; ``continue``: its story went on after a long silence, in an incident of its own."""

    ACKNOWLEDGE = "acknowledge"
    EXPECT = "expect"
    ATTACK = "attack"
    CONTAIN = "contain"
    CLOSE = "close"
    CONTINUE = "continue"
    REOPEN = "reopen"


class Decision(StrEnum):
    EXPECTED = "expected"
    ATTACK = "attack"


S, A = Status, Act
TRANSITIONS: Final[dict[tuple[Status, Act], Status]] = {
    (S.OPEN, A.ACKNOWLEDGE): S.ACKNOWLEDGED,
    (S.OPEN, A.EXPECT): S.EXPECTED,
    (S.ACKNOWLEDGED, A.EXPECT): S.EXPECTED,
    (S.ATTACK, A.EXPECT): S.EXPECTED,
    (S.OPEN, A.ATTACK): S.ATTACK,
    (S.ACKNOWLEDGED, A.ATTACK): S.ATTACK,
    (S.ATTACK, A.CONTAIN): S.CONTAINED,
    (S.OPEN, A.CLOSE): S.CLOSED,
    (S.ACKNOWLEDGED, A.CLOSE): S.CLOSED,
    (S.ATTACK, A.CLOSE): S.CLOSED,
    (S.CONTAINED, A.CLOSE): S.CLOSED,
    (S.OPEN, A.CONTINUE): S.CLOSED,
    (S.ACKNOWLEDGED, A.CONTINUE): S.CLOSED,
    (S.EXPECTED, A.REOPEN): S.OPEN,
    (S.CONTAINED, A.REOPEN): S.OPEN,
    (S.CLOSED, A.REOPEN): S.OPEN,
}
LIVE: Final = (S.OPEN, S.ACKNOWLEDGED, S.ATTACK)
"""Somebody has to do something; new events join it."""


def after(status: str, act: Act) -> Status:
    """The state after ``act``; raises ``Conflict`` naming the state found where there is no such step."""
    found = TRANSITIONS.get((Status(status), act))
    if found is None:
        froms = ", ".join(s for (s, a) in TRANSITIONS if a is act)
        raise Conflict(f"The incident is {status}; only one that is {froms} can be met with {act}.", code="incident")
    return found


def acts_of(status: str) -> frozenset[Act]:
    """What people may do with one in this state."""
    return frozenset(act for (s, act) in TRANSITIONS if s == status) - {A.CONTAIN, A.CONTINUE}


class Means(StrEnum):
    """The gates that contain something."""

    RECALL = "recall"
    DENY = "deny"
    SCALE = "scale"


class Step(StrEnum):
    """Of a proposal. ``approved``: a person said yes, and somebody has still to apply its document."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    REFUSED = "refused"
    DONE = "done"
    FAILED = "failed"


class Answer(StrEnum):
    APPROVE = "approve"
    REFUSE = "refuse"
    APPLY = "apply"
    FAIL = "fail"


STEPS: Final[dict[tuple[Step, Answer], Step]] = {
    (Step.PROPOSED, Answer.APPROVE): Step.APPROVED,
    (Step.PROPOSED, Answer.REFUSE): Step.REFUSED,
    (Step.APPROVED, Answer.REFUSE): Step.REFUSED,
    (Step.APPROVED, Answer.APPLY): Step.DONE,
    (Step.APPROVED, Answer.FAIL): Step.FAILED,
    (Step.FAILED, Answer.APPROVE): Step.APPROVED,
    (Step.FAILED, Answer.REFUSE): Step.REFUSED,
}
UNSETTLED: Final = (Step.PROPOSED, Step.APPROVED, Step.FAILED)


def step_after(step: str, answer: Answer) -> Step:
    """As ``after``, for a proposal."""
    found = STEPS.get((Step(step), answer))
    if found is None:
        froms = ", ".join(s for (s, a) in STEPS if a is answer)
        raise Conflict(f"The proposal is {step}; only one that is {froms} can be met with {answer}.", code="proposal")
    return found
