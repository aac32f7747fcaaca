"""What is wrong with images. Detected here; decided elsewhere (DESIGN rules 2 and 3)."""

from __future__ import annotations

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard.accounts.models import Application, User, owner_filter
from secguard.advisories.models import Vulnerability
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity
from secguard.images.models import Component, Image, ImageRepository, Repository

KIND_CHOICES = [(k.value, k.value) for k in FindingKind]
SEVERITY_CHOICES = [(s.value, s.label) for s in Severity]
OPEN, CLOSED = "open", "closed"


class RiskQuerySet(models.QuerySet["Risk"]):
    def visible_to(self, user: User) -> RiskQuerySet:
        """Risks that stand, or stood, in an image of the user's teams."""
        if user.sees_everything:
            return self
        mine = Exposure.objects.filter(owner_filter(user, "repository__application"), risk=OuterRef("pk"))
        return self.filter(Exists(mine))


class Risk(models.Model):
    """The same finding over all images: what people decide on.

    ``key`` is the identity: vulnerability and package, or kind, rule and target (see ``identity.risk_key``).
    """

    key = models.CharField(max_length=64)
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    vulnerability = models.ForeignKey(Vulnerability, models.PROTECT, null=True, blank=True, related_name="risks")
    package = models.CharField(max_length=500, blank=True)
    rule = models.CharField(max_length=200, blank=True)
    target = models.CharField(max_length=1000, blank=True)
    title = models.CharField(max_length=500, blank=True)
    description = models.TextField(blank=True)
    remediation = models.TextField(blank=True)
    severity = models.SmallIntegerField(choices=SEVERITY_CHOICES, default=0, help_text="worst now reported anywhere")
    severity_source = models.CharField(max_length=50, blank=True)
    fix_available = models.BooleanField(default=False)
    known_exploited = models.BooleanField(default=False)
    epss = models.FloatField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = RiskQuerySet.as_manager()

    class Meta:
        constraints = [
            # Not ``unique=True``: that would add a second index, for LIKE, to PostgreSQL.
            models.UniqueConstraint(fields=["key"], name="risk_once"),
            models.CheckConstraint(condition=Q(kind__in=[k.value for k in FindingKind]), name="risk_kind_known"),
            models.CheckConstraint(
                condition=Q(kind="vulnerability", vulnerability__isnull=False)
                | (~Q(kind="vulnerability") & Q(vulnerability__isnull=True)),
                name="risk_vulnerability_named",
            ),
        ]
        indexes = [
            # The risk list in its default order, worst first.
            models.Index(fields=["-known_exploited", "-severity", "-id"], name="risk_worst"),
            models.Index(fields=["-severity", "-id"], name="risk_severity"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """How people call it: the vulnerability's id, or the rule."""
        return self.vulnerability.name if self.vulnerability else self.rule

    @property
    def where(self) -> str:
        return self.package or self.target


class FindingQuerySet(models.QuerySet["Finding"]):
    def open(self) -> FindingQuerySet:
        return self.filter(status=OPEN)

    def visible_to(self, user: User) -> FindingQuerySet:
        if user.sees_everything:
            return self
        places = ImageRepository.objects.filter(
            owner_filter(user, "repository__application"), image=OuterRef("image_id")
        )
        return self.filter(Exists(places))


class Finding(models.Model):
    """A risk in an image (at a component, for a vulnerability). Open while some scanner reports it."""

    image = models.ForeignKey(Image, models.CASCADE, related_name="findings")
    risk = models.ForeignKey(Risk, models.PROTECT, db_index=False, related_name="findings")
    component = models.ForeignKey(Component, models.PROTECT, null=True, blank=True, db_index=False, related_name="+")
    status = models.CharField(max_length=8, default=OPEN, choices=[(OPEN, OPEN), (CLOSED, CLOSED)])
    severity = models.SmallIntegerField(choices=SEVERITY_CHOICES)
    severity_source = models.CharField(max_length=50, blank=True)
    fixed_versions = models.JSONField(default=list)
    path = models.CharField(max_length=1000, blank=True)
    layer = models.CharField(max_length=80, blank=True)
    first_seen_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)
    close_reason = models.CharField(max_length=200, blank=True)

    objects = FindingQuerySet.as_manager()

    class Meta:
        constraints = [
            # Rule 2: (image, canonical vulnerability, component purl), or (image, rule and target).
            models.UniqueConstraint(
                fields=["image", "risk", "component"], condition=Q(component__isnull=False), name="finding_identity"
            ),
            models.UniqueConstraint(
                fields=["image", "risk"], condition=Q(component__isnull=True), name="finding_identity_no_component"
            ),
            models.CheckConstraint(
                condition=Q(status=OPEN, closed_at=None) | Q(status=CLOSED, closed_at__isnull=False),
                name="finding_status_consistent",
            ),
        ]
        indexes = [
            # Where a risk stands open: the risk's page, its counts, the blast radius of a decision.
            # Whole, so that it serves the foreign key as well.
            models.Index(fields=["risk", "status", "image"], name="finding_by_risk"),
            # The findings list, worst first, newest first.
            models.Index(fields=["-severity", "-id"], condition=Q(status=OPEN), name="finding_open_worst"),
        ]

    def __str__(self) -> str:
        return f"{self.risk_id} in {self.image_id}"


class Observation(models.Model):
    """One scanner's word on a finding: withdrawn when the scanner no longer says it, never deleted.

    ``scan_id`` is the scan that first said it in this form; rescans that say the same write nothing.
    """

    # Its index is that of the unique constraint below.
    finding = models.ForeignKey(Finding, models.CASCADE, db_index=False, related_name="observations")
    scanner = models.CharField(max_length=50)
    severity = models.SmallIntegerField(choices=SEVERITY_CHOICES)
    severity_source = models.CharField(max_length=50, blank=True)
    reported_id = models.CharField(max_length=100, blank=True, help_text="the name that this scanner uses")
    fixed_versions = models.JSONField(default=list)
    suppressed = models.CharField(max_length=300, blank=True, help_text="why the scanner itself ignores it")
    fingerprint = models.CharField(max_length=32, help_text="of the attributes, to tell a change")
    since = models.DateTimeField()
    scan_id = models.BigIntegerField()
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawn_by_scan_id = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["finding", "scanner"], name="observation_once")]

    def __str__(self) -> str:
        return f"{self.scanner} on {self.finding_id}"


