"""Channels: where news are posted to, and the outbox of what is posted."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard.accounts.models import Team, User
from secguard.accounts.roles import Permission
from secguard.channels.formats import Format


class DeliveryStatus(StrEnum):
    """A delivery waits until the receiver took it, or until it is given up."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


FORMAT_CHOICES = [(f.value, f.value) for f in Format]
STATUS_CHOICES = [(s.value, s.value) for s in DeliveryStatus]


class ChannelQuerySet(models.QuerySet["Channel"]):
    def visible_to(self, user: User) -> ChannelQuerySet:
        """Those that the person may edit: where a team's news go is told to nobody else."""
        teams = user.teams_with(Permission.CHANNEL_EDIT)
        own = Q(team__isnull=False) if teams is None else Q(team_id__in=teams)
        wide = Q(team=None) if user.teams_with(Permission.SETTINGS_EDIT) is None else Q(pk__in=())
        return self.filter(own | wide)

    def due(self, now: datetime) -> ChannelQuerySet:
        """Those that something waits for, and that nobody else posts to."""
        ready = Delivery.objects.filter(channel=OuterRef("pk"), status=DeliveryStatus.WAITING, ready_at__lte=now)
        free = Q(claimed_until=None) | Q(claimed_until__lt=now)
        return self.filter(free, Exists(ready), is_active=True, next_at__lte=now)


class Channel(models.Model):
    """A webhook of somebody else that is posted to.

    Without a team it is the organisation's and is told everything; with one it is that team's and is told of that
    team's things alone. Addresses of chats are secrets themselves, so the whole of it is sealed; ``host`` is shown.
    """

    name = models.CharField(max_length=100)
    team = models.ForeignKey(Team, models.CASCADE, null=True, blank=True, related_name="channels")
    format = models.CharField(max_length=16, choices=FORMAT_CHOICES)
    kinds = models.JSONField(default=list, help_text="kinds of news it is told; empty: all of them")
    host = models.CharField(max_length=300)
    sealed_url = models.TextField()
    sealed_secret = models.TextField(blank=True)
    sealed_former_secret = models.TextField(blank=True, help_text="signs too until former_until")
    former_until = models.DateTimeField(null=True, blank=True)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    next_at = models.DateTimeField(default=timezone.now, help_text="nothing is posted before this")
    failures = models.PositiveIntegerField(default=0, help_text="attempts in vain since the last that worked")
    error = models.CharField(max_length=500, blank=True, help_text="of the last attempt, where it was in vain")
    sent_at = models.DateTimeField(null=True, blank=True, help_text="when something was taken last")
    claim = models.CharField(max_length=32, blank=True, help_text="whoever posts to it")
    claimed_until = models.DateTimeField(null=True, blank=True)

    objects = ChannelQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="channel_name_in_team"),
            models.UniqueConstraint(fields=["name"], condition=Q(team=None), name="channel_name_in_organisation"),
            models.CheckConstraint(condition=Q(format__in=list(Format)), name="channel_format_known"),
            # A former secret counts until an instant, and for no longer.
            models.CheckConstraint(
                condition=Q(sealed_former_secret="", former_until=None) | Q(former_until__isnull=False),
                name="channel_former_secret_ends",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_signed(self) -> bool:
        return bool(self.sealed_secret)

    def wants(self, kind: str, team_id: int) -> bool:
        """Whether it is told news of that kind about that team's things (0: those of no team)."""
        return (self.team_id is None or self.team_id == team_id) and (not self.kinds or kind in self.kinds)


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def open(self) -> DeliveryQuerySet:
        """Not tried yet: what comes is added to these."""
        return self.filter(status=DeliveryStatus.WAITING, attempts=0)


class Delivery(models.Model):
    """One message to one channel. It is written down before it is posted: whoever goes on after a crash posts the same
    one under the same id."""

    channel = models.ForeignKey(Channel, models.CASCADE, db_index=False, related_name="deliveries")
    message_id = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=32)
    team_id = models.BigIntegerField(help_text="0: things of no team")
    total = models.PositiveIntegerField(default=0)
    is_test = models.BooleanField(default=False)
    status = models.CharField(max_length=8, choices=STATUS_CHOICES, default=DeliveryStatus.WAITING.value)
    attempts = models.PositiveIntegerField(default=0)
    ready_at = models.DateTimeField(help_text="more may join it until then")
    answer = models.PositiveIntegerField(null=True, blank=True, help_text="HTTP status of the last answer")
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=list(DeliveryStatus)), name="delivery_status_known"),
            models.CheckConstraint(
                condition=Q(status="waiting", ended_at=None) | ~Q(status="waiting") & Q(ended_at__isnull=False),
                name="delivery_ended_has_end",
            ),
            models.UniqueConstraint(
                fields=["channel", "kind", "team_id"],
                condition=Q(status="waiting", attempts=0, is_test=False),
                name="delivery_one_open",
            ),
        ]
        indexes = [
            # What a channel has to post, in its order.
            models.Index(fields=["channel", "ready_at", "id"], condition=Q(status="waiting"), name="delivery_due"),
            models.Index(fields=["channel", "-id"], name="delivery_of_channel"),  # the channel's page
            models.Index(fields=["ended_at"], condition=Q(ended_at__isnull=False), name="delivery_ended"),  # pruning
        ]

    def __str__(self) -> str:
        return f"{self.message_id} {self.kind} ({self.status})"


class DeliveryLine(models.Model):
    """One thing that a channel was told, once: the database refuses the second time."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, db_index=False, related_name="lines")
    channel = models.ForeignKey(Channel, models.CASCADE, db_index=False, related_name="+")
    kind = models.CharField(max_length=32)
    key = models.CharField(max_length=120)
    weight = models.IntegerField(default=0)
    facts: Any = models.JSONField(help_text="the rest of digest.Line")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["channel", "kind", "key"], name="deliveryline_told_once")]
        indexes = [models.Index(fields=["delivery", "-weight", "id"], name="deliveryline_order")]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"
