"""Asking for approval and voting. What the answer is for belongs to the app that asked (decisions, promotions)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from django.db import transaction

from secguard.accounts.models import User
from secguard.accounts.roles import Role
from secguard.approvals.models import APPROVED, CLOSED, OPEN, REJECTED, ApprovalRequest, Vote
from secguard.approvals.queries import (
    CHOSEN,
    Grants,
    Seat,
    accepted,
    fills,
    grants_of_votes,
    held_in_parts,
    made_able_by,
    outcome_of,
    seats_of_others,
    votes_of,
)
from secguard.approvals.quorum import Choice, Haste, Outcome, Standing, hasty, may_vote
from secguard.errors import Conflict, Invalid, NotAllowed, SecGuardError

UNOWNED = 0
"""Stands among a ballot's teams for a thing that no team owns: only an organisation-wide role reaches it."""

MAX_COMMENT = 4_000
MOST_LATELY = 10_000
"""How many votes of the last minutes are counted; a risk appetite names fewer."""

_STATUS = {Standing.PENDING: OPEN, Standing.APPROVED: APPROVED, Standing.REJECTED: REJECTED}


@dataclass(frozen=True, slots=True)
class Ballot:
    """One approval request to vote on, and the teams whose things it is about.

    Each team has a part in it, and a role counts in the parts where it is held; without teams, organisation-wide.
    """

    request_id: int
    teams: frozenset[int]
    is_severe: bool = False
    opened_at: datetime | None = None
    """Since when the voter can have looked at it, where somebody knows."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request asks for: people by role; when it waited too long, and for whom then; what is too fast."""

    approvers: Mapping[Role, int]
    waits: timedelta | None = None
    then: Role | None = None
    haste: Haste | None = None


def open_requests(
    requirements: Sequence[Wanted | Mapping[Role, int]], *, requester: User, now: datetime
) -> list[ApprovalRequest]:
    """One open request for each of ``requirements`` ({role: number of people}), in order, in one statement.

    Raises ``Invalid`` at a requirement without any seat: nothing approves itself.
    """
    rows = []
    for one in requirements:
        wanted = one if isinstance(one, Wanted) else Wanted(one)
        seats = {role.value: count for role, count in sorted(wanted.approvers.items()) if count > 0}
        if not seats:
            raise Invalid("Nobody is named who could approve this; the risk appetite must name at least one role.")
        rows.append(
            ApprovalRequest(
                requester=requester,
                required=seats,
                required_votes=sum(seats.values()),
                created_at=now,
                escalates_at=None if wanted.waits is None else now + wanted.waits,
                escalates_to=None if wanted.then is None else wanted.then.value,
                second_look=None if wanted.haste is None else msgspec.to_builtins(wanted.haste),
            )
        )
    return ApprovalRequest.objects.bulk_create(rows, batch_size=1000)


def vote(
    ballots: Iterable[Ballot], *, actor: User, choice: Choice, comment: str, now: datetime
) -> dict[int, Outcome | SecGuardError]:
    """Cast ``actor``'s vote on every ballot: {request id: how the request stands now, or why the vote was refused}.

    Refusals are ``Conflict`` (the request is not open; this person voted already) and ``NotAllowed`` (their own
    request; none of the roles it needs, read from the database now and not from what ``actor`` held when they signed
    in; a role, an account or a way in that the requester gave them after asking). A refused ballot leaves no trace; the
    others are written in a fixed number of statements. Raises ``Invalid`` where the comment is too long, or missing on
    a rejection. Locks the requests until the caller's transaction ends.

    Where their own roles fill no empty seat, they vote in that of whoever named them as deputy and is away now. A vote
    that is cast in haste counts only together with one person more (``quorum.hasty``).
    """
    said = _checked(comment, choice)
    asked = {ballot.request_id: ballot for ballot in ballots}
    requests = list(ApprovalRequest.objects.select_for_update().filter(pk__in=asked).order_by("pk"))
    cast = votes_of(requests)
    voter = _Voter(actor, requests, cast, choice, said, now)
    results: dict[int, Outcome | SecGuardError] = {}
    fresh: list[Vote] = []
    for request in requests:
        ballot = asked[request.pk]
        try:
            mine = voter.vote(request, ballot)
        except SecGuardError as refusal:
            results[request.pk] = refusal
            continue
        fresh.append(mine)
        results[request.pk] = outcome_of(request, [*cast[request.pk], mine], voter.grants, ballot.teams)
    with transaction.atomic():
        Vote.objects.bulk_create(fresh, batch_size=1000)
        _settle(results, now)
    return results


