"""GitLab's container-scanning report (``gl-container-scanning-report.json``), security-report-schemas 14 and 15;
Trivy's ``gitlab.tpl`` writes it too."""

from __future__ import annotations

import re

from msgspec import Raw, Struct

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._times import instant
from secguard.scans.readers._vulnerabilities import distinct, links, told
from secguard.scans.report import ReportedVulnerability, ScanReport, Subject

_UPGRADE = re.compile(r"Upgrade .+ to (\S+)")
_TAGGED = re.compile(r":[\w.-]+$|@sha256:")
_OF_FLAW = ("cve", "ghsa", "osv")


class _Link(Struct):
    url: str | None = None


class _Identifier(Struct):
    type: str | None = None
    value: str | None = None


class _Package(Struct):
    name: str | None = None


class _Dependency(Struct):
    package: _Package | None = None
    version: str | None = None


class _Location(Struct):
    dependency: _Dependency | None = None
    operating_system: str | None = None
    image: str | None = None


class _Vulnerability(Struct):
    id: str | None = None
    name: str | None = None
    message: str | None = None
    description: str | None = None
    severity: str | None = None
    solution: str | None = None
    location: _Location | None = None
    identifiers: list[_Identifier] | None = None
    links: list[_Link] | None = None


class _Scanner(Struct):
    id: str | None = None
    version: str | None = None


class _Scan(Struct):
    type: str | None = None
    status: str | None = None
    scanner: _Scanner | None = None
    end_time: str | None = None


class _Report(Struct):
    vulnerabilities: list[_Vulnerability] | None = None
    scan: _Scan | None = None
    version: str | None = None


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities, or ``None`` where the document is no container-scanning report.

    The scanner is ``gitlab-container-scanning``, whichever analyser it used. Raises ``Invalid`` with the JSON path of a
    broken part, or naming the images where there are several.
    """
    if not document.has("version", "vulnerabilities", "remediations") or not _is_container_scan(document):
        return None
    report = document.decode(_Report)
    scan = report.scan or _Scan()
    analyser = scan.scanner or _Scanner()
    image = _image(report.vulnerabilities or [])
    complete = (scan.status or "success") == "success"
    return ScanReport(
        format="gitlab",
        format_version=report.version or "",
        scanner="gitlab-container-scanning",
        scanner_version=" ".join(part for part in (analyser.id, analyser.version) if part),
        subject=Subject(reference=image),
        covers=frozenset({FindingKind.VULNERABILITY}),
        vulnerabilities=distinct(_vulnerability(v, image) for v in report.vulnerabilities or ()),
        complete=complete,
        generated_at=instant(scan.end_time),
        warnings=() if complete else (f"The scan's status is {scan.status!r}.",),
    )


def _is_container_scan(document: Document) -> bool:
    keys = document.keys or {}
    try:
        if "scan" in keys:
            scan: _Scan = decode(keys["scan"], _Scan, "$.scan")
            return scan.type == "container_scanning"
        first: list[Raw] = decode(keys["vulnerabilities"], list[Raw], "$.vulnerabilities")
        found: _Vulnerability = decode(first[0], _Vulnerability, "$") if first else _Vulnerability()
    except Invalid:
        return False
    return found.location is not None and bool(found.location.image)


def _image(vulnerabilities: list[_Vulnerability]) -> str:
    """The one image. Trivy's old template puts a lock file's path, or ``Node.js``, where the image belongs."""
    named = list(dict.fromkeys(v.location.image for v in vulnerabilities if v.location and v.location.image))
    images = [n for n in named if _TAGGED.search(n)] if len(named) > 1 else named
    if len(images) > 1:
        raise Invalid(
            f"The report is about {len(images)} images: {', '.join(images[:5])}. Post one report for each.",
            code="several-images",
            where="$.vulnerabilities",
        )
    return images[0] if images else ""


def _vulnerability(flaw: _Vulnerability, image: str) -> ReportedVulnerability:
    location = flaw.location or _Location()
    dependency = location.dependency or _Dependency()
    name = told(dependency.package.name if dependency.package else "") or "unknown"
    version = dependency.version or ""
    elsewhere = location.image if location.image and location.image != image else ""
    names = [i.value for i in flaw.identifiers or () if i.type in _OF_FLAW and i.value]
    fix = _UPGRADE.match(flaw.solution or "")
    return ReportedVulnerability(
        id=names[0] if names else flaw.id or "unknown",
        purl=package_url("" if elsewhere else "os", name, version, told(location.operating_system)),
        name=name,
        version=version,
        aliases=tuple(names[1:]),
        severity=from_word(flaw.severity),
        severity_source="gitlab",
        fixed_versions=(fix.group(1),) if fix else (),
        fix_state="fixed" if fix else "",
        title=flaw.name or flaw.message or "",
        description=flaw.description or "",
        references=links(*(link.url for link in flaw.links or ())),
        path=elsewhere,
    )
