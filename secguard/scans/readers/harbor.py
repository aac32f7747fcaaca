"""Harbor's vulnerability report: of a scanner adapter (``vulnerabilities`` at the top) or of Harbor's API, where each
report stands under its MIME type.

Fields: goharbor/pluggable-scanner-spec, ``HarborVulnerabilityReport`` 1.0 and ``GenericVulnReport`` 1.1. Neither says
what kind of package it is or of which distribution, so components are ``pkg:generic``.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._times import instant
from secguard.scans.readers._values import score, versions
from secguard.scans.readers._vulnerabilities import digest_in, distinct, told
from secguard.scans.report import ReportedVulnerability, ScanReport, Subject

_MIME_TYPES = (
    "application/vnd.security.vulnerability.report",
    "application/vnd.scanner.adapter.vuln.report.harbor+json",
)


class _Scanner(msgspec.Struct):
    name: str | None = None
    vendor: str | None = None
    version: str | None = None


class _Cvss(msgspec.Struct):
    score_v3: float | None = None
    vector_v3: str | None = None


class _Item(msgspec.Struct):
    id: str
    package: str | None = None
    version: str | None = None
    fix_version: str | None = None
    severity: str | None = None
    description: str | None = None
    links: list[str] | None = None
    cvss: _Cvss | None = field(name="preferred_cvss", default=None)
    digests: list[str] | None = field(name="artifact_digests", default=None)
    vendor: Any = field(name="vendor_attributes", default=None)


class _Artifact(msgspec.Struct):
    repository: str | None = None
    digest: str | None = None
    tag: str | None = None


class _Report(msgspec.Struct):
    vulnerabilities: list[_Item] | None = None
    scanner: _Scanner | None = None
    artifact: _Artifact | None = None
    generated_at: str | None = None


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities, or ``None`` where the document is no Harbor report.

    The scanner is ``harbor`` whatever adapter it used, so that a report of its Trivy and one of a pipeline's Trivy do
    not replace each other. Raises ``Invalid``: no report under the MIME type, or one of another shape.
    """
    raw, where, version = _locate(document)
    if raw is None:
        return None
    report: _Report | None = decode(raw, _Report | None, where)
    if report is None:
        raise Invalid("Harbor has no report for this artifact yet: its scan has not ended.", code="empty", where=where)
    scanner = report.scanner or _Scanner()
    return ScanReport(
        format="harbor",
        format_version=version,
        scanner="harbor",
        scanner_version=" ".join(part for part in (scanner.name, scanner.version) if part),
        subject=_subject(report),
        covers=frozenset({FindingKind.VULNERABILITY}),
        vulnerabilities=distinct(_vulnerability(v, scanner) for v in report.vulnerabilities or ()),
        generated_at=instant(report.generated_at),
    )


def _locate(document: Document) -> tuple[msgspec.Raw | bytes | None, str, str]:
    """The report's raw bytes, its place and its version; nothing where this is not Harbor's."""
    for key, raw in (document.keys or {}).items():
        mime, _, parameters = key.partition(";")
        if mime.strip() in _MIME_TYPES:
            return raw, f"$[{key!r}]", parameters.rpartition("version=")[2].strip()
    if document.has("scanner", "severity", "vulnerabilities", "generated_at"):
        return document.raw, "$", "1.1" if document.has("artifact") else ""
    return None, "", ""


def _subject(report: _Report) -> Subject:
    artifact = report.artifact or _Artifact()
    digests = {digest_in(d) for v in report.vulnerabilities or () for d in v.digests or ()} - {""}
    reference = artifact.repository or ""
    if reference and artifact.tag:
        reference = f"{reference}:{artifact.tag}"
    only = next(iter(digests)) if len(digests) == 1 else ""
    return Subject(reference=reference, digest=digest_in(artifact.digest) or only)


def _vulnerability(item: _Item, scanner: _Scanner) -> ReportedVulnerability:
    name, version, fix = told(item.package) or "unknown", told(item.version), told(item.fix_version)
    cvss = item.cvss or _Cvss()
    return ReportedVulnerability(
        id=item.id,
        purl=package_url("", name, version),
        name=name,
        version=version,
        severity=from_word(item.severity),
        severity_source=(scanner.name or "harbor").lower(),
        cvss_score=score(cvss.score_v3),
        cvss_vector=cvss.vector_v3 or _vendor_vector(item.vendor),
        fixed_versions=versions(fix),
        fix_state="fixed" if fix else "not_fixed",
        description=item.description or "",
        references=tuple(item.links or ()),
        layer="",
    )


def _vendor_vector(vendor: Any) -> str:
    """NVD's vector where the adapter hands on Trivy's ``CVSS`` object; the bag is free-form."""
    value = vendor
    for key in ("CVSS", "nvd", "V3Vector"):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
