"""Who looked at an image, when, and what it wrote down."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from secguard.accounts.models import Application, User, owner_filter
from secguard.advisories.models import Vulnerability
from secguard.images.models import ComponentBuild, Image, ImageRepository, Index, Repository
from secguard.scans.lifecycle import OPEN_STATUSES, ScanOrigin, ScanStatus

STATUS_CHOICES = [(s.value, s.value) for s in ScanStatus]


class Report(models.Model):
    """A tool's output (deflated), stored once however often it is posted: kept as received, but for the texts of the
    secrets that it found (``redaction``). ``sha256`` and ``size_bytes`` are those of what was received."""

    sha256 = models.CharField(max_length=64, unique=True)
    body = models.BinaryField()
    condensed = models.BinaryField(null=True, help_text="as it was read (scans.condensed), until it is taken in")
    size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.sha256


class ScanQuerySet(models.QuerySet["Scan"]):
    def visible_to(self, user: User) -> ScanQuerySet:
        """Scans of images the user may see, and the user's own that have not found their image yet."""
        if user.sees_everything:
            return self
        places = ImageRepository.objects.filter(
            owner_filter(user, "repository__application"), image=OuterRef("image_id")
        )
        return self.filter(Q(Exists(places)) | Q(image=None) & _unmet(user))


def _unmet(user: User) -> Q:
    """Of scans that have not found their image yet: it lies nowhere, so that their words decide."""
    limit = user.limit
    if limit is None:
        return Q(requested_by=user) | Q(owner_filter(user, "application"), origin=ScanOrigin.WORKER)
    if limit.repositories is None or limit.is_void:
        return owner_filter(user, "application")
    named = Q(application__team_id=limit.team, reference__regex=limit.reference_regex)
    return named if limit.applications is None else named & Q(application__in=limit.applications)


class Scan(models.Model):
    """One tool's look at one image; or, of an index, the parent of one look a platform."""

    origin = models.CharField(
        max_length=10, default=ScanOrigin.REPORT, choices=[(o.value, o.value) for o in ScanOrigin]
    )
    trigger = models.CharField(max_length=20, blank=True, help_text="api, page, webhook, schedule, watch, upload")
    image = models.ForeignKey(Image, models.CASCADE, null=True, blank=True, related_name="scans")
    reference = models.CharField(max_length=700, help_text="the image as it was named when the scan was asked for")
    scanner = models.CharField(max_length=50)
    scanner_version = models.CharField(max_length=100, blank=True)
    format = models.CharField(max_length=30, blank=True)
    status = models.CharField(
        max_length=10, default=ScanStatus.QUEUED, choices=[(s.value, s.value) for s in ScanStatus]
    )
    report = models.ForeignKey(Report, models.PROTECT, null=True, blank=True, related_name="scans")
    dedup_key = models.CharField(max_length=64)
    named = models.CharField(max_length=700, blank=True, help_text="the image as the sender named it")
    is_renamed = models.BooleanField(default=False, help_text="the sender says: same image, another name")
    application = models.ForeignKey(Application, models.SET_NULL, null=True, blank=True, related_name="+")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    speaks_for = models.JSONField(
        null=True,
        blank=True,
        help_text="the teams for which the sender's token could post; null: as far as their roles go",
    )
    job_id = models.BigIntegerField(null=True, blank=True)
    index = models.ForeignKey(Index, models.SET_NULL, null=True, blank=True, related_name="scans")
    parent = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="children")
    platform = models.CharField(max_length=100, blank=True, help_text="os/architecture[/variant], of an index")
    archive = models.CharField(max_length=100, blank=True, help_text="the uploaded archive that holds the image")
    examines = models.CharField(
        max_length=135, null=True, blank=True, help_text="the digest that this scan, and no other now, looks at"
    )
    same_as = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="followers", help_text="ends as that scan does"
    )
    is_complete = models.BooleanField(default=True)
    covers = models.JSONField(default=list)
    counts = models.JSONField(default=dict)
    warnings = models.JSONField(default=list)
    problem = models.JSONField(null=True, blank=True, help_text="why it failed, as a problem document")
    database_updated_at = models.DateTimeField(null=True, blank=True)
    content = models.CharField(
        max_length=64, blank=True, help_text="of all it said, on the scan whose words are the scanner's present ones"
    )
    created_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = ScanQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=[s.value for s in ScanStatus]), name="scan_status_known"),
            # The same bytes about the same image, posted by many at once, are one scan.
            models.UniqueConstraint(
                fields=["dedup_key"], condition=Q(status__in=[s.value for s in OPEN_STATUSES]), name="scan_open_once"
            ),
            # The same digest asked for under many names at once is looked at once.
            models.UniqueConstraint(
                fields=["examines"],
                condition=Q(status__in=[s.value for s in OPEN_STATUSES], examines__isnull=False),
                name="scan_examines_once",
            ),
        ]
        indexes = [
            # The latest scan of an image by a scanner; the scans of an image.
            models.Index(fields=["image", "scanner", "-id"], name="scan_latest"),
            models.Index(fields=["dedup_key"], name="scan_dedup"),
        ]

    def __str__(self) -> str:
        return f"{self.scanner} on {self.reference}"

    @property
    def repository_name(self) -> str:
        """Of the reference, without tag and digest."""
        name = self.reference.partition("@")[0]
        head, colon, tag = name.rpartition(":")
        return head if colon and "/" not in tag else name


