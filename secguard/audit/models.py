"""The audit log: append-only, hash-chained (DESIGN rule 10)."""

from __future__ import annotations

from django.db import models


class AuditEntry(models.Model):
    """One change of who may do or run what. ``sequence`` has no gaps; ``digest`` covers the entry and its predecessor.

    Actor and subject are kept as text beside their ids: the log outlives its rows.
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

    class Meta:
        ordering = ["-sequence"]
        indexes = [
            # One subject's history, newest first.
            models.Index(fields=["subject_type", "subject_id", "-sequence"], name="audit_subject"),
            # The log filtered by action or by actor, newest first.
            models.Index(fields=["action", "-sequence"], name="audit_action"),
            models.Index(fields=["actor", "-sequence"], name="audit_actor"),
            # What a team's members see of the log.
            models.Index(fields=["team_id", "-sequence"], name="audit_team"),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.action} {self.subject}"


class AuditHead(models.Model):
    """The one row that writers lock to take the next place in the chain."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    sequence = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, default="")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="audithead_single")]

    def __str__(self) -> str:
        return f"head {self.sequence}"