class _Voter:
    """One person who casts one act's votes: what they hold, in whose seats they may sit, how fast they were."""

    def __init__(
        self,
        actor: User,
        requests: Sequence[ApprovalRequest],
        cast: Mapping[int, list[Vote]],
        choice: Choice,
        said: str,
        now: datetime,
    ) -> None:
        self.actor, self.cast, self.choice, self.said, self.now = actor, cast, choice, said, now
        self.others = seats_of_others(actor, now)
        sitting = [s.person.pk for s in self.others]
        self.grants = grants_of_votes((v for votes in cast.values() for v in votes), also=[actor.pk, *sitting])
        self.chosen = {pk: made_able_by(requests, pk) for pk in (actor.pk, *sitting)}
        self._last: datetime | None = None
        self._lately = self._approved_lately(requests)

    def vote(self, request: ApprovalRequest, ballot: Ballot) -> Vote:
        seat = self._seat(request, ballot)
        holds = seat.grants if seat else self._own()
        parts = held_in_parts(holds, ballot.teams)
        roles = frozenset(role for found in parts.values() for role in found)
        _check(request, self.actor, roles, self.cast[request.pk], self.now)
        _check_not_chosen(request, self.chosen[self.actor.pk])
        if seat:
            _check_not_chosen(request, self.chosen[seat.person.pk])
        return Vote(
            request=request,
            voter=self.actor,
            roles=sorted(roles),
            parts={part: sorted(found) for part, found in parts.items()},
            seat_of=seat.person if seat else None,
            away_until=seat.until if seat else None,
            second_look=self._second_look(request, ballot),
            choice=self.choice.value,
            comment=self.said,
            created_at=self.now,
        )

    def _own(self) -> Grants:
        """What they hold by the database's word now, and by that of the token they came with."""
        return self.grants.get(self.actor.pk, set()) & set(self.actor.grants())

    def _seat(self, request: ApprovalRequest, ballot: Ballot) -> Seat | None:
        """The seat to vote in: their own where it helps, else the first of somebody away that does."""
        if not self.others or self.actor.pk == request.requester_id:
            return None
        cast = self.cast[request.pk]
        taken = {v.seat_of_id or v.voter_id for v in cast} | {request.requester_id}
        found = outcome_of(request, cast, self.grants, ballot.teams)
        if fills(self._own(), request, found, ballot.teams, self.now):
            return None
        free = (s for s in self.others if s.person.pk not in taken)
        return next((s for s in free if fills(s.grants, request, found, ballot.teams, self.now)), None)

    def _approved_lately(self, requests: Sequence[ApprovalRequest]) -> dict[int, int]:
        """{minutes: how many this person approved within them}, for every length that these requests name."""
        lengths = {r.second_look["within_minutes"] for r in requests if r.second_look}
        if not lengths or self.choice is not Choice.APPROVE:
            return {}
        since = self.now - timedelta(minutes=max(lengths))
        mine = Vote.objects.filter(voter=self.actor, choice=Choice.APPROVE.value, created_at__gt=since)
        at = list(mine.order_by("-created_at").values_list("created_at", flat=True)[:MOST_LATELY])
        self._last = at[0] if at else None
        return {n: sum(1 for t in at if t > self.now - timedelta(minutes=n)) for n in lengths}

    def _second_look(self, request: ApprovalRequest, ballot: Ballot) -> str | None:
        if not request.second_look or self.choice is not Choice.APPROVE:
            return None
        haste = msgspec.convert(request.second_look, Haste)
        for minutes in self._lately:
            self._lately[minutes] += 1
        # A page may have been fetched ahead; nobody looks at it before they have decided the one before.
        opened_at = max((at for at in (ballot.opened_at, self._last) if at is not None), default=None)
        why = hasty(
            haste,
            lately=self._lately[haste.within_minutes],
            opened_at=opened_at if ballot.opened_at is not None else None,
            now=self.now,
            is_severe=ballot.is_severe,
        )
        return why or None


def close(request_ids: Iterable[int], *, now: datetime) -> None:
    """Nobody needs an answer any more: what is still open among ``request_ids`` takes no further vote."""
    ApprovalRequest.objects.filter(pk__in=list(request_ids), status=OPEN).update(status=CLOSED, closed_at=now)


def _checked(comment: str, choice: Choice) -> str:
    said = comment.strip().replace("\x00", "")
    if choice is Choice.REJECT and not said:
        raise Invalid(
            "A rejection needs a comment: the person who asked must learn what would be accepted.",
            code="comment-required",
            where="comment",
        )
    if len(said) > MAX_COMMENT:
        raise Invalid(
            f"The comment has {len(said):,} characters; at most {MAX_COMMENT:,} are kept. Say it shorter.",
            where="comment",
        )
    return said


def _check(request: ApprovalRequest, actor: User, roles: frozenset[Role], cast: list[Vote], now: datetime) -> None:
    if request.status != OPEN:
        raise Conflict(
            f"The approval request is {request.status}; only an open one takes votes. Reload to see what happened "
            "in the meantime.",
            code="approval-state",
        )
    if any(v.voter_id == actor.pk for v in cast):
        raise Conflict(
            "You voted on this already; a vote stays as it was cast. Somebody else has to give the next one.",
            code="voted-already",
        )
    if deputy := next((v.voter for v in cast if v.seat_of_id == actor.pk), None):
        raise Conflict(
            f"{deputy} voted on this in your seat while you were away; one seat has one vote. Somebody else has to "
            "give the next one.",
            code="voted-already",
        )
    wanted = dict.fromkeys(accepted(request, now), 1)
    if why := may_vote(actor.pk, request.requester_id, wanted, roles):
        raise NotAllowed(why, code="own-request" if actor.pk == request.requester_id else "role-missing")


def _check_not_chosen(request: ApprovalRequest, chosen: set[int]) -> None:
    if request.pk in chosen:
        raise NotAllowed(CHOSEN, code="chosen-by-requester")


def _settle(results: Mapping[int, Outcome | SecGuardError], now: datetime) -> None:
    for standing in (Standing.APPROVED, Standing.REJECTED):
        settled = [pk for pk, o in results.items() if isinstance(o, Outcome) and o.standing is standing]
        if settled:
            ApprovalRequest.objects.filter(pk__in=settled).update(status=_STATUS[standing], closed_at=now)
