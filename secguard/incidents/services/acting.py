"""What every act on an incident has in common: the row, locked and seen by the actor; the permission; what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Invalid, NotFound
from secguard.incidents.models import Incident, IncidentEntry

MAX_TEXT: Final = 4_000


def locked(pk: int, actor: User | None) -> Incident:
    """The incident, for the rest of the transaction. Raises ``NotFound`` where ``actor`` may not see it."""
    rows = Incident.objects.visible_to(actor) if actor is not None else Incident.objects.all()
    rows = rows.select_related("application", "workload__cluster", "image", "assigned_to")
    found = rows.select_for_update(of=("self",)).filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no incident {pk} that you may see.", code="no-incident")
    return found


def require_for(incident: Incident, permission: Permission, actor: User | None) -> None:
    """For its team's things; one that is tied to no application is the organisation's."""
    require(actor, permission, team_id=incident.team_id, application=incident.application)


def may(incident: Incident, permission: Permission, user: User) -> bool:
    """Whether ``require_for`` lets ``user`` pass."""
    if user.limit is not None:
        return user.may_within(permission, incident.application)
    teams = user.teams_with(permission)
    return teams is None or incident.team_id in teams


def said(text: str, *, where: str, what: str) -> str:
    """The words, cleaned. Raises ``Invalid`` where there are none, or too many."""
    found = text.replace("\0", "").strip()
    if not found:
        raise Invalid(f"Say {what}: whoever reads this later was not there.", where=where)
    if len(found) > MAX_TEXT:
        raise Invalid(f"The text has {len(found):,} characters; at most {MAX_TEXT:,} are kept.", where=where)
    return found


def keep(
    incident: Incident,
    action: Action,
    what: str,
    text: str = "",
    *,
    actor: User | None,
    now: datetime,
    details: Mapping[str, Any] | None = None,
) -> None:
    """In the incident's history and, last, in the audit log."""
    IncidentEntry.objects.create(incident=incident, at=now, person=actor, what=what[:200], text=text)
    record(
        action,
        actor=actor,
        subject_type="incident",
        subject_id=incident.pk,
        subject=f"{incident.title} in {incident.where}"[:300],
        team_id=incident.team_id,
        details={"what": what} | ({"text": text} if text else {}) | dict(details or {}),
    )
