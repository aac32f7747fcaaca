"""Google Artifact Analysis, as ``gcloud`` writes it.

* ``gcloud artifacts docker images describe IMAGE --show-package-vulnerability --format json``
* ``gcloud artifacts vulnerabilities list IMAGE --format json``

Occurrences of kind ``VULNERABILITY`` (grafeas.io/v1, ``VulnerabilityOccurrence``), by severity or as a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Raw, Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._values import references, score, versions
from secguard.scans.readers._vulnerabilities import distinct, told
from secguard.scans.report import ReportedVulnerability, ScanReport, Subject

_DISTRIBUTIONS = {"redhat": "redhat", "canonical": "ubuntu", "google": "debian"}
_NO_VERSION = frozenset({"MINIMUM", "MAXIMUM"})


class _Version(Struct):
    full: str | None = field(default=None, name="fullName")
    name: str | None = None
    kind: str | None = None

    @property
    def text(self) -> str:
        return "" if self.kind in _NO_VERSION else told(self.full) or told(self.name)


class _Place(Struct):
    path: str | None = field(default=None, name="filePath")


class _Issue(Struct):
    cpe: str | None = field(default=None, name="affectedCpeUri")
    package: str | None = field(default=None, name="affectedPackage")
    version: _Version | None = field(default=None, name="affectedVersion")
    fix: _Version | None = field(default=None, name="fixedVersion")
    severity: str | None = field(default=None, name="effectiveSeverity")
    kind: str | None = field(default=None, name="packageType")
    places: list[_Place] | None = field(default=None, name="fileLocation")


class _Link(Struct):
    url: str | None = None


class _Vulnerability(Struct):
    score: float | None = field(default=None, name="cvssScore")
    severity: str | None = field(default=None, name="effectiveSeverity")
    description: str | None = field(default=None, name="longDescription")
    short: str | None = field(default=None, name="shortDescription")
    links: list[_Link] | None = field(default=None, name="relatedUrls")
    issues: list[_Issue] | None = field(default=None, name="packageIssue")


class _Occurrence(Struct):
    note: str | None = field(default=None, name="noteName")
    resource: str | None = field(default=None, name="resourceUri")
    created: str | None = field(default=None, name="createTime")
    vulnerability: _Vulnerability | None = None


class _Image(Struct):
    name: str | None = field(default=None, name="fully_qualified_digest")


class _Summary(Struct):
    vulnerabilities: dict[str, list[_Occurrence] | None] | None = None


class _Described(Struct):
    image: _Image | None = field(default=None, name="image_summary")
    summary: _Summary | None = field(default=None, name="package_vulnerability_summary")


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities; ``None`` where the document is not of Artifact Analysis.

    Raises ``Invalid``: several images, or the JSON path of a broken part.
    """
    if document.has("image_summary", "package_vulnerability_summary"):
        described = document.decode(_Described)
        lists = ((described.summary and described.summary.vulnerabilities) or {}).values()
        return _report([o for some in lists for o in some or ()], (described.image and described.image.name) or "")
    if document.items and {"noteName", "resourceUri", "vulnerability"} <= _keys(document.items[0]):
        return _report(document.decode(list[_Occurrence]), "")
    return None


def _keys(raw: Raw) -> set[str]:
    try:
        keys: dict[str, Any] = decode(raw, dict[str, Raw], "$[0]")
    except Invalid:
        return set()
    return set(keys)


def _report(occurrences: list[_Occurrence], named: str) -> ScanReport:
    images = list(dict.fromkeys(o.resource.removeprefix("https://") for o in occurrences if o.resource))
    if len(images) > 1:
        raise Invalid(
            f"The report is about {len(images)} images: {', '.join(images[:5])}. Post one report for each.",
            code="several-images",
            where="$",
        )
    return ScanReport(
        format="google",
        scanner="google-artifact-analysis",
        subject=Subject(reference=named or next(iter(images), "")),
        covers=frozenset({FindingKind.VULNERABILITY}),
        vulnerabilities=distinct(v for o in occurrences for v in _of(o)),
    )


def _of(occurrence: _Occurrence) -> Iterator[ReportedVulnerability]:
    v = occurrence.vulnerability or _Vulnerability()
    for issue in v.issues or ():
        yield _vulnerability(occurrence, v, issue)


def _vulnerability(occurrence: _Occurrence, v: _Vulnerability, issue: _Issue) -> ReportedVulnerability:
    name = issue.package or "unknown"
    version = issue.version.text if issue.version else ""
    fixes = versions(issue.fix.text) if issue.fix else ()
    kind = (issue.kind or "OS").lower().removesuffix("_stdlib")
    # The standard library of Go: named as every other tool names it.
    name = "stdlib" if issue.kind == "GO_STDLIB" else name
    return ReportedVulnerability(
        id=(occurrence.note or "").rpartition("/")[2] or v.short or "",
        purl=package_url(kind, name, version, _distribution(issue.cpe or "")),
        name=name,
        version=version,
        severity=from_word(issue.severity or v.severity),
        severity_source="google-artifact-analysis",
        cvss_score=score(v.score),
        fixed_versions=fixes,
        fix_state="fixed" if fixes else "",
        description=v.description or "",
        references=references(link.url for link in v.links or ()),
        path=next((p.path for p in issue.places or () if p.path), ""),
    )


def _distribution(cpe: str) -> str:
    """Of ``cpe:/o:debian:debian_linux:12``: its vendor, by the name that purls use."""
    parts = cpe.split(":")
    vendor = parts[2] if len(parts) > 2 else ""
    return _DISTRIBUTIONS.get(vendor, vendor)
