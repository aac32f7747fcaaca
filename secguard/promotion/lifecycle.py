"""A promotion's life: its states, and which event leads from which to which. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from secguard.errors import Conflict


class PromotionStatus(StrEnum):
    """``refused``: by the verdict or a person. ``failed``: by a registry, a key or a fault; it may be tried again."""

    WAITING = "waiting"
    RUNNING = "running"
    PROMOTED = "promoted"
    REFUSED = "refused"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"
    RECALLED = "recalled"


class PromotionEvent(StrEnum):
    APPROVE = "approve"
    REFUSE = "refuse"
    FINISH = "finish"
    FAIL = "fail"
    RETRY = "retry"
    WITHDRAW = "withdraw"
    RECALL = "recall"


S, E = PromotionStatus, PromotionEvent
TRANSITIONS: Final[dict[tuple[PromotionStatus, PromotionEvent], PromotionStatus]] = {
    (S.WAITING, E.APPROVE): S.RUNNING,
    (S.WAITING, E.REFUSE): S.REFUSED,
    (S.WAITING, E.WITHDRAW): S.WITHDRAWN,
    (S.WAITING, E.RECALL): S.RECALLED,
    (S.RUNNING, E.REFUSE): S.REFUSED,
    (S.RUNNING, E.FINISH): S.PROMOTED,
    (S.RUNNING, E.FAIL): S.FAILED,
    (S.RUNNING, E.WITHDRAW): S.WITHDRAWN,
    (S.RUNNING, E.RECALL): S.RECALLED,
    (S.FAILED, E.RETRY): S.RUNNING,
    (S.FAILED, E.WITHDRAW): S.WITHDRAWN,
    (S.FAILED, E.RECALL): S.RECALLED,
    (S.PROMOTED, E.RECALL): S.RECALLED,
}
OPEN: Final = (S.WAITING, S.RUNNING)


class Step(StrEnum):
    """What a promotion does, in this order; each may be done twice and ends in the same state."""

    VERDICT = "verdict"
    APPROVALS = "approvals"
    SIGN = "sign"
    COPY = "copy"
    ATTEST = "attest"
    READ_BACK = "read-back"
    TAG = "tag"
    RECORD = "record"


STEP_WORDS: Final[dict[Step, str]] = {
    Step.VERDICT: "The verdict at the gate",
    Step.APPROVALS: "The approvals that the environment wants",
    Step.SIGN: "Sign the image, the verdict, the decisions, the SBOM and the promotion",
    Step.COPY: "Copy by digest, with everything that refers to it",
    Step.ATTEST: "Attach the signatures and attestations",
    Step.READ_BACK: "Read it back at the destination and verify",
    Step.TAG: "Move the tags",
    Step.RECORD: "Record",
}


def after(status: str, event: PromotionEvent) -> PromotionStatus:
    """The state after ``event``; raises ``Conflict`` naming the state found where there is no such step."""
    found = TRANSITIONS.get((PromotionStatus(status), event))
    if found is None:
        froms = ", ".join(s for (s, e) in TRANSITIONS if e is event)
        raise Conflict(
            f"The promotion is {status}; only one that is {froms} can be met with {event}.", code="promotion-state"
        )
    return found


def sources(event: PromotionEvent) -> list[str]:
    """The states from which ``event`` may happen: what a conditional UPDATE asks for."""
    return [source.value for (source, what) in TRANSITIONS if what is event]
