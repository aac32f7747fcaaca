"""What is foreseen: gates that will begin to block, as the last forecast says."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models
from django.db.models import Q

from secguard.accounts.models import User, owner_filter
from secguard.images.models import Image, Repository
from secguard.policies.models import GATE_CHOICES


class TurnQuerySet(models.QuerySet["Turn"]):
    def visible_to(self, user: User) -> TurnQuerySet:
        return self.filter(owner_filter(user, "repository__application"))

    def between(self, now: datetime, until: datetime) -> TurnQuerySet:
        """Those that are still to come, and come before ``until``. What has come is a verdict, and no forecast."""
        return self.filter(at__gt=now, at__lt=until)


class Turn(models.Model):
    """One gate of one image of a repository that lets it pass now and will not from ``at`` on.

    Computed anew as a whole; nothing refers to a row.
    """

    repository = models.ForeignKey(Repository, models.CASCADE, related_name="+")
    image = models.ForeignKey(Image, models.CASCADE, related_name="+")
    stage = models.CharField(max_length=8, choices=GATE_CHOICES)
    at = models.DateTimeField()
    rules: Any = models.JSONField(help_text="[rule, message] of each rule that will block")
    decision_ids: Any = models.JSONField(help_text="decisions that end by then; none: a grace runs out")
    flaws: Any = models.JSONField(help_text="names of what will block")
    computed_at = models.DateTimeField()

    objects = TurnQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["repository", "image", "stage"], name="turn_once"),
            models.CheckConstraint(
                condition=Q(stage__in=[stage for stage, _ in GATE_CHOICES]), name="turn_stage_known"
            ),
        ]
        indexes = [models.Index(fields=["at", "id"], name="turn_next")]  # the forecast, the soonest first

    def __str__(self) -> str:
        return f"{self.repository_id} {self.stage} at {self.at:%Y-%m-%d}"
