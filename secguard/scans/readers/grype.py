"""Grype's JSON, every version of it.

Source: anchore/grype, ``grype/presenter/models`` (``document.go``, ``match.go``, ``vulnerability.go``, ``source.go``).
"""

from __future__ import annotations

from datetime import datetime
from operator import itemgetter

import msgspec
from msgspec import Struct, field

from secguard.findings.identity import FindingKind
from secguard.findings.severity import from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._bounds import require_bounded, require_few
from secguard.scans.readers._packages import purl_or
from secguard.scans.readers._values import (
    LeftOut,
    Version,
    fix_state,
    moment,
    probability,
    references,
    score,
    version_text,
)
from secguard.scans.report import ReportedVulnerability, ScanReport, Subject

_SOURCES = {"github": "ghsa", "nvd": "nvd"}
_SAME_FLAW = ("GHSA-", "GO-", "PYSEC-", "RUSTSEC-", "CGA-", "BIT-")
"""Ids that name one flaw, so that the one related CVE is another name of it; ELSA, ALAS, RHSA … bundle several."""


class _Metrics(Struct, gc=False):
    score: float | None = field(default=None, name="baseScore")


class _Cvss(Struct, gc=False):
    type: str | None = None
    version: str | float | None = None
    vector: str | None = None
    metrics: _Metrics | None = None


class _Epss(Struct, gc=False):
    epss: float | None = None


class _Known(Struct, gc=False):
    cve: str | None = None


class _Fix(Struct, gc=False):
    versions: list[Version] | None = None
    state: str | None = None


class _Vulnerability(Struct, gc=False):
    id: str | None = None
    data_source: str | None = field(default=None, name="dataSource")
    namespace: str | None = None
    severity: str | None = None
    urls: list[str | None] | None = None
    description: str | None = None
    cvss: list[_Cvss] | None = None
    epss: list[_Epss] | None = None
    known_exploited: list[_Known] | None = field(default=None, name="knownExploited")
    fix: _Fix | None = None


class _Location(Struct, gc=False):
    path: str | None = None
    layer: str | None = field(default=None, name="layerID")


class _Artifact(Struct, gc=False):
    name: str | None = None
    version: Version = None
    type: str | None = None
    purl: str | None = None
    locations: list[_Location] | None = None


class _Rule(Struct, gc=False):
    vulnerability: str | None = None
    reason: str | None = None
    vex_status: str | None = field(default=None, name="vex-status")
    vex_justification: str | None = field(default=None, name="vex-justification")
    fix_state: str | None = field(default=None, name="fix-state")


class _Match(Struct, gc=False):
    vulnerability: _Vulnerability | None = None
    related: list[_Vulnerability] | None = field(default=None, name="relatedVulnerabilities")
    artifact: _Artifact | None = None
    rules: list[_Rule] | None = field(default=None, name="appliedIgnoreRules")


class _Image(Struct, gc=False):
    input: str | None = field(default=None, name="userInput")
    image_id: str | None = field(default=None, name="imageID")
    manifest: str | None = field(default=None, name="manifestDigest")
    tags: list[str] | None = None
    repository_digests: list[str] | None = field(default=None, name="repoDigests")
    architecture: str | None = None
    os: str | None = None


class _Source(Struct, gc=False):
    type: str | None = None
    target: _Image | str | None = None


class _Distro(Struct, gc=False):
    name: str | None = None
    version: Version = None


class _Status(Struct, gc=False):
    built: str | None = None


class _Database(Struct, gc=False):
    built: str | None = None
    status: _Status | None = None


class _Descriptor(Struct, gc=False):
    name: str | None = None
    version: str | None = None
    timestamp: str | None = None
    db: _Database | None = None


class _Report(Struct, gc=False):
    matches: list[_Match] | None = None
    ignored: list[_Match] | None = field(default=None, name="ignoredMatches")
    source: _Source | None = None
    distro: _Distro | None = None
    descriptor: _Descriptor | None = None


def read(document: Document) -> ScanReport | None:
    """A report of Grype; ``None`` for anything else. Raises ``Invalid`` with the place where a field is of odd type."""
    if not document.has("matches") or not _is_grype(document):
        return None
    require_few(document, findings=b'"artifact"')
    report = document.decode(_Report)
    distro = report.distro or _Distro()
    subject = _subject(report.source or _Source(), distro)
    descriptor = report.descriptor or _Descriptor()
    left_out = LeftOut()
    return ScanReport(
        format="grype",
        scanner="grype",
        scanner_version=descriptor.version or "",
        subject=subject,
        covers=frozenset({FindingKind.VULNERABILITY}),
        vulnerabilities=_vulnerabilities(report, subject.os_name, left_out),
        generated_at=moment(descriptor.timestamp),
        database_updated_at=_built(descriptor.db),
        warnings=left_out.warnings(),
    )


