"""Who was asked and who said what. Four eyes are the database's law here, not a page's courtesy."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

OPEN, APPROVED, REJECTED, CLOSED = "open", "approved", "rejected", "closed"


class ApprovalRequest(models.Model):
    """Asks for as many distinct people, with these roles, as the risk appetite named when it was asked.

    A trigger (migration 0002) refuses ``approved`` without enough approving votes by people other than the requester.
    """

    requester = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    required = models.JSONField(help_text="{role: number of people}")
    required_votes = models.PositiveSmallIntegerField(default=1)
    status = models.CharField(max_length=16, default=OPEN, choices=[(s, s) for s in (OPEN, APPROVED, REJECTED, CLOSED)])
    created_at = models.DateTimeField(default=timezone.now)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=[OPEN, APPROVED, REJECTED, CLOSED]), name="approvalrequest_status_known"
            ),
            models.CheckConstraint(condition=Q(required_votes__gte=1), name="approvalrequest_needs_somebody"),
        ]

    def __str__(self) -> str:
        return f"approval request {self.pk} ({self.status})"


class Vote(models.Model):
    """One person's word on one request. A trigger refuses the requester's own."""

    request = models.ForeignKey(ApprovalRequest, models.CASCADE, related_name="votes")
    voter = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    roles = models.JSONField(help_text="The roles the voter held for this request at that moment.")
    choice = models.CharField(max_length=8, choices=[("approve", "approve"), ("reject", "reject")])
    comment = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["request", "voter"], name="vote_once"),
            models.CheckConstraint(condition=Q(choice__in=["approve", "reject"]), name="vote_choice_known"),
        ]

    def __str__(self) -> str:
        return f"{self.voter_id} {self.choice} {self.request_id}"
