"""Whether enough of the right people said yes (DESIGN rule 6).

A requirement names seats: ``{"security-reviewer": 1, "business-approver": 1}``. One person fills one seat, whatever
number of roles they hold, so filling the seats is a matching of people to seats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from secguard.accounts.roles import Role


class Choice(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"


class Standing(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"


class VoteFact(Struct, frozen=True, kw_only=True):
    """One person's vote, with the roles held (for this request) when voting and now."""

    voter: int
    choice: Choice
    roles_then: frozenset[Role]
    roles_now: frozenset[Role]


class Outcome(Struct, frozen=True, kw_only=True):
    standing: Standing
    missing: dict[Role, int] = {}
    """Seats still empty, by role; none where the request is settled."""
    counted: tuple[int, ...] = ()
    """The voters whose votes count, sorted."""
    reasons: tuple[str, ...] = ()
    """Which votes do not count, and why; who rejected."""


def outcome(requester: int, required: Mapping[Role, int], votes: Iterable[VoteFact]) -> Outcome:
    """Where a request stands after ``votes``.

    The requester's own votes never count. A vote counts for a role that its voter held when voting and still holds.
    Of several votes by one person the last one counts. One rejection that counts rejects. A requirement without any
    seat is never met: nothing approves itself.
    """
    wanted = {role: count for role, count in required.items() if count > 0}
    eligible, reasons = _eligible(requester, wanted, votes)
    counted = tuple(sorted(eligible))
    against = [voter for voter in counted if eligible[voter].choice is Choice.REJECT]
    if against:
        said = tuple(f"voter {voter} rejected" for voter in against)
        return Outcome(standing=Standing.REJECTED, counted=counted, reasons=(*reasons, *said))
    empty = _empty_seats(wanted, {voter: _roles(vote) for voter, vote in eligible.items()})
    if not wanted:
        reasons = (*reasons, "the request names no approver, so nobody can approve it")
    settled = bool(wanted) and not empty
    standing = Standing.APPROVED if settled else Standing.PENDING
    return Outcome(standing=standing, missing=empty, counted=counted, reasons=reasons)


def may_vote(voter: int, requester: int, required: Mapping[Role, int], roles: frozenset[Role]) -> str:
    """Why ``voter`` may not vote on the request, in words; empty where they may."""
    if voter == requester:
        return "Nobody decides on their own request; somebody else has to."
    wanted = sorted(role.value for role, count in required.items() if count > 0)
    if not roles & {Role(role) for role in wanted}:
        return f"The request needs {' and '.join(wanted) or 'no'} role; this person holds none of them here."
    return ""


def _roles(vote: VoteFact) -> frozenset[Role]:
    return vote.roles_then & vote.roles_now


def _eligible(
    requester: int, wanted: Mapping[Role, int], votes: Iterable[VoteFact]
) -> tuple[dict[int, VoteFact], tuple[str, ...]]:
    last = {vote.voter: vote for vote in votes}
    eligible: dict[int, VoteFact] = {}
    reasons = []
    for voter, vote in sorted(last.items()):
        if voter == requester:
            reasons.append(f"voter {voter} asked for it themselves: the vote does not count")
        elif not vote.roles_then & wanted.keys():
            reasons.append(f"voter {voter} held no role that the request needs: the vote does not count")
        elif not _roles(vote) & wanted.keys():
            reasons.append(f"voter {voter} no longer holds the role: the vote does not count")
        else:
            eligible[voter] = vote
    return eligible, tuple(reasons)


def _empty_seats(wanted: Mapping[Role, int], people: Mapping[int, frozenset[Role]]) -> dict[Role, int]:
    """The seats left over by a largest matching of people to seats (augmenting paths: Kuhn)."""
    seats = [role for role in sorted(wanted) for _ in range(wanted[role])]
    taken: dict[int, int] = {}

    def seat_for(person: int, tried: set[int]) -> bool:
        for seat, role in enumerate(seats):
            if role not in people[person] or seat in tried:
                continue
            tried.add(seat)
            if seat not in taken or seat_for(taken[seat], tried):
                taken[seat] = person
                return True
        return False

    for person in sorted(people):
        seat_for(person, set())
    empty: dict[Role, int] = {}
    for seat, role in enumerate(seats):
        if seat not in taken:
            empty[role] = empty.get(role, 0) + 1
    return empty
