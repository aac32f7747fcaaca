"""Incidents: the events of one story at one place, what people said of them, and what contains an attack.

Plain names stand beside what they name: an incident outlives its workload, image and application.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import Application, User, owner_filter
from secguard.events.record import MAX_RULE, MAX_TITLE
from secguard.findings.models import SEVERITY_CHOICES
from secguard.images.models import Image, Repository
from secguard.incidents.lifecycle import LIVE, UNSETTLED, Decision, Means, Status, Step
from secguard.workloads.models import Workload

STATUS_CHOICES = [(s.value, s.value) for s in Status]
DECISION_CHOICES = [(d.value, d.value) for d in Decision]
MEANS_CHOICES = [(m.value, m.value) for m in Means]
STEP_CHOICES = [(s.value, s.value) for s in Step]
_LIVE = Q(status__in=[s.value for s in LIVE])
_DECIDED = [Status.EXPECTED.value, Status.ATTACK.value, Status.CONTAINED.value]


class IncidentQuerySet(models.QuerySet["Incident"]):
    def visible_to(self, user: User) -> IncidentQuerySet:
        """Those of the user's teams; what is tied to no application only to who sees everything."""
        return self.filter(owner_filter(user, "application"))

    def live(self) -> IncidentQuerySet:
        """Those with which somebody has to do something."""
        return self.filter(_LIVE)


class Incident(models.Model):
    """The events of one workload (or place), digest and technique, while they keep coming."""

    key = models.CharField(max_length=32, help_text="stands for workload or place, digest and technique")
    line = models.CharField(max_length=32, help_text="stands for technique and rule: what the page groups by")
    status = models.CharField(max_length=12, choices=STATUS_CHOICES, default=Status.OPEN.value)
    severity = models.SmallIntegerField(choices=SEVERITY_CHOICES, default=0)
    score = models.PositiveSmallIntegerField(default=0, help_text="what comes first on the page")
    reasons = models.JSONField(default=list, help_text="[points, words] of which the score is made")
    workload = models.ForeignKey(Workload, models.SET_NULL, null=True, blank=True, related_name="incidents")
    image = models.ForeignKey(Image, models.SET_NULL, null=True, blank=True, related_name="incidents")
    application = models.ForeignKey(Application, models.SET_NULL, null=True, blank=True, related_name="incidents")
    digest = models.CharField(max_length=135, blank=True)
    cluster = models.CharField(max_length=100, blank=True)
    namespace = models.CharField(max_length=253, blank=True)
    workload_name = models.CharField(max_length=253, blank=True)
    workload_kind = models.CharField(max_length=50, blank=True)
    host = models.CharField(max_length=253, blank=True)
    place = models.CharField(max_length=700, help_text="as the key has it")
    kind = models.CharField(max_length=16)
    technique = models.CharField(max_length=64)
    rule = models.CharField(max_length=MAX_RULE, blank=True)
    title = models.CharField(max_length=MAX_TITLE)
    has_malware = models.BooleanField(default=False)
    count = models.PositiveBigIntegerField(default=0)
    stories_count = models.PositiveIntegerField(default=0, help_text="kept one by one")
    more_count = models.PositiveBigIntegerField(default=0, help_text="events of stories that are not")
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()
    created_at = models.DateTimeField(default=timezone.now)
    # What follows has an index of its few rows below, or none: nearly every incident has nothing there.
    assigned_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, db_index=False, related_name="+"
    )
    decision = models.CharField(max_length=8, blank=True, choices=DECISION_CHOICES)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, db_index=False, related_name="+"
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField(blank=True, help_text="of the decision, or of its end")
    returned = models.CharField(max_length=100, blank=True, help_text="what is bad about its coming again")
    before = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, db_index=False, related_name="later")

    objects = IncidentQuerySet.as_manager()

    class Meta:
        ordering = ["-score", "-last_at", "-id"]
        constraints = [
            # Events join it by this.
            models.UniqueConstraint(fields=["key"], condition=_LIVE, name="incident_one_live"),
            models.CheckConstraint(condition=Q(status__in=[s.value for s in Status]), name="incident_status_known"),
            models.CheckConstraint(
                condition=~Q(status__in=_DECIDED)
                | Q(decided_at__isnull=False, decided_by__isnull=False) & ~Q(decision=""),
                name="incident_decided_by_somebody",
            ),
            models.CheckConstraint(
                condition=~Q(status=Status.EXPECTED.value) | Q(decision=Decision.EXPECTED.value),
                name="incident_expected_is_decided",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=[Status.ATTACK.value, Status.CONTAINED.value])
                | Q(decision=Decision.ATTACK.value),
                name="incident_attack_is_decided",
            ),
        ]
        indexes = [
            # The page; the incidents of one of its lines; the one before. No more: every batch of events
            # writes each that it touches anew.
            models.Index(fields=["-score", "-last_at", "-id"], condition=_LIVE, name="incident_first"),
            models.Index(fields=["line", "-score", "-last_at", "-id"], name="incident_of_line"),
            models.Index(fields=["key", "-id"], name="incident_before"),
            models.Index(fields=["assigned_to"], condition=Q(assigned_to__isnull=False), name="incident_assigned"),
            # What was decided lately.
            models.Index(fields=["-decided_at"], condition=Q(decided_at__isnull=False), name="incident_decided"),
            models.Index(fields=["before"], condition=Q(before__isnull=False), name="incident_goes_on"),
        ]

    def __str__(self) -> str:
        return f"incident {self.pk}"

    @property
    def team_id(self) -> int | None:
        return self.application.team_id if self.application else None

    @property
    def is_live(self) -> bool:
        return self.status in LIVE

    @property
    def where(self) -> str:
        """``prod · shop/web``, or what is known of it."""
        inside = "/".join(part for part in (self.namespace, self.workload_name) if part)
        return " · ".join(part for part in (self.cluster, inside or self.host) if part) or "an unknown place"


