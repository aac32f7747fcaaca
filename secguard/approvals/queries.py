"""Reads over approval requests: who voted, how a request stands at this moment, what somebody may vote on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime

from django.db.models import Exists, OuterRef, Q

from secguard.accounts.models import Membership, User
from secguard.accounts.roles import APPROVERS, Role
from secguard.approvals.models import OPEN, ApprovalRequest, Vote
from secguard.approvals.quorum import Choice, Outcome, VoteFact, outcome
from secguard.audit.actions import Action
from secguard.audit.models import AuditEntry

Grants = set[tuple[Role, int | None]]
"""(role, team id or None for the organisation)."""


def votes_of(requests: Iterable[ApprovalRequest]) -> dict[int, list[Vote]]:
    """{request id: votes, oldest first, each with its voter}, in one query."""
    found: dict[int, list[Vote]] = defaultdict(list)
    rows = Vote.objects.filter(request_id__in=[r.pk for r in requests]).select_related("voter").order_by("pk")
    for row in rows:
        found[row.request_id].append(row)
    return found


def grants_now(user_ids: set[int]) -> dict[int, Grants]:
    """What each person holds at this moment; somebody deactivated holds nothing."""
    found: dict[int, Grants] = {pk: set() for pk in user_ids}
    rows = Membership.objects.filter(user_id__in=user_ids, user__is_active=True)
    for user_id, role, team_id in rows.values_list("user_id", "role", "team_id"):
        found[user_id].add((Role(role), team_id))
    return found


MADE_BY = [Action.MEMBERSHIP_GRANT.value, Action.SIGN_IN_LINK_CREATE.value, Action.USER_CREATE.value]
"""What makes somebody able to vote: an account, a role, a way in."""
CHOSEN = (
    "Whoever asked for this has, since then, made your account, given you a role, or made your sign-in link. Somebody "
    "else has to decide it, or it is asked for again."
)


def made_able_by(requests: Iterable[ApprovalRequest], voter_id: int) -> set[int]:
    """The requests whose requester, after asking, made ``voter_id`` able to vote: their own choice for the purpose, or
    they themselves in another coat. By the audit log, in one query."""
    rows = list(requests)
    latest = _made_able_at({r.requester_id for r in rows}, voter_id)
    return {r.pk for r in rows if r.requester_id in latest and latest[r.requester_id] >= r.created_at}


def is_made_able_by(requester_id: int, voter_id: int, since: datetime) -> bool:
    """As ``made_able_by``, for what is asked for elsewhere and granted by one person."""
    at = _made_able_at({requester_id}, voter_id).get(requester_id)
    return at is not None and at >= since


def _made_able_at(makers: Iterable[int], voter_id: int) -> dict[int | None, datetime]:
    """{maker: when each of them last made ``voter_id`` able to vote}, of those who ever did."""
    made = AuditEntry.objects.filter(
        subject_type="user", subject_id=str(voter_id), action__in=MADE_BY, actor_id__in=set(makers)
    )
    return dict(made.order_by("sequence").values_list("actor_id", "at"))


def held(grants: Grants, teams: frozenset[int]) -> frozenset[Role]:
    """Roles held organisation-wide or in every one of ``teams`` (``User.roles_for``, on rows read just now)."""
    wide = {role for role, team in grants if team is None}
    narrow = {role for role, _ in grants if teams and all((role, team) in grants for team in teams)}
    return frozenset(wide | narrow)


def outcome_of(
    request: ApprovalRequest, votes: Iterable[Vote], grants: Mapping[int, Grants], teams: frozenset[int]
) -> Outcome:
    """How ``request`` stands after ``votes``, by the roles held when voting and in ``grants``."""
    facts = [
        VoteFact(
            voter=v.voter_id,
            choice=Choice(v.choice),
            roles_then=frozenset(map(Role, v.roles)),
            roles_now=held(grants[v.voter_id], teams),
        )
        for v in votes
    ]
    return outcome(request.requester_id, {Role(r): n for r, n in request.required.items()}, facts)


def outcomes(
    requests: Mapping[int, tuple[ApprovalRequest, frozenset[int]]], votes: Mapping[int, list[Vote]]
) -> dict[int, Outcome]:
    """How each request ({id: (request, its teams)}) stands at this moment, in one query."""
    grants = grants_now({v.voter_id for cast in votes.values() for v in cast})
    return {pk: outcome_of(r, votes.get(pk, []), grants, teams) for pk, (r, teams) in requests.items()}


def open_for(user: User, *, prefix: str = "", team_path: str) -> Q:
    """What ``user`` may be asked to vote on: open, not their own, not voted on by them, and with a role they hold.

    ``prefix`` is the path from the queried model to its approval request ("approval__"), ``team_path`` the column with
    the id of the team it belongs to. The seat itself may be filled by somebody else already: ``outcomes`` tells.
    """
    seats = Q(pk__in=[])
    for role, team in sorted(user.grants(), key=str):
        if role in APPROVERS:
            own = Q() if team is None else Q(**{team_path: team})
            seats |= own & Q(**{f"{prefix}required__has_key": role.value})
    voted = Exists(Vote.objects.filter(request_id=OuterRef(f"{prefix}id"), voter_id=user.pk))
    return Q(**{f"{prefix}status": OPEN}) & seats & ~Q(**{f"{prefix}requester_id": user.pk}) & ~Q(voted)
