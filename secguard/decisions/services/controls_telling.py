"""Tell people of controls: who may confirm one, and who has to give evidence before decisions end with it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from secguard.accounts.models import Membership, User
from secguard.accounts.queries import people_of
from secguard.accounts.roles import PERMISSIONS, Permission
from secguard.approvals.services import UNOWNED
from secguard.decisions.controls import COUNTS, ControlState
from secguard.decisions.models import Control, ControlEvidence
from secguard.decisions.queries.controls import lapse_words, team_of
from secguard.notifications import services as notifications
from secguard.notifications.digest import Line
from secguard.notifications.kinds import Kind
from secguard.notifications.services import Telling

WAITING, DUE, LAPSED = "control-waiting", "control-due", "control-lapsed"
KINDS = (
    Kind(
        LAPSED,
        "Controls of yours that hold no longer",
        "Lapsed",
        12,
        "/controls/?state=stale",
        shared="Controls that hold no longer",
    ),
    Kind(WAITING, "Controls that wait to be confirmed", "To be confirmed", 22, "/controls/?state=proposed"),
    Kind(
        DUE,
        "Controls of yours that need evidence",
        "Needs evidence",
        24,
        "/controls/?state=going-stale",
        shared="Controls that need evidence",
    ),
)
LATEST: Final = timedelta(days=7)
"""What lapsed longer ago was told then."""
CONFIRMERS: Final = tuple(role for role, held in PERMISSIONS.items() if Permission.CONTROL_CONFIRM in held)


def tell_waiting(control: Control, *, now: datetime) -> None:
    """Tell everybody who may confirm it that it waits: neither who proposed it nor who answers for it."""
    where = Q(team=None) | Q(team_id=team_of(control)) if control.application else Q(team=None)
    held = Membership.objects.filter(where, role__in=CONFIRMERS, user__is_active=True, user__is_service=False)
    others = held.exclude(user_id__in=[pk for pk in (control.proposed_by_id, control.owner_id) if pk])
    ids = list(others.order_by("user_id").values_list("user_id", flat=True).distinct())
    notifications.notify(ids, _telling(WAITING, control, f"{control.pk}", f"by {control.proposed_by}"), now=now)


def settle_waiting(control: Control, *, now: datetime) -> None:
    notifications.settle(WAITING, [f"{control.pk}"], now=now)


def settle_due(control: Control, *, now: datetime) -> None:
    if control.due_at is not None:
        notifications.settle(DUE, [_due_key(control)], now=now)


def tell_evidence(control: Control, row: ControlEvidence, before: ControlState, *, now: datetime) -> None:
    """Tell who answers for it that it is contradicted now; whoever said so knows."""
    if control.state_at(now) is ControlState.CONTRADICTED and before is not ControlState.CONTRADICTED:
        people = [pk for pk in owners(control) if pk != row.by_id]
        key = f"{control.pk} {row.pk}"
        notifications.notify(people, _telling(LAPSED, control, key, lapse_words(control, now)), now=now)


def tell_due(now: datetime | None = None) -> int:
    """The job: tell the owners of confirmed controls that are going stale, and of those that are; once for each end.

    Returns how many controls were told of.
    """
    at = now or timezone.now()
    rows = Control.objects.filter(status="confirmed", contradicted_at=None, warn_at__lte=at, due_at__gt=at - LATEST)
    rows = rows.select_related("application", "owner", "proposed_by")
    told = 0
    for control in rows.order_by("pk"):
        state = control.state_at(at)
        if state in COUNTS:
            note = f"evidence is due by {control.due_at:%Y-%m-%d %H:%M} UTC, or what leans on it ends"
            telling = _telling(DUE, control, _due_key(control), note)
        else:
            notifications.settle(DUE, [_due_key(control)], now=at)
            telling = _telling(LAPSED, control, _due_key(control), lapse_words(control, at))
        told += notifications.notify(owners(control), telling, now=at) > 0
    return told


def owners(control: Control) -> list[int]:
    """Who answers for it: the person named, else the team's people, else who proposed it."""
    if control.owner_id is not None:
        wanted = [control.owner_id]
    elif control.application is not None:
        return list(people_of([control.application.team_id]).get(control.application.team_id, ()))
    else:
        wanted = [control.proposed_by_id]
    people = User.objects.people().filter(pk__in=wanted, is_active=True)
    return list(people.values_list("pk", flat=True))


def _due_key(control: Control) -> str:
    return f"{control.pk} {control.due_at:%Y-%m-%dT%H:%M}"


def _telling(kind: str, control: Control, key: str, note: str) -> Telling:
    where = f"application {control.application.name}" if control.application else "the whole organisation"
    line = Line(key=key, what=control.name, where=where, note=note, url=reverse("controls:detail", args=[control.pk]))
    team = team_of(control)
    return Telling(kind, (line,), UNOWNED if team is None else team)
