"""What people want done about risks, for which part of the estate, and until when."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q, Value
from django.db.models.functions import Coalesce
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.approvals.models import ApprovalRequest
from secguard.decisions.lifecycle import DecisionKind, DecisionStatus
from secguard.decisions.scope import ScopeKind
from secguard.findings.models import Risk
from secguard.images.models import Image, ImageRepository, Repository

KIND_CHOICES = [(k.value, k.value) for k in DecisionKind]
STATUS_CHOICES = [(s.value, s.value) for s in DecisionStatus]


class RiskAppetite(models.Model):
    """One version of the business's own document; the newest active one holds."""

    number = models.PositiveIntegerField(unique=True)
    source = models.TextField()
    sha256 = models.CharField(max_length=64)
    comment = models.CharField(max_length=300, blank=True)
    is_active = models.BooleanField(default=False)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    activated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["is_active"], condition=Q(is_active=True), name="riskappetite_one_active")
        ]

    def __str__(self) -> str:
        return f"risk appetite {self.number}"


class DecisionQuerySet(models.QuerySet["Decision"]):
    def visible_to(self, user: User) -> DecisionQuerySet:
        """Decisions of the user's teams or on images that lie with them, and approved ones over the organisation.

        Who asked is no key: somebody who left a team, or asks with another team's token, is a stranger to what they
        asked for there.
        """
        if user.sees_everything:
            return self
        with_us = ImageRepository.objects.filter(
            image=OuterRef("image_id"), repository__application__team_id__in=user.team_ids
        )
        own = Q(team_id__in=user.team_ids) | Q(image__isnull=False) & Exists(with_us)
        return self.filter(own | Q(scope_kind=ScopeKind.ORGANISATION.value, status=DecisionStatus.APPROVED.value))

    def in_force(self, now: datetime) -> DecisionQuerySet:
        """DESIGN rule 5: past its end a decision counts for nothing, whatever its status column still says."""
        return self.filter(status=DecisionStatus.APPROVED.value, expires_at__gt=now)

    def waiting(self) -> DecisionQuerySet:
        return self.filter(status=DecisionStatus.REQUESTED.value)


class Decision(models.Model):
    """(risk) x (image | repository | application | organisation), with conditions and an end.

    Triggers (migration 0002) refuse ``approved`` while its approval request is not, and refuse to make a decision
    that left ``requested`` or ``approved`` anything again.
    """

    kind = models.CharField(max_length=16, choices=KIND_CHOICES)
    risk = models.ForeignKey(Risk, models.PROTECT, related_name="decisions")
    scope_kind = models.CharField(max_length=16, choices=[(k.value, k.value) for k in ScopeKind])
    image = models.ForeignKey(Image, models.CASCADE, null=True, blank=True, related_name="decisions")
    repository = models.ForeignKey(Repository, models.CASCADE, null=True, blank=True, related_name="decisions")
    application = models.ForeignKey(Application, models.CASCADE, null=True, blank=True, related_name="decisions")
    scope_label = models.CharField(max_length=600, help_text="the scope in words, as it was when asked")
    team_id = models.BigIntegerField(null=True, blank=True, help_text="whose request it is")
    reason = models.TextField()
    conditions = models.JSONField(default=dict)
    status = models.CharField(max_length=12, default="requested", choices=STATUS_CHOICES)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    approval = models.OneToOneField(ApprovalRequest, models.PROTECT, related_name="decision")
    appetite = models.ForeignKey(RiskAppetite, models.PROTECT, related_name="+")
    appetite_row = models.CharField(max_length=100)
    snapshot = models.JSONField(help_text="severity, exploitation, EPSS and fix when it was asked for")
    decided_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    end_reason = models.CharField(max_length=300, blank=True)
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")

    objects = DecisionQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in DecisionStatus]), name="decision_status_known"
            ),
            models.CheckConstraint(condition=Q(kind__in=[k.value for k in DecisionKind]), name="decision_kind_known"),
            models.CheckConstraint(
                condition=Q(scope_kind="image", image__isnull=False, repository=None, application=None)
                | Q(scope_kind="repository", image=None, repository__isnull=False, application=None)
                | Q(scope_kind="application", image=None, repository=None, application__isnull=False)
                | Q(scope_kind="organisation", image=None, repository=None, application=None),
                name="decision_scope_consistent",
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=models.F("requested_at")), name="decision_ends_later"),
            # One open request for one thing: asking twice is a conflict that names the first. By ids: a label is free
            # for something else as soon as what it named is called otherwise.
            models.UniqueConstraint(
                "risk",
                "scope_kind",
                Coalesce("image", Value(0)),
                Coalesce("repository", Value(0)),
                Coalesce("application", Value(0)),
                condition=Q(status="requested"),
                name="decision_one_open_request",
            ),
        ]
        indexes = [
            # The decisions that may cover an image's findings.
            models.Index(fields=["risk", "status"], name="decision_by_risk"),
            # The review queue, oldest first; what ends next.
            models.Index(fields=["status", "requested_at"], name="decision_queue"),
            models.Index(fields=["status", "expires_at"], name="decision_ending"),
        ]

    def __str__(self) -> str:
        return f"decision {self.pk}: {self.kind} {self.risk_id}"
