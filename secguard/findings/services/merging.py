"""Two flaws prove to be one: their risks, findings, observations and exposures become one as well."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from secguard.advisories.models import Vulnerability
from secguard.findings.changes import Said, outcome
from secguard.findings.identity import FindingKind, risk_key
from secguard.findings.models import CLOSED, OPEN, Exposure, Finding, Observation, Risk
from secguard.findings.services.exposures import refresh_exposures
from secguard.findings.services.following import RISK_MERGED
from secguard.findings.services.risks import announce
from secguard.findings.services.words import NOT_REPORTED, lock_images, recount
from secguard.images.models import Image, Repository


@transaction.atomic
def merge_flaws(pairs: Sequence[tuple[int, int]]) -> None:
    """``advisories.services.ON_MERGE``: for each (kept, gone) flaw id, let what hangs on the gone one hang on the kept.

    A risk's key names its flaw, so each of the gone flaw's risks gets another key, or is merged into the risk that
    has that key already.
    """
    at = timezone.now()
    gone = [g for _, g in pairs]
    images = lock_images(
        Image.objects.filter(pk__in=Finding.objects.filter(risk__vulnerability__in=gone).values("image_id"))
    )
    names = dict(Vulnerability.objects.filter(pk__in=[k for k, _ in pairs]).values_list("pk", "name"))
    changed = [
        _move(risk, kept, names[kept], at)
        for kept, pk in pairs
        for risk in Risk.objects.select_for_update(no_key=True).filter(vulnerability=pk).order_by("pk")
    ]
    recount(images)
    for repository in Repository.objects.filter(newest_image__in=images).select_related("application").order_by("pk"):
        refresh_exposures(repository, at=at)
    announce(sorted(set(changed)), at)


def _move(risk: Risk, flaw_id: int, flaw_name: str, at: datetime) -> int:
    """Let ``risk`` be one of the flaw's; returns the id of the risk that it is now."""
    key = risk_key(FindingKind.VULNERABILITY, flaw_name, risk.package)
    kept = Risk.objects.select_for_update(no_key=True).filter(key=key).first()
    if kept is None:
        risk.vulnerability_id, risk.key = flaw_id, key
        risk.save(update_fields=["vulnerability", "key"])
        return risk.pk
    _merge_findings(kept, risk, at)
    _merge_exposures(kept, risk, at)
    kept.severity = max(kept.severity, risk.severity)
    kept.fix_available = kept.fix_available or risk.fix_available
    kept.known_exploited = kept.known_exploited or risk.known_exploited
    kept.save(update_fields=["severity", "fix_available", "known_exploited"])
    for follow in RISK_MERGED:
        follow(risk.pk, kept.pk)
    risk.delete()
    return kept.pk


def _merge_findings(kept: Risk, gone: Risk, at: datetime) -> None:
    """Findings at the same place become one that has the words of both; the others just change their risk."""
    twins = {(f.image_id, f.component_id): f for f in Finding.objects.filter(risk=kept)}
    for finding in Finding.objects.filter(risk=gone).order_by("pk"):
        twin = twins.get((finding.image_id, finding.component_id))
        if twin is None:
            finding.risk = kept
            finding.save(update_fields=["risk"])
        else:
            _merge_twins(twin, finding, at)


def _merge_twins(kept: Finding, gone: Finding, at: datetime) -> None:
    said = {o.scanner: o for o in kept.observations.all()}
    for word in gone.observations.all():
        mine = said.get(word.scanner)
        if mine is None:
            word.finding = kept
            word.save(update_fields=["finding"])
        elif mine.withdrawn_at and not word.withdrawn_at:
            mine.delete()
            word.finding = kept
            word.save(update_fields=["finding"])
    kept.first_seen_at = min(kept.first_seen_at, gone.first_seen_at)
    Observation.objects.filter(finding=gone).delete()
    gone.delete()
    _show(kept, at)


def _show(finding: Finding, at: datetime) -> None:
    """Let the finding show what its scanners say."""
    now = outcome(
        {
            o.scanner: Said(o.severity, o.severity_source, o.reported_id, tuple(o.fixed_versions), o.suppressed)
            for o in finding.observations.filter(withdrawn_at=None)
        }
    )
    if now is None:
        finding.status, finding.closed_at = CLOSED, finding.closed_at or at
        finding.close_reason = finding.close_reason or NOT_REPORTED
    else:
        finding.status, finding.closed_at, finding.close_reason = OPEN, None, ""
        finding.severity, finding.severity_source = now.severity, now.severity_source[:50]
        finding.fixed_versions = list(now.fixed_versions)
    finding.save()


def _merge_exposures(kept: Risk, gone: Risk, at: datetime) -> None:
    """What was resolved under the one name and stands under the other came back: the stricter of the two histories."""
    here = {e.repository_id: e for e in Exposure.objects.filter(risk=kept)}
    for exposure in Exposure.objects.filter(risk=gone).order_by("pk"):
        twin = here.get(exposure.repository_id)
        if twin is None:
            exposure.risk = kept
            exposure.save(update_fields=["risk"])
            continue
        twin.since = min(twin.since, exposure.since)
        came_back = [t for t in (twin.returned_at, exposure.returned_at) if t is not None]
        if (twin.resolved_at is None) != (exposure.resolved_at is None):
            came_back.append(at)
        twin.returned_at = max(came_back, default=None)
        if exposure.resolved_at is None:
            twin.resolved_at = None
        twin.save(update_fields=["since", "resolved_at", "returned_at"])
        exposure.delete()
