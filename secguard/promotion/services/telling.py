"""Tell people of promotions: who may approve one, and who asked for it how it ended."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from secguard.accounts.models import Membership
from secguard.accounts.roles import Role
from secguard.approvals.models import Absence
from secguard.approvals.queries import Grants, held, votes_of
from secguard.approvals.services import UNOWNED
from secguard.notifications import services as notifications
from secguard.notifications.digest import Line
from secguard.notifications.kinds import Kind
from secguard.notifications.services import Telling
from secguard.promotion import queries
from secguard.promotion.lifecycle import PromotionStatus
from secguard.promotion.models import Promotion
from secguard.promotion.services.recording import team_of

WAITING, ENDED, RECALLED = "promotion-waiting", "promotion-ended", "promotion-recalled"
KINDS = (
    Kind(RECALLED, "Images that were called back", "Called back", 12, "/promotions/?status=recalled"),
    Kind(
        WAITING,
        "Promotions that wait for you",
        "Waits for you",
        21,
        "/promotions/?status=waiting",
        shared="Promotions that wait",
    ),
    Kind(ENDED, "Your promotions", "Promotion", 42, "/promotions/?mine=true", shared="Promotions"),
)


def tell_waiting(promotion: Promotion, *, now: datetime) -> None:
    """Tell everybody who may approve it, and their deputies while they are away; whoever knows is not told again."""
    if promotion.approval is None:
        return
    roles = frozenset(map(Role, promotion.approval.required))
    cast = votes_of([promotion.approval])[promotion.approval.pk]
    gone = {promotion.requested_by_id} | {v.voter_id for v in cast} | {v.seat_of_id for v in cast}
    line = _line(promotion, f"asked for by {_asker(promotion)}")
    people = [
        user
        for user, holds in _grants(roles).items()
        if user not in gone and held(holds, queries.teams_of(promotion)) & roles
    ]
    deputies = Absence.objects.at(now).filter(person__in=people, deputy__is_active=True).order_by("pk")
    also = [pk for pk in deputies.values_list("deputy", flat=True) if pk not in gone]
    told = dict.fromkeys([*people, *also])
    notifications.notify_many([(user, Telling(WAITING, (line,), _team(promotion))) for user in told], now=now)


def tell_ended(promotion: Promotion, *, now: datetime) -> None:
    """It waits for nobody any more; and whoever asked for it hears how it ended."""
    if promotion.status == PromotionStatus.WAITING:
        return
    notifications.settle(WAITING, [str(promotion.pk)], now=now)
    person = promotion.requested_by
    if promotion.is_open or person is None or person.is_service or not person.is_active:
        return
    kind = RECALLED if promotion.status == PromotionStatus.RECALLED else ENDED
    said = "done" if promotion.status == PromotionStatus.PROMOTED else f"{promotion.status}: {promotion.why}"
    telling = Telling(kind, (_line(promotion, said[:300]),), _team(promotion))
    notifications.notify_many([(person.pk, telling)], now=now)


def _line(promotion: Promotion, said: str) -> Line:
    tag = f":{promotion.tags[0]}" if promotion.tags else f"@{promotion.digest[:19]}"
    return Line(
        key=str(promotion.pk),
        what=f"{promotion.source.path}{tag} to {promotion.environment.name}",
        where=promotion.destination_name,
        note=said,
        url=f"/promotions/{promotion.pk}/",
        severity="",
        known_exploited=False,
        weight=0,
    )


def _asker(promotion: Promotion) -> str:
    return str(promotion.requested_by) if promotion.requested_by else "the rule"


def _team(promotion: Promotion) -> int:
    team = team_of(promotion.source)
    return UNOWNED if team is None else team


def _grants(roles: frozenset[Role]) -> dict[int, Grants]:
    rows = Membership.objects.filter(role__in=roles, user__is_active=True, user__is_service=False)
    found: dict[int, Grants] = defaultdict(set)
    for user, role, team in rows.order_by("user_id").values_list("user_id", "role", "team_id"):
        found[user].add((Role(role), team))
    return found