class ExposureQuerySet(models.QuerySet["Exposure"]):
    def visible_to(self, user: User) -> ExposureQuerySet:
        return self.filter(owner_filter(user, "application", team="team_id", repository="repository"))

    def present(self) -> ExposureQuerySet:
        return self.filter(resolved_at=None)


class Exposure(models.Model):
    """A risk in the newest image of a repository: the unit of work, of deadlines and of every figure.

    Severity, exploitation, team and application stand here again so that the homes and lists read one narrow table.
    Written by ``services.refresh_exposures`` alone, as the difference to what stood there.
    """

    # Its index is that of the unique constraint below.
    risk = models.ForeignKey(Risk, models.CASCADE, db_index=False, related_name="exposures")
    repository = models.ForeignKey(Repository, models.CASCADE, related_name="exposures")
    application = models.ForeignKey(Application, models.CASCADE, null=True, blank=True, db_index=False)
    team_id = models.BigIntegerField(null=True, blank=True)
    kind = models.CharField(max_length=20, choices=KIND_CHOICES)
    severity = models.SmallIntegerField(choices=SEVERITY_CHOICES)
    known_exploited = models.BooleanField(default=False)
    fix_available = models.BooleanField(default=False)
    since = models.DateTimeField(help_text="first found in this repository, over all its images")
    due_at = models.DateTimeField(null=True, blank=True, help_text="by the risk appetite in force")
    resolved_at = models.DateTimeField(null=True, blank=True)
    returned_at = models.DateTimeField(
        null=True, blank=True, help_text="when it was last found again after it had been resolved; empty: it never was"
    )
    decision_id = models.BigIntegerField(null=True, blank=True, help_text="the decision that covers it, if any")
    decided_until = models.DateTimeField(null=True, blank=True, help_text="when that decision ends")

    objects = ExposureQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["risk", "repository"], name="exposure_once")]
        indexes = [
            # What stands open in one repository or application.
            models.Index(fields=["repository", "-severity"], condition=Q(resolved_at=None), name="exposure_open_repo"),
            # The figures by team and severity, and what is overdue.
            models.Index(
                fields=["team_id", "severity", "due_at"], condition=Q(resolved_at=None), name="exposure_open_team"
            ),
            models.Index(fields=["severity", "due_at"], condition=Q(resolved_at=None), name="exposure_open_due"),
            # What is due next, over everything: the list of open risks in its own order, and the homes.
            models.Index(fields=["due_at", "id"], condition=Q(resolved_at=None), name="exposure_open_next"),
            # Time from finding to fix.
            models.Index(fields=["resolved_at"], condition=Q(resolved_at__isnull=False), name="exposure_resolved"),
        ]

    def __str__(self) -> str:
        return f"{self.risk_id} in repository {self.repository_id}"