def _is_grype(document: Document) -> bool:
    """By the descriptor where there is one (xeol writes the same frame), else by the shape of the first match."""
    if document.has("descriptor"):
        descriptor = document.value("descriptor")
        return isinstance(descriptor, dict) and descriptor.get("name") == "grype"
    raw = (document.keys or {})["matches"]
    if not bytes(raw).startswith(b"["):
        return False
    matches = decode(raw, list[msgspec.Raw], "$.matches")
    if not matches or not bytes(matches[0]).startswith(b"{"):
        return False
    keys = decode(matches[0], dict[str, msgspec.Raw], "$.matches[0]")
    return "vulnerability" in keys and "artifact" in keys


def _built(db: _Database | None) -> datetime | None:
    return moment((db.status.built if db.status else None) or db.built) if db else None


def _subject(source: _Source, distro: _Distro) -> Subject:
    os_name, os_version = distro.name or "", version_text(distro.version)
    if not isinstance(source.target, _Image):
        kind = {"directory": "filesystem", "file": "filesystem"}.get(source.type or "", source.type or "image")
        reference = "" if kind in ("image", "unknown") else source.target or ""
        return Subject(reference=reference, os_name=os_name, os_version=os_version, kind=kind)
    image = source.target
    listed = tuple(image.repository_digests or ())
    # From a local daemon, Grype computes a manifest of its own: that digest names nothing in any registry.
    is_confirmed = any(d.endswith(f"@{image.manifest}") for d in listed)
    return Subject(
        reference=image.input or next(iter(image.tags or ()), ""),
        digest=(image.manifest or "") if is_confirmed else "",
        image_id=image.image_id or "",
        repository_digests=listed,
        os_name=os_name,
        os_version=os_version,
        architecture=image.architecture or "",
        platform_os=image.os or "",
    )


def _vulnerabilities(report: _Report, distro: str, left_out: LeftOut) -> list[ReportedVulnerability]:
    """Every vulnerability once for each package version, the first place kept; ignored ones only where nothing else."""
    found: dict[tuple[str, str], ReportedVulnerability] = {}
    for matches, is_ignored in ((report.matches, False), (report.ignored, True)):
        for match in matches or ():
            v, artifact = match.vulnerability, match.artifact
            if v is None or not v.id or artifact is None or not artifact.name:
                left_out["matches without a vulnerability's id or a package's name were left out"] += 1
                continue
            read = _vulnerability(v, match.related or [], artifact, distro, _reason(match) if is_ignored else "")
            found.setdefault((read.id, read.purl), read)
            require_bounded(len(found))
    return list(found.values())


def _reason(match: _Match) -> str:
    for r in match.rules or ():
        said = " ".join(p for p in (r.vex_status, r.vex_justification, r.reason) if p)
        if said or r.fix_state:
            return said or f"fix state {r.fix_state}"
    return "ignored by the scanner's configuration"


def _vulnerability(
    v: _Vulnerability, related: list[_Vulnerability], artifact: _Artifact, distro: str, ignored: str
) -> ReportedVulnerability:
    name, version = artifact.name or "", version_text(artifact.version)
    fix = v.fix or _Fix()
    fixed = tuple(t for f in fix.versions or () if (t := version_text(f)))
    place = next(iter(artifact.locations or ()), _Location())
    said = (v, *related)
    rated = _best_cvss(v.cvss) or next((c for r in related if (c := _best_cvss(r.cvss))), None) or _Cvss()
    return ReportedVulnerability(
        id=v.id or "",
        purl=purl_or(artifact.purl, artifact.type or "", name, version, distro),
        name=name,
        version=version,
        aliases=_aliases(v.id or "", related),
        severity=from_word(v.severity),
        severity_source=_source_of(v.namespace or ""),
        cvss_score=score(rated.metrics.score) if rated.metrics else None,
        cvss_vector=rated.vector or "",
        fixed_versions=fixed,
        fix_state=fix_state(fix.state, fixed),
        description=next((s.description for s in said if s.description), ""),
        references=references((v.data_source,), v.urls),
        known_exploited=any(s.known_exploited for s in said),
        epss=next((probability(e.epss) for s in said for e in s.epss or ()), None),
        layer=place.layer or "",
        path=place.path or "",
        suppressed=ignored,
    )


def _aliases(id_: str, related: list[_Vulnerability]) -> tuple[str, ...]:
    """The one CVE that an advisory about one flaw relates to; several are not the same flaw."""
    if not id_.startswith(_SAME_FLAW):
        return ()
    cves = tuple(dict.fromkeys(r.id for r in related if r.id and r.id.startswith("CVE-")))
    return cves if len(cves) == 1 else ()


def _best_cvss(rated: list[_Cvss] | None) -> _Cvss | None:
    """Version 3 before the others (every feed has it), the primary source before secondary ones, the higher score."""
    scored = [
        (str(c.version).startswith("3"), c.type == "Primary", base, c)
        for c in rated or ()
        if c.metrics and (base := score(c.metrics.score))
    ]
    return max(scored, key=itemgetter(0, 1, 2))[3] if scored else None


def _source_of(namespace: str) -> str:
    """``debian:distro:debian:12`` to ``debian``, ``github:language:go`` to ``ghsa``."""
    source = namespace.partition(":")[0].lower()
    return _SOURCES.get(source, source) or "grype"
