"""Frameworks by version, what was measured of each application as intervals of time, and the counts of each day."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from secguard.accounts.models import Application, User, owner_filter
from secguard.compliance.framework import Framework, kept_framework
from secguard.compliance.standing import State

STATE_CHOICES = [(state.value, state.word) for state in State]
_STATE_KNOWN = [state.value for state in State]
ORGANISATION = 0
"""The scope of a day's counts that is no team's: everything."""
MAX_SAYS = 600


class FrameworkVersionQuerySet(models.QuerySet["FrameworkVersion"]):
    def in_force(self, at: datetime) -> FrameworkVersionQuerySet:
        """At most one of each name."""
        return self.filter(Q(valid_until=None) | Q(valid_until__gt=at), valid_from__lte=at)


class FrameworkVersion(models.Model):
    """One version of a framework. Never changed but for its end: the next version, or that it was retired."""

    name = models.SlugField(max_length=60)
    number = models.PositiveIntegerField(help_text="of the version, counted here")
    title = models.CharField(max_length=160)
    text = models.TextField(help_text="the YAML, as it was written")
    digest = models.CharField(max_length=71, help_text="sha256 of the text")
    is_shipped = models.BooleanField(default=False, help_text="comes with the product")
    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    added_at = models.DateTimeField(default=timezone.now)
    valid_from = models.DateTimeField(default=timezone.now)
    valid_until = models.DateTimeField(null=True, blank=True)

    objects = FrameworkVersionQuerySet.as_manager()

    class Meta:
        ordering = ["name", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["name", "number"], name="frameworkversion_number_once"),
            models.UniqueConstraint(fields=["name"], condition=Q(valid_until=None), name="frameworkversion_one"),
            models.CheckConstraint(
                condition=Q(valid_until=None) | Q(valid_until__gte=F("valid_from")), name="frameworkversion_ends_later"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} version {self.number}"

    @property
    def parsed(self) -> Framework:
        return kept_framework(self.text)


class MeasuredApplication(models.Model):
    """When an application was measured last, and when that is to be done again."""

    application = models.OneToOneField(Application, models.CASCADE, primary_key=True, related_name="measured")
    measured_at = models.DateTimeField()
    turns_at = models.DateTimeField(null=True, blank=True, help_text="when the clock alone may change something")
    is_due = models.BooleanField(default=False, help_text="something has changed since")

    class Meta:
        indexes = [
            models.Index(fields=["measured_at"], name="measuredapplication_at"),
            models.Index(fields=["turns_at"], name="measuredapplication_turns"),
            models.Index(fields=["application"], condition=Q(is_due=True), name="measuredapplication_due"),
        ]

    def __str__(self) -> str:
        return f"application {self.application_id} at {self.measured_at:%Y-%m-%d %H:%M}"


class MeasureStandingQuerySet(models.QuerySet["MeasureStanding"]):
    def visible_to(self, user: User) -> MeasureStandingQuerySet:
        return self.filter(owner_filter(user, "application"))

    def current(self) -> MeasureStandingQuerySet:
        return self.filter(until=None)

    def told(self, at: datetime, *, is_past: bool) -> MeasureStandingQuerySet:
        """What was measured last before ``at``, of each application and check; now, that is what is open."""
        return self.filter(Q(until=None) | Q(until__gt=at), since__lte=at) if is_past else self.current()


class MeasureStanding(models.Model):
    """What one check came to at one application, from one measurement until another came to something else.

    Only the newest is open (``until`` empty). A row is closed and followed, never rewritten, so that any past day is
    answered as it was; of an open one ``turns_at`` alone may move, while it lies ahead.
    """

    application = models.ForeignKey(Application, models.CASCADE, db_index=False, related_name="standings")
    team_id = models.BigIntegerField(help_text="whose it was")
    measure = models.SlugField(max_length=60, db_index=False, help_text="the check's name")
    state = models.PositiveSmallIntegerField(choices=STATE_CHOICES)
    says = models.CharField(max_length=MAX_SAYS)
    total = models.PositiveIntegerField(null=True, blank=True, help_text="rows looked at; empty: it counts none")
    lacking = models.PositiveIntegerField(null=True, blank=True)
    untold = models.PositiveIntegerField(null=True, blank=True)
    evidence: Any = models.JSONField(default=dict, help_text="identifiers and links (services.evidence)")
    exceptions: Any = models.JSONField(default=list, help_text="decisions and waivers that cover what lacks")
    fingerprint = models.CharField(max_length=32, help_text="of everything that was measured")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True)
    turns_at = models.DateTimeField(null=True, blank=True, help_text="from then on it is not known, unless it fails")

    objects = MeasureStandingQuerySet.as_manager()

    class Meta:
        constraints = [
            # Also what the job and an application's own pages read.
            models.UniqueConstraint(
                fields=["application", "measure"], condition=Q(until=None), name="measurestanding_one_open"
            ),
            models.CheckConstraint(
                condition=Q(until=None) | Q(until__gt=F("since")), name="measurestanding_ends_later"
            ),
            models.CheckConstraint(condition=Q(state__in=_STATE_KNOWN), name="measurestanding_state_known"),
        ]
        indexes = [
            # A control's applications now; and on a past day, by what ended after it.
            models.Index(fields=["measure", "application"], condition=Q(until=None), name="measurestanding_now"),
            models.Index(fields=["measure", "until"], condition=Q(until__isnull=False), name="measurestanding_past"),
            # One application's history.
            models.Index(fields=["application", "measure", "-since"], name="measurestanding_history"),
        ]

    def __str__(self) -> str:
        return f"{self.measure} of {self.application_id} since {self.since:%Y-%m-%d}"


class FrameworkDay(models.Model):
    """How many applications of a scope stood how with each control when a day ended, or stand now (today's).

    It can always be counted again from ``MeasureStanding``; it stands here so that pages and trends need not.
    """

    version = models.ForeignKey(FrameworkVersion, models.CASCADE, db_index=False, related_name="days")
    team_id = models.BigIntegerField(default=ORGANISATION, help_text="0: the whole organisation")
    day = models.DateField()
    counts: Any = models.JSONField(help_text="{control: [pass, exception, not measured, fail]}")
    passing = models.PositiveSmallIntegerField(help_text="controls")
    excepted = models.PositiveSmallIntegerField()
    unmeasured = models.PositiveSmallIntegerField()
    failing = models.PositiveSmallIntegerField()
    applications = models.PositiveIntegerField()
    counted_at = models.DateTimeField()
    turns_at = models.DateTimeField(null=True, blank=True, help_text="until then today's count holds")
    is_closed = models.BooleanField(default=False, help_text="the day was over when it was counted")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["version", "team_id", "day"], name="frameworkday_once"),
        ]
        indexes = [models.Index(fields=["day", "team_id"], name="frameworkday_by_day")]

    def __str__(self) -> str:
        return f"framework {self.version_id} of {self.team_id} on {self.day}"
