"""Asking for approval and voting. What the answer is for belongs to the app that asked (decisions, promotions)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from secguard.accounts.models import User
from secguard.accounts.roles import Role
from secguard.approvals.models import APPROVED, CLOSED, OPEN, REJECTED, ApprovalRequest, Vote
from secguard.approvals.queries import CHOSEN, grants_now, held, made_able_by, outcome_of, votes_of
from secguard.approvals.quorum import Choice, Outcome, Standing, may_vote
from secguard.errors import Conflict, Invalid, NotAllowed, SecGuardError

UNOWNED = 0
"""Stands among a ballot's teams for a thing that no team owns: only an organisation-wide role reaches it."""

MAX_COMMENT = 4_000

_STATUS = {Standing.PENDING: OPEN, Standing.APPROVED: APPROVED, Standing.REJECTED: REJECTED}


@dataclass(frozen=True, slots=True)
class Ballot:
    """One approval request to vote on, and the teams whose things it is about.

    A role counts where it is held organisation-wide or in every one of ``teams``; without teams, organisation-wide.
    """

    request_id: int
    teams: frozenset[int]


def open_requests(
    requirements: Sequence[Mapping[Role, int]], *, requester: User, now: datetime
) -> list[ApprovalRequest]:
    """One open request for each of ``requirements`` ({role: number of people}), in order, in one statement.

    Raises ``Invalid`` at a requirement without any seat: nothing approves itself.
    """
    rows = []
    for required in requirements:
        seats = {role.value: count for role, count in sorted(required.items()) if count > 0}
        if not seats:
            raise Invalid("Nobody is named who could approve this; the risk appetite must name at least one role.")
        rows.append(
            ApprovalRequest(requester=requester, required=seats, required_votes=sum(seats.values()), created_at=now)
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
    """
    said = _checked(comment, choice)
    asked = {ballot.request_id: ballot for ballot in ballots}
    requests = list(ApprovalRequest.objects.select_for_update().filter(pk__in=asked).order_by("pk"))
    cast = votes_of(requests)
    chosen = made_able_by(requests, actor.pk)
    grants = grants_now({v.voter_id for votes in cast.values() for v in votes} | {actor.pk})
    results: dict[int, Outcome | SecGuardError] = {}
    fresh: list[Vote] = []
    for request in requests:
        teams = asked[request.pk].teams
        roles = held(grants[actor.pk], teams) & actor.roles_for(set(teams))
        try:
            _check(request, actor, roles, cast[request.pk])
            _check_not_chosen(request, chosen)
        except SecGuardError as refusal:
            results[request.pk] = refusal
            continue
        mine = Vote(
            request=request, voter=actor, roles=sorted(roles), choice=choice.value, comment=said, created_at=now
        )
        fresh.append(mine)
        results[request.pk] = outcome_of(request, [*cast[request.pk], mine], grants, teams)
    with transaction.atomic():
        Vote.objects.bulk_create(fresh, batch_size=1000)
        _settle(results, now)
    return results


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


def _check(request: ApprovalRequest, actor: User, roles: frozenset[Role], cast: list[Vote]) -> None:
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
    required = {Role(role): count for role, count in request.required.items()}
    if why := may_vote(actor.pk, request.requester_id, required, roles):
        raise NotAllowed(why, code="own-request" if actor.pk == request.requester_id else "role-missing")


def _check_not_chosen(request: ApprovalRequest, chosen: set[int]) -> None:
    if request.pk in chosen:
        raise NotAllowed(CHOSEN, code="chosen-by-requester")


def _settle(results: Mapping[int, Outcome | SecGuardError], now: datetime) -> None:
    for standing in (Standing.APPROVED, Standing.REJECTED):
        settled = [pk for pk, o in results.items() if isinstance(o, Outcome) and o.standing is standing]
        if settled:
            ApprovalRequest.objects.filter(pk__in=settled).update(status=_STATUS[standing], closed_at=now)
