"""Decisions that stand, asked for anew under the draft of a risk appetite. Pure.

Nothing else about them is played again: facts are those that were noted when they were asked for, votes are those that
were cast. What is in force keeps what it was asked under, whatever appetite comes into force later; this says what the
same request would meet today.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from secguard.accounts.roles import Role
from secguard.approvals.quorum import Choice, VoteFact, outcome
from secguard.approvals.quorum import Standing as Settled
from secguard.decisions.appetite import Appetite, Case, Requirement
from secguard.decisions.lifecycle import DecisionKind


class Needs(StrEnum):
    """How the approvals that the draft asks for compare with those that were asked for."""

    SAME = ""
    MORE = "more"
    FEWER = "fewer"
    OTHER = "other"
    """More of one role, and fewer of another."""


class Ends(StrEnum):
    """What the draft makes of its end."""

    SAME = ""
    REFUSED = "refused"
    """It waits, and with this end it could not be asked for."""
    SOONER = "sooner"
    OVER = "over"
    """It is in force, and would have ended by now."""


class Asked(NamedTuple):
    """A decision as it was asked for, and the votes that approve it."""

    kind: DecisionKind
    case: Case
    requested_at: datetime
    expires_at: datetime
    is_in_force: bool
    approvals: tuple[frozenset[Role], ...] = ()
    """The roles of each person who approves."""


class Again(NamedTuple):
    """What the draft would make of it."""

    needs: Needs
    ends: Ends
    is_short: bool
    """It is in force, and the votes that it has would not be enough."""
    before: Requirement
    after: Requirement


def again(asked: Asked, before: Appetite, draft: Appetite, now: datetime) -> Again | None:
    """``before`` is the appetite that it was asked under; ``None``: the draft asks for the same."""
    was, would = (appetite.requirement(asked.case, asked.kind) for appetite in (before, draft))
    needs = compared(was.approvers, would.approvers)
    ends = _ends(asked, was, would, now)
    is_short = needs is not Needs.SAME and asked.is_in_force and not _is_enough(asked, would)
    if needs is Needs.SAME and ends is Ends.SAME:
        return None
    return Again(needs, ends, is_short, was, would)


def compared(was: Mapping[Role, int], would: Mapping[Role, int]) -> Needs:
    differences = [would.get(role, 0) - was.get(role, 0) for role in was.keys() | would.keys()]
    more, fewer = any(n > 0 for n in differences), any(n < 0 for n in differences)
    if more and fewer:
        return Needs.OTHER
    return Needs.MORE if more else Needs.FEWER if fewer else Needs.SAME


def _ends(asked: Asked, was: Requirement, would: Requirement, now: datetime) -> Ends:
    latest = would.latest_end(asked.requested_at)
    if would.max_days >= was.max_days or asked.expires_at <= latest:
        return Ends.SAME
    if not asked.is_in_force:
        return Ends.REFUSED
    return Ends.OVER if latest <= now else Ends.SOONER


def _is_enough(asked: Asked, would: Requirement) -> bool:
    votes = [
        VoteFact(voter=n, choice=Choice.APPROVE, roles_then=roles, roles_now=roles)
        for n, roles in enumerate(asked.approvals, 1)
    ]
    return outcome(0, would.approvers, votes).standing is Settled.APPROVED
