"""How each cluster is answered, and what was answered."""

from __future__ import annotations

from enum import StrEnum

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import User, owner_filter
from secguard.admission.answer import Mode, Outcome, Rules
from secguard.admission.breakglass import GlassStatus
from secguard.images.models import Image, Repository
from secguard.policies.models import Evaluation
from secguard.workloads.models import Cluster


class AnsweredBy(StrEnum):
    """Who gave an answer: this server, or the cluster's agent, from a snapshot or from nothing, while it was away."""

    SERVER = "server"
    AGENT = "agent"


MODE_CHOICES = [(m.value, m.value) for m in Mode]
OUTCOME_CHOICES = [(o.value, o.value.replace("-", " ")) for o in Outcome]
ANSWERED_CHOICES = [(a.value, a.value) for a in AnsweredBy]


class ClusterGate(models.Model):
    """One cluster's settings at the gate ``admit``, and the token by which it is known."""

    cluster = models.OneToOneField(Cluster, models.CASCADE, related_name="gate")
    mode = models.CharField(max_length=8, default=Mode.ENFORCE.value, choices=MODE_CHOICES)
    namespaces = models.JSONField(default=dict, help_text="namespace, or the beginning of one and *, to mode")
    effects = models.JSONField(default=dict, help_text="what pods ask for, to block, warn or off")
    paths = models.JSONField(default=dict, help_text="group/Kind to paths of pod specs or image references")
    requires_digest = models.BooleanField(default=True, help_text="tags are refused: a node may pull something else")
    environment = models.CharField(max_length=63, blank=True, default="", help_text="what runs here was promoted to it")
    signers = models.JSONField(default=list, blank=True, help_text="keys, one of which signed what runs here")
    token_hash = models.CharField(
        max_length=64, null=True, blank=True, unique=True, help_text="SHA-256 of what its webhooks show"
    )
    token_made_at = models.DateTimeField(null=True, blank=True)
    heard_at = models.DateTimeField(null=True, blank=True, help_text="when it last asked, to the minute")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["cluster__name"]
        constraints = [
            models.CheckConstraint(condition=Q(mode__in=[m.value for m in Mode]), name="clustergate_mode_known")
        ]

    def __str__(self) -> str:
        return f"gate of {self.cluster_id}"

    @property
    def rules(self) -> Rules:
        return Rules(
            Mode(self.mode),
            self.namespaces,
            self.effects,
            self.requires_digest,
            self.environment,
            tuple(self.signers),
        )


class AdmissionDecisionQuerySet(models.QuerySet["AdmissionDecision"]):
    def visible_to(self, user: User) -> AdmissionDecisionQuerySet:
        """Those that name a repository of the user's teams; all others, to who sees everything.

        Not by the image: the same digest may lie in another team's repository, which the answer would name.
        """
        return self.filter(owner_filter(user, "repository__application"))


