"""Amazon's reports on container images:

* ``aws ecr describe-image-scan-findings``: basic scanning (``findings``) and enhanced (``enhancedFindings``)
* ``aws inspector2 list-findings``: ``{"findings": [...]}``
* Security Hub's ASFF: ``{"Findings": [...]}``, ``{"findings": [...]}`` or a bare array; other scanners write it too

The last two list findings about anything in an account: only those about one image make a report.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers import _aws_asff as asff
from secguard.scans.readers import _aws_inspector as inspector
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._times import instant
from secguard.scans.readers._values import score
from secguard.scans.readers._vulnerabilities import digest_in, distinct, links, told
from secguard.scans.report import ReportedVulnerability, ScanReport, Subject

_PROBED = 5
_ASFF_KEYS = frozenset({"SchemaVersion", "ProductArn", "Resources"})
_INSPECTOR_KEYS = frozenset({"findingArn", "resources"})
_SCANNED = frozenset({"", "COMPLETE", "ACTIVE"})
_COVERS = frozenset({FindingKind.VULNERABILITY})


class _ImageId(Struct):
    digest: str | None = field(name="imageDigest", default=None)
    tag: str | None = field(name="imageTag", default=None)


class _Status(Struct):
    status: str | None = None
    description: str | None = None


class _Attribute(Struct):
    key: str | None = None
    value: str | None = None


class _Basic(Struct):
    name: str
    uri: str | None = None
    description: str | None = None
    severity: str | None = None
    attributes: list[_Attribute] | None = None


class _ScanFindings(Struct):
    basic: list[_Basic] | None = field(name="findings", default=None)
    enhanced: list[inspector.Finding] | None = field(name="enhancedFindings", default=None)
    ended: Any = field(name="imageScanCompletedAt", default=None)
    database: Any = field(name="vulnerabilitySourceUpdatedAt", default=None)


class _EcrScan(Struct):
    findings: _ScanFindings | None = field(name="imageScanFindings", default=None)
    registry: str | None = field(name="registryId", default=None)
    repository: str | None = field(name="repositoryName", default=None)
    image: _ImageId | None = field(name="imageId", default=None)
    status: _Status | None = field(name="imageScanStatus", default=None)
    next_token: str | None = field(name="nextToken", default=None)


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities, or ``None`` where the document is none of Amazon's.

    One page of several (``nextToken``) or an unfinished scan is not complete. Raises ``Invalid``: findings about
    several images, or about no image at all.
    """
    if document.has("imageScanFindings") or document.has("imageScanStatus", "imageId"):
        return _read_ecr(document.decode(_EcrScan))
    raw, where, keys = _first_of(document)
    if raw is None:
        return None
    if keys >= _ASFF_KEYS:
        return _read_asff(decode(raw, list[asff.Finding], where))
    if keys >= _INSPECTOR_KEYS:
        return _read_inspector(decode(raw, list[inspector.Finding], where), document.has("nextToken"))
    return None


def _first_of(document: Document) -> tuple[msgspec.Raw | bytes | None, str, set[str]]:
    """The array of findings, its place, and the keys of its first finding."""
    raw: msgspec.Raw | bytes | None = document.raw if document.items is not None else None
    where = "$"
    for name in ("Findings", "findings"):
        if document.keys is not None and name in document.keys:
            raw, where = document.keys[name], f"$.{name}"
    if raw is None:
        return None, "", set()
    try:
        items: list[msgspec.Raw] = decode(raw, list[msgspec.Raw], where)
        keys = set(decode(items[0], dict[str, msgspec.Raw], where)) if items else set()
    except Invalid:
        return None, "", set()
    return (raw, where, keys) if keys else (None, "", set())


def _read_ecr(scan: _EcrScan) -> ScanReport:
    found = scan.findings or _ScanFindings()
    status = (scan.status.status if scan.status else "") or ""
    image = scan.image or _ImageId()
    enhanced = [v for f in found.enhanced or () for v in f.reported(_platform(f.about()))]
    warnings = [] if status in _SCANNED else [f"The scan's status is {status}: {_told_status(scan)}."]
    warnings += [_one_page()] if scan.next_token else []
    return ScanReport(
        format="aws",
        # Enhanced scanning is Amazon Inspector, whichever of the two APIs hands it out.
        scanner="inspector" if found.enhanced is not None else "ecr",
        subject=Subject(reference=_reference(scan.repository, image.tag), digest=digest_in(image.digest)),
        covers=_COVERS,
        vulnerabilities=distinct([*(_basic(f) for f in found.basic or ()), *enhanced]),
        complete=not warnings,
        generated_at=instant(found.ended),
        database_updated_at=instant(found.database),
        warnings=tuple(warnings),
    )


