"""Who works here: people, teams, what a team owns, and the tokens that pipelines carry."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.db import connection, models
from django.db.models import Q
from django.db.models.functions import Lower
from django.utils import timezone

from secguard.accounts.limits import Limit
from secguard.accounts.roles import APPROVERS, PERMISSIONS, Permission, Role
from secguard.accounts.trust import Kind, Trust

ROLE_CHOICES = [(r.value, r.value) for r in Role]
CI_KIND_CHOICES = [(k.value, k.value) for k in Kind]
CI_ROLE_CHOICES = [(r.value, r.value) for r in Role if r not in APPROVERS and r is not Role.ADMINISTRATOR]
"""The roles that a pipeline may get: approving and administering are a person's work."""
MAX_CI_MINUTES = 60


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
        self.__dict__.pop("_limit", None)
        super().refresh_from_db(*args, **kwargs)

    def grants(self) -> list[tuple[Role, int | None]]:
        """(role, team id or None for the organisation), narrowed to the token's role and team; loaded once."""
        cached: list[tuple[Role, int | None]] | None = self.__dict__.get("_grants")
        if cached is None:
            # Whoever was deactivated is nobody here, even in a request that began before.
            cached = _memberships_of(self.pk) if self.pk and self.is_active else []
            if self.token is not None:
                cached = narrowed(cached, Role(self.token.role), self.token.team_id)
                if self.token.is_limited:
                    # Less than a team: whatever asks about teams alone is told of none, so that nothing forgets it.
                    self.__dict__["_limit"] = self.token.limit(is_void=not cached)
                    cached = []
            self.__dict__["_grants"] = cached
        return cached

    @property
    def limit(self) -> Limit | None:
        """What the request's token is limited to within its team; None: no such limit.

        Whoever is limited so holds no role in any team: ``owner_filter`` and ``services.require`` alone let them pass,
        each for what lies inside while its team is the token's.
        """
        self.grants()
        limit: Limit | None = self.__dict__.get("_limit")
        return limit

    def may_within(self, permission: str, application: Application | None, repository: str = "") -> bool:
        """May somebody with a limited token do ``permission`` for that application's things, in ``repository``?

        A token that is limited by repositories may where one is named, and nowhere else.
        """
        token, limit = self.token, self.limit
        if token is None or limit is None or application is None:
            return False
        is_inside = limit.has_application(application.pk, application.team_id) and limit.has_name(repository)
        return is_inside and Permission(permission) in PERMISSIONS[Role(token.role)]

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
    provider = models.CharField(max_length=40, blank=True, help_text="Whose groups gave it, and take it back.")

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


IMPACTS: Final = ("low", "medium", "high", "very-high")
"""SSVC's values of the mission impact, the mildest first."""


class ApplicationQuerySet(models.QuerySet["Application"]):
    def visible_to(self, user: User) -> ApplicationQuerySet:
        limit = user.limit
        if limit is None or limit.repositories is None:
            return self.filter(owner_filter(user, "pk", team="team_id"))
        if limit.is_void:
            return self.none()
        # Those that are named, so that the first report of a repository has one to go to; else where one fits.
        if limit.applications is None:
            return self.filter(pk__in=_places(limit).values("pk"))
        return self.filter(pk__in=limit.applications, team_id=limit.team)


class Application(models.Model):
    """The repositories and workloads that one team owns."""

    name = models.CharField(max_length=100, unique=True)
    slug = models.SlugField(max_length=100, unique=True)
    description = models.TextField(blank=True)
    team = models.ForeignKey(Team, models.PROTECT, related_name="applications")
    is_exposed = models.BooleanField(default=False, help_text="Reachable from outside the organisation.")
    is_production = models.BooleanField(default=True)
    impact = models.CharField(
        max_length=9,
        blank=True,
        default="",
        choices=[(word, word) for word in IMPACTS],
        help_text="What it means to the mission where it fails; empty: nobody said so of it.",
    )
    is_sample = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    objects = ApplicationQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(condition=Q(impact__in=["", *IMPACTS]), name="application_impact_known"),
        ]

    def __str__(self) -> str:
        return self.name


class CiIdentityQuerySet(models.QuerySet["CiIdentity"]):
    def trusted(self) -> CiIdentityQuerySet:
        return self.filter(withdrawn_at=None)

    def visible_to(self, user: User) -> CiIdentityQuerySet:
        """Those that give a role in the teams whose CI identities one manages, or all."""
        teams = user.teams_with(Permission.CI_IDENTITY_MANAGE)
        return self if teams is None else self.filter(team_id__in=teams)


