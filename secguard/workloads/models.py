"""What runs, and where."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.images.models import Image

CLUSTER_KINDS = [("laptop", "laptop"), ("datacenter", "data centre"), ("cloud", "cloud")]


class Cluster(models.Model):
    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(
        max_length=12,
        default="cloud",
        choices=CLUSTER_KINDS,
    )
    is_sample = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class WorkloadQuerySet(models.QuerySet["Workload"]):
    def visible_to(self, user: User) -> WorkloadQuerySet:
        return self if user.sees_everything else self.filter(application__team_id__in=user.team_ids)

    def running(self) -> WorkloadQuerySet:
        return self.filter(gone_at=None)


class Workload(models.Model):
    """A Kubernetes workload (or a container on a single host), and the images it runs."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="workloads")
    namespace = models.CharField(max_length=100, blank=True)
    kind = models.CharField(max_length=50, default="Deployment")
    name = models.CharField(max_length=253)
    application = models.ForeignKey(Application, models.SET_NULL, null=True, blank=True, related_name="workloads")
    images = models.ManyToManyField(Image, related_name="workloads", blank=True)
    seen_at = models.DateTimeField(default=timezone.now)
    gone_at = models.DateTimeField(null=True, blank=True)

    objects = WorkloadQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "namespace", "kind", "name"], condition=Q(gone_at=None), name="workload_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
