"""The event store: what happened in full, how often, what was heard before, and what still waits to be taken in.

On PostgreSQL ``Event`` lies in one partition for each kind and day, and ``Heard`` in one for each day, so that what has
aged is dropped whole (:mod:`~secguard.events.partitions`). Rows name others by plain numbers: they outlive them.
"""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import User, owner_filter
from secguard.accounts.roles import Permission
from secguard.events import keeping
from secguard.events.record import MAX_RULE, MAX_TITLE, Kind
from secguard.findings.severity import Severity

KIND_CHOICES = [(k.value, k.value.replace("-", " ")) for k in Kind]
SEVERITY_CHOICES = [(s.value, s.label) for s in Severity]
KNOWN_KINDS = [k.value for k in Kind]


def _visible_to(user: User) -> Q:
    mine = owner_filter(user, "application_id", team="team_id")
    readers = user.teams_with(Permission.AUDIT_READ)
    if readers is None:
        return mine
    of_log = Q(kind=Kind.AUDIT.value)
    return mine & (~of_log | Q(team_id__in=readers)) if readers else mine & ~of_log


class EventQuerySet(models.QuerySet["Event"]):
    def visible_to(self, user: User) -> EventQuerySet:
        """Those of the user's teams; what belongs to no team only to who sees everything. The log: who may read it."""
        return self.filter(_visible_to(user))


class Event(models.Model):
    """One thing that happened, in full."""

    day = models.DateField(help_text="of ``at``, in UTC")
    at = models.DateTimeField(help_text="when it happened, as far as its source's clock is believed")
    received_at = models.DateTimeField()
    kind = models.CharField(max_length=16, choices=KIND_CHOICES)
    source = models.CharField(max_length=64)
    rule = models.CharField(max_length=MAX_RULE, blank=True)
    title = models.CharField(max_length=MAX_TITLE)
    severity = models.SmallIntegerField(choices=SEVERITY_CHOICES, default=0)
    outcome = models.CharField(max_length=16, blank=True)
    sensor_id = models.BigIntegerField(null=True)
    cluster = models.CharField(max_length=100, blank=True)
    namespace = models.CharField(max_length=253, blank=True)
    workload = models.CharField(max_length=253, blank=True)
    host = models.CharField(max_length=253, blank=True)
    workload_id = models.BigIntegerField(null=True)
    application_id = models.BigIntegerField(null=True)
    team_id = models.BigIntegerField(null=True)
    digest = models.CharField(max_length=135, blank=True)
    actor = models.CharField(max_length=200, blank=True)
    story = models.CharField(max_length=32)
    ref = models.CharField(max_length=80, blank=True)
    detail = models.JSONField(default=dict)
    count = models.PositiveBigIntegerField(default=1)
    txid = models.BigIntegerField(
        default=0, db_default=0, help_text="PostgreSQL's transaction, for readers that may miss no row; 0 on SQLite"
    )

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [
            # The list, newest first: all; one team's; one workload's; one digest's; one story's. What exports read.
            models.Index(fields=["-at", "-id"], name="event_newest"),
            models.Index(fields=["team_id", "-at", "-id"], name="event_team"),
            models.Index(fields=["workload_id", "-at", "-id"], name="event_workload"),
            models.Index(fields=["digest", "-at", "-id"], name="event_digest"),
            models.Index(fields=["story", "-at", "-id"], name="event_story"),
            models.Index(fields=["txid", "id"], name="event_cursor"),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def key(self) -> str:
        """What names it outside: with its kind and day, so that one partition is asked."""
        return f"{self.kind}-{self.day:%Y%m%d}-{self.pk}"


class TallyQuerySet(models.QuerySet["Tally"]):
    def visible_to(self, user: User) -> TallyQuerySet:
        """As the events that it counts."""
        return self.filter(_visible_to(user))


class Tally(models.Model):
    """How often a story came in an hour, all of it: what was kept in full included."""

    hour = models.DateTimeField()
    story = models.CharField(max_length=32)
    kind = models.CharField(max_length=16, choices=KIND_CHOICES)
    source = models.CharField(max_length=64)
    rule = models.CharField(max_length=MAX_RULE, blank=True)
    title = models.CharField(max_length=MAX_TITLE)
    severity = models.SmallIntegerField(choices=SEVERITY_CHOICES, default=0)
    outcome = models.CharField(max_length=16, blank=True)
    cluster = models.CharField(max_length=100, blank=True)
    namespace = models.CharField(max_length=253, blank=True)
    workload = models.CharField(max_length=253, blank=True)
    workload_id = models.BigIntegerField(null=True)
    application_id = models.BigIntegerField(null=True)
    team_id = models.BigIntegerField(null=True)
    digest = models.CharField(max_length=135, blank=True)
    count = models.PositiveBigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = TallyQuerySet.as_manager()

    class Meta:
        ordering = ["-hour", "story"]
        # The hours of a story; whether it came again later.
        constraints = [models.UniqueConstraint(fields=["story", "hour"], name="tally_once")]
        indexes = [
            # The stories, the last heard first, of all and of one team; series of all (and what has aged), of one team,
            # of one workload.
            models.Index(fields=["-last_at", "-id"], name="tally_newest"),
            models.Index(fields=["team_id", "-last_at", "-id"], name="tally_team_newest"),
            models.Index(fields=["hour"], name="tally_hour"),
            models.Index(fields=["team_id", "hour"], name="tally_team"),
            models.Index(fields=["workload_id", "hour"], name="tally_workload"),
        ]

    def __str__(self) -> str:
        return f"{self.count} x {self.title}"


class Heard(models.Model):
    """The fingerprint of an event that was taken in, so that the same event sent again is not counted again."""

    day = models.DateField(help_text="of the event's ``at``, in UTC")
    fingerprint = models.UUIDField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "fingerprint"], name="heard_once")]

    def __str__(self) -> str:
        return str(self.fingerprint)


