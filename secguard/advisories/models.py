"""What the world says about flaws: one row a flaw, and all the names it goes by."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

from secguard.advisories.feeds import FeedKind, ImportStatus


class Vulnerability(models.Model):
    """One flaw under its canonical id (the CVE where there is one)."""

    name = models.CharField(max_length=100, unique=True)
    title = models.CharField(max_length=500, blank=True)
    description = models.TextField(blank=True)
    references = models.JSONField(default=list)
    cvss_score = models.FloatField(null=True, blank=True)
    cvss_vector = models.CharField(max_length=200, blank=True)
    epss = models.FloatField(null=True, blank=True)
    known_exploited = models.BooleanField(default=False)
    known_exploited_source = models.CharField(max_length=50, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        verbose_name_plural = "vulnerabilities"

    def __str__(self) -> str:
        return self.name


class Alias(models.Model):
    """A name that sources give the flaw; the canonical one is among them, so that one look-up finds every flaw."""

    name = models.CharField(max_length=100, unique=True)
    vulnerability = models.ForeignKey(Vulnerability, models.CASCADE, related_name="aliases")

    class Meta:
        verbose_name_plural = "aliases"

    def __str__(self) -> str:
        return self.name


class Advisory(models.Model):
    """One source's statement, as it stands in the latest data that was read."""

    source = models.CharField(max_length=30, help_text="whose words: osv, alpine-secdb, debian-tracker")
    name = models.CharField(max_length=150, help_text="the source's own id")
    content_hash = models.CharField(max_length=32, help_text="of the entry as received: the same again writes nothing")
    names = models.JSONField(default=list, help_text="of the flaws, as the source writes them")
    flaws = models.ManyToManyField(Vulnerability, through="AdvisoryFlaw", related_name="advisories")
    summary = models.CharField(max_length=500, blank=True)
    details = models.TextField(blank=True)
    references = models.JSONField(default=list)
    severity = models.CharField(max_length=20, blank=True, help_text="the source's own word")
    cvss_score = models.FloatField(null=True, blank=True)
    cvss_vector = models.CharField(max_length=200, blank=True)
    published_at = models.DateTimeField(null=True, blank=True)
    modified_at = models.DateTimeField(null=True, blank=True, help_text="as the source says")
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    changed_at = models.DateTimeField(default=timezone.now, help_text="when other content was read here")

    class Meta:
        verbose_name_plural = "advisories"
        constraints = [models.UniqueConstraint(fields=["source", "name"], name="advisory_once")]
        indexes = [models.Index(fields=["name"], name="advisory_name")]  # search by an id, whoever's it is

    def __str__(self) -> str:
        return self.name


class AdvisoryFlaw(models.Model):
    """A flaw that an advisory is about; an update of a distribution is about several."""

    # Its own index is the beginning of the unique one.
    advisory = models.ForeignKey(Advisory, models.CASCADE, related_name="about", db_index=False)
    vulnerability = models.ForeignKey(Vulnerability, models.CASCADE, related_name="said_by")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["advisory", "vulnerability"], name="advisoryflaw_once")]

    def __str__(self) -> str:
        return f"{self.advisory_id} is about {self.vulnerability_id}"


class AffectedRange(models.Model):
    """A package that an advisory names, with the versions of it that are affected (OSV schema, "affected[]").

    Ecosystem and name are written as they are looked up (``packagenames``).
    """

    advisory = models.ForeignKey(Advisory, models.CASCADE, related_name="affected")
    ecosystem = models.CharField(max_length=100)
    name = models.CharField(max_length=300)
    ranges = models.JSONField(default=list, help_text="[[[kind of event, version], …], …]: affected in any of them")
    versions = models.JSONField(default=list, help_text="affected each by itself")
    severity = models.CharField(max_length=20, blank=True, help_text="the source's word for this package")

    class Meta:
        # Whom a component's package concerns: the one question of matching.
        indexes = [models.Index(fields=["ecosystem", "name"], name="affectedrange_package")]

    def __str__(self) -> str:
        return f"{self.name} ({self.ecosystem})"


