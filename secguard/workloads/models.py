"""What runs, where, and on which volumes."""

from __future__ import annotations

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard.accounts.models import Application, User, owner_filter
from secguard.images.models import Image
from secguard.workloads import volumes
from secguard.workloads.podspec import DATA

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
        return self.filter(owner_filter(user, "application"))

    def running(self) -> WorkloadQuerySet:
        return self.filter(gone_at=None)

    def with_data(self, held: bool = True) -> WorkloadQuerySet:
        """Those that mount a volume that holds data, or a folder of the node; or (``held`` False) the others."""
        volumes_held = Exists(Volume.objects.filter(workload=OuterRef("pk"), kind__in=(*DATA, volumes.NODE)))
        return self.filter(volumes_held if held else ~volumes_held)


class Workload(models.Model):
    """A Kubernetes workload (or a container on a single host), and the images it runs."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="workloads")
    namespace = models.CharField(max_length=100, blank=True)
    kind = models.CharField(max_length=50, default="Deployment")
    name = models.CharField(max_length=253)
    application = models.ForeignKey(Application, models.SET_NULL, null=True, blank=True, related_name="workloads")
    images = models.ManyToManyField(Image, related_name="workloads", blank=True)
    restrictions = models.JSONField(
        null=True,
        blank=True,
        help_text="what all its pods are kept from, as the last list of pods told; empty: not told",
    )
    listed_at = models.DateTimeField(null=True, blank=True, help_text="when a list of pods last told of it")
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


class Container(models.Model):
    """A container that a list of pods told of: what a sensor's event or an address is tied to a workload by."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="+")
    workload = models.ForeignKey(Workload, models.CASCADE, related_name="containers")
    image = models.ForeignKey(Image, models.SET_NULL, null=True, related_name="+", help_text="what its node pulled")
    namespace = models.CharField(max_length=100, blank=True)
    pod = models.CharField(max_length=253)
    pod_uid = models.CharField(max_length=64, blank=True)
    name = models.CharField(max_length=253)
    container_id = models.CharField(max_length=64, blank=True, help_text="empty until its node told one")
    short_id = models.CharField(max_length=12, blank=True, help_text="the beginning of it, which is all that some tell")
    pod_ip = models.CharField(max_length=45, blank=True)
    digest = models.CharField(max_length=135, blank=True, help_text="that its node told, known here or not")
    seen_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "namespace", "pod", "name", "container_id"], name="container_once"
            )
        ]
        # Whose container, whose pod, whose address this is.
        indexes = [
            models.Index(fields=["short_id"], name="container_short_id"),
            models.Index(fields=["pod_uid"], name="container_pod_uid"),
            models.Index(fields=["cluster", "pod_ip"], name="container_pod_ip"),
        ]

    def __str__(self) -> str:
        return f"{self.pod}/{self.name}"


class Volume(models.Model):
    """A volume that a workload's pods mount: what kind, and the claim, folder or share behind it."""

    workload = models.ForeignKey(Workload, models.CASCADE, related_name="volumes")
    name = models.CharField(max_length=volumes.MAX_NAME, help_text="in the pod")
    kind = models.CharField(max_length=63, help_text="as Kubernetes calls it: persistentVolumeClaim, hostPath")
    source = models.CharField(max_length=volumes.MAX_SOURCE, blank=True, help_text="claim, path, config map, share")
    read_only = models.BooleanField(default=False, help_text="nothing in the pod may write to it")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workload", "name", "kind", "source"], name="volume_once")]

    def __str__(self) -> str:
        return f"{self.name} ({self.kind})"

    @property
    def mount(self) -> volumes.Mount:
        return volumes.Mount(self.name, self.kind, self.source, self.read_only)

    @property
    def holds_data(self) -> bool:
        return self.mount.holds_data

    @property
    def is_of_node(self) -> bool:
        return self.kind == volumes.NODE

    @property
    def words(self) -> str:
        return volumes.words_of(self.kind)
