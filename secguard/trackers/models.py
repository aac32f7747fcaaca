"""Issue trackers, the issues in them that risks are linked with, and the outbox of what they are told."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard.accounts.models import Application, Team, User
from secguard.accounts.roles import Permission
from secguard.findings.models import SEVERITY_CHOICES, Risk
from secguard.trackers.keeping import (
    ActKind,
    ActStatus,
    IssueStatus,
    RemoteState,
    Standing,
    TrackerKind,
    in_words,
    issue_url,
)

TRACKER_KIND_CHOICES = [(k.value, k.value) for k in TrackerKind]
ISSUE_STATUS_CHOICES = [(s.value, s.value) for s in IssueStatus]
REMOTE_STATE_CHOICES = [(s.value, s.value) for s in RemoteState]
STANDING_CHOICES = [(s.value, s.value) for s in Standing]
ACT_KIND_CHOICES = [(k.value, k.value) for k in ActKind]
ACT_STATUS_CHOICES = [(s.value, s.value) for s in ActStatus]


class TrackerQuerySet(models.QuerySet["Tracker"]):
    def visible_to(self, user: User) -> TrackerQuerySet:
        """Those that the person may set up."""
        teams = user.teams_with(Permission.SETTINGS_EDIT)
        return self if teams is None else self.filter(team_id__in=teams)

    def usable_by(self, user: User) -> TrackerQuerySet:
        """Those that the person may open issues in: the organisation's, and their teams' own."""
        teams = user.teams_with(Permission.DECISION_REQUEST)
        if teams is None:
            return self.filter(is_active=True)
        return self.filter(Q(team=None) | Q(team_id__in=teams), is_active=True) if teams else self.none()

    def due(self, now: datetime, stale: datetime, old: datetime) -> TrackerQuerySet:
        """Those that something is to be told or asked, and that nobody else works on."""
        waits = Act.objects.filter(tracker=OuterRef("pk"), status=ActStatus.WAITING)
        asks = Issue.objects.filter(tracker=OuterRef("pk")).to_check(stale, old)
        free = Q(claimed_until=None) | Q(claimed_until__lt=now)
        return self.filter(free, Exists(waits) | Exists(asks), is_active=True, next_at__lte=now)


class Tracker(models.Model):
    """One GitHub repository or Jira project. Without a team it serves all teams, each with issues of its own."""

    name = models.CharField(max_length=100)
    team = models.ForeignKey(Team, models.CASCADE, null=True, blank=True, related_name="trackers")
    kind = models.CharField(max_length=20, choices=TRACKER_KIND_CHOICES)
    base_url = models.CharField(max_length=500, help_text="of the API")
    project = models.CharField(max_length=150, help_text="owner/repository, or the project's key")
    issue_type = models.CharField(max_length=100, blank=True, help_text="Jira's")
    login = models.CharField(max_length=200, blank=True, help_text="e-mail of a Jira Cloud account")
    sealed_token = models.TextField()
    sealed_secret = models.TextField(help_text="signs the tracker's webhooks")
    is_active = models.BooleanField(default=True)
    closes = models.BooleanField(default=True, help_text="close our own issues when fixed or accepted")
    reopens = models.BooleanField(default=True, help_text="open them again when the finding comes back")
    opens_from = models.SmallIntegerField(null=True, blank=True, choices=SEVERITY_CHOICES)
    opens_overdue = models.BooleanField(default=False)
    opens_application = models.ForeignKey(Application, models.CASCADE, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    next_at = models.DateTimeField(default=timezone.now, help_text="nothing is asked before this")
    failures = models.PositiveIntegerField(default=0, help_text="attempts in vain since the last that worked")
    error = models.CharField(max_length=500, blank=True)
    worked_at = models.DateTimeField(null=True, blank=True, help_text="when it last answered as it should")
    heard_at = models.DateTimeField(null=True, blank=True, help_text="when its webhook last came")
    tried_at = models.DateTimeField(null=True, blank=True)
    tried = models.CharField(max_length=500, blank=True, help_text="what a try found")
    claim = models.CharField(max_length=32, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)

    objects = TrackerQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "name"], name="tracker_name_in_team"),
            models.UniqueConstraint(fields=["name"], condition=Q(team=None), name="tracker_name_in_organisation"),
            models.CheckConstraint(condition=Q(kind__in=list(TrackerKind)), name="tracker_kind_known"),
        ]

    def __str__(self) -> str:
        return self.name

    def state(self) -> str:
        """``off``, ``failing``, ``working`` or ``unused``."""
        if not self.is_active:
            return "off"
        if self.failures:
            return "failing"
        return "working" if self.worked_at else "unused"

    @property
    def opens_by_itself(self) -> bool:
        return self.opens_from is not None or self.opens_overdue


class IssueQuerySet(models.QuerySet["Issue"]):
    def visible_to(self, user: User) -> IssueQuerySet:
        return self if user.sees_everything else self.filter(team_id__in=user.team_ids)

    def current(self) -> IssueQuerySet:
        return self.exclude(status=IssueStatus.ENDED)

    def to_check(self, stale: datetime, old: datetime) -> IssueQuerySet:
        """Linked ones that nobody asked about since ``stale``; closed ones since ``old``."""
        before = Q(checked_at=None) | Q(checked_at__lt=old)
        return self.filter(
            before | Q(checked_at__lt=stale, state__in=("", "open", "in-progress")), status=IssueStatus.LINKED
        )


class Issue(models.Model):
    """One risk of one team, linked with one issue of a tracker."""

    tracker = models.ForeignKey(Tracker, models.CASCADE, db_index=False, related_name="issues")
    risk = models.ForeignKey(Risk, models.CASCADE, db_index=False, related_name="issues")
    team = models.ForeignKey(Team, models.CASCADE, null=True, blank=True, db_index=False, related_name="issues")
    marker = models.CharField(max_length=40, unique=True, help_text="in the issue's text, to find it again")
    is_ours = models.BooleanField(default=True, help_text="opened from here; another's is never closed")
    is_by_rule = models.BooleanField(default=False)
    status = models.CharField(max_length=8, choices=ISSUE_STATUS_CHOICES, default=IssueStatus.WAITING.value)
    key = models.CharField(max_length=70, blank=True, help_text="#12 or SHOP-12")
    remote_id = models.CharField(max_length=20, blank=True)
    state = models.CharField(max_length=12, choices=REMOTE_STATE_CHOICES, blank=True)
    remote_status = models.CharField(max_length=100, blank=True, help_text="the tracker's own word")
    resolution = models.CharField(max_length=100, blank=True)
    assignee = models.CharField(max_length=200, blank=True)
    title = models.CharField(max_length=300, blank=True)
    remote_at = models.DateTimeField(null=True, blank=True, help_text="by the tracker's clock, of what is shown")
    checked_at = models.DateTimeField(null=True, blank=True)
    stands = models.CharField(max_length=8, choices=STANDING_CHOICES, default=Standing.OPEN.value)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = IssueQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=list(IssueStatus)), name="issue_status_known"),
            models.CheckConstraint(condition=Q(state__in=list(RemoteState)), name="issue_state_known"),
            models.CheckConstraint(
                condition=Q(status="ended", ended_at__isnull=False) | ~Q(status="ended") & Q(ended_at=None),
                name="issue_ended_has_end",
            ),
            models.CheckConstraint(condition=~Q(status="linked") | ~Q(key=""), name="issue_linked_has_key"),
            # One at a time for a risk and a team, whoever presses how often.
            models.UniqueConstraint(fields=["risk", "team"], condition=~Q(status="ended"), name="issue_one_of_team"),
            models.UniqueConstraint(
                fields=["risk"], condition=~Q(status="ended") & Q(team=None), name="issue_one_of_nobody"
            ),
        ]
        indexes = [
            models.Index(fields=["risk", "team"], name="issue_of_risk"),  # the risk's page
            models.Index(fields=["tracker", "remote_id"], name="issue_heard"),  # a webhook
            # What is to be asked about next.
            models.Index(fields=["tracker", "checked_at"], condition=Q(status="linked"), name="issue_to_check"),
            models.Index(fields=["team", "-id"], name="issue_of_team"),  # the list
        ]

    def __str__(self) -> str:
        return f"{self.key or self.marker} ({self.status})"

    @property
    def url(self) -> str:
        if not self.key:
            return ""
        return issue_url(TrackerKind(self.tracker.kind), self.tracker.base_url, self.tracker.project, self.key)

    @property
    def difference(self) -> str:
        return in_words(self.state, self.stands) if self.status == IssueStatus.LINKED else ""


class Act(models.Model):
    """One thing that a tracker is told: written down before it is sent, in its issue's order."""

    tracker = models.ForeignKey(Tracker, models.CASCADE, db_index=False, related_name="acts")
    issue = models.ForeignKey(Issue, models.CASCADE, related_name="acts")
    kind = models.CharField(max_length=8, choices=ACT_KIND_CHOICES)
    word = models.CharField(max_length=8, choices=STANDING_CHOICES, blank=True)
    status = models.CharField(max_length=8, choices=ACT_STATUS_CHOICES, default=ActStatus.WAITING.value)
    is_said = models.BooleanField(default=False, help_text="the comment is there; the rest is not yet")
    attempts = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(status__in=list(ActStatus)), name="act_status_known"),
            models.CheckConstraint(
                condition=Q(status="waiting", ended_at=None) | ~Q(status="waiting") & Q(ended_at__isnull=False),
                name="act_ended_has_end",
            ),
        ]
        indexes = [
            models.Index(fields=["tracker", "id"], condition=Q(status="waiting"), name="act_due"),
            models.Index(fields=["tracker", "-id"], name="act_of_tracker"),  # the tracker's page
            models.Index(fields=["ended_at"], condition=Q(ended_at__isnull=False), name="act_ended"),  # pruning
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.word} ({self.status})"
