"""What people are told: the outbox that is also their inbox, and how they want to be told."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard.notifications.rhythm import ByMail, MessageStatus, Rhythm


class Message(models.Model):
    """One e-mail to one person. It is written down before it is sent, so that whoever goes on after a crash sends the
    same one: same notices, same ``message_id`` (RFC 5322 section 3.6.4)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, db_index=False, related_name="+")
    message_id = models.CharField(max_length=200, unique=True)
    about = models.CharField(
        max_length=60, blank=True, default="", db_default="", help_text="what writes it (services.writers); empty: news"
    )
    status = models.CharField(
        max_length=8, default=MessageStatus.WAITING.value, choices=[(s.value, s.value) for s in MessageStatus]
    )
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(help_text="not before this")
    claim = models.CharField(max_length=32, blank=True, help_text="whoever is sending it")
    claimed_until = models.DateTimeField(null=True, blank=True)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in MessageStatus]), name="message_status_known"
            ),
            models.CheckConstraint(
                condition=Q(status="waiting", ended_at=None) | ~Q(status="waiting") & Q(ended_at__isnull=False),
                name="message_ended_has_end",
            ),
            # One at a time to one person: while the mail server is away news gather, not messages.
            models.UniqueConstraint(
                fields=["user"], condition=Q(status="waiting", about=""), name="message_one_waiting"
            ),
            # Of what somebody else writes likewise: while one waits there is no second of the same.
            models.UniqueConstraint(
                fields=["user", "about"], condition=Q(status="waiting") & ~Q(about=""), name="message_one_about"
            ),
        ]
        indexes = [
            models.Index(fields=["next_at", "id"], condition=Q(status="waiting"), name="message_due"),
            models.Index(fields=["user", "status", "-ended_at"], name="message_last"),  # when somebody was written to
        ]

    def __str__(self) -> str:
        return f"{self.message_id} to {self.user_id} ({self.status})"


class NoticeQuerySet(models.QuerySet["Notice"]):
    def visible_to(self, user: Any) -> NoticeQuerySet:
        """One's own, and of those about a team only while one sees that team: whoever left it is a stranger to it."""
        own = self.filter(user_id=user.pk, total__gt=0)
        return own if user.sees_everything else own.filter(Q(team_id=None) | Q(team_id__in=user.team_ids))

    def unread(self) -> NoticeQuerySet:
        return self.filter(seen_at=None)

    def pending(self) -> NoticeQuerySet:
        """Not told yet and in no message: what comes is added to these."""
        return self.filter(told_at=None, message=None)

    def on_page(self) -> NoticeQuerySet:
        """What the inbox shows: not what the person wants to read in their mail alone."""
        return self.filter(is_on_page=True)

    def for_mail(self) -> NoticeQuerySet:
        """What may be written: not of a kind about which the person wants no mail now."""
        unwanted = KindChoice.objects.filter(user=OuterRef("user"), kind=OuterRef("kind"), by_mail=ByMail.NEVER)
        return self.exclude(Exists(unwanted))


class Notice(models.Model):
    """What one person is told of one kind, about one team, on one day: a headline over its lines.

    Whatever comes while it is untold joins its lines. ``subject`` and ``weight`` are those of the most pressing line,
    ``total`` counts lines, also those past the bound that are not kept.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, db_index=False, related_name="notices")
    kind = models.CharField(max_length=32)
    key = models.CharField(max_length=100)
    team_id = models.BigIntegerField(null=True, help_text="0: only who sees everything; none: the person's own affair")
    subject = models.CharField(max_length=300, blank=True)
    url = models.CharField(max_length=500, blank=True)
    weight = models.IntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    is_on_page = models.BooleanField(default=True)
    created_at = models.DateTimeField()
    changed_at = models.DateTimeField(help_text="when the last line came")
    told_at = models.DateTimeField(null=True, help_text="when a message with it was sent, or the person read it here")
    seen_at = models.DateTimeField(null=True)
    message = models.ForeignKey(Message, models.SET_NULL, null=True, related_name="notices")

    objects = NoticeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user", "key"], condition=Q(told_at=None, message=None), name="notice_one_pending"
            ),
        ]
        indexes = [
            # The inbox, newest first.
            models.Index(fields=["user", "-created_at", "-id"], name="notice_inbox"),
            # The number beside the navigation's item, on every page.
            models.Index(fields=["user"], condition=Q(seen_at=None), name="notice_unread"),
            models.Index(fields=["seen_at"], condition=Q(seen_at__isnull=False), name="notice_seen"),  # pruning
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.user_id}: {self.subject}"

    @property
    def more(self) -> int:
        """How many lines there are beside the one that the subject names."""
        return max(self.total - 1, 0)


class NoticeLine(models.Model):
    """One thing that a person was told, once: the database refuses the second time."""

    notice = models.ForeignKey(Notice, models.CASCADE, db_index=False, related_name="lines")
    # Who and which kind stand here again for the constraint that says "once".
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, db_index=False, related_name="+")
    kind = models.CharField(max_length=32)
    key = models.CharField(max_length=120)
    weight = models.IntegerField(default=0)
    facts = models.JSONField(help_text="the rest of digest.Line")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "kind", "key"], name="noticeline_told_once")]
        indexes = [
            # A notice's lines, the most pressing first.
            models.Index(fields=["notice", "-weight", "id"], name="noticeline_order"),
            # Whomever one thing was told: to take it back once it is done.
            models.Index(fields=["key", "kind"], name="noticeline_thing"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


_HOUR = Q(quiet_from__lte=23, quiet_until__lte=23)


class Preference(models.Model):
    """How a person wants to be told; without a row the columns' defaults hold."""

    user = models.OneToOneField(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notice_preference")
    email = models.BooleanField(default=True, help_text="write to them; the page tells in any case")
    interval = models.CharField(max_length=8, default=Rhythm.HOURLY.value, choices=[(r.value, r.value) for r in Rhythm])
    quiet_from = models.PositiveSmallIntegerField(null=True, blank=True, help_text="hour of their day, 0 to 23")
    quiet_until = models.PositiveSmallIntegerField(null=True, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC", help_text="name in the tz database")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(interval__in=[r.value for r in Rhythm]), name="preference_interval_known"
            ),
            models.CheckConstraint(
                condition=Q(quiet_from=None, quiet_until=None) | _HOUR, name="preference_quiet_hours"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id}: {self.interval if self.email else 'no e-mail'}"


class KindChoice(models.Model):
    """How a person wants to be told of one kind of news; without a row, as the kind itself says."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, db_index=False, related_name="kind_choices")
    kind = models.CharField(max_length=32)
    by_mail = models.CharField(max_length=8, choices=[(m.value, m.value) for m in ByMail])
    on_page = models.BooleanField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "kind"], name="kindchoice_once"),
            models.CheckConstraint(condition=Q(by_mail__in=list(ByMail)), name="kindchoice_by_mail_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.kind}: {self.by_mail}"
