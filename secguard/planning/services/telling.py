"""Tell people of requirements: who may say that one is not applicable, and who asked how it ended."""

from __future__ import annotations

from datetime import datetime

from secguard.accounts.models import Membership
from secguard.accounts.roles import Role
from secguard.approvals.queries import Grants, held
from secguard.approvals.quorum import Choice
from secguard.notifications import services as notifications
from secguard.notifications.digest import Line
from secguard.notifications.kinds import Kind
from secguard.notifications.services import Telling
from secguard.planning.models import RequirementWaiver
from secguard.planning.template import Requirement

WAITING, ENDED = "requirement-waiting", "requirement-ended"
KINDS = (
    Kind(
        WAITING,
        "Requirements that are said not to apply",
        "Waits for you",
        23,
        "/planning/?waiting=true",
        shared="Requirements that wait",
    ),
    Kind(ENDED, "What you said does not apply", "Requirement", 44, "/planning/", shared="Requirements"),
)


def tell_waiting(waiver: RequirementWaiver, requirement: Requirement, *, now: datetime) -> None:
    """Tell everybody who may approve it, but for who asks."""
    application = waiver.checklist.application
    roles = frozenset(map(Role, waiver.request.required))
    rows = Membership.objects.filter(role__in=roles, user__is_active=True, user__is_service=False)
    grants: dict[int, Grants] = {}
    for user, role, team in rows.order_by("user_id").values_list("user_id", "role", "team_id"):
        grants.setdefault(user, set()).add((Role(role), team))
    owner = frozenset({application.team_id})
    people = [pk for pk, holds in grants.items() if pk != waiver.request.requester_id and held(holds, owner) & roles]
    line = _line(waiver, f"not applicable: {requirement.title}")
    notifications.notify_many([(pk, Telling(WAITING, (line,), application.team_id)) for pk in people], now=now)


def tell_ended(waiver: RequirementWaiver, choice: Choice | None, comment: str, *, now: datetime) -> None:
    """It waits for nobody any more; and whoever asked hears what was said."""
    notifications.settle(WAITING, [str(waiver.pk)], now=now)
    person = waiver.request.requester
    if choice is None or person.is_service or not person.is_active:
        return
    said = "approved" if choice is Choice.APPROVE else f"rejected: {comment.strip()}"
    line = _line(waiver, said[:300])
    notifications.notify_many([(person.pk, Telling(ENDED, (line,), waiver.checklist.application.team_id))], now=now)


def _line(waiver: RequirementWaiver, note: str) -> Line:
    application = waiver.checklist.application
    return Line(
        key=str(waiver.pk),
        what=f"{waiver.requirement} of {application.name}",
        where=application.name,
        note=note,
        url=f"/applications/{application.slug}/checklist/#{waiver.requirement}",
        severity="",
        known_exploited=False,
        weight=0,
    )