class CiIdentity(models.Model):
    """Whose signed tokens are exchanged for a short-lived one of ours, and what that one may do.

    Never edited: what a pipeline was trusted with at any time is one row. ``user`` is a service of its own, so that
    the audit log names the pipeline, and what it asks for is not asked for by a person.
    """

    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=16, choices=CI_KIND_CHOICES)
    issuer = models.CharField(max_length=300)
    audience = models.CharField(max_length=300)
    claims = models.JSONField(help_text="{claim: pattern}; see accounts.trust")
    keys = models.JSONField(null=True, blank=True, help_text="The issuer's keys where it cannot be asked for them.")
    user = models.OneToOneField(User, models.PROTECT, related_name="ci_identity")
    role = models.CharField(max_length=32, choices=CI_ROLE_CHOICES)
    team = models.ForeignKey(Team, models.PROTECT, null=True, blank=True)
    application_ids = models.JSONField(null=True, blank=True, help_text="Which of the team's alone; null: all.")
    repositories = models.JSONField(null=True, blank=True, help_text="Patterns of the names of those alone; null: all.")
    minutes = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+")
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    exchanges = models.PositiveBigIntegerField(default=0)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = CiIdentityQuerySet.as_manager()

    class Meta:
        ordering = ["name", "-created_at", "-id"]
        verbose_name_plural = "CI identities"
        constraints = [
            models.UniqueConstraint(fields=["name"], condition=Q(withdrawn_at=None), name="ciidentity_name_once"),
            models.CheckConstraint(
                condition=Q(minutes__gte=1, minutes__lte=MAX_CI_MINUTES), name="ciidentity_minutes_bounded"
            ),
            models.CheckConstraint(condition=~Q(audience="") & ~Q(issuer=""), name="ciidentity_audience_said"),
            models.CheckConstraint(condition=Q(role__in=[r for r, _ in CI_ROLE_CHOICES]), name="ciidentity_role_given"),
            models.CheckConstraint(
                condition=Q(application_ids__isnull=True) | Q(team__isnull=False), name="ciidentity_limit_in_team"
            ),
            models.CheckConstraint(
                condition=Q(repositories__isnull=True) | Q(team__isnull=False), name="ciidentity_names_in_team"
            ),
        ]
        indexes = [
            # Each exchange asks who trusts the issuer that its token names.
            models.Index(fields=["issuer"], condition=Q(withdrawn_at=None), name="ciidentity_by_issuer"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        return "trusted" if self.withdrawn_at is None else "withdrawn"

    @property
    def trust(self) -> Trust:
        return Trust(Kind(self.kind), self.issuer, self.audience, self.claims)


class IssuerKeys(models.Model):
    """What an issuer published when it was last asked, for all processes; one row an issuer."""

    issuer = models.CharField(max_length=300, unique=True)
    keys = models.JSONField(default=list)
    fetched_at = models.DateTimeField(null=True, blank=True)
    # Whoever moves this forward may ask the issuer; the others wait for the answer.
    asked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "issuer keys"

    def __str__(self) -> str:
        return self.issuer


class ExchangedAssertion(models.Model):
    """A token of somebody else's that was exchanged, by its hash alone, and how often: it may be within its life."""

    identity = models.ForeignKey(CiIdentity, models.CASCADE)
    digest = models.CharField(max_length=64)
    uses = models.PositiveIntegerField(default=0)
    # What has ended is deleted by this.
    ends_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["digest", "identity"], name="exchangedassertion_once")]

    def __str__(self) -> str:
        return f"{self.digest[:12]} of {self.identity_id}"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self, now: datetime) -> ApiTokenQuerySet:
        return self.filter(revoked_at=None, expires_at__gt=now, user__is_active=True)

    def visible_to(self, user: User) -> ApiTokenQuerySet:
        """One's own; those of the teams whose tokens one manages, or all. A limited token sees itself alone."""
        if user.token is not None and user.limit is not None:
            return self.filter(pk=user.token.pk)
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
    # Ids, and no table of pairs: an application that is gone must leave an id that fits nothing, not a wider token.
    application_ids = models.JSONField(null=True, blank=True, help_text="Which of the team's alone; null: all.")
    repositories = models.JSONField(null=True, blank=True, help_text="Patterns of the names of those alone; null: all.")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    identity = models.ForeignKey(CiIdentity, models.PROTECT, null=True, blank=True, related_name="tokens")
    source = models.CharField(max_length=300, blank=True, help_text="Which job it was exchanged for.")

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(role__in=[r.value for r in Role]), name="apitoken_role_known"),
            models.CheckConstraint(
                condition=Q(application_ids__isnull=True) | Q(team__isnull=False), name="apitoken_limit_in_team"
            ),
            models.CheckConstraint(
                condition=Q(repositories__isnull=True) | Q(team__isnull=False), name="apitoken_names_in_team"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}… {self.name}"

    @property
    def is_limited(self) -> bool:
        """To less than a team."""
        return self.application_ids is not None or self.repositories is not None

    def limit(self, *, is_void: bool) -> Limit:
        return Limit(
            team=self.team_id or 0,
            applications=None if self.application_ids is None else frozenset(self.application_ids),
            repositories=None if self.repositories is None else tuple(self.repositories),
            is_void=is_void,
        )

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


