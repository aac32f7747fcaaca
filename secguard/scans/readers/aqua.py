"""Aqua Enterprise: the scanner's report on one image, and the vulnerabilities of an image from its API.

* ``scannercli scan --jsonfile``: ``{image, os, version, digest, resources: [{resource, vulnerabilities}], …}``
* ``/api/v2/risks/vulnerabilities``: ``{count, result: [{name, resource, image_name, …}], query, …}``
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity, from_word
from secguard.scans.document import Document
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._times import instant
from secguard.scans.readers._values import Version, score, version_text, versions
from secguard.scans.readers._vulnerabilities import digest_in, distinct, links, told
from secguard.scans.report import ReportedVulnerability, ScanReport, Subject

_COVERS = frozenset({FindingKind.VULNERABILITY})


class _Resource(Struct):
    name: str | None = None
    format: str | None = None
    version: Version = None
    path: str | None = None
    layer: str | None = field(default=None, name="layer_digest")


class _Vulnerability(Struct):
    name: str | None = None
    description: str | None = None
    fix: Version = field(default=None, name="fix_version")
    published: str | None = field(default=None, name="publish_date")
    aqua_severity: str | None = None
    aqua_score: float | None = None
    aqua_vectors: str | None = None
    nvd_severity_v3: str | None = None
    nvd_severity: str | None = None
    vendor_severity: str | None = None
    vendor_url: str | None = None
    nvd_url: str | None = None
    # Only from the API:
    resource: _Resource | None = None
    image: str | None = field(default=None, name="image_name")
    digest: str | None = field(default=None, name="image_digest")
    registry: str | None = None
    os: str | None = None
    os_version: Version = None


class _Scanned(Struct):
    resource: _Resource | None = None
    vulnerabilities: list[_Vulnerability] | None = None


class _Started(Struct):
    seconds: float | None = None


class _Report(Struct):
    image: str | None = None
    digest: str | None = None
    os: str | None = None
    version: Version = None
    resources: list[_Scanned] | None = None
    started: _Started | None = field(default=None, name="scan_started")


class _Page(Struct):
    result: list[_Vulnerability] | None = None
    count: int | None = None


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities; ``None`` where the document is not Aqua's.

    A page of the API that holds a part of what was asked for is incomplete. Raises ``Invalid`` where a page is about
    several images or, being empty, about none, and with the JSON path of a broken part.
    """
    if document.has("image", "resources", "scan_started"):
        return _image(document.decode(_Report))
    if document.has("result", "query", "count", "pagesize"):
        return _page(document.decode(_Page))
    return None


def _image(report: _Report) -> ScanReport:
    return ScanReport(
        format="aqua",
        scanner="aqua",
        # Aqua does not say whose digest it tells: it is never taken for the manifest's.
        subject=Subject(
            reference=report.image or "",
            image_id=digest_in(report.digest),
            os_name=told(report.os).lower(),
            os_version=version_text(report.version),
        ),
        covers=_COVERS,
        vulnerabilities=distinct(_of(report)),
        generated_at=instant(report.started.seconds) if report.started else None,
    )


def _of(report: _Report) -> Iterator[ReportedVulnerability]:
    for scanned in report.resources or ():
        for v in scanned.vulnerabilities or ():
            yield _vulnerability(v, scanned.resource or _Resource(), told(report.os))


def _page(page: _Page) -> ScanReport:
    found = page.result or []
    images = list(dict.fromkeys(v.image for v in found if v.image))
    if len(images) != 1:
        raise Invalid(
            f"The page is about {len(images)} images{': ' if images else ''}{', '.join(images[:5])}. Ask Aqua for one: "
            "add image_name and image_name_exact_match=true to the request.",
            code="several-images" if images else "no-image",
            where="$.result",
        )
    first = found[0]
    return ScanReport(
        format="aqua",
        scanner="aqua",
        subject=Subject(
            reference=images[0],
            image_id=digest_in(first.digest),
            os_name=told(first.os).lower(),
            os_version=version_text(first.os_version),
        ),
        covers=_COVERS,
        vulnerabilities=distinct(_vulnerability(v, v.resource or _Resource(), told(v.os)) for v in found),
        complete=len(found) >= (page.count or 0),
    )


def _vulnerability(v: _Vulnerability, resource: _Resource, distro: str) -> ReportedVulnerability:
    name = told(resource.name) or told(resource.path).rpartition("/")[2] or "unknown"
    version, fixes = version_text(resource.version), versions(told(version_text(v.fix)))
    words = (v.aqua_severity, v.vendor_severity, v.nvd_severity_v3, v.nvd_severity)
    return ReportedVulnerability(
        id=v.name or "",
        purl=package_url(resource.format or "", name, version, distro),
        name=name,
        version=version,
        severity=next((s for w in words if (s := from_word(w))), Severity.UNKNOWN),
        severity_source="aqua",
        cvss_score=score(v.aqua_score),
        cvss_vector=v.aqua_vectors or "",
        fixed_versions=fixes,
        fix_state="fixed" if fixes else "",
        description=v.description or "",
        references=links(v.nvd_url, v.vendor_url),
        layer=digest_in(resource.layer),
        path=resource.path or "",
        published_at=instant(v.published),
    )
