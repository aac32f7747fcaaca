"""Reads over approval requests: who voted, how a request stands at this moment, what somebody may vote on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard.accounts.models import Membership, User, narrowed
from secguard.accounts.roles import APPROVERS, Role
from secguard.approvals.models import OPEN, Absence, ApprovalRequest, Vote
from secguard.approvals.quorum import Choice, Outcome, VoteFact, outcome_in_parts
from secguard.audit.actions import Action
from secguard.audit.models import AuditEntry

Grants = set[tuple[Role, int | None]]
"""(role, team id or None for the organisation)."""


def votes_of(requests: Iterable[ApprovalRequest]) -> dict[int, list[Vote]]:
    """{request id: votes, oldest first, each with its voter}, in one query."""
    found: dict[int, list[Vote]] = defaultdict(list)
    rows = (
        Vote.objects.filter(request_id__in=[r.pk for r in requests]).select_related("voter", "seat_of").order_by("pk")
    )
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


def parts_of(teams: frozenset[int]) -> list[frozenset[int]]:
    """What has to be approved, each for itself: what belongs to each team, or the one thing that is everybody's."""
    return [frozenset({team}) for team in sorted(teams)] or [frozenset()]


def part_key(part: frozenset[int]) -> str:
    """As a vote keeps it: the team's id, or nothing for the organisation."""
    return str(next(iter(part), ""))


def held_in_parts(grants: Grants, teams: frozenset[int]) -> dict[str, frozenset[Role]]:
    """{part: the roles held for it}."""
    return {part_key(part): held(grants, part) for part in parts_of(teams)}


def accepted(request: ApprovalRequest, now: datetime) -> frozenset[Role]:
    """The roles that may fill a seat at ``now``: those that were asked for and, once it waited too long, the next."""
    asked = frozenset(Role(role) for role, count in request.required.items() if count > 0)
    return asked | next_role(request, now) if asked else asked


def next_role(request: ApprovalRequest, now: datetime) -> frozenset[Role]:
    """The role that it goes to as well since it waited too long, if it did: by the clock alone."""
    late = request.escalates_at is not None and request.escalates_at <= now
    return frozenset({Role(request.escalates_to)}) if late and request.escalates_to else frozenset()


def outcome_of(
    request: ApprovalRequest, votes: Iterable[Vote], grants: Mapping[int, Grants], teams: frozenset[int]
) -> Outcome:
    """How ``request`` stands after ``votes``, by the roles held when voting and in ``grants`` (of the voters and of
    those in whose seats they voted)."""
    required = {Role(r): n for r, n in request.required.items()}
    parts = facts_in_parts(votes, grants, teams, required, lambda at: next_role(request, at))
    return outcome_in_parts(request.requester_id, required, parts)


def facts_in_parts(
    votes: Iterable[Vote],
    grants: Mapping[int, Grants],
    teams: frozenset[int],
    required: Mapping[Role, int],
    late: Callable[[datetime], frozenset[Role]],
) -> list[list[VoteFact]]:
    """The votes as facts of each part. ``late(at)``: the roles that may fill any of the ``required`` seats by a vote
    at that instant, because it waited too long."""
    cast = list(votes)
    return [[_fact(v, grants, part, frozenset(required), late(v.created_at)) for v in cast] for part in parts_of(teams)]


def _fact(
    v: Vote, grants: Mapping[int, Grants], part: frozenset[int], seats: frozenset[Role], late: frozenset[Role]
) -> VoteFact:
    then = frozenset(map(Role, v.roles if v.parts is None else v.parts.get(part_key(part), [])))
    now = held(grants[v.seat_of_id or v.voter_id], part)
    if v.seat_of_id and v.voter_id not in grants:
        now = frozenset()  # the deputy was deactivated since
    if late & then & now:
        then, now = then | seats, now | seats
    return VoteFact(
        voter=v.voter_id,
        choice=Choice(v.choice),
        roles_then=then,
        roles_now=now,
        needs_second=v.second_look is not None,
    )


def grants_of_votes(votes: Iterable[Vote], *, also: Iterable[int] = ()) -> dict[int, Grants]:
    """What voters hold now, and those in whose seats some voted; a deputy who was deactivated is left out."""
    cast = list(votes)
    found = grants_now({v.voter_id for v in cast} | {v.seat_of_id for v in cast if v.seat_of_id} | set(also))
    deputies = {v.voter_id for v in cast if v.seat_of_id}
    if deputies:
        active = set(User.objects.filter(pk__in=deputies, is_active=True).values_list("pk", flat=True))
        for gone in deputies - active:
            del found[gone]
    return found


class Electorate(NamedTuple):
    """Who could vote at an instant: what each holds, and who sits for those that are away (``None``: nobody)."""

    grants: Mapping[int, Grants]
    deputies: Mapping[int, int | None]

    def able(self, part: frozenset[int], requester: int) -> dict[int, frozenset[Role]]:
        """{voter: the roles whose seats they may fill in a part}: their own, or those of who is away and named them."""
        found: dict[int, frozenset[Role]] = {}
        for person, holds in self.grants.items():
            voter = self.deputies.get(person, person)
            if voter is not None and requester not in (voter, person) and (roles := held(holds, part)):
                found[voter] = found.get(voter, frozenset()) | roles
        return found

    def all(self, part: frozenset[int], requester: int) -> dict[int, frozenset[Role]]:
        """As ``able``, as if nobody were away."""
        return self._replace(deputies={}).able(part, requester)


