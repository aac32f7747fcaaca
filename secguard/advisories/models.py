"""What the world says about flaws: one row a flaw, and all the names it goes by."""

from __future__ import annotations

from django.db import models
from django.utils import timezone


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