class FactorKind(models.TextChoices):
    TOTP = "totp", "Authenticator app"
    PASSKEY = "passkey", "Passkey"


class SecondFactor(models.Model):
    """What a person has beside the password: an authenticator app's secret (sealed), or a passkey's public part."""

    user = models.ForeignKey(User, models.CASCADE, related_name="second_factors")
    kind = models.CharField(max_length=16, choices=FactorKind.choices)
    name = models.CharField(max_length=60)
    secret = models.TextField(blank=True)
    # The time step of the last code that was taken: no code counts twice, whichever process it comes to.
    last_step = models.BigIntegerField(default=0)
    credential_id = models.CharField(max_length=1400, blank=True)
    credential = models.TextField(blank=True)
    sign_count = models.PositiveBigIntegerField(default=0)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=FactorKind.values), name="secondfactor_kind_known"),
            models.UniqueConstraint(fields=["user"], condition=Q(kind="totp"), name="secondfactor_one_app"),
            # Each sign-in by passkey asks whose it is.
            models.UniqueConstraint(
                fields=["credential_id"], condition=Q(kind="passkey"), name="secondfactor_passkey_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.user_id}"


class RecoveryCode(models.Model):
    """A way in for whoever lost the second factor; kept as a hash, deleted as it is used."""

    user = models.ForeignKey(User, models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "digest"], name="recoverycode_once")]

    def __str__(self) -> str:
        return f"recovery code of {self.user_id}"


class SignedInQuerySet(models.QuerySet["SignedIn"]):
    def visible_to(self, user: User) -> SignedInQuerySet:
        """Those that have not ended: one's own, or everybody's for who manages people in the whole organisation."""
        rows = self.filter(ends_at__gt=timezone.now())
        return rows if user.teams_with(Permission.USER_MANAGE) is None else rows.filter(user=user)


class SignedIn(models.Model):
    """One browser in which a person is signed in; the session itself is Django's. ``address`` is shortened."""

    user = models.ForeignKey(User, models.CASCADE, related_name="sessions")
    session_key = models.CharField(max_length=40, unique=True)
    device = models.CharField(max_length=100)
    address = models.CharField(max_length=45)
    way = models.CharField(max_length=60)
    created_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)
    # What has ended is deleted by this.
    ends_at = models.DateTimeField(db_index=True)

    objects = SignedInQuerySet.as_manager()

    class Meta:
        ordering = ["-last_seen_at", "-id"]
        verbose_name_plural = "signed in"

    def __str__(self) -> str:
        return f"{self.user_id} on {self.device}"


class ExternalIdentity(models.Model):
    """Who a person is at a provider that signs people in."""

    user = models.ForeignKey(User, models.CASCADE, related_name="external_identities")
    provider = models.CharField(max_length=40)
    subject = models.CharField(max_length=300)
    created_at = models.DateTimeField(default=timezone.now)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["provider", "subject"], name="externalidentity_once")]
        verbose_name_plural = "external identities"

    def __str__(self) -> str:
        return f"{self.subject} at {self.provider}"


class SeenResponse(models.Model):
    """A provider's signed response that was used, by its hash: it counts once."""

    digest = models.CharField(max_length=64, unique=True)
    ends_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.digest[:12]


def owner_filter(user: Any, path: str, *, team: str = "", repository: str = "") -> Q:
    """``visible_to`` for a row whose application stands at ``path``: the team's own rows, or all.

    ``team`` is where the team stands, if not with the application; ``repository`` is where the repository stands, if
    not before it (``repository__application``). Of rows without a repository (``workload__application``) whoever is
    limited by repositories sees none. What a limited token sees is decided here alone.
    """
    if user.sees_everything:
        return Q()
    owner, limit = team or f"{path}__team_id", user.limit
    if limit is None:
        return Q(**{f"{owner}__in": user.team_ids})
    if limit.is_void:
        return _NOTHING
    if limit.repositories is None:
        return Q(**{f"{path}__in": sorted(limit.applications), owner: limit.team})
    place = repository or path.removesuffix("__application")
    if not repository and (place == path or place.rpartition("__")[2] not in _REPOSITORIES):
        return _NOTHING
    return Q(**{f"{place}__in": _places(limit).values("repositories__pk")})


_NOTHING = Q(pk__in=())
_REPOSITORIES = ("repository", "source")
"""What foreign keys to a repository are called."""


def _places(limit: Limit) -> models.QuerySet[Application]:
    """The applications, each as often as one of its repositories lies inside; those are ``repositories__pk``."""
    rows = Application.objects.filter(team_id=limit.team, repositories__name__regex=limit.name_regex).order_by()
    return rows if limit.applications is None else rows.filter(pk__in=limit.applications)
