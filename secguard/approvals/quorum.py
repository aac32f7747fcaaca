"""Whether enough of the right people said yes (DESIGN rule 6).

A requirement names seats: ``{"security-reviewer": 1, "business-approver": 1}``. One person fills one seat, whatever
number of roles they hold, so filling the seats is a matching of people to seats. What concerns several teams has the
same seats for each of them, a part each; one vote counts in every part where its roles are held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
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
    """One person's vote, with the roles held (for this request) when voting and now: by themselves, or by the one in
    whose seat they vote."""

    voter: int
    choice: Choice
    roles_then: frozenset[Role]
    roles_now: frozenset[Role]
    needs_second: bool = False
    """Cast in haste: it counts only together with one person more than there are seats."""


class Outcome(Struct, frozen=True, kw_only=True):
    standing: Standing
    missing: dict[Role, int] = {}
    """Seats still empty, by role; none where the request is settled."""
    counted: tuple[int, ...] = ()
    """The voters whose votes count, sorted."""
    reasons: tuple[str, ...] = ()
    """Which votes do not count, and why; who rejected."""
    by_part: tuple[dict[Role, int], ...] = ()
    """``missing`` of each part, in their order."""


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
    elif not empty and (second := _second_look(wanted, eligible)):
        empty, reasons = second, (*reasons, "approved in haste: one more person has to look at it")
    settled = bool(wanted) and not empty
    standing = Standing.APPROVED if settled else Standing.PENDING
    return Outcome(standing=standing, missing=empty, counted=counted, reasons=reasons)


def outcome_in_parts(requester: int, required: Mapping[Role, int], parts: Sequence[Iterable[VoteFact]]) -> Outcome:
    """Where a request stands that concerns several teams: ``parts`` has the votes with the roles held for each.

    Every part has to be approved; one rejection that counts in any part rejects it all. ``missing`` is by role the most
    that a part still needs. Without any part nothing is ever met.
    """
    found = [outcome(requester, required, votes) for votes in parts]
    if not found:
        return outcome(requester, required, [])
    reasons = tuple(dict.fromkeys(reason for part in found for reason in part.reasons))
    counted = tuple(sorted({voter for part in found for voter in part.counted}))
    standing = Standing.APPROVED
    if any(part.standing is Standing.REJECTED for part in found):
        return Outcome(standing=Standing.REJECTED, counted=counted, reasons=reasons)
    if any(part.standing is Standing.PENDING for part in found):
        standing = Standing.PENDING
    roles = sorted({role for part in found for role in part.missing})
    missing = {role: max(part.missing.get(role, 0) for part in found) for role in roles}
    by_part = tuple(part.missing for part in found)
    return Outcome(standing=standing, missing=missing, counted=counted, reasons=reasons, by_part=by_part)


class Haste(Struct, frozen=True, kw_only=True):
    """What counts as too much too fast (the risk appetite's ``second_look``); 0: nothing does."""

    approvals: int = 0
    """More approvals by one person than this …"""
    within_minutes: int = 10
    """… in so many minutes."""
    seconds: int = 0
    """What is severe, approved sooner than this after it was opened."""


def hasty(haste: Haste, *, lately: int, opened_at: datetime | None, now: datetime, is_severe: bool) -> str:
    """Why an approving vote at ``now`` needs a second look, in words; empty where it does not.

    ``lately``: how many the same person approved within the time that the rule names, this one included;
    ``opened_at``: since when they can have looked at this one, ``None`` where nobody knows.
    """
    if haste.approvals and lately > haste.approvals:
        return f"{lately} approvals within {haste.within_minutes} minutes, more than {haste.approvals}"
    if haste.seconds and is_severe and opened_at is not None and now - opened_at < timedelta(seconds=haste.seconds):
        passed = max(0, int((now - opened_at).total_seconds()))
        return f"approved {passed} s after it was opened, sooner than {haste.seconds} s for something this severe"
    return ""


def may_vote(voter: int, requester: int, required: Mapping[Role, int], roles: frozenset[Role]) -> str:
    """Why ``voter`` may not vote on the request, in words; empty where they may."""
    if voter == requester:
        return "Nobody decides on their own request; somebody else has to."
    wanted = sorted(role.value for role, count in required.items() if count > 0)
    if not roles & {Role(role) for role in wanted}:
        return f"The request needs {' and '.join(wanted) or 'no'} role; this person holds none of them here."
    return ""


def unfilled(required: Mapping[Role, int], people: Mapping[int, frozenset[Role]]) -> dict[Role, int]:
    """The seats, by role, that stay empty however ``people`` (person to the roles they may fill) are seated."""
    return _empty_seats({role: count for role, count in required.items() if count > 0}, people)


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


def _second_look(wanted: Mapping[Role, int], eligible: Mapping[int, VoteFact]) -> dict[Role, int]:
    """The seat for one person more, where votes cast in haste fill the others; none where they are not needed."""
    calm = {voter: _roles(vote) for voter, vote in eligible.items() if not vote.needs_second}
    if len(eligible) > sum(wanted.values()) or not _empty_seats(wanted, calm):
        return {}
    in_haste = [vote for _, vote in sorted(eligible.items()) if vote.needs_second]
    return {next(role for role in sorted(wanted) if role in _roles(in_haste[0])): 1}


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