def electorate(now: datetime) -> Electorate:
    """Everybody who holds a role that approves, in two queries."""
    grants: dict[int, Grants] = {}
    rows = Membership.objects.filter(role__in=APPROVERS, user__is_active=True)
    for user_id, role, team_id in rows.values_list("user_id", "role", "team_id"):
        grants.setdefault(user_id, set()).add((Role(role), team_id))
    columns = ("person_id", "deputy_id", "deputy__is_active", "deputy__is_service")
    away = Absence.objects.at(now).order_by("-starts_at", "-pk").values_list(*columns)
    deputies = {person: deputy if active and not service else None for person, deputy, active, service in away}
    return Electorate(grants, deputies)


class Seat(NamedTuple):
    """A seat that somebody may sit in as a deputy: whose it is, until when, and what that person holds now."""

    person: User
    until: datetime
    grants: Grants


def seats_of_others(user: User, now: datetime) -> list[Seat]:
    """The seats that ``user`` may vote in at ``now`` because somebody is away, first come first; two queries.

    A token narrows them as it narrows its owner's own roles.
    """
    if not user.pk or not user.is_active or user.is_service:
        return []
    rows = list(Absence.objects.at(now).filter(deputy=user).select_related("person").order_by("starts_at", "pk"))
    grants = grants_now({row.person_id for row in rows}) if rows else {}
    found = []
    for row in rows:
        holds = grants[row.person_id]
        if user.token is not None:
            holds = set(narrowed(sorted(holds, key=str), Role(user.token.role), user.token.team_id))
        found.append(Seat(row.person, row.until, holds))
    return found


def may_fill(
    user: User,
    request: ApprovalRequest,
    found: Outcome,
    teams: frozenset[int],
    now: datetime,
    others: Sequence[Seat] = (),
    taken: frozenset[int] = frozenset(),
) -> bool:
    """Whether ``user`` can fill a seat that is still empty, by themselves or in one of ``others``' seats.

    ``taken``: whose seats are filled already. Whether they voted, or asked for it, is the caller's to say.
    """
    return whose_seat(user, request, found, teams, now, others, taken) is not None


def whose_seat(
    user: User,
    request: ApprovalRequest,
    found: Outcome,
    teams: frozenset[int],
    now: datetime,
    others: Sequence[Seat] = (),
    taken: frozenset[int] = frozenset(),
) -> User | None:
    """In whose seat ``user``'s vote would count: their own where it helps, else the first of somebody away that does.

    As ``may_fill`` otherwise; ``None`` where they fill no seat that is still empty.
    """
    if user.pk not in taken and fills(set(user.grants()), request, found, teams, now):
        return user
    free = (s for s in others if s.person.pk not in taken | {request.requester_id})
    return next((s.person for s in free if fills(s.grants, request, found, teams, now)), None)


def fills(holds: Grants, request: ApprovalRequest, found: Outcome, teams: frozenset[int], now: datetime) -> bool:
    """Whether somebody with these grants can fill a seat that is still empty in one of the parts."""
    late = next_role(request, now)
    for part, missing in zip(parts_of(teams), found.by_part, strict=False):
        if missing and held(holds, part) & (missing.keys() | late):
            return True
    return False


def outcomes(
    requests: Mapping[int, tuple[ApprovalRequest, frozenset[int]]], votes: Mapping[int, list[Vote]]
) -> dict[int, Outcome]:
    """How each request ({id: (request, its teams)}) stands at this moment, in one query."""
    grants = grants_of_votes([v for cast in votes.values() for v in cast])
    return {pk: outcome_of(r, votes.get(pk, []), grants, teams) for pk, (r, teams) in requests.items()}


def open_for(
    user: User,
    *,
    prefix: str = "",
    in_team: Callable[[int], Q],
    now: datetime | None = None,
    others: Sequence[Seat] = (),
) -> Q:
    """What ``user`` may be asked to vote on: open, not their own, not voted on by them, and with a role they hold.

    ``prefix`` is the path from the queried model to its approval request ("approval__"), ``in_team`` says which rows
    concern a team. ``others``: in whose seats they may sit as well (``seats_of_others``). The seat itself may be filled
    by somebody else already: ``outcomes`` tells.
    """
    at = now or timezone.now()
    seats = _seats(set(user.grants()), prefix, in_team, at)
    for seat in others:
        voted = Vote.objects.filter(Q(voter=seat.person, seat_of=None) | Q(seat_of=seat.person))
        free = ~Exists(voted.filter(request_id=OuterRef(f"{prefix}id"))) & ~Q(
            **{f"{prefix}requester_id": seat.person.pk}
        )
        seats |= _seats(seat.grants, prefix, in_team, at) & free
    voted = Vote.objects.filter(Q(voter_id=user.pk) | Q(seat_of_id=user.pk), request_id=OuterRef(f"{prefix}id"))
    return Q(**{f"{prefix}status": OPEN}) & seats & ~Q(**{f"{prefix}requester_id": user.pk}) & ~Q(Exists(voted))


def _seats(grants: Grants, prefix: str, in_team: Callable[[int], Q], now: datetime) -> Q:
    found = Q(pk__in=[])
    for role, team in sorted(grants, key=str):
        if role in APPROVERS:
            own = Q() if team is None else in_team(team)
            late = Q(**{f"{prefix}escalates_to": role.value, f"{prefix}escalates_at__lte": now})
            found |= own & (Q(**{f"{prefix}required__has_key": role.value}) | late)
    return found
