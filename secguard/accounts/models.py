"""Who works here: people, teams, what a team owns, and the tokens that pipelines carry."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import connection, models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from secguard.accounts.roles import PERMISSIONS, Permission, Role

ROLE_CHOICES = [(r.value, r.value) for r in Role]


class UserQuerySet(models.QuerySet["User"]):
    def visible_to(self, user: User) -> UserQuerySet:
        """Everybody, or oneself and the people of one's teams."""
        if user.sees_everything:
            return self
        mates = Membership.objects.filter(team_id__in=user.team_ids).values("user_id")
        return self.filter(Q(pk=user.pk) | Q(pk__in=mates))

    def people(self) -> UserQuerySet:
        """Those who sign in: no services."""
        return self.filter(is_service=False)


class UserManager(BaseUserManager["User"]):
    def get_queryset(self) -> UserQuerySet:
        return UserQuerySet(self.model, using=self._db)

    def visible_to(self, user: User) -> UserQuerySet:
        return self.get_queryset().visible_to(user)

    def people(self) -> UserQuerySet:
        return self.get_queryset().people()

    def get_by_natural_key(self, username: str | None) -> User:
        """Names differ by more than their case (a constraint holds that), so case is not asked for at sign-in."""
        return self.get(username__iexact=username)


class User(AbstractBaseUser):
    """A person or a service. Roles come from memberships, nothing else makes anyone more."""

    username = models.CharField(max_length=150, unique=True)
    display_name = models.CharField(max_length=200, blank=True)
    email = models.EmailField(blank=True)
    is_active = models.BooleanField(default=True)
    is_service = models.BooleanField(default=False)
    is_sample = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    USERNAME_FIELD = "username"
    objects = UserManager()

    token: ApiToken | None = None
    """Set by the API's authentication: what this request may do is at most what its token may."""

    class Meta:
        ordering = ["username"]
        constraints = [models.UniqueConstraint(Lower("username"), name="user_name_once")]

    def __str__(self) -> str:
        return self.display_name or self.username

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        self.__dict__.pop("_grants", None)
        super().refresh_from_db(*args, **kwargs)

    def grants(self) -> list[tuple[Role, int | None]]:
        """(role, team id or None for the organisation), narrowed to the token's role and team; loaded once."""
        cached: list[tuple[Role, int | None]] | None = self.__dict__.get("_grants")
        if cached is None:
            # Whoever was deactivated is nobody here, even in a request that began before.
            cached = _memberships_of(self.pk) if self.pk and self.is_active else []
            if self.token is not None:
                cached = narrowed(cached, Role(self.token.role), self.token.team_id)
            self.__dict__["_grants"] = cached
        return cached

    @classmethod
    def who_sees_everything(cls) -> User:
        """Nobody's account, not saved, that may read all: for figures that no person asked for."""
        nobody = cls(username="")
        nobody.__dict__["_grants"] = [(Role.VIEWER, None)]
        return nobody

    def can(self, permission: str, team_id: int | None = None) -> bool:
        """May this person do ``permission``: anywhere at all (no ``team_id``), or for that team's things."""
        wanted = Permission(permission)
        return any(
            wanted in PERMISSIONS[role] for role, team in self.grants() if team is None or team_id in (None, team)
        )

    def teams_with(self, permission: str) -> frozenset[int] | None:
        """The teams for whose things this person may do ``permission``; None: for the whole organisation's."""
        wanted = Permission(permission)
        teams = {team for role, team in self.grants() if wanted in PERMISSIONS[role]}
        return None if None in teams else frozenset(team for team in teams if team is not None)

    def roles_for(self, team_ids: set[int]) -> frozenset[Role]:
        """Roles held organisation-wide or in every one of ``team_ids``."""
        grants = self.grants()
        wide = {r for r, t in grants if t is None}
        narrow = {r for r, _ in grants if team_ids and all((r, t) in grants for t in team_ids)}
        return frozenset(wide | narrow)

    @property
    def sees_everything(self) -> bool:
        return any(team is None for _, team in self.grants())

    @property
    def team_ids(self) -> set[int]:
        return {team for _, team in self.grants() if team is not None}


def _memberships_of(user_id: int) -> list[tuple[Role, int | None]]:
    """Asked for by every request, so the statement is ready made: composing it takes longer than its answer."""
    with connection.cursor() as cursor:
        cursor.execute(_memberships_sql(), [user_id])
        return [(Role(role), team) for role, team in cursor.fetchall()]


