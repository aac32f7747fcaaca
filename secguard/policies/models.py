"""Versioned rules, and what they said of an image at an instant (DESIGN rule 7)."""

from __future__ import annotations

import json
import zlib
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard.accounts.models import User, owner_filter
from secguard.images.models import Image, ImageRepository
from secguard.policies import staging
from secguard.policies.facts import Gate
from secguard.policies.staging import Mode, Staged

GATE_CHOICES = [(g.value, g.value) for g in Gate]
VERDICT_CHOICES = [(v, v) for v in ("pass", "warn", "block")]


class Policy(models.Model):
    """A named policy; one policy gates, and its active version is what counts."""

    name = models.CharField(max_length=100, unique=True)
    active_version = models.ForeignKey("PolicyVersion", models.PROTECT, null=True, blank=True, related_name="+")
    is_gating = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "policies"
        constraints = [
            models.UniqueConstraint(fields=["is_gating"], condition=Q(is_gating=True), name="policy_one_gating")
        ]

    def __str__(self) -> str:
        return self.name


class PolicyVersion(models.Model):
    policy = models.ForeignKey(Policy, models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    source = models.TextField()
    tests = models.TextField(blank=True, default="", db_default="", help_text="YAML: facts, and the verdict expected")
    sha256 = models.CharField(max_length=64)
    staging = models.JSONField(default=dict, blank=True, help_text="gate to what it does there, where it is tried")
    comment = models.CharField(max_length=300, blank=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    activated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["policy", "number"], name="policyversion_once")]

    def __str__(self) -> str:
        return f"{self.policy_id} version {self.number}"

    @property
    def stages(self) -> dict[Gate, Staged]:
        """What it does at each gate where it is not enforced (yet)."""
        return staging.read(self.staging)

    @property
    def modes(self) -> list[tuple[Gate, Mode]]:
        """Every gate with what this version does there."""
        stages = self.stages
        return [(gate, stages.get(gate, Staged()).mode) for gate in Gate]


class EvaluationInput(models.Model):
    """The frozen facts of an evaluation, deflated JSON, stored once however many evaluations read them.

    Without the gate and the scans, which stand in the evaluation: four gates and every rescan that finds the same share
    one row.
    """

    sha256 = models.CharField(max_length=64, unique=True)
    body = models.BinaryField()

    def __str__(self) -> str:
        return self.sha256


class Evaluation(models.Model):
    """One judgement, never changed: policy version, facts and instant in, verdict document out."""

    image = models.ForeignKey(Image, models.CASCADE, related_name="evaluations")
    stage = models.CharField(max_length=8, choices=GATE_CHOICES)
    verdict = models.CharField(max_length=5, choices=VERDICT_CHOICES)
    policy_version = models.ForeignKey(PolicyVersion, models.PROTECT, related_name="+")
    input = models.ForeignKey(EvaluationInput, models.PROTECT, related_name="+")
    document = models.BinaryField(help_text="the verdict document, deflated JSON")
    scans = models.JSONField(default=list, help_text="the latest scan of each scanner, as it was read")
    decision_ids = models.JSONField(default=list)
    observed = models.CharField(
        max_length=5, blank=True, default="", db_default="", help_text="what a version that observes would have said"
    )
    evaluated_at = models.DateTimeField()
    valid_until = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["image", "stage", "-id"], name="evaluation_history")]  # "why, on that day"

    def __str__(self) -> str:
        return f"{self.verdict} for {self.image_id} at {self.stage}"

    @property
    def kept_document(self) -> dict[str, Any]:
        """The verdict document as it was answered."""
        document: dict[str, Any] = json.loads(zlib.decompress(self.document))
        return document


class VerdictQuerySet(models.QuerySet["Verdict"]):
    def visible_to(self, user: User) -> VerdictQuerySet:
        if user.sees_everything:
            return self
        places = ImageRepository.objects.filter(
            owner_filter(user, "repository__application"), image=OuterRef("image_id")
        )
        return self.filter(Exists(places))


class Verdict(models.Model):
    """The answer now, one indexed row per image and gate. Past ``valid_until`` it is asked again, never trusted."""

    image = models.ForeignKey(Image, models.CASCADE, related_name="verdicts")
    stage = models.CharField(max_length=8, choices=GATE_CHOICES)
    verdict = models.CharField(max_length=5, choices=VERDICT_CHOICES)
    evaluation = models.ForeignKey(Evaluation, models.PROTECT, related_name="+")
    evaluated_at = models.DateTimeField()
    valid_until = models.DateTimeField()

    objects = VerdictQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["image", "stage"], name="verdict_once"),
            models.CheckConstraint(condition=Q(verdict__in=["pass", "warn", "block"]), name="verdict_known"),
        ]
        indexes = [
            # The figures by gate and verdict; what must be judged again.
            models.Index(fields=["stage", "verdict", "image"], name="verdict_figures"),
            models.Index(fields=["valid_until"], name="verdict_stale"),
        ]

    def __str__(self) -> str:
        return f"{self.verdict} for {self.image_id} at {self.stage}"