class AdmissionDecision(models.Model):
    """One answer about one image (or about what a pod asks for), however often it was given: counted, not repeated.

    Kept for everything but what was simply allowed, of which the first for each workload is. The evaluation holds the
    verdict with all that it was made from (DESIGN rule 7); mode, digest and reason are as they were answered, and stay
    where the image itself is removed.
    """

    key = models.CharField(max_length=64, unique=True, help_text="SHA-256 of what makes two answers the same")
    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="admission_decisions")
    namespace = models.CharField(max_length=253, blank=True)
    workload_kind = models.CharField(max_length=63, blank=True)
    workload_name = models.CharField(max_length=253, blank=True)
    reference = models.CharField(max_length=700, blank=True, help_text="as written; empty: about what the pod asks for")
    digest = models.CharField(max_length=135, blank=True, help_text="what the reference named then")
    image = models.ForeignKey(Image, models.SET_NULL, null=True, blank=True, related_name="admission_decisions")
    repository = models.ForeignKey(
        Repository, models.SET_NULL, null=True, blank=True, related_name="admission_decisions"
    )
    outcome = models.CharField(max_length=12, choices=OUTCOME_CHOICES)
    mode = models.CharField(max_length=8, choices=MODE_CHOICES)
    reason = models.TextField(blank=True)
    grace_until = models.DateTimeField(null=True, blank=True)
    evaluation = models.ForeignKey(Evaluation, models.SET_NULL, null=True, blank=True, related_name="+")
    requested_by = models.CharField(max_length=200, blank=True, help_text="who asked the cluster, the last time")
    uid = models.CharField(
        max_length=200, blank=True, help_text="of the last review: the cluster's own audit log has it"
    )
    answered_by = models.CharField(
        max_length=8, choices=ANSWERED_CHOICES, default=AnsweredBy.SERVER.value, db_default=AnsweredBy.SERVER.value
    )
    snapshot_at = models.DateTimeField(
        null=True, blank=True, help_text="when the snapshot was made that the agent answered from; empty: it had none"
    )
    count = models.PositiveBigIntegerField(default=1)
    told = models.PositiveBigIntegerField(default=0, db_default=0, help_text="of the count, to the event store")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    objects = AdmissionDecisionQuerySet.as_manager()

    class Meta:
        ordering = ["-last_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(outcome__in=[o.value for o in Outcome]), name="admissiondecision_outcome_known"
            ),
            models.CheckConstraint(
                condition=Q(answered_by="agent") | Q(answered_by="server", snapshot_at=None),
                name="admissiondecision_answered_by",
            ),
        ]
        indexes = [
            # The list, newest first; the same of one outcome; what an image's page shows.
            models.Index(fields=["-last_at", "-id"], name="admissiondecision_newest"),
            models.Index(fields=["outcome", "-last_at", "-id"], name="admissiondecision_outcome"),
            models.Index(fields=["image", "-last_at", "-id"], name="admissiondecision_image"),
            # What the event store was not told yet.
            models.Index(fields=["id"], condition=Q(count__gt=models.F("told")), name="admissiondecision_untold"),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} {self.reference or 'pod'} in {self.cluster_id}"


class SnapshotAnswer(models.Model):
    """A review that a cluster's agent answered while this server was away, and told of: it counts once."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="+")
    uid = models.CharField(max_length=200)
    answered_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "uid"], name="snapshotanswer_once")]
        # What is old enough to be forgotten.
        indexes = [models.Index(fields=["cluster", "answered_at"], name="snapshotanswer_age")]

    def __str__(self) -> str:
        return f"{self.uid} of {self.cluster_id}"


class BreakGlass(models.Model):
    """One start of one digest in one namespace that is refused otherwise. The database lets nobody grant or review
    their own."""

    cluster = models.ForeignKey(Cluster, models.CASCADE, related_name="+")
    namespace = models.CharField(max_length=63)
    digest = models.CharField(max_length=135)
    minutes = models.PositiveSmallIntegerField(help_text="how long it may be used once it is granted")
    reason = models.TextField()
    status = models.CharField(
        max_length=10, default=GlassStatus.REQUESTED.value, choices=[(s.value, s.value) for s in GlassStatus]
    )
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    requested_at = models.DateTimeField(default=timezone.now)
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    used_at = models.DateTimeField(null=True, blank=True)
    used_for = models.CharField(max_length=600, blank=True, help_text="the pod, and who asked the cluster for it")
    reviewed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    reviewed_at = models.DateTimeField(null=True, blank=True)
    review = models.TextField(blank=True)

    class Meta:
        verbose_name_plural = "break-glass"
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=[s.value for s in GlassStatus]), name="breakglass_status_known"
            ),
            models.CheckConstraint(
                condition=Q(decided_by=None) | ~Q(decided_by=models.F("requested_by")), name="breakglass_two_people"
            ),
            models.CheckConstraint(
                condition=Q(reviewed_by=None) | ~Q(reviewed_by=models.F("requested_by")),
                name="breakglass_other_reviews",
            ),
            # Granted, used and reviewed stand on somebody's word and an end; nothing is used twice.
            models.CheckConstraint(
                condition=~Q(status__in=["granted", "used", "reviewed"])
                | Q(decided_by__isnull=False, expires_at__isnull=False),
                name="breakglass_granted_by_somebody",
            ),
            models.UniqueConstraint(
                fields=["cluster", "namespace", "digest"],
                condition=Q(status="requested"),
                name="breakglass_one_open_request",
            ),
        ]
        indexes = [
            # What a review may use: asked for with every question.
            models.Index(fields=["cluster", "namespace", "status"], name="breakglass_usable"),
            models.Index(fields=["status", "-id"], name="breakglass_waiting"),
        ]

    def __str__(self) -> str:
        return f"break-glass {self.pk}"
