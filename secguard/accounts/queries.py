"""Rows of people, teams and tokens as the pages show them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db.models import Count, Prefetch, Q, QuerySet

from secguard import bulk
from secguard.accounts.models import ApiToken, Application, CiIdentity, Membership, Team, User
from secguard.notifications.services import Addressee


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


def limit_of(row: ApiToken | CiIdentity) -> list[str]:
    """The names of the applications that a token or a CI identity is limited to, and the patterns of repositories;
    none where there is no such limit."""
    rows = Application.objects.filter(pk__in=row.application_ids or [])
    return [*rows.order_by("name").values_list("name", flat=True), *(row.repositories or [])]


def addressees(user_ids: Sequence[int]) -> dict[int, Addressee]:
    """``notifications.services.ADDRESSEES``: active people with an address; no services, nobody of the sample."""
    rows = User.objects.people().filter(pk__in=bulk.among(user_ids), is_active=True, is_sample=False)
    users = list(rows.exclude(email="").order_by("pk"))
    teams: dict[int, set[int | None]] = defaultdict(set)
    held = Membership.objects.filter(user_id__in=[u.pk for u in users]).order_by("pk")
    for user_id, team_id in held.values_list("user_id", "team_id"):
        teams[user_id].add(team_id)
    return {
        u.pk: Addressee(
            email=u.email,
            name=u.display_name or u.username,
            pk=u.pk,
            sees_everything=None in teams[u.pk],
            team_ids=frozenset(team for team in teams[u.pk] if team is not None),
        )
        for u in users
    }


def application_slugs(application_ids: Sequence[int]) -> dict[int, str]:
    """{application: what its pages' addresses call it}. One query."""
    rows = Application.objects.filter(pk__in=bulk.among(application_ids)).order_by()
    return dict(rows.values_list("pk", "slug"))


def people_of(team_ids: Iterable[int]) -> dict[int, list[int]]:
    """{team id: the ids of the active people in it}: whom to tell of what is theirs."""
    held = Membership.objects.filter(team_id__in=set(team_ids), user__is_active=True, user__is_service=False)
    found: dict[int, list[int]] = defaultdict(list)
    for team_id, user_id in held.order_by("team_id", "user_id").values_list("team_id", "user_id").distinct():
        found[team_id or 0].append(user_id)
    return found