class KnownExploited(models.Model):
    """An entry of CISA's Known Exploited Vulnerabilities catalogue."""

    name = models.CharField(max_length=30, help_text="the CVE")
    vendor = models.CharField(max_length=200, blank=True)
    product = models.CharField(max_length=200, blank=True)
    title = models.CharField(max_length=500, blank=True)
    required_action = models.TextField(blank=True)
    is_ransomware = models.BooleanField(default=False, help_text="known to be used in ransomware campaigns")
    added_on = models.DateField(null=True, blank=True)
    due_on = models.DateField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "known exploited"
        constraints = [models.UniqueConstraint(fields=["name"], name="knownexploited_once")]

    def __str__(self) -> str:
        return self.name


class EpssScore(models.Model):
    """FIRST's probability that a flaw is exploited within 30 days: kept for all CVEs, for those not met here yet."""

    name = models.CharField(max_length=30, help_text="the CVE")
    score = models.FloatField(help_text="0 to 1")
    percentile = models.FloatField(help_text="0 to 1")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name"], name="epssscore_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.score}"


class Feed(models.Model):
    """Where vulnerability data comes from by itself, and how it stands with it."""

    name = models.CharField(max_length=50, unique=True)
    title = models.CharField(max_length=100)
    kind = models.CharField(max_length=20, choices=[(k, k) for k in FeedKind])
    url = models.URLField(max_length=500, help_text="https; a mirror's address where this site has one")
    is_enabled = models.BooleanField(default=False, help_text="fetched on schedule: nothing is fetched unasked")
    due_at = models.DateTimeField(default=timezone.now, help_text="when it is fetched next")
    etag = models.CharField(max_length=200, blank=True)
    last_modified = models.CharField(max_length=100, blank=True)
    tried_at = models.DateTimeField(null=True, blank=True)
    succeeded_at = models.DateTimeField(null=True, blank=True)
    data_at = models.DateTimeField(null=True, blank=True, help_text="the data's own date")
    entries = models.PositiveIntegerField(default=0, help_text="in the latest data")
    left_out = models.PositiveIntegerField(default=0, help_text="entries of it that could not be read")
    failures = models.PositiveSmallIntegerField(default=0, help_text="in a row")
    error = models.TextField(blank=True, help_text="why the last try failed, in words")

    class Meta:
        ordering = ["title"]
        constraints = [models.CheckConstraint(condition=models.Q(kind__in=list(FeedKind)), name="feed_kind_known")]

    def __str__(self) -> str:
        return self.title


class Import(models.Model):
    """One reading of one file: fetched from a feed, or brought by a person."""

    feed = models.ForeignKey(Feed, models.SET_NULL, null=True, blank=True, related_name="imports")
    name = models.CharField(max_length=500, help_text="the file's name or address")
    status = models.CharField(max_length=16, choices=[(s, s) for s in ImportStatus], default=ImportStatus.QUEUED)
    job_id = models.BigIntegerField(null=True, blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+")
    kinds = models.JSONField(default=list, help_text="what was in it: osv, kev, epss …")
    counts = models.JSONField(default=dict, help_text="{read, added, changed, unchanged, left_out}")
    reasons = models.JSONField(default=list, help_text="the first entries that could not be read, and why")
    error = models.TextField(blank=True)
    data_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        # A feed's latest imports, and everybody's.
        indexes = [
            models.Index(fields=["feed", "-id"], name="import_of_feed"),
        ]
        constraints = [
            models.CheckConstraint(condition=models.Q(status__in=list(ImportStatus)), name="import_status_known")
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.status})"


class EcosystemData(models.Model):
    """How old the advisories on an ecosystem (``Debian:12``, ``PyPI``) are: the date of the newest file with any."""

    ecosystem = models.CharField(max_length=100, unique=True)
    data_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.ecosystem} of {self.data_at:%Y-%m-%d}"