class Sensor(models.Model):
    """Who may send events and flows: an agent, a forwarder, a collector; known by its token."""

    name = models.CharField(max_length=100, unique=True)
    cluster = models.CharField(
        max_length=100, blank=True, help_text="what it sends is of this cluster, whatever it says; empty: it says which"
    )
    takes_events = models.BooleanField(default=True)
    takes_flows = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    token_hash = models.CharField(max_length=64, unique=True, help_text="SHA-256 of what it shows")
    token_made_at = models.DateTimeField(default=timezone.now)
    heard_at = models.DateTimeField(null=True, blank=True)
    taken = models.PositiveBigIntegerField(default=0, help_text="documents, ever")
    refused = models.PositiveBigIntegerField(default=0, help_text="documents, ever")
    last_refusal = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Batch(models.Model):
    """Documents that a sensor was told are taken, read and masked, and that wait to be worked on."""

    channel = models.CharField(max_length=16)
    sensor = models.ForeignKey(Sensor, models.CASCADE, related_name="batches")
    received_at = models.DateTimeField()
    count = models.PositiveIntegerField()
    body = models.BinaryField(help_text="msgpack, packed with zlib")
    failed_at = models.DateTimeField(null=True, help_text="it could not be worked on, and was set aside")
    failure = models.TextField(blank=True)

    class Meta:
        # The next of each sensor; how much of one waits.
        indexes = [models.Index(fields=["channel", "sensor", "id"], condition=Q(failed_at=None), name="batch_next")]

    def __str__(self) -> str:
        return f"{self.count} {self.channel} of {self.sensor_id}"


class Retention(models.Model):
    """For how long raw detail of a kind is kept, where somebody has said so."""

    kind = models.CharField(max_length=16, choices=KIND_CHOICES, unique=True)
    days = models.PositiveIntegerField(
        validators=[MinValueValidator(keeping.LEAST_DAYS), MaxValueValidator(keeping.MOST_DAYS)]
    )
    changed_at = models.DateTimeField(default=timezone.now)
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=KNOWN_KINDS), name="retention_kind_known"),
            models.CheckConstraint(
                condition=Q(days__gte=keeping.LEAST_DAYS, days__lte=keeping.MOST_DAYS), name="retention_days_bounded"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind}: {self.days} days"


class Stored(models.Model):
    """What the store held on a day, by kind: the daily measure that the page of costs and its forecast read."""

    day = models.DateField(help_text="when it was measured")
    kind = models.CharField(max_length=16, choices=KIND_CHOICES)
    rows = models.PositiveBigIntegerField()
    bytes = models.PositiveBigIntegerField()
    is_exact = models.BooleanField(default=False, help_text="measured by the database, or reckoned from a sample")
    per_day = models.FloatField(null=True, help_text="rows of the last whole days, a day; none: there was no whole day")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["day", "kind"], name="stored_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.day}: {self.rows}"


class Position(models.Model):
    """How far one of the product's own sources (audit log, gates, admissions) has been read into the store."""

    source = models.CharField(max_length=32, primary_key=True)
    after = models.JSONField(default=dict)
    at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.source
