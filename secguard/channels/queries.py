"""Channels and what was posted to them, as pages and the API show them."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Count, Q, QuerySet

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.channels.models import Channel, Delivery
from secguard.errors import NotFound
from secguard.notifications import kinds
from secguard.notifications.kinds import Kind


def channels(user: User) -> QuerySet[Channel]:
    """Those that ``user`` may edit, each with ``waiting``: how many messages wait. Raises ``NotAllowed``."""
    require(user, Permission.CHANNEL_EDIT, anywhere=True)
    waits = Count("deliveries", filter=Q(deliveries__status="waiting"))
    return Channel.objects.visible_to(user).select_related("team", "created_by").annotate(waiting=waits)


def find(user: User, channel_id: int) -> Channel:
    """The channel, if ``user`` may edit it; else ``NotFound``."""
    found = channels(user).filter(pk=channel_id).first()
    if found is None:
        raise NotFound(f"There is no channel {channel_id}.")
    return found


def deliveries(channel: Channel) -> QuerySet[Delivery]:
    """What was posted to it and what waits, the newest first."""
    return Delivery.objects.filter(channel=channel).order_by("-pk")


def state_of(channel: Channel, now: datetime) -> str:
    """``off``, ``failing``, ``working`` or ``unused``."""
    if not channel.is_active:
        return "off"
    if channel.failures:
        return "failing"
    return "working" if channel.sent_at else "unused"


def heading_of(name: str) -> str:
    """A kind of news in words, for who reads it with others."""
    kind: Kind = kinds.kind_or_plain(name)
    return kind.shared or kind.heading


def shared_kinds() -> list[Kind]:
    """The kinds of news that a channel can be told."""
    return [kind for kind in kinds.kinds() if not kind.is_personal]
