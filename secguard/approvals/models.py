"""Who was asked and who said what. Four eyes are the database's law here, not a page's courtesy."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission

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
    escalates_at = models.DateTimeField(null=True, blank=True, help_text="from then on it waited too long")
    escalates_to = models.JSONField(null=True, blank=True, help_text="the role that may then fill any seat")
    told_at = models.DateTimeField(null=True, blank=True, help_text="when people were told that it waited too long")
    second_look = models.JSONField(null=True, blank=True, help_text="what counts as too much too fast")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=[OPEN, APPROVED, REJECTED, CLOSED]), name="approvalrequest_status_known"
            ),
            models.CheckConstraint(condition=Q(required_votes__gte=1), name="approvalrequest_needs_somebody"),
        ]
        indexes = [
            # What waits too long and nobody was told of: a few rows however many there are.
            models.Index(
                fields=["escalates_at"],
                condition=Q(status="open", told_at=None, escalates_at__isnull=False),
                name="approvalrequest_escalating",
            ),
        ]

    def __str__(self) -> str:
        return f"approval request {self.pk} ({self.status})"


class Vote(models.Model):
    """One person's word on one request. Triggers refuse the requester's own, and one in a seat that is not theirs."""

    request = models.ForeignKey(ApprovalRequest, models.CASCADE, related_name="votes")
    voter = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    roles = models.JSONField(help_text="The roles the voter held for this request at that moment.")
    parts = models.JSONField(null=True, blank=True, help_text="{team id, or empty for the organisation: roles}")
    seat_of = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    away_until = models.DateTimeField(null=True, blank=True, help_text="of whom the voter is the deputy of")
    second_look = models.JSONField(null=True, blank=True, help_text="why it counts only together with another's")
    choice = models.CharField(max_length=8, choices=[("approve", "approve"), ("reject", "reject")])
    comment = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["request", "voter"], name="vote_once"),
            # A seat is one person's, whoever sits in it: nobody votes and has their deputy vote.
            models.UniqueConstraint("request", Coalesce("seat_of", "voter"), name="vote_seat_once"),
            models.CheckConstraint(condition=Q(choice__in=["approve", "reject"]), name="vote_choice_known"),
        ]
        indexes = [
            # How much somebody approved within the last minutes.
            models.Index(fields=["voter", "created_at"], name="vote_by_voter"),
        ]

    def __str__(self) -> str:
        return f"{self.voter_id} {self.choice} {self.request_id}"


class AbsenceQuerySet(models.QuerySet["Absence"]):
    def visible_to(self, user: User) -> AbsenceQuerySet:
        """One's own, those in which one is the deputy, and all of them for whoever manages people."""
        if user.teams_with(Permission.USER_MANAGE) is None:
            return self
        return self.filter(Q(person=user) | Q(deputy=user))

    def at(self, now: datetime) -> AbsenceQuerySet:
        """Those that hold at ``now``: by the clock alone, nothing has to end them."""
        return self.filter(Q(ended_at=None) | Q(ended_at__gt=now), starts_at__lte=now, ends_at__gt=now)

    def touching(self, starts_at: datetime, ends_at: datetime) -> AbsenceQuerySet:
        """Those that have a moment in common with a period."""
        return self.filter(Q(ended_at=None) | Q(ended_at__gt=starts_at), starts_at__lt=ends_at, ends_at__gt=starts_at)


class Absence(models.Model):
    """A person is away, and who votes in their seat meanwhile: as themselves, with the rights the person has then."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="absences")
    deputy = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True, help_text="where it was ended before its time")

    objects = AbsenceQuerySet.as_manager()

    class Meta:
        ordering = ["-starts_at", "-id"]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gt=models.F("starts_at")), name="absence_ends_later"),
            models.CheckConstraint(condition=~Q(person=models.F("deputy")), name="absence_deputy_is_another"),
        ]
        indexes = [
            # In whose seat somebody may vote now.
            models.Index(fields=["deputy", "ends_at"], name="absence_by_deputy"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} away until {self.ends_at:%Y-%m-%d}, {self.deputy_id} votes"

    @property
    def until(self) -> datetime:
        """When it ends: by its date, or when it was ended before that."""
        return min(self.ends_at, self.ended_at) if self.ended_at else self.ends_at
