"""Tell people of decisions: who may approve a request, who asked for it, and the team whose it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.urls import reverse
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import Membership, User
from secguard.accounts.queries import people_of
from secguard.accounts.roles import Role
from secguard.approvals.models import Absence, ApprovalRequest
from secguard.approvals.queries import Grants, accepted, held, parts_of
from secguard.approvals.services import UNOWNED
from secguard.decisions.lifecycle import DecisionKind, DecisionStatus
from secguard.decisions.models import Decision
from secguard.decisions.queries import teams_of
from secguard.decisions.scope import ScopeKind
from secguard.findings.severity import Severity
from secguard.notifications import services as notifications
from secguard.notifications.digest import Line, weigh
from secguard.notifications.kinds import Kind
from secguard.notifications.services import Telling

WAITING, APPROVED, REJECTED = "decision-waiting", "decision-approved", "decision-rejected"
ESCALATED = "decision-escalated"
REOPENED, ENDED, UNANSWERED, ENDING = "decision-reopened", "decision-ended", "decision-unanswered", "decision-ending"

KINDS = (
    Kind(REOPENED, "Decisions that no longer hold", "Open again", 10, "/decisions/?status=ended"),
    Kind(ESCALATED, "Requests that wait too long", "Waits too long", 15, "/decisions/queue/"),
    Kind(WAITING, "Requests that wait for you", "Waits for you", 20, "/decisions/queue/", shared="Requests that wait"),
    Kind(ENDED, "Decisions that ended", "Ended", 25, "/decisions/?status=ended"),
    Kind(
        REJECTED,
        "Your requests that were rejected",
        "Rejected",
        30,
        "/decisions/?mine=true&status=rejected",
        shared="Requests that were rejected",
    ),
    Kind(
        APPROVED,
        "Your requests that were approved",
        "Approved",
        40,
        "/decisions/?mine=true&status=approved",
        shared="Requests that were approved",
    ),
    Kind(
        UNANSWERED,
        "Your requests that nobody answered",
        "Unanswered",
        45,
        "/decisions/?mine=true&status=ended",
        shared="Requests that nobody answered",
    ),
    Kind(ENDING, "Decisions that end within a week", "Ends soon", 50, "/decisions/?status=approved"),
)

SOON = timedelta(days=7)
CHUNK = 1_000

_VERBS = {
    DecisionKind.FIX: "Fix",
    DecisionKind.MITIGATE: "Mitigate",
    DecisionKind.ACCEPT: "Accept",
    DecisionKind.NOT_AFFECTED: "Not affected by",
}


def tell_waiting(decisions: Sequence[Decision], *, now: datetime) -> None:
    """Tell everybody who may approve what is still requested, and the deputies of those who are away; whoever knows
    already is not told again."""
    _tell_approvers(WAITING, decisions, lambda d: f"{d.pk}", _asked, now)


def tell_escalated(decisions: Sequence[Decision], *, now: datetime) -> None:
    """Tell everybody who may approve by now that these wait too long: those asked first, and the next role's people."""

    def note(d: Decision) -> str:
        return f"waits since {d.requested_at.day} {d.requested_at:%b}, {_asked(d)}"

    _tell_approvers(ESCALATED, decisions, lambda d: f"{d.pk} late", note, now)


def _tell_approvers(
    kind: str,
    decisions: Sequence[Decision],
    key: Callable[[Decision], str],
    note: Callable[[Decision], str],
    now: datetime,
) -> None:
    waiting = [d for d in decisions if d.status == DecisionStatus.REQUESTED]
    if not waiting:
        return
    asked_for = ApprovalRequest.objects.filter(pk__in=bulk.among([d.approval_id for d in waiting]))
    roles = {row.pk: accepted(row, now) for row in asked_for}
    grants, teams = _grants(role for found in roles.values() for role in found), teams_of(waiting)
    groups: dict[_Seats, list[Decision]] = defaultdict(list)
    for d in waiting:
        groups[_Seats(roles[d.approval_id], teams[d.pk], d.team_id, d.requested_by_id)].append(d)
    deputies = dict(Absence.objects.at(now).filter(person__in=list(grants)).values_list("person_id", "deputy_id"))
    tellings = []
    for seats, asked in groups.items():
        lines = tuple(_line(d, key(d), note(d), queue=True) for d in asked)
        telling = Telling(kind, lines, _team(seats.owner))
        people = set(_approvers(seats, grants))
        people |= {deputies[pk] for pk in people if pk in deputies} - {seats.requester}
        tellings += [(user, telling) for user in sorted(people)]
    notifications.notify_many(tellings, now=now)


class _Seats(NamedTuple):
    """What decides who may approve: the roles asked for, the teams of the scope, whose request it is, who asked."""

    roles: frozenset[Role]
    teams: frozenset[int]
    owner: int | None
    requester: int


def _grants(roles: Iterable[str]) -> dict[int, Grants]:
    rows = Membership.objects.filter(role__in=set(roles), user__is_active=True, user__is_service=False)
    found: dict[int, Grants] = defaultdict(set)
    for user, role, team in rows.order_by("user_id").values_list("user_id", "role", "team_id"):
        found[user].add((Role(role), team))
    return found


def _approvers(seats: _Seats, grants: dict[int, Grants]) -> Iterator[int]:
    """Those who hold one of the roles for one of the parts."""
    for user, holds in grants.items():
        if user != seats.requester and any(held(holds, part) & seats.roles for part in parts_of(seats.teams)):
            yield user


