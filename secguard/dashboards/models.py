"""What is kept by day, because the present cannot tell it; and the views that people keep."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import Application, User, owner_filter
from secguard.dashboards.homes import Audience
from secguard.dashboards.report import Form
from secguard.dashboards.slices import PERIODS
from secguard.dashboards.stages import Stage, State

AUDIENCE_CHOICES = [(a.value, a.value) for a in Audience]
STATE_CHOICES = [(s.value, s.value) for s in State]
FORM_CHOICES = [(f.value, f.value) for f in Form]


class DailyFigure(models.Model):
    """The figures of a day, as they stood when it ended (or stand now, for today)."""

    day = models.DateField()
    team_id = models.BigIntegerField(default=0, help_text="0: the whole organisation")
    figures = models.JSONField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "team_id"], name="dailyfigure_once")]

    def __str__(self) -> str:
        return f"{self.day} team {self.team_id}"


class ApplicationDayQuerySet(models.QuerySet["ApplicationDay"]):
    def visible_to(self, user: User) -> ApplicationDayQuerySet:
        return self.filter(owner_filter(user, "application"))


class ApplicationDay(models.Model):
    """What was done for one application on one day (``pace.Pace``), and what stood open when it ended."""

    day = models.DateField()
    application = models.ForeignKey(Application, models.CASCADE, related_name="+")
    fixed = models.PositiveIntegerField(default=0)
    fixed_seconds = models.BigIntegerField(default=0)
    kept = models.PositiveIntegerField(default=0)
    missed = models.PositiveIntegerField(default=0)
    decided = models.PositiveIntegerField(default=0)
    decided_seconds = models.BigIntegerField(default=0)
    carried_out = models.PositiveIntegerField(default=0)
    carried_out_seconds = models.BigIntegerField(default=0)
    open = models.PositiveIntegerField(null=True, help_text="risks; empty: not counted on that day")
    overdue = models.PositiveIntegerField(null=True)

    objects = ApplicationDayQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "application"], name="applicationday_once")]

    def __str__(self) -> str:
        return f"{self.day} of {self.application_id}"


class SavedView(models.Model):
    """A home as somebody narrowed it, under a name. Whoever follows its link sees what they themselves may see."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    name = models.CharField(max_length=80)
    audience = models.CharField(max_length=12, choices=AUDIENCE_CHOICES)
    team = models.CharField(max_length=100, blank=True)
    application = models.CharField(max_length=100, blank=True)
    environment = models.CharField(max_length=100, blank=True)
    days = models.PositiveSmallIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="savedview_once"),
            models.CheckConstraint(
                condition=Q(audience__in=[a.value for a in Audience]), name="savedview_audience_known"
            ),
            models.CheckConstraint(condition=Q(days__in=PERIODS), name="savedview_days_known"),
        ]

    def __str__(self) -> str:
        return self.name


class Subscription(models.Model):
    """A view that is written to its person each week, made when it is sent."""

    view = models.OneToOneField(SavedView, models.CASCADE, related_name="subscription")
    weekday = models.PositiveSmallIntegerField(help_text="0: Monday, in the person's time zone")
    hour = models.PositiveSmallIntegerField()
    form = models.CharField(max_length=4, choices=FORM_CHOICES)
    next_at = models.DateTimeField(help_text="when it is written next")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(weekday__lte=6), name="subscription_weekday"),
            models.CheckConstraint(condition=Q(hour__lte=23), name="subscription_hour"),
            models.CheckConstraint(condition=Q(form__in=[f.value for f in Form]), name="subscription_form_known"),
        ]
        indexes = [models.Index(fields=["next_at"], name="subscription_due")]

    def __str__(self) -> str:
        return f"subscription {self.pk}"


class LandscapeQuerySet(models.QuerySet["ApplicationLandscape"]):
    def visible_to(self, user: User) -> LandscapeQuerySet:
        return self.filter(owner_filter(user, "application"))


class ApplicationLandscape(models.Model):
    """How an application stands at each stage, where it runs and on what: counted anew every ten minutes."""

    application = models.OneToOneField(Application, models.CASCADE, related_name="landscape")
    plan = models.CharField(max_length=10, choices=STATE_CHOICES)
    build = models.CharField(max_length=10, choices=STATE_CHOICES)
    judge = models.CharField(max_length=10, choices=STATE_CHOICES)
    register = models.CharField(max_length=10, choices=STATE_CHOICES)
    admit = models.CharField(max_length=10, choices=STATE_CHOICES)
    run = models.CharField(max_length=10, choices=STATE_CHOICES)
    talk = models.CharField(max_length=10, choices=STATE_CHOICES)
    learn = models.CharField(max_length=10, choices=STATE_CHOICES)
    rank = models.PositiveSmallIntegerField(help_text="of the worst state: what comes first on the picture")
    words: Any = models.JSONField(help_text="{stage: why}")
    behind: Any = models.JSONField(default=dict, help_text="{stage: which count made it so}")
    images = models.PositiveIntegerField()
    workloads = models.PositiveIntegerField()
    with_volumes = models.PositiveIntegerField(help_text="workloads that hold data")
    incidents = models.PositiveIntegerField(default=0, help_text="with which somebody has to do something")
    laptop = models.PositiveIntegerField(help_text="workloads there")
    datacenter = models.PositiveIntegerField()
    cloud = models.PositiveIntegerField()
    counted_at = models.DateTimeField()

    objects = LandscapeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(**{f"{stage.value}__in": [s.value for s in State]}),
                name=f"landscape_{stage.value}_known",
            )
            for stage in Stage
        ]
        # The picture: what is worst first.
        indexes = [models.Index(fields=["rank", "application"], name="landscape_worst")]

    def __str__(self) -> str:
        return f"landscape of {self.application_id}"

    def state_of(self, stage: Stage) -> State:
        return State(getattr(self, stage.value))
