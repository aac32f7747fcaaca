"""Jobs: the truth about work that is done outside of a request (DESIGN rule 9)."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q

from secguard.jobs import lifecycle


class JobQuerySet(models.QuerySet["Job"]):
    def open(self) -> JobQuerySet:
        """Queued or running."""
        return self.filter(status__in=lifecycle.OPEN)

    def due(self, now: datetime) -> JobQuerySet:
        """Queued, and its time has come; in the order in which they are to run."""
        return self.filter(status=lifecycle.Status.QUEUED, run_after__lte=now).order_by("run_after", "id")

    def abandoned(self, now: datetime) -> JobQuerySet:
        """Running, but whoever ran it did not renew the lease: the process is gone."""
        return self.filter(status=lifecycle.Status.RUNNING, lease_until__lt=now)


class Job(models.Model):
    """One piece of work: a registered ``kind`` of handler, and ids as its arguments.

    At most one open job has a given (kind, key); a worker that runs it holds the lease and renews it.
    """

    kind = models.CharField(max_length=64)
    key = models.CharField(max_length=255)
    args = models.JSONField(default=dict)
    queue = models.CharField(max_length=16, choices=[(q, q) for q in lifecycle.Queue])
    status = models.CharField(
        max_length=16, choices=[(s, s) for s in lifecycle.Status], default=lifecycle.Status.QUEUED
    )
    attempts = models.PositiveSmallIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=5)
    # How often the work was asked for, and up to which request the present run answers: work that is asked for again
    # while it runs (its input changed under it) runs once more.
    requests = models.PositiveIntegerField(default=1)
    answering = models.PositiveIntegerField(default=0)
    run_after = models.DateTimeField()
    lease_owner = models.CharField(max_length=128, blank=True, default="")
    lease_until = models.DateTimeField(null=True, blank=True)
    progress_text = models.CharField(max_length=255, blank=True, default="")
    progress_done = models.PositiveBigIntegerField(default=0)
    progress_total = models.PositiveBigIntegerField(default=0)
    error = models.TextField(blank=True, default="")
    error_code = models.CharField(max_length=64, blank=True, default="")
    result = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "key"], condition=Q(status__in=lifecycle.OPEN), name="jobs_one_open_per_key"
            ),
            models.CheckConstraint(condition=Q(status__in=list(lifecycle.Status)), name="jobs_status_known"),
            models.CheckConstraint(condition=Q(queue__in=list(lifecycle.Queue)), name="jobs_queue_known"),
            models.CheckConstraint(
                condition=Q(status=lifecycle.Status.RUNNING, lease_until__isnull=False) & ~Q(lease_owner="")
                | ~Q(status=lifecycle.Status.RUNNING) & Q(lease_until__isnull=True, lease_owner=""),
                name="jobs_running_holds_lease",
            ),
            models.CheckConstraint(
                condition=Q(status__in=lifecycle.ENDED, finished_at__isnull=False)
                | Q(status__in=lifecycle.OPEN, finished_at__isnull=True),
                name="jobs_ended_has_end",
            ),
            models.CheckConstraint(condition=Q(attempts__lte=F("max_attempts")), name="jobs_attempts_bounded"),
        ]
        indexes = [
            # services.claim: the oldest due job of a queue
            models.Index(
                fields=["queue", "run_after", "id"],
                condition=Q(status=lifecycle.Status.QUEUED),
                name="jobs_due",
            ),
            # services.sweep: running jobs whose lease has ended
            models.Index(fields=["lease_until"], condition=Q(status=lifecycle.Status.RUNNING), name="jobs_abandoned"),
            # services.prune: ended jobs past their keeping time
            models.Index(fields=["finished_at"], condition=Q(finished_at__isnull=False), name="jobs_ended"),
            # queries.latest: the last job of a kind and key, whatever its state
            models.Index(fields=["kind", "key", "-id"], name="jobs_latest"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key} ({self.status})"