@lru_cache(maxsize=1)
def _memberships_sql() -> str:
    table = connection.ops.quote_name(Membership._meta.db_table)
    return f"SELECT role, team_id FROM {table} WHERE user_id = %s ORDER BY id"  # noqa: S608 - a name of our own


def narrowed(grants: list[tuple[Role, int | None]], role: Role, team_id: int | None) -> list[tuple[Role, int | None]]:
    """What a token leaves of its owner's grants: its own role only, in its own team only."""
    kept = [(r, t) for r, t in grants if r == role]
    if team_id is None:
        return kept
    return [(role, team_id)] if any(t in (None, team_id) for _, t in kept) else []


class TeamQuerySet(models.QuerySet["Team"]):
    def visible_to(self, user: User) -> TeamQuerySet:
        return self if user.sees_everything else self.filter(pk__in=user.team_ids)


class Team(models.Model):
    """Who owns applications together, and sees what is theirs."""

    name = models.CharField(max_length=100, unique=True)
    slug = models.SlugField(max_length=100, unique=True)
    is_sample = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    objects = TeamQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class MembershipQuerySet(models.QuerySet["Membership"]):
    def visible_to(self, user: User) -> MembershipQuerySet:
        """All, or one's own and those in one's teams."""
        if user.sees_everything:
            return self
        return self.filter(Q(user=user) | Q(team_id__in=user.team_ids))


class Membership(models.Model):
    """One role of one person, in one team or (no team) in the whole organisation."""

    user = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, models.CASCADE, null=True, blank=True, related_name="memberships")
    role = models.CharField(max_length=32, choices=ROLE_CHOICES)

    objects = MembershipQuerySet.as_manager()

    class Meta:
        ordering = ["user__username", "team__name", "role"]
        constraints = [
            models.UniqueConstraint(fields=["user", "team", "role"], name="membership_once"),
            models.UniqueConstraint(fields=["user", "role"], condition=Q(team=None), name="membership_once_wide"),
            models.CheckConstraint(condition=Q(role__in=[r.value for r in Role]), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} {self.team_id or 'organisation'}"


class ApplicationQuerySet(models.QuerySet["Application"]):
    def visible_to(self, user: User) -> ApplicationQuerySet:
        return self if user.sees_everything else self.filter(team_id__in=user.team_ids)


class Application(models.Model):
    """The repositories and workloads that one team owns."""

    name = models.CharField(max_length=100, unique=True)
    slug = models.SlugField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    team = models.ForeignKey(Team, models.PROTECT, related_name="applications")
    is_exposed = models.BooleanField(default=False, help_text="Reachable from outside the organisation.")
    is_production = models.BooleanField(default=True)
    is_sample = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    objects = ApplicationQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self, now: datetime) -> ApiTokenQuerySet:
        return self.filter(revoked_at=None, expires_at__gt=now, user__is_active=True)

    def visible_to(self, user: User) -> ApiTokenQuerySet:
        """One's own; those of the teams whose tokens one manages, or all."""
        teams = user.teams_with("token:manage")
        return self if teams is None else self.filter(Q(user=user) | Q(team_id__in=teams))


class ApiToken(models.Model):
    """A bearer token: shown once, kept as a hash, with one role, perhaps one team, and an end."""

    user = models.ForeignKey(User, models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    role = models.CharField(max_length=32, choices=ROLE_CHOICES)
    team = models.ForeignKey(Team, models.CASCADE, null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(role__in=[r.value for r in Role]), name="apitoken_role_known")
        ]

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}"

    def state(self, now: datetime) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at <= now else "active"


class SignInLink(models.Model):
    """A one-time way in, for the owner's first visit and for a person who was just invited; kept as a hash."""

    user = models.ForeignKey(User, models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"sign-in link of {self.user_id}"


class SignInAttempts(models.Model):
    """How often a name was tried from an address since ``since``. Hashed: mistyped names are often passwords."""

    key = models.CharField(max_length=64, unique=True)
    attempts = models.PositiveIntegerField(default=0)
    # What has aged out is deleted by this.
    since = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "sign-in attempts"

    def __str__(self) -> str:
        return f"{self.attempts} since {self.since:%H:%M}"


def owner_filter(user: Any, path: str) -> Q:
    """``visible_to`` for a row whose application stands at ``path``: the team's own rows, or all."""
    if user.sees_everything:
        return Q()
    return Q(**{f"{path}__team_id__in": user.team_ids})