def tell_voted(decisions: Sequence[Decision], *, actor: User, comment: str, now: datetime) -> None:
    """Tell who asked how it was answered, and, where one more vote is needed, who may cast it."""
    said = f"{actor}: {comment.strip()}" if comment.strip() else f"by {actor}"
    tellings = _to_requesters(decisions, DecisionStatus.APPROVED, APPROVED, _until)
    tellings += _to_requesters(decisions, DecisionStatus.REJECTED, REJECTED, lambda _: said)
    notifications.notify_many(tellings, now=now)
    settle(decisions, now=now)
    tell_waiting(decisions, now=now)


def settle(decisions: Sequence[Decision], *, now: datetime) -> None:
    """Those of ``decisions`` that are requested no longer wait for nobody: they leave every inbox where they did."""
    over = [f"{d.pk}" for d in decisions if d.status != DecisionStatus.REQUESTED]
    if over:
        notifications.settle(WAITING, over, now=now)
        notifications.settle(ESCALATED, [f"{key} late" for key in over], now=now)


def tell_undone(decision: Decision, again: Decision, *, now: datetime) -> None:
    """What was told of a vote that is undone is not news any more; the request waits again."""
    for kind in (APPROVED, REJECTED):
        notifications.settle(kind, [f"{decision.pk}"], now=now)
    settle([decision], now=now)
    tell_waiting([again], now=now)


def _to_requesters(
    decisions: Sequence[Decision], status: DecisionStatus, kind: str, note: Callable[[Decision], str]
) -> list[tuple[int, Telling]]:
    groups: dict[tuple[int, int | None], list[Decision]] = defaultdict(list)
    for d in decisions:
        if d.status == status:
            groups[d.requested_by_id, d.team_id].append(d)
    people = _people({user for user, _ in groups})
    return [
        (user, Telling(kind, tuple(_line(d, f"{d.pk}", note(d)) for d in found), _team(team)))
        for (user, team), found in groups.items()
        if user in people
    ]


def tell_ended(
    decisions: Sequence[Decision],
    kinds: Sequence[str],
    notes: Sequence[str],
    *,
    now: datetime,
    actor: User | None = None,
) -> None:
    """Tell of decisions that ended, each under one of ``KINDS`` and with a reason: who asked, and, where it had been in
    force, everybody in the team whose it was. ``actor``, who ended it, knows."""
    groups: dict[tuple[str, int | None, int], list[Line]] = defaultdict(list)
    for d, kind, note in zip(decisions, kinds, notes, strict=True):
        groups[kind, d.team_id, d.requested_by_id].append(_line(d, f"{d.pk}", note))
    members = people_of(team for _, team, _ in groups if team is not None)
    people = _people({user for *_, user in groups})
    tellings = []
    for (kind, team, requester), lines in groups.items():
        told = {requester} & people | (set(members.get(team or 0, ())) if kind != UNANSWERED else set())
        telling = Telling(kind, tuple(lines), _team(team))
        tellings += [(user, telling) for user in sorted(told - {actor.pk if actor else 0})]
    notifications.notify_many(tellings, now=now)
    settle(decisions, now=now)


def tell_ending(now: datetime | None = None) -> int:
    """The job: tell the teams of decisions that end within a week, once for each end; returns how many lines were new.

    What was decided for no longer than that says nothing new.
    """
    at = now or timezone.now()
    rows = Decision.objects.in_force(at).filter(expires_at__lte=at + SOON).select_related("risk__vulnerability")
    rows = rows.defer("reason", "conditions", "snapshot", "risk__description", "risk__remediation")
    new, last = 0, 0
    while chunk := list(rows.filter(pk__gt=last).order_by("pk")[:CHUNK]):
        last = chunk[-1].pk
        new += _tell_ending([d for d in chunk if d.decided_at is None or d.expires_at - d.decided_at > SOON], at)
    return new


def _tell_ending(decisions: Sequence[Decision], now: datetime) -> int:
    groups: dict[tuple[int | None, int], list[Line]] = defaultdict(list)
    for d in decisions:
        groups[d.team_id, d.requested_by_id].append(_line(d, f"{d.pk} {d.expires_at:%Y-%m-%d}", _until(d)))
    members, people = people_of(team for team, _ in groups if team is not None), _people({user for _, user in groups})
    tellings = [
        (user, Telling(ENDING, tuple(lines), _team(team)))
        for (team, requester), lines in groups.items()
        for user in sorted({requester} & people | set(members.get(team or 0, ())))
    ]
    return notifications.notify_many(tellings, now=now)


def _people(user_ids: set[int]) -> set[int]:
    return set(User.objects.people().filter(pk__in=user_ids, is_active=True).values_list("pk", flat=True))


def _team(team_id: int | None) -> int:
    """Whom a notice is for later: what no team owns is only for who sees everything."""
    return UNOWNED if team_id is None else team_id


def _line(decision: Decision, key: str, note: str, *, queue: bool = False) -> Line:
    risk, at = decision.risk, reverse("decisions:detail", args=[decision.pk])
    is_wide = decision.scope_kind == ScopeKind.ORGANISATION
    return Line(
        key=key,
        what=f"{_VERBS[DecisionKind(decision.kind)]} {risk.name}",
        where="the whole organisation" if is_wide else f"{decision.scope_kind} {decision.scope_label}",
        note=note,
        url=f"{reverse('decisions:queue')}?decision={decision.pk}" if queue else at,
        severity=Severity(risk.severity).label if risk.severity else "",
        known_exploited=risk.known_exploited,
        weight=weigh(known_exploited=risk.known_exploited, rank=risk.severity),
    )


def _asked(decision: Decision) -> str:
    return f"asked for by {decision.requested_by}, {_until(decision)}"


def _until(decision: Decision) -> str:
    return f"until {decision.expires_at.day} {decision.expires_at:%b %Y}"
