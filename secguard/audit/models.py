"""The audit log: append-only, hash-chained (DESIGN rule 10)."""

from __future__ import annotations

from datetime import UTC
from typing import Any

from django.db import models

from secguard.audit.chain import COLUMNS, Entry


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    def visible_to(self, user: Any) -> AuditEntryQuerySet:
        """All of it for who may read the log of the organisation, their teams' entries for who may in teams."""
        teams = user.teams_with("audit:read")
        return self if teams is None else self.filter(team_id__in=teams)


class AuditEntry(models.Model):
    """One change of who may do or run what. ``sequence`` has no gaps; ``digest`` covers the entry and its predecessor.

    Actor and subject are kept as text beside their ids: the log outlives its rows. Triggers (migration 0002) refuse to
    change or delete an entry.
    """

    sequence = models.BigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor = models.CharField(max_length=150)
    actor_id = models.BigIntegerField(null=True)
    token = models.CharField(max_length=12, blank=True)
    action = models.CharField(max_length=64)
    subject_type = models.CharField(max_length=32)
    subject_id = models.CharField(max_length=80)
    subject = models.CharField(max_length=300)
    team_id = models.BigIntegerField(null=True)
    details = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    previous_digest = models.CharField(max_length=64)
    digest = models.CharField(max_length=64)

    objects = AuditEntryQuerySet.as_manager()

    class Meta:
        ordering = ["-sequence"]
        verbose_name_plural = "audit entries"
        indexes = [
            # One subject's history, newest first.
            models.Index(fields=["subject_type", "subject_id", "-sequence"], name="audit_subject"),
            # The log filtered by action or by actor, newest first.
            models.Index(fields=["action", "-sequence"], name="audit_action"),
            models.Index(fields=["actor", "-sequence"], name="audit_actor"),
            # A span of time becomes a span of sequence numbers: two look-ups here, whatever the number of rows.
            models.Index(fields=["at", "sequence"], name="audit_at"),
            # What a team's members see of the log.
            models.Index(fields=["team_id", "-sequence"], name="audit_team"),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.action} {self.subject}"

    def as_entry(self) -> Entry:
        """What the chain is about, free of the database; the two have the same columns."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        return Entry(**columns | {"at": self.at.astimezone(UTC)})


class AuditHead(models.Model):
    """The one row that writers lock to take the next place in the chain."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    sequence = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, default="")
    at = models.DateTimeField(null=True, help_text="Of the newest entry: the log's time never runs backwards.")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audithead_single")]

    def __str__(self) -> str:
        return f"head {self.sequence}"


class AuditTree(models.Model):
    """The one row that says over how many entries the tree reaches. Whoever makes it grow locks it."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    size = models.BigIntegerField(default=0)
    origin = models.CharField(max_length=200, help_text="The log's name on its checkpoints, for ever the same.")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audittree_single")]

    def __str__(self) -> str:
        return f"tree of {self.size}"


class AuditTile(models.Model):
    """256 hashes of the tree (see ``tree``), fewer while it grows: of 10^7 entries, 40,000 rows and 330 MB."""

    level = models.PositiveSmallIntegerField()
    index = models.BigIntegerField()
    hashes = models.BinaryField()

    class Meta:
        # A proof reads its tiles by this, at most two of each level.
        constraints = [models.UniqueConstraint(fields=["level", "index"], name="audittile_place")]

    def __str__(self) -> str:
        return f"tile {self.level}/{self.index}"


class AuditCheckpoint(models.Model):
    """What was signed of the log at some moment: ``note`` is the signed text, the other columns are read out of it."""

    size = models.BigIntegerField()
    root = models.CharField(max_length=64, help_text="of the tree, in hexadecimal")
    fingerprint = models.CharField(max_length=71, help_text="of the key that signed it")
    note = models.TextField()
    made_at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        indexes = [
            # The first checkpoint that holds an entry, and the one of a size.
            models.Index(fields=["size", "id"], name="auditcheckpoint_size"),
        ]

    def __str__(self) -> str:
        return f"checkpoint of {self.size}"
