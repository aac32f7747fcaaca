"""StackRox, Red Hat Advanced Cluster Security: an image with its scan, as the API and ``roxctl`` write it.

* ``/v1/images/{id}`` and ``roxctl image scan --output json`` before 3.67: ``storage.Image`` (proto/storage/image.proto)
* ``roxctl image scan --output json`` since: ``{result: {summary, vulnerabilities: [{cveId, componentName, …}]}}``
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field

from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity, from_word
from secguard.scans.document import Document
from secguard.scans.readers._packages import distribution, package_url
from secguard.scans.readers._values import Version, moment, score, version_text, versions
from secguard.scans.readers._vulnerabilities import digest_in, distinct, links
from secguard.scans.report import ReportedVulnerability, ScanReport, Subject

_COVERS = frozenset({FindingKind.VULNERABILITY})
_PARTIAL = ("UNAVAILABLE", "FAILED", "PARTIAL")


class _Cvss(Struct):
    vector: str | None = None


class _Vulnerability(Struct):
    cve: str | None = None
    cvss: float | None = None
    summary: str | None = None
    link: str | None = None
    severity: str | None = None
    fix: str | None = field(default=None, name="fixedBy")
    state: str | None = None
    published: str | None = field(default=None, name="publishedOn")
    v3: _Cvss | None = field(default=None, name="cvssV3")
    v2: _Cvss | None = field(default=None, name="cvssV2")


class _Component(Struct):
    name: str | None = None
    version: Version = None
    source: str | None = None
    location: str | None = None
    vulnerabilities: list[_Vulnerability] | None = field(default=None, name="vulns")


class _Scan(Struct):
    version: str | None = field(default=None, name="scannerVersion")
    at: str | None = field(default=None, name="scanTime")
    components: list[_Component] | None = None
    os: str | None = field(default=None, name="operatingSystem")
    notes: list[str] | None = None


class _Name(Struct):
    full: str | None = field(default=None, name="fullName")


class _Layered(Struct):
    digest: str | None = None


class _Metadata(Struct):
    v2: _Layered | None = None


class _Image(Struct):
    id: str | None = None
    name: _Name | None = None
    metadata: _Metadata | None = None
    scan: _Scan | None = None


class _Line(Struct):
    cve: str | None = field(default=None, name="cveId")
    severity: str | None = field(default=None, name="cveSeverity")
    cvss: float | None = field(default=None, name="cveCVSS")
    link: str | None = field(default=None, name="cveInfo")
    name: str | None = field(default=None, name="componentName")
    version: Version = field(default=None, name="componentVersion")
    fix: str | None = field(default=None, name="componentFixedVersion")


class _Lines(Struct):
    vulnerabilities: list[_Line] | None = None


class _Printed(Struct):
    result: _Lines


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities; ``None`` where the document is no image of StackRox.

    A scan whose notes say that it lacks the distribution's flaws is incomplete. Raises ``Invalid`` with the JSON path
    of a broken part.
    """
    if document.has("scan", "name", "metadata") and b'"fullName"' in bytes((document.keys or {})["name"]):
        return _image(document.decode(_Image))
    if document.has("result") and b'"TOTAL-VULNERABILITIES"' in document.raw:
        return _printed(document.decode(_Printed))
    return None


def _image(image: _Image) -> ScanReport:
    scan = image.scan or _Scan()
    notes = tuple(n for n in scan.notes or () if any(word in n for word in _PARTIAL))
    registered = digest_in(image.metadata.v2.digest) if image.metadata and image.metadata.v2 else ""
    return ScanReport(
        format="stackrox",
        scanner="stackrox",
        scanner_version=scan.version or "",
        subject=Subject(
            reference=(image.name.full or "") if image.name else "",
            digest=registered,
            image_id="" if registered else digest_in(image.id),
            os_name=distribution(scan.os or ""),
            os_version=(scan.os or "").partition(":")[2],
        ),
        covers=_COVERS,
        vulnerabilities=distinct(_of(scan)),
        complete=image.scan is not None and not notes,
        generated_at=moment(scan.at),
        warnings=tuple(f"The scan is not whole: {n}." for n in notes)
        + (() if image.scan else ("The image was not scanned.",)),
    )


def _of(scan: _Scan) -> Iterator[ReportedVulnerability]:
    for component in scan.components or ():
        for v in component.vulnerabilities or ():
            yield _vulnerability(v, component, scan.os or "")


def _vulnerability(v: _Vulnerability, component: _Component, distro: str) -> ReportedVulnerability:
    name, version, fixes = component.name or "unknown", version_text(component.version), versions(v.fix)
    cvss = v.v3 or v.v2
    return ReportedVulnerability(
        id=v.cve or "",
        purl=package_url((component.source or "os").lower(), name, version, distro),
        name=name,
        version=version,
        severity=_severity(v.severity),
        severity_source="stackrox",
        cvss_score=score(v.cvss),
        cvss_vector=(cvss.vector or "") if cvss else "",
        fixed_versions=fixes,
        fix_state="fixed" if fixes else "not_fixed",
        description=v.summary or "",
        references=links(v.link),
        path=component.location or "",
        published_at=moment(v.published),
        suppressed="" if v.state in (None, "OBSERVED") else f"{v.state.lower()} in StackRox",
    )


def _severity(word: str | None) -> Severity:
    return from_word((word or "").removesuffix("_VULNERABILITY_SEVERITY"))


def _printed(printed: _Printed) -> ScanReport:
    return ScanReport(
        format="stackrox",
        scanner="stackrox",
        covers=_COVERS,
        vulnerabilities=distinct(_line(v) for v in printed.result.vulnerabilities or ()),
    )


def _line(v: _Line) -> ReportedVulnerability:
    name, version, fixes = v.name or "unknown", version_text(v.version), versions(v.fix)
    return ReportedVulnerability(
        id=v.cve or "",
        purl=package_url("", name, version),
        name=name,
        version=version,
        severity=_severity(v.severity),
        severity_source="stackrox",
        cvss_score=score(v.cvss),
        fixed_versions=fixes,
        fix_state="fixed" if fixes else "not_fixed",
        references=links(v.link),
    )
