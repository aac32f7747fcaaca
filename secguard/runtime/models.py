"""What is normal for each image: its items, what people asked to change of it, and what was seen outside of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from secguard.accounts.models import Team, User, owner_filter
from secguard.approvals.models import OPEN, ApprovalRequest
from secguard.images.models import Image, ImageRepository
from secguard.runtime.baseline import Deviation, Status
from secguard.runtime.baseline_items import MAX_TEXT, NO_PORT, Item, ItemKind

ITEM_KIND_CHOICES = [(k.value, k.value) for k in ItemKind]


class BaselineQuerySet(models.QuerySet["Baseline"]):
    def visible_to(self, user: User) -> BaselineQuerySet:
        """Of images that lie in a repository of the user's teams."""
        return self if user.sees_everything else self.filter(image__in=Image.objects.visible_to(user))


class Baseline(models.Model):
    """What is normal for one image (digest). ``baseline`` has the rules; counts are kept by learning."""

    image = models.OneToOneField(Image, models.CASCADE, related_name="baseline")
    status = models.CharField(
        max_length=10, default=Status.LEARNING.value, choices=[(s.value, s.value) for s in Status]
    )
    before = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="next_ones",
        help_text="the locked baseline of an earlier image that this one began from",
    )  # fmt: skip
    learning_since = models.DateTimeField()
    learned_until = models.DateTimeField(null=True, blank=True, help_text="when it was proposed")
    locked_at = models.DateTimeField(null=True, blank=True)
    locked_by = models.ForeignKey("BaselineChange", models.PROTECT, null=True, blank=True, related_name="+")
    events = models.PositiveBigIntegerField(default=0, help_text="that it was learned from")
    replicas: Any = models.JSONField(default=list, help_text="names of the first pods or containers, sorted")
    varied: Any = models.JSONField(default=list, help_text="kinds of which too many are seen to tell them by name")
    counts: Any = models.JSONField(default=dict, help_text="{kind: items}")
    last_at = models.DateTimeField(null=True, blank=True, help_text="when something was last seen")
    outside = models.PositiveBigIntegerField(default=0, help_text="events that were outside of it")

    objects = BaselineQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in Status]), name="runtime_baseline_status_known"
            ),
            models.CheckConstraint(
                condition=~Q(status="locked") | Q(locked_by__isnull=False, locked_at__isnull=False),
                name="runtime_baseline_locked_by_somebody",
            ),
        ]
        indexes = [
            # The list: those that were seen last, and those of a state.
            models.Index(fields=["-last_at", "-id"], name="runtime_baseline_latest"),
            models.Index(fields=["status", "-last_at"], name="runtime_baseline_by_status"),
        ]

    def __str__(self) -> str:
        return f"baseline of {self.image_id} ({self.status})"

    def days(self, now: datetime) -> int:
        """How long it was learned, or is."""
        return max(0, ((self.learned_until or now) - self.learning_since).days)


class Origin(models.TextChoices):
    OBSERVED = "observed"
    CARRIED = "carried"
    EXPECTED = "expected"


class ItemQuerySet(models.QuerySet["BaselineItem"]):
    def seen_by(self, user: User) -> ItemQuerySet:
        """All of an image's that lies with the user's teams alone; of one that others have too, what their own
        workloads did, and what several teams' did."""
        if user.sees_everything:
            return self
        own = owner_filter(user, "repository__application")
        others = ImageRepository.objects.filter(~own, image=OuterRef("baseline__image"))
        return self.filter(Q(is_common=True) | Q(team__in=user.team_ids) | ~Exists(others))


