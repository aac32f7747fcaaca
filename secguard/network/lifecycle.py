"""The life of a proposed policy. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from secguard.errors import Conflict


class ProposalState(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class ProposalEvent(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"


TRANSITIONS: Final = {
    (ProposalState.OPEN, ProposalEvent.APPROVE): ProposalState.APPROVED,
    (ProposalState.OPEN, ProposalEvent.REJECT): ProposalState.REJECTED,
    (ProposalState.OPEN, ProposalEvent.WITHDRAW): ProposalState.WITHDRAWN,
}


def after(state: ProposalState, event: ProposalEvent) -> ProposalState:
    """Raises ``Conflict`` with the state that was found."""
    found = TRANSITIONS.get((state, event))
    if found is None:
        raise Conflict(f"The proposal is {state.value}; expected an open one to {event.value}.", code="state")
    return found
