"""What people do with an incident: acknowledge, assign, comment, decide, close, reopen. Each needs incident:handle for
the team whose application it is in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.audit.actions import Action
from secguard.errors import Conflict, Invalid
from secguard.incidents.lifecycle import Act, Decision, after
from secguard.incidents.models import Incident
from secguard.incidents.services import containing, expecting, telling
from secguard.incidents.services.acting import keep, locked, may, require_for, said

DEFAULT_DAYS: Final = 90
MOST_DAYS: Final = 365


class Scope(StrEnum):
    """Where it is expected: at this one place, or wherever the same application runs an image of the repository."""

    PLACE = "place"
    REPOSITORY = "repository"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is decided. ``days`` and ``scope`` are of what is expected."""

    decision: Decision
    reason: str
    days: int = DEFAULT_DAYS
    scope: Scope = Scope.PLACE


@transaction.atomic
def acknowledge(pk: int, *, actor: User) -> Incident:
    """Say that somebody looks at it; it is theirs where it is nobody's."""
    incident, now = _begun(pk, actor), timezone.now()
    incident.status = after(incident.status, Act.ACKNOWLEDGE)
    if incident.assigned_to_id is None and not actor.is_service:
        incident.assigned_to = actor
    incident.save(update_fields=["status", "assigned_to"])
    telling.settle(incident, now=now)
    keep(incident, Action.INCIDENT_ACKNOWLEDGE, "acknowledged", actor=actor, now=now)
    return incident


@transaction.atomic
def assign(pk: int, person: User | None, *, actor: User) -> Incident:
    """Make it somebody's, who may handle it themselves; ``None``: nobody's."""
    incident, now = _begun(pk, actor), timezone.now()
    if not incident.is_live:
        raise Conflict(f"The incident is {incident.status}: nobody has to do anything with it.", code="incident")
    if person is not None and not _may_be_assigned(incident, person):
        raise Invalid(
            f"{person.username} may not handle this incident; choose somebody who develops in its team, an operator or "
            "a security reviewer.",
            where="assignee",
            code="assignee",
        )
    incident.assigned_to = person
    incident.save(update_fields=["assigned_to"])
    what = f"assigned to {person}" if person else "assigned to nobody"
    details = {"assignee": person.username if person else None}
    keep(incident, Action.INCIDENT_ASSIGN, what, actor=actor, now=now, details=details)
    return incident


def _may_be_assigned(incident: Incident, person: User) -> bool:
    return person.is_active and not person.is_service and may(incident, Permission.INCIDENT_HANDLE, person)


@transaction.atomic
def comment(pk: int, text: str, *, actor: User) -> Incident:
    incident, now = _begun(pk, actor), timezone.now()
    words = said(text, where="text", what="something")
    keep(incident, Action.INCIDENT_COMMENT, "commented", words, actor=actor, now=now)
    return incident


@transaction.atomic
def decide(pk: int, verdict: Verdict, *, actor: User) -> Incident:
    """Expected: the like of it makes no incident until its end. Attack: what would contain it is proposed."""
    incident, now = _begun(pk, actor), timezone.now()
    reason = said(verdict.reason, where="reason", what="why")
    act = Act.EXPECT if verdict.decision is Decision.EXPECTED else Act.ATTACK
    incident.status = after(incident.status, act)
    incident.decision, incident.reason = verdict.decision, reason
    incident.decided_by, incident.decided_at = actor, now
    incident.save(update_fields=["status", "decision", "reason", "decided_by", "decided_at"])
    telling.settle(incident, now=now)
    details: dict[str, object] = {"decision": verdict.decision.value}
    if verdict.decision is Decision.EXPECTED:
        until = _until(verdict.days, now)
        made = expecting.expect(incident, reason, until, verdict.scope is Scope.REPOSITORY, actor=actor, now=now)
        containing.withdraw(incident, "It was decided to be expected.", actor=actor, now=now)
        details |= {"scope": verdict.scope.value, "until": until.isoformat(), "expectations": made}
    else:
        containing.propose_all(incident, now)
    keep(
        incident, Action.INCIDENT_DECIDE, f"decided: {verdict.decision}", reason, actor=actor, now=now, details=details
    )
    return incident


def _until(days: int, now: datetime) -> datetime:
    if not 1 <= days <= MOST_DAYS:
        raise Invalid(f"It is expected for {days} days; choose 1 to {MOST_DAYS}.", where="days")
    return now + timedelta(days=days)


@transaction.atomic
def close(pk: int, reason: str, *, actor: User) -> Incident:
    """End it without a decision, or once it is contained. What was proposed and not done is refused with it."""
    incident, now = _begun(pk, actor), timezone.now()
    words = said(reason, where="reason", what="why")
    incident.status = after(incident.status, Act.CLOSE)
    incident.reason = words
    incident.save(update_fields=["status", "reason"])
    telling.settle(incident, now=now)
    containing.withdraw(incident, "The incident was closed.", actor=actor, now=now)
    keep(incident, Action.INCIDENT_CLOSE, "closed", words, actor=actor, now=now)
    return incident


@transaction.atomic
def reopen(pk: int, reason: str, *, actor: User) -> Incident:
    """Take its end back. What it was decided to be expected under ends with it."""
    incident, now = _begun(pk, actor), timezone.now()
    words = said(reason, where="reason", what="why")
    incident.status = after(incident.status, Act.REOPEN)
    incident.decision, incident.reason, incident.decided_by, incident.decided_at = "", "", None, None
    try:
        with transaction.atomic():
            incident.save(update_fields=["status", "decision", "reason", "decided_by", "decided_at"])
    except IntegrityError:
        other = Incident.objects.live().filter(key=incident.key).values_list("pk", flat=True).first()
        raise Conflict(
            f"The same goes on in incident {other}, which is open; go on there.", code="incident-goes-on"
        ) from None
    expecting.end_those_of(incident, actor=actor, now=now)
    keep(incident, Action.INCIDENT_REOPEN, "opened again", words, actor=actor, now=now)
    return incident


def _begun(pk: int, actor: User) -> Incident:
    incident = locked(pk, actor)
    require_for(incident, Permission.INCIDENT_HANDLE, actor)
    return incident