def _told_status(scan: _EcrScan) -> str:
    return (scan.status.description if scan.status else "") or "no reason given"


def _one_page() -> str:
    return "This is one page of several (nextToken): nothing is closed by it. Let the AWS CLI fetch all pages."


def _reference(repository: str | None, tag: str | None) -> str:
    return f"{repository}:{tag}" if repository and tag else repository or ""


def _basic(finding: _Basic) -> ReportedVulnerability:
    said = {a.key: a.value or "" for a in finding.attributes or () if a.key}
    name, version = told(said.get("package_name")) or "unknown", told(said.get("package_version"))
    rated = said.get("CVSS4_SCORE") or said.get("CVSS3_SCORE") or ""
    return ReportedVulnerability(
        id=finding.name,
        purl=package_url("", name, version),
        name=name,
        version=version,
        severity=from_word(finding.severity),
        severity_source="ecr",
        cvss_score=score(float(rated)) if rated.replace(".", "", 1).isdecimal() else None,
        cvss_vector=said.get("CVSS3_VECTOR") or "",
        description=finding.description or "",
        references=links(finding.uri),
    )


def _platform(resource: inspector.Resource | None) -> str:
    return (resource.image.platform or "") if resource and resource.image else ""


def _read_inspector(findings: list[inspector.Finding], more: bool) -> ScanReport:
    about = [(f, r) for f in findings if (r := f.about()) is not None]
    _require_one_image((r.id or "" for _, r in about), (r.type or "" for f in findings for r in f.resources or ()))
    image = about[0][1].image or inspector.Image()
    left = len(findings) - len(about)
    warnings = [_one_page()] if more else []
    warnings += [f"{left} findings are about something else than an image and were left out."] if left else []
    return ScanReport(
        format="aws",
        scanner="inspector",
        subject=Subject(
            reference=_reference(image.repository, next(iter(image.tags or ()), "")),
            digest=digest_in(image.hash) or digest_in((about[0][1].id or "").rpartition("/")[2]),
        ),
        covers=_COVERS,
        vulnerabilities=distinct(v for f, r in about for v in f.reported(_platform(r))),
        complete=not more,
        warnings=tuple(warnings),
    )


def _read_asff(findings: list[asff.Finding]) -> ScanReport:
    about = [(f, r) for f in findings if (r := f.about()) is not None]
    _require_one_image((r.id or "" for _, r in about), (r.type or "" for f in findings for r in f.resources or ()))
    scanners = sorted({f.scanner for f, _ in about})
    if len(scanners) > 1:
        raise Invalid(
            f"The findings come from {len(scanners)} products: {', '.join(scanners[:5])}. Post one report for each.",
            code="several-tools",
            where="$",
        )
    left = len(findings) - len(about)
    return ScanReport(
        format="aws",
        format_version="asff-2018-10-08",
        scanner=scanners[0],
        subject=_asff_subject(about[0][1]),
        covers=_COVERS,
        vulnerabilities=distinct(v for f, r in about for v in f.reported(r)),
        warnings=(f"{left} findings are about something else than an image and were left out.",) if left else (),
    )


def _asff_subject(resource: asff.Resource) -> Subject:
    details = resource.details
    if details and details.ecr:
        ecr = details.ecr
        reference = _reference(ecr.repository, next(iter(ecr.tags or ()), ""))
        return Subject(reference=reference, digest=digest_in(ecr.digest), architecture=ecr.architecture or "")
    if details and details.container and details.container.image:
        return Subject(reference=details.container.image)
    return Subject(reference=resource.id or "")


def _require_one_image(images: Iterable[str], types: Iterable[str]) -> None:
    distinct_images = list(dict.fromkeys(images))
    if not distinct_images:
        others = ", ".join(sorted(set(types))[:5]) or "nothing"
        raise Invalid(
            f"None of the findings is about a container image; they are about: {others}. Filter for the image, for "
            "example by resource type AWS_ECR_CONTAINER_IMAGE.",
            code="no-image",
            where="$",
        )
    if len(distinct_images) > 1:
        raise Invalid(
            f"The findings are about {len(distinct_images)} images: {', '.join(distinct_images[:3])} … "
            "Post one report for each image.",
            code="several-images",
            where="$",
        )
