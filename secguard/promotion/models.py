"""Environments, and the way of digests through them."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import User, owner_filter
from secguard.approvals.models import ApprovalRequest
from secguard.images.models import Image, Registry, Repository
from secguard.policies.facts import Gate
from secguard.promotion.lifecycle import OPEN, PromotionStatus
from secguard.promotion.route import Stop

GATES = (Gate.BUILD, Gate.PROMOTE, Gate.ADMIT)
GATE_CHOICES = [(g.value, g.value) for g in GATES]
STATUS_CHOICES = [(s.value, s.value) for s in PromotionStatus]


class Environment(models.Model):
    """Where images are promoted to, one after the other. Images are pushed to the first one; the others are promoted
    to."""

    name = models.CharField(max_length=63, unique=True)
    position = models.PositiveSmallIntegerField(unique=True, help_text="the order: images go from low to high")
    registry = models.ForeignKey(Registry, models.PROTECT, related_name="environments")
    path_prefix = models.CharField(max_length=100, blank=True, help_text="what its repositories' paths begin with")
    gate = models.CharField(max_length=8, choices=GATE_CHOICES, default=Gate.PROMOTE.value)
    key_name = models.CharField(max_length=63, blank=True, help_text="the line of keys that signs what comes here")
    approvers = models.JSONField(default=dict, blank=True, help_text="{role: number of people}; none: nobody is asked")
    requires_previous = models.BooleanField(default=True, help_text="what comes here was promoted to the one before")
    is_automatic = models.BooleanField(default=False, help_text="what passes the gate comes here by itself")
    automatic_for = models.CharField(max_length=300, blank=True, help_text="a pattern of repositories; empty: all")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.CheckConstraint(condition=Q(gate__in=[g.value for g in GATES]), name="environment_gate_known")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def stop(self) -> Stop:
        """What the rules of the route read; read with its registry selected."""
        return Stop(self.name, self.position, self.registry.host, self.path_prefix, self.requires_previous)


class PromotionQuerySet(models.QuerySet["Promotion"]):
    def visible_to(self, user: User) -> PromotionQuerySet:
        """Those from repositories of the user's teams."""
        return self.filter(owner_filter(user, "source__application"))

    def open(self) -> PromotionQuerySet:
        return self.filter(status__in=OPEN)


class Promotion(models.Model):
    """One digest on its way to one environment. The digest is resolved once, when it is asked for."""

    digest = models.CharField(max_length=135, help_text="of the image, or of an index with all its platforms")
    image = models.ForeignKey(
        Image, models.SET_NULL, null=True, blank=True, related_name="promotions", help_text="or a platform of the index"
    )
    asked_reference = models.CharField(max_length=700, help_text="as it was asked for")
    source = models.ForeignKey(Repository, models.PROTECT, related_name="promotions_from")
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="promotions")
    destination_name = models.CharField(max_length=511, help_text="host/path")
    destination = models.ForeignKey(
        Repository, models.SET_NULL, null=True, blank=True, related_name="promotions_to", help_text="once it is there"
    )
    tags = models.JSONField(default=list, help_text="that are moved to it at the destination")
    status = models.CharField(max_length=10, choices=STATUS_CHOICES, default=PromotionStatus.RUNNING.value)
    steps = models.JSONField(default=dict, help_text="{step: when it was done}")
    why = models.TextField(blank=True, help_text="why it ended as it did, in words")
    reasons = models.JSONField(default=list, help_text="of the verdict that refused it, as in the verdict document")
    evaluation_ids = models.JSONField(default=list, help_text="the judgements that it rests on")
    approval = models.ForeignKey(ApprovalRequest, models.PROTECT, null=True, blank=True, related_name="+")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", help_text="none: the rule"
    )
    requested_at = models.DateTimeField(default=timezone.now)
    copied_bytes = models.BigIntegerField(default=0)
    job_id = models.BigIntegerField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    told = models.CharField(
        max_length=10, blank=True, default="", db_default="", help_text="the status that the event store was told last"
    )

    seat_of: User | None = None
    """The person away in whose seat the reader votes on it; set by ``queries.waiting_for`` alone."""

    objects = PromotionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in PromotionStatus]), name="promotion_status_known"
            ),
            # A hundred pipelines that ask for the same are one promotion.
            models.UniqueConstraint(
                fields=["digest", "environment", "destination_name"],
                condition=Q(status__in=[s.value for s in OPEN]),
                name="promotion_one_open",
            ),
        ]
        indexes = [
            models.Index(fields=["status", "-id"], name="promotion_by_status"),
            models.Index(fields=["image", "-id"], name="promotion_of_image"),
            models.Index(fields=["digest", "-id"], name="promotion_of_digest"),
            # Whether a later one moved the same tags already.
            models.Index(fields=["destination_name", "-id"], name="promotion_to_place"),
            # What the event store was not told yet.
            models.Index(fields=["id"], condition=~Q(status=models.F("told")), name="promotion_untold"),
        ]

    def __str__(self) -> str:
        return f"promotion {self.pk} of {self.digest[:19]} to {self.environment_id}"

    @property
    def is_open(self) -> bool:
        return self.status in OPEN