class BaselineItem(models.Model):
    """One thing that is normal, and how it spread over the hours."""

    baseline = models.ForeignKey(Baseline, models.CASCADE, db_index=False, related_name="items")
    kind = models.CharField(max_length=10, choices=ITEM_KIND_CHOICES)
    name = models.CharField(max_length=MAX_TEXT)
    how = models.CharField(max_length=MAX_TEXT, blank=True)
    port = models.IntegerField(default=NO_PORT, help_text="-1: not told")
    short = models.CharField(max_length=MAX_TEXT, blank=True, help_text="a program's name without its path")
    origin = models.CharField(max_length=8, default=Origin.OBSERVED.value, choices=Origin.choices)
    team = models.ForeignKey(
        Team, models.SET_NULL, null=True, blank=True, related_name="+", help_text="whose workload did it first"
    )
    is_common = models.BooleanField(default=False, help_text="workloads of several teams do it")
    count = models.PositiveBigIntegerField(default=0, help_text="of this image; 0: carried, and not seen yet")
    severity = models.SmallIntegerField(default=0, help_text="the worst that a sensor rated it")
    first_at = models.DateTimeField(null=True, blank=True)
    last_at = models.DateTimeField(null=True, blank=True)
    hours: Any = models.JSONField(default=dict, help_text="{hour: events}, while it is learned")
    volumes: Any = models.JSONField(default=dict, help_text="{hour: bytes}, while it is learned")
    hour = models.PositiveIntegerField(default=0, help_text="the hour that is counted now")
    hour_count = models.PositiveBigIntegerField(default=0)
    hour_bytes = models.PositiveBigIntegerField(default=0)

    objects = ItemQuerySet.as_manager()

    class Meta:
        ordering = ["kind", "name", "how", "port"]
        constraints = [
            models.UniqueConstraint(fields=["baseline", "name", "kind", "how", "port"], name="runtime_item_once"),
            models.CheckConstraint(condition=Q(kind__in=[k.value for k in ItemKind]), name="runtime_item_kind_known"),
        ]
        # A program that a sensor tells by its bare name.
        indexes = [models.Index(fields=["baseline", "short"], condition=~Q(short=""), name="runtime_item_short")]

    def __str__(self) -> str:
        return str(self.item)

    @property
    def item(self) -> Item:
        return Item(ItemKind(self.kind), self.name, self.how, self.port)


class DeviationQuerySet(models.QuerySet["BaselineDeviation"]):
    def seen_by(self, user: User) -> DeviationQuerySet:
        """As ``ItemQuerySet.seen_by``."""
        if user.sees_everything:
            return self
        own = owner_filter(user, "repository__application")
        others = ImageRepository.objects.filter(~own, image=OuterRef("baseline__image"))
        return self.filter(Q(team__in=user.team_ids) | ~Exists(others))


class BaselineDeviation(models.Model):
    """Something that was seen outside of a baseline, counted; the latest reason is kept."""

    baseline = models.ForeignKey(Baseline, models.CASCADE, db_index=False, related_name="deviations")
    kind = models.CharField(max_length=10, choices=ITEM_KIND_CHOICES)
    name = models.CharField(max_length=MAX_TEXT)
    how = models.CharField(max_length=MAX_TEXT, blank=True)
    port = models.IntegerField(default=NO_PORT)
    deviation = models.CharField(max_length=6, choices=[(d.value, d.value) for d in Deviation])
    team = models.ForeignKey(Team, models.SET_NULL, null=True, blank=True, related_name="+")
    workload_id = models.BigIntegerField(null=True, blank=True, help_text="where it was seen last")
    reason = models.CharField(max_length=1000)
    is_new = models.BooleanField(default=False, help_text="new in this version, and learned since")
    count = models.PositiveBigIntegerField(default=1)
    first_at = models.DateTimeField(default=timezone.now)
    last_at = models.DateTimeField(default=timezone.now)

    objects = DeviationQuerySet.as_manager()

    class Meta:
        ordering = ["-last_at", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["baseline", "kind", "name", "how", "port", "deviation"], name="runtime_deviation_once"
            )
        ]
        indexes = [models.Index(fields=["baseline", "-last_at"], name="runtime_deviation_latest")]

    def __str__(self) -> str:
        return self.reason

    @property
    def item(self) -> Item:
        return Item(ItemKind(self.kind), self.name, self.how, self.port)


class ChangeQuerySet(models.QuerySet["BaselineChange"]):
    def visible_to(self, user: User) -> ChangeQuerySet:
        return self if user.sees_everything else self.filter(baseline__in=Baseline.objects.visible_to(user))

    def waiting(self) -> ChangeQuerySet:
        return self.filter(request__status=OPEN, ended_at=None)


class BaselineChange(models.Model):
    """Asked for by one person, approved by another (DESIGN rule 6): to lock a baseline, or to let a locked one grow."""

    LOCK, JOIN = "lock", "join"

    baseline = models.ForeignKey(Baseline, models.CASCADE, related_name="changes")
    what = models.CharField(max_length=4, choices=[(LOCK, "lock"), (JOIN, "join")])
    items: Any = models.JSONField(default=list, help_text="what is to join: [[kind, name, how, port]]")
    reason = models.TextField()
    request = models.OneToOneField(ApprovalRequest, models.PROTECT, related_name="baseline_change")
    asked_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    asked_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="withdrawn, or carried out, or refused")

    objects = ChangeQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(what__in=["lock", "join"]), name="runtime_change_known"),
            models.UniqueConstraint(
                fields=["baseline"], condition=Q(ended_at=None, what="lock"), name="runtime_change_one_lock"
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None) | Q(ended_at__gte=F("asked_at")), name="runtime_change_ends_later"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.what} {self.baseline_id}, asked {self.asked_at:%Y-%m-%d}"