class IncidentStory(models.Model):
    """What repeated within an incident."""

    incident = models.ForeignKey(Incident, models.CASCADE, related_name="stories")
    story = models.CharField(max_length=32, help_text="as the event store counts it")
    title = models.CharField(max_length=MAX_TITLE)
    rule = models.CharField(max_length=MAX_RULE, blank=True)
    object = models.CharField(max_length=200, blank=True, help_text="program, file, peer or call, without numbers")
    kind = models.CharField(max_length=16)
    severity = models.SmallIntegerField(choices=SEVERITY_CHOICES, default=0)
    count = models.PositiveBigIntegerField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    class Meta:
        ordering = ["-severity", "-count", "id"]
        constraints = [models.UniqueConstraint(fields=["incident", "story"], name="incidentstory_once")]

    def __str__(self) -> str:
        return self.title


class IncidentEntry(models.Model):
    """What was done with an incident, and said of it. The audit log has it as well; this is what its page shows."""

    incident = models.ForeignKey(Incident, models.CASCADE, related_name="history")
    at = models.DateTimeField()
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    what = models.CharField(max_length=200)
    text = models.TextField(blank=True)

    class Meta:
        ordering = ["-at", "-id"]
        indexes = [models.Index(fields=["incident", "-at", "-id"], name="incidententry_newest")]
        verbose_name_plural = "incident entries"

    def __str__(self) -> str:
        return self.what


class ExpectationQuerySet(models.QuerySet["Expectation"]):
    def visible_to(self, user: User) -> ExpectationQuerySet:
        return self.filter(owner_filter(user, "application", repository="repository"))

    def standing(self, now: object) -> ExpectationQuerySet:
        return self.filter(ended_at=None, until__gt=now)


class Expectation(models.Model):
    """What somebody decided to be expected: it makes no incident until its end, and is counted."""

    rule = models.CharField(max_length=MAX_RULE, blank=True)
    object = models.CharField(max_length=200, blank=True)
    place = models.CharField(max_length=700, blank=True, help_text="the one place that it holds for")
    repository = models.ForeignKey(
        Repository, models.CASCADE, null=True, blank=True, related_name="+", help_text="or all images of this one"
    )
    application = models.ForeignKey(Application, models.CASCADE, null=True, blank=True, related_name="+")
    incident = models.ForeignKey(Incident, models.SET_NULL, null=True, related_name="expectations")
    until = models.DateTimeField()
    reason = models.TextField()
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    decided_at = models.DateTimeField()
    ended_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    ended_at = models.DateTimeField(null=True, blank=True)
    count = models.PositiveBigIntegerField(default=0, help_text="events that it covered")
    last_at = models.DateTimeField(null=True, blank=True)

    objects = ExpectationQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(repository=None) & ~Q(place="") | Q(repository__isnull=False, place=""),
                name="expectation_one_scope",
            ),
            models.CheckConstraint(
                condition=Q(ended_at=None, ended_by=None) | Q(ended_at__isnull=False), name="expectation_end"
            ),
        ]
        indexes = [
            # Those that may cover a batch's rules.
            models.Index(fields=["rule"], condition=Q(ended_at=None), name="expectation_standing")
        ]

    def __str__(self) -> str:
        return f"{self.rule}: {self.object}"


class Containment(models.Model):
    """One means to contain an attack: proposed, approved by a person, and done."""

    incident = models.ForeignKey(Incident, models.CASCADE, related_name="containments")
    kind = models.CharField(max_length=8, choices=MEANS_CHOICES)
    document = models.TextField(blank=True, help_text="what a person applies; empty where SecGuard does it itself")
    touches = models.JSONField(default=list, help_text="in words")
    status = models.CharField(max_length=8, choices=STEP_CHOICES, default=Step.PROPOSED.value)
    proposed_at = models.DateTimeField()
    decided_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    done_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", help_text="empty: seen so"
    )
    done_at = models.DateTimeField(null=True, blank=True)
    note = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=[s.value for s in Step]), name="containment_status_known"),
            # Rule: nothing is contained without a person's yes.
            models.CheckConstraint(
                condition=~Q(status__in=[Step.APPROVED.value, Step.DONE.value, Step.FAILED.value])
                | Q(decided_by__isnull=False, decided_at__isnull=False),
                name="containment_approved_by_somebody",
            ),
            models.CheckConstraint(
                condition=~Q(status=Step.DONE.value) | Q(done_at__isnull=False), name="containment_done_at"
            ),
            models.UniqueConstraint(
                fields=["incident", "kind"],
                condition=Q(status__in=[s.value for s in UNSETTLED]),
                name="containment_one_of_a_kind",
            ),
        ]
        indexes = [
            # What waits to be seen as done.
            models.Index(fields=["kind"], condition=Q(status=Step.APPROVED.value), name="containment_approved")
        ]

    def __str__(self) -> str:
        return f"{self.kind} for incident {self.incident_id}"
