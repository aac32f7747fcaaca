"""Targets: where events are sent to, and how far each has been sent."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import Application, Team, User
from secguard.accounts.roles import Permission
from secguard.exports.targets import SENT_TO, SYSLOG, Audience, Cursor, Format, Sink, State
from secguard.findings.models import SEVERITY_CHOICES

SINK_CHOICES = [(s.value, s.value) for s in Sink]
FORMAT_CHOICES = [(f.value, f.value) for f in Format]
STATE_CHOICES = [(s.value, s.value) for s in State]


class ExportTargetQuerySet(models.QuerySet["ExportTarget"]):
    def visible_to(self, user: User) -> ExportTargetQuerySet:
        """All of them for who may set them up in the organisation; a target may be told everybody's events."""
        return self if user.teams_with(Permission.EXPORT_EDIT) is None else self.none()

    def due(self, now: datetime) -> ExportTargetQuerySet:
        """Those that may be sent to now."""
        return self.filter(state__in=SENT_TO, next_at__lte=now)


class ExportTarget(models.Model):
    """A sink of somebody else that events are sent to, each at least once.

    The position is the last event that it is known to have; it moves when the sink took a batch, and at no other time.
    """

    name = models.CharField(max_length=100, unique=True)
    sink = models.CharField(max_length=16, choices=SINK_CHOICES)
    format = models.CharField(max_length=8, choices=FORMAT_CHOICES)
    host = models.CharField(max_length=300, help_text="host:port; of a webhook its host")
    sealed_url = models.TextField(blank=True, help_text="of a webhook: whoever knows it may post there")
    sealed_secret = models.TextField(blank=True, help_text="signs what a webhook is posted")
    ca_certificate = models.TextField(blank=True, help_text="PEM; trusted besides the system's")
    client_certificate = models.TextField(blank=True, help_text="PEM; shown to a syslog receiver")
    sealed_client_key = models.TextField(blank=True)
    needs_close_notify = models.BooleanField(
        default=False, help_text="the receiver ends TLS as RFC 5425 section 4.4 says; without, nothing counts as taken"
    )

    kinds = models.JSONField(default=list, help_text="kinds of events it is told; empty: all of them")
    least_severity = models.SmallIntegerField(choices=SEVERITY_CHOICES, default=0)
    is_wide = models.BooleanField(default=True, help_text="everybody's events, and those of nobody")
    teams = models.ManyToManyField(Team, blank=True, related_name="+")
    applications = models.ManyToManyField(Application, blank=True, related_name="+")

    position_txid = models.BigIntegerField(default=0)
    position_id = models.BigIntegerField(default=0)
    position_day = models.DateField(help_text="everything that had come by then was read, as far as the position")
    revision = models.PositiveIntegerField(default=0, help_text="edits: a batch moves the position of its own alone")

    state = models.CharField(max_length=8, choices=STATE_CHOICES, default=State.RUNNING.value)
    since = models.DateTimeField(default=timezone.now, help_text="when it came into its state")
    reason = models.CharField(max_length=500, blank=True, help_text="why it is stalled")
    failures = models.PositiveIntegerField(default=0, help_text="attempts in vain since the last that worked")
    next_at = models.DateTimeField(default=timezone.now, help_text="nothing is sent before this")
    sent = models.PositiveBigIntegerField(default=0, help_text="events, ever")
    sent_at = models.DateTimeField(null=True, blank=True)
    waiting = models.PositiveIntegerField(default=0, help_text="events after the position, as last counted")
    waiting_since = models.DateTimeField(null=True, blank=True, help_text="when the first of them came")
    tested_at = models.DateTimeField(null=True, blank=True)
    test_error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")

    objects = ExportTargetQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(sink__in=list(Sink)), name="exporttarget_sink_known"),
            models.CheckConstraint(condition=Q(format__in=list(Format)), name="exporttarget_format_known"),
            models.CheckConstraint(condition=Q(state__in=list(State)), name="exporttarget_state_known"),
            models.CheckConstraint(
                condition=Q(state="stalled") & ~Q(reason="") | ~Q(state="stalled") & Q(reason=""),
                name="exporttarget_stalled_has_reason",
            ),
            models.CheckConstraint(
                condition=Q(sink="webhook") & ~Q(sealed_url="") & ~Q(format="text") | ~Q(sink="webhook"),
                name="exporttarget_webhook_has_url",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def position(self) -> Cursor:
        return Cursor(self.position_txid, self.position_id, self.position_day)

    @property
    def is_syslog(self) -> bool:
        return self.sink in SYSLOG

    @property
    def is_protected(self) -> bool:
        """Nobody on the way reads or changes what it is sent."""
        return self.sink != Sink.SYSLOG_TCP

    def audience(self) -> Audience:
        """Whose events it is told. Reads its teams and applications."""
        return Audience(
            kinds=frozenset(self.kinds),
            least_severity=self.least_severity,
            is_wide=self.is_wide,
            teams=frozenset(team.pk for team in self.teams.all()),
            applications=frozenset(application.pk for application in self.applications.all()),
        )