class LayerResult(models.Model):
    """What our own look found in one layer: the same layer in another image, or another scan, costs nothing.

    ``analyser`` names the versions of everything that looked, so that a new rule looks again. Rows are only a cache:
    deleting them loses nothing but time.
    """

    diff_id = models.CharField(max_length=135)
    analyser = models.CharField(max_length=64)
    body = models.BinaryField(help_text="deflated JSON")
    used_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["diff_id", "analyser"], name="layerresult_once")]
        indexes = [models.Index(fields=["used_at"], name="layerresult_used")]  # pruning what nobody asked for lately

    def __str__(self) -> str:
        return self.diff_id


class ChangedPackage(models.Model):
    """A package of which advisories changed, in the order of the changes: what builds have to be matched again.

    Written in the transaction that changes the advisories. A build is up to date when its ``matched_to`` is not below
    the newest change of its package.
    """

    ecosystem = models.CharField(max_length=100)
    name = models.CharField(max_length=300)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["ecosystem", "name", "id"], name="changedpackage_builds"),  # which builds are behind
            models.Index(fields=["at"], name="changedpackage_old"),  # pruning
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.ecosystem})"


class BuildMatch(models.Model):
    """A flaw that advisories say is in a build of a component: kept, so that an image is only looked up."""

    build = models.ForeignKey(ComponentBuild, models.CASCADE, db_index=False, related_name="matches")
    vulnerability = models.ForeignKey(Vulnerability, models.CASCADE, related_name="+")
    severity = models.SmallIntegerField()
    severity_source = models.CharField(max_length=50, blank=True)
    reported_id = models.CharField(max_length=150, blank=True, help_text="the advisory that says so, first of several")
    fixed_versions = models.JSONField(default=list)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["build", "vulnerability"], name="buildmatch_once")]

    def __str__(self) -> str:
        return f"{self.vulnerability_id} in build {self.build_id}"


class ChangedMatch(models.Model):
    """A (build, flaw) of which ``BuildMatch`` changed, until the findings of every image that has the build show it.

    Written in the transaction that matches. Nothing is unique: whoever brings it to the images deletes the very rows
    that it read, and what changes meanwhile is another row.
    """

    build = models.ForeignKey(ComponentBuild, models.CASCADE, db_index=False, related_name="+")
    vulnerability = models.ForeignKey(Vulnerability, models.CASCADE, related_name="+")

    def __str__(self) -> str:
        return f"{self.vulnerability_id} in build {self.build_id}"


class NewHit(models.Model):
    """A risk that an image has since builds were matched again, until whoever tells people of it was told."""

    image_id = models.BigIntegerField()
    risk_id = models.BigIntegerField()

    def __str__(self) -> str:
        return f"{self.risk_id} in {self.image_id}"


class Watch(models.Model):
    """A repository that workers look at by themselves: on a schedule, and when a tag appears or moves."""

    repository = models.OneToOneField(Repository, models.CASCADE, related_name="watch")
    every_hours = models.PositiveIntegerField(null=True, blank=True, help_text="scan its newest image again so often")
    tags = models.CharField(
        max_length=200, blank=True, help_text="scan tags that match: globs, separated by commas; empty: watch none"
    )
    next_scan_at = models.DateTimeField(null=True, blank=True)
    next_look_at = models.DateTimeField(null=True, blank=True)
    problem = models.CharField(max_length=500, blank=True, help_text="why the last look failed")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "watches"
        indexes = [
            models.Index(fields=["next_scan_at"], name="watch_next_scan"),
            models.Index(fields=["next_look_at"], name="watch_next_look"),
        ]

    def __str__(self) -> str:
        return f"watch of {self.repository_id}"


class IdempotencyKey(models.Model):
    """A client's ``Idempotency-Key`` and the scan it made (draft-ietf-httpapi-idempotency-key-header)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="of the request: the same key with another body is refused")
    scan = models.ForeignKey(Scan, models.CASCADE)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotencykey_once")]

    def __str__(self) -> str:
        return self.key
