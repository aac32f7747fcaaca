"""Tell people of break-glass: who may grant one, who asked for it, and who has to look at its use."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from django.urls import reverse

from secguard.accounts.models import Membership, User
from secguard.accounts.roles import PERMISSIONS, Permission
from secguard.admission.models import BreakGlass
from secguard.approvals.services import UNOWNED
from secguard.images.models import ImageRepository
from secguard.notifications import services as notifications
from secguard.notifications.digest import Line, weigh
from secguard.notifications.kinds import Kind
from secguard.notifications.services import Telling
from secguard.web.wording import short_digest

WAITING, GRANTED = "break-glass-waiting", "break-glass-granted"
REFUSED, USED = "break-glass-refused", "break-glass-used"
KINDS = (
    Kind(
        WAITING,
        "Break-glass that waits for you",
        "Waits for you",
        5,
        "/break-glass/?status=requested",
        at_once=True,
        is_urgent=True,
        shared="Break-glass that waits",
    ),
    Kind(
        GRANTED,
        "Break-glass of yours that was granted",
        "Granted",
        6,
        "/break-glass/?status=granted",
        at_once=True,
        shared="Break-glass that was granted",
    ),
    Kind(
        REFUSED,
        "Break-glass of yours that may not be used",
        "Refused",
        7,
        "/break-glass/",
        at_once=True,
        shared="Break-glass that may not be used",
    ),
    Kind(
        USED,
        "Uses of break-glass that wait for a review",
        "To be reviewed",
        15,
        "/break-glass/?status=used",
        is_urgent=True,
    ),
)
GRANTERS: Final = tuple(role for role, held in PERMISSIONS.items() if Permission.BREAK_GLASS_GRANT in held)


def tell_asked(glass: BreakGlass, *, now: datetime) -> None:
    """Tell everybody who may grant it that it waits."""
    unit = "minute" if glass.minutes == 1 else "minutes"
    note = f"asked for by {glass.requested_by}, for {glass.minutes} {unit}: {glass.reason}"
    _tell(_others(glass.requested_by_id), WAITING, glass, note, now)


def tell_granted(glass: BreakGlass, *, now: datetime) -> None:
    """Tell who asked that it may be used, and until when; it waits for nobody any more."""
    settle(WAITING, glass, now=now)
    note = f"granted by {glass.decided_by}; it may be used once, until {glass.expires_at:%Y-%m-%d %H:%M} UTC"
    _tell(_requester(glass), GRANTED, glass, note, now)


def tell_ended(glass: BreakGlass, how: str, *, actor: User, now: datetime) -> None:
    """Tell who asked that it may not be used: ``how`` is refused or withdrawn. Whoever did that knows."""
    settle(WAITING, glass, now=now)
    settle(GRANTED, glass, now=now)
    if glass.requested_by_id != actor.pk:
        _tell(_requester(glass), REFUSED, glass, f"{how} by {actor}", now)


def tell_used(glass: BreakGlass, *, now: datetime) -> None:
    """Tell everybody who may review the use that it waits for them."""
    settle(GRANTED, glass, now=now)
    note = f"{glass.used_for}; granted to {glass.requested_by} by {glass.decided_by}"
    _tell(_others(glass.requested_by_id), USED, glass, note, now)


def settle(kind: str, glass: BreakGlass, *, now: datetime) -> None:
    notifications.settle(kind, [str(glass.pk)], now=now)


def _others(requester_id: int) -> list[int]:
    """People who may grant and review what ``requester_id`` asked for: by a role in the whole organisation."""
    held = Membership.objects.filter(team=None, role__in=GRANTERS, user__is_active=True, user__is_service=False)
    ids = held.exclude(user_id=requester_id).order_by("user_id").values_list("user_id", flat=True)
    return list(ids.distinct())


def _requester(glass: BreakGlass) -> list[int]:
    return [glass.requested_by_id] if glass.requested_by.is_active and not glass.requested_by.is_service else []


def _tell(user_ids: Iterable[int], kind: str, glass: BreakGlass, note: str, now: datetime) -> None:
    line = Line(
        key=str(glass.pk),
        what=f"One start of {_name(glass.digest)}",
        where=f"{glass.cluster.name}, namespace {glass.namespace}",
        note=note,
        url=reverse("break-glass:detail", args=[glass.pk]),
        weight=weigh(is_running=True),
    )
    # Nobody but who works for the whole organisation sees break-glass.
    notifications.notify(user_ids, Telling(kind, (line,), UNOWNED), now=now)


def _name(digest: str) -> str:
    """How people call it: a repository that it lies in, and its digest."""
    places = ImageRepository.objects.filter(image__digest=digest).order_by("pk")
    place = places.values_list("repository__name", flat=True).first()
    short = short_digest(digest)
    return f"{place}@{short}" if place else short
