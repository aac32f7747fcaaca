"""Decisions that stand, asked for anew under the draft of a risk appetite. Pure.

Facts are those that were noted when they were asked for, votes are those that were cast, and whether they are enough is
asked of the rules that decide (``approvals.quorum``): for each team's part, with the roles that count there, in one's
own seat or in that of somebody away. What is in force keeps what it was asked under, whatever appetite comes into force
later; this says what the same request would meet today.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

import msgspec

from secguard.accounts.roles import Role
from secguard.approvals.quorum import Outcome, VoteFact, outcome_in_parts, unfilled
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


class Votes(StrEnum):
    """What the draft makes of the votes that were cast."""

    SAME = ""
    SHORT = "short"
    """It is in force, and its votes would not be enough."""
    LOST = "lost"
    """It is in force by enough votes, and who cast them no longer holds the roles that the draft asks for."""
    ENOUGH = "enough"
    """It waits, and the votes that it has would be enough."""


class Reach(StrEnum):
    """Whether somebody could fill the seats that the draft leaves empty."""

    SOMEBODY = ""
    AWAY = "away"
    """Only people who are away, and whose deputies may not."""
    NOBODY = "nobody"
    """Nobody holds the roles: it could not be approved by anyone."""


class Part(NamedTuple):
    """One team's part of a request (or the organisation's, or the only one)."""

    votes: Sequence[VoteFact] = ()
    """With the roles held for this part when voting, and now."""
    able: Mapping[int, frozenset[Role]] = {}
    """Who could vote now, and for the seats of which roles: deputies for those who are away."""
    all: Mapping[int, frozenset[Role]] = {}
    """The same, were nobody away."""


class Asked(NamedTuple):
    """A decision as it was asked for, the votes that were cast, and who could cast more."""

    kind: DecisionKind
    case: Case
    requested_at: datetime
    expires_at: datetime
    is_in_force: bool
    requester: int = 0
    parts: tuple[Part, ...] = ()


class Again(NamedTuple):
    """What the draft would make of it."""

    needs: Needs
    ends: Ends
    votes: Votes
    reach: Reach
    before: Requirement
    after: Requirement
    missing: dict[Role, int] = {}
    """Seats that would be empty, by role: of the part that needs most."""
    open_parts: int = 0
    """In how many parts a seat would be empty."""

    @property
    def is_short(self) -> bool:
        return self.votes is Votes.SHORT


def again(asked: Asked, before: Appetite, draft: Appetite, now: datetime) -> Again | None:
    """``before`` is the appetite that it was asked under; ``None``: the draft asks for the same."""
    was, would = (appetite.requirement(asked.case, asked.kind) for appetite in (before, draft))
    needs = compared(was.approvers, would.approvers)
    ends = _ends(asked, was, would, now)
    if needs is Needs.SAME and ends is Ends.SAME:
        return None
    if needs is Needs.SAME:
        return Again(needs, ends, Votes.SAME, Reach.SOMEBODY, was, would)
    today = standing(asked, would.approvers)
    votes = _votes(asked, would, today)
    missing = {} if today.standing is Settled.APPROVED else today.missing
    open_parts = sum(bool(part) for part in today.by_part)
    return Again(needs, ends, votes, _reach(asked, would), was, would, missing, open_parts)


def standing(asked: Asked, approvers: Mapping[Role, int], *, as_cast: bool = False) -> Outcome:
    """How the request would stand with its votes if it asked for ``approvers``: by the roles held when voting and now,
    or (``as_cast``) by those held when voting alone."""
    parts = [[_as_cast(v) for v in part.votes] if as_cast else part.votes for part in asked.parts]
    return outcome_in_parts(asked.requester, approvers, parts)


def _as_cast(vote: VoteFact) -> VoteFact:
    return msgspec.structs.replace(vote, roles_now=vote.roles_then)


def _votes(asked: Asked, would: Requirement, today: Outcome) -> Votes:
    if not asked.is_in_force:
        return Votes.ENOUGH if today.standing is Settled.APPROVED else Votes.SAME
    if standing(asked, would.approvers, as_cast=True).standing is not Settled.APPROVED:
        return Votes.SHORT
    return Votes.SAME if today.standing is Settled.APPROVED else Votes.LOST


def _reach(asked: Asked, would: Requirement) -> Reach:
    """Of each part the worst: whether votes that count, and people who could vote, fill all seats together."""
    found = Reach.SOMEBODY
    for part in asked.parts:
        cast = {v.voter: v.roles_then & v.roles_now for v in part.votes if v.voter != asked.requester}
        if unfilled(would.approvers, _seated(part.all, cast, would)):
            return Reach.NOBODY
        if unfilled(would.approvers, _seated(part.able, cast, would)):
            found = Reach.AWAY
    return found


def _seated(
    people: Mapping[int, frozenset[Role]], cast: Mapping[int, frozenset[Role]], would: Requirement
) -> dict[int, frozenset[Role]]:
    """People and the seats they may fill; who holds the role that it goes to when it waits too long may fill any."""
    every = frozenset(would.approvers)
    widened = {who: roles | every if would.then in roles else roles for who, roles in people.items()}
    return {**widened, **cast}


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
