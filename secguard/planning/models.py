"""Templates of requirements, the checklist of each application, and what people answered: never edited, ever."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import Application, User, owner_filter
from secguard.approvals.models import APPROVED, OPEN, ApprovalRequest
from secguard.planning.template import Template, kept_template


class PlanningTemplate(models.Model):
    """One version of a template. Never changed: a change is the next version, and its checklists follow."""

    name = models.SlugField(max_length=60)
    version = models.PositiveIntegerField()
    title = models.CharField(max_length=120)
    source = models.TextField()
    is_shipped = models.BooleanField(default=False, help_text="comes with the product")
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering = ["name", "-version"]
        constraints = [
            models.UniqueConstraint(fields=["name", "version"], name="planningtemplate_version_once"),
            models.CheckConstraint(condition=Q(version__gte=1), name="planningtemplate_version_counts"),
        ]

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"

    @property
    def parsed(self) -> Template:
        return kept_template(self.source)


class ChecklistQuerySet(models.QuerySet["Checklist"]):
    def visible_to(self, user: User) -> ChecklistQuerySet:
        return self.filter(owner_filter(user, "application"))

    def due(self, now: datetime, stale: datetime) -> ChecklistQuerySet:
        """Those that were never counted, not since ``stale``, or that the clock has changed since."""
        return self.filter(Q(counted_at=None) | Q(counted_at__lt=stale) | Q(next_change__lte=now))


class Checklist(models.Model):
    """What is asked of one application, and how it stood when it was last counted (``checklist.stand``)."""

    application = models.OneToOneField(Application, models.CASCADE, related_name="checklist")
    template = models.ForeignKey(PlanningTemplate, models.PROTECT, related_name="checklists")
    chosen_at = models.DateTimeField(default=timezone.now)
    chosen_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    outcomes: Any = models.JSONField(default=dict, help_text="{check: what was measured}")
    stages: Any = models.JSONField(default=dict, help_text="{stage: {state: requirements}}")
    unkept: Any = models.JSONField(default=list, help_text="ids of the requirements that are missing or open, sorted")
    kept = models.PositiveIntegerField(default=0)
    missing = models.PositiveIntegerField(default=0)
    open = models.PositiveIntegerField(default=0)
    not_applicable = models.PositiveIntegerField(default=0)
    measured_at = models.DateTimeField(null=True, blank=True)
    counted_at = models.DateTimeField(null=True, blank=True)
    next_change = models.DateTimeField(null=True, blank=True, help_text="when the clock alone may change it")

    objects = ChecklistQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["counted_at"], name="checklist_counted"),
            models.Index(fields=["next_change"], name="checklist_changes"),
        ]

    def __str__(self) -> str:
        return f"checklist of {self.application_id}"

    @property
    def total(self) -> int:
        return self.kept + self.missing + self.open + self.not_applicable


class RequirementAnswer(models.Model):
    """What a person said of one requirement. A later one replaces it; none is taken away."""

    checklist = models.ForeignKey(Checklist, models.CASCADE, db_index=False, related_name="answers")
    requirement = models.SlugField(max_length=60, db_index=False)
    digest = models.CharField(max_length=32, help_text="of the requirement as it was asked")
    is_kept = models.BooleanField(help_text="false: not yet")
    text = models.TextField()
    evidence = models.CharField(max_length=500, blank=True, help_text="https address")
    answered_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    answered_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()

    class Meta:
        ordering = ["-answered_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(until__gt=models.F("answered_at")), name="requirementanswer_ends_later")
        ]
        indexes = [
            models.Index(fields=["checklist", "requirement", "-answered_at"], name="requirementanswer_latest"),
        ]

    def __str__(self) -> str:
        return f"{self.requirement}: {'kept' if self.is_kept else 'not yet'}"


class WaiverQuerySet(models.QuerySet["RequirementWaiver"]):
    def visible_to(self, user: User) -> WaiverQuerySet:
        return self.filter(checklist__in=Checklist.objects.visible_to(user))

    def waiting(self) -> WaiverQuerySet:
        return self.filter(request__status=OPEN)


class RequirementWaiver(models.Model):
    """That one requirement is not applicable here: asked for by one person, approved by another (DESIGN rule 6)."""

    checklist = models.ForeignKey(Checklist, models.CASCADE, db_index=False, related_name="waivers")
    requirement = models.SlugField(max_length=60, db_index=False)
    digest = models.CharField(max_length=32, help_text="of the requirement as it was asked")
    reason = models.TextField()
    request = models.OneToOneField(ApprovalRequest, models.PROTECT, related_name="waiver")
    asked_at = models.DateTimeField(default=timezone.now)
    until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True, help_text="withdrawn, or taken back, before its time")

    objects = WaiverQuerySet.as_manager()

    class Meta:
        ordering = ["-asked_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(until__gt=models.F("asked_at")), name="requirementwaiver_ends_later")
        ]
        indexes = [models.Index(fields=["checklist", "requirement", "-asked_at"], name="requirementwaiver_latest")]

    def __str__(self) -> str:
        return f"{self.requirement} not applicable until {self.until:%Y-%m-%d}"

    @property
    def is_approved(self) -> bool:
        return self.request.status == APPROVED and self.ended_at is None

    @property
    def is_waiting(self) -> bool:
        return self.request.status == OPEN
