"""Rows of people, teams and tokens as the pages show them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Count, Prefetch, Q, QuerySet

from secguard.accounts.models import ApiToken, Application, Membership, Team, User


def people(user: User) -> QuerySet[User]:
    """Everybody whom ``user`` may see, each with the roles that ``user`` may know of."""
    shown = Membership.objects.visible_to(user).select_related("team")
    return User.objects.visible_to(user).prefetch_related(Prefetch("memberships", shown))


def teams(user: User) -> QuerySet[Team]:
    """Teams with ``people`` (how many are in them) and ``owned`` (how many applications they own)."""
    return Team.objects.visible_to(user).annotate(
        people=Count("memberships__user", filter=Q(memberships__user__is_active=True), distinct=True),
        owned=Count("applications", distinct=True),
    )


def applications(user: User) -> QuerySet[Application]:
    return Application.objects.visible_to(user).select_related("team")


def with_state(tokens: Iterable[ApiToken], now: datetime) -> list[tuple[ApiToken, str]]:
    """(token, ``active``, ``expired`` or ``revoked``)."""
    return [(token, token.state(now)) for token in tokens]
