"""Tell people of an incident: once, at once, whoever may handle it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from django.urls import reverse

from secguard import bulk
from secguard.accounts.models import Application, Membership
from secguard.accounts.roles import PERMISSIONS, Permission, Role
from secguard.findings.severity import Severity
from secguard.incidents.models import Incident
from secguard.notifications import services as notifications
from secguard.notifications.digest import Line, weigh
from secguard.notifications.kinds import Kind
from secguard.notifications.services import Telling

KIND: Final = Kind(
    "incident",
    "Incidents",
    "Incident",
    3,
    "/incidents/",
    at_once=True,
    is_urgent=True,
    shared="Incidents",
)
ONE_BY_ONE: Final = 5
"""Of what one batch of events brings a team so many are named, the first to be read; the others are one number."""
HANDLERS: Final = tuple(r.value for r, held in PERMISSIONS.items() if Permission.INCIDENT_HANDLE in held)
UNOWNED: Final = 0


def tell_new(incidents: Sequence[Incident], *, now: datetime) -> None:
    """Tell of incidents that are new, or have become severe. A fixed number of statements."""
    if not incidents:
        return
    owners = dict(
        Application.objects.filter(
            pk__in=bulk.among(sorted({i.application_id for i in incidents if i.application_id}))
        ).values_list("pk", "team_id")
    )
    by_team: dict[int, list[Incident]] = {}
    for incident in incidents:
        by_team.setdefault(owners.get(incident.application_id or 0) or UNOWNED, []).append(incident)
    people = _people(by_team)
    tellings = []
    for team, rows in sorted(by_team.items()):
        telling = _telling(team, rows)
        tellings += [(pk, telling) for pk in people.get(team, ())]
    notifications.notify_many(tellings, now=now)


def _people(teams: Iterable[int]) -> dict[int, list[int]]:
    """Who may handle what a team owns; reviewers of the whole organisation for what nobody does."""
    wanted = set(teams)
    held = Membership.objects.filter(user__is_active=True, user__is_service=False).order_by("user_id")
    found: dict[int, list[int]] = {}
    rows = held.filter(role__in=HANDLERS, team_id__in=bulk.among(sorted(wanted))).values_list("team_id", "user_id")
    for team, user in rows.distinct():
        found.setdefault(team or UNOWNED, []).append(user)
    if UNOWNED in wanted:
        reviewers = held.filter(role=Role.SECURITY_REVIEWER.value, team=None).values_list("user_id", flat=True)
        found[UNOWNED] = list(reviewers.distinct())
    return found


def _telling(team: int, incidents: Sequence[Incident]) -> Telling:
    ranked = sorted(incidents, key=lambda i: (-i.score, i.pk))
    lines = tuple(_line(i) for i in ranked[:ONE_BY_ONE])
    return Telling(KIND.name, lines, team, more=len(ranked) - len(lines))


def _line(incident: Incident) -> Line:
    severity = Severity(incident.severity)
    return Line(
        key=str(incident.pk),
        what=incident.title,
        where=incident.where,
        note="; ".join(words for _, words in incident.reasons[1:4]),
        url=reverse("incidents:detail", args=[incident.pk]),
        severity=severity.label,
        is_running=incident.workload_id is not None,
        weight=weigh(is_running=incident.workload_id is not None, rank=int(severity)),
    )


def settle(incident: Incident, *, now: datetime) -> None:
    """It waits for nobody any more."""
    notifications.settle(KIND.name, [str(incident.pk)], now=now)
