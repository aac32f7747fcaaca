"""Prisma Cloud Compute (Twistlock): ``twistcli images scan --output-file``, and Prisma Cloud's ``entityInfo`` form.

Fields: the ``results`` of twistcli: ``vulnerabilities``, ``compliances`` and ``packages`` of each image.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Raw, Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._checks import distinct_checks
from secguard.scans.readers._packages import distribution, package_url
from secguard.scans.readers._times import instant
from secguard.scans.readers._values import score
from secguard.scans.readers._vulnerabilities import digest_in, distinct, links, told
from secguard.scans.report import ReportedCheck, ReportedVulnerability, ScanReport, Subject

_USED_IN = re.compile(r"(?P<name>.+?) \(used in .*\)")
_FIXED_IN = re.compile(r"fixed in (?P<versions>.+)", re.I)
_COVERS = frozenset({FindingKind.VULNERABILITY, FindingKind.MISCONFIGURATION})


class _Vulnerability(Struct):
    id: str
    status: str | None = None
    cvss: float | None = None
    vector: str | None = None
    severity: str | None = None
    description: str | None = None
    package: str | None = field(name="packageName", default=None)
    version: str | None = field(name="packageVersion", default=None)
    kind: str | None = field(name="packageType", default=None)
    path: str | None = field(name="packagePath", default=None)
    link: str | None = None
    published: str | None = field(name="publishedDate", default=None)


class _Compliance(Struct):
    id: int | str | None = None
    title: str | None = None
    severity: str | None = None
    cause: str | None = None
    description: str | None = None


class _Image(Struct):
    id: str | None = None
    name: str | None = None
    digest: str | None = None
    distro: str | None = None
    vulnerabilities: list[_Vulnerability] | None = None
    compliances: list[_Compliance] | None = None
    scanned: str | None = field(name="scanTime", default=None)


class _Entity(Struct):
    entity: _Image | None = field(name="entityInfo", default=None)
    results: list[_Image] | None = None


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities and failed compliance checks, or ``None`` where it is not Twistlock's.

    Raises ``Invalid``: several images in one report, or the JSON path of a broken part.
    """
    image = _image(document)
    if image is None:
        return None
    checks, _ = distinct_checks(_check(c) for c in image.compliances or ())
    return ScanReport(
        format="twistlock",
        scanner="twistlock",
        subject=Subject(
            reference=image.name or "",
            digest=digest_in(image.digest),
            image_id=digest_in(image.id),
            os_name=distribution(image.distro or ""),
        ),
        covers=_COVERS,
        vulnerabilities=distinct(_vulnerability(v, image.distro or "") for v in image.vulnerabilities or ()),
        checks=checks,
        generated_at=instant(image.scanned),
    )


def _image(document: Document) -> _Image | None:
    if document.items is not None:
        if not document.items or not {"entityInfo", "results"} <= _keys(document.items[0]):
            return None
        entities = document.decode(list[_Entity])
        images = [_joined(e.entity or _Image(), r) for e in entities for r in e.results or ()]
    else:
        results = (document.keys or {}).get("results")
        first = _first(results)
        if results is None or not {"vulnerabilityDistribution", "complianceDistribution"} <= _keys(first):
            return None
        images = decode(results, list[_Image], "$.results")
    if len(images) > 1:
        names = ", ".join((i.name or i.id or "?") for i in images[:5])
        raise Invalid(
            f"The report is about {len(images)} images: {names}. Post one report for each.",
            code="several-images",
            where="$",
        )
    return images[0] if images else None


def _joined(entity: _Image, result: _Image) -> _Image:
    """Prisma Cloud tells what the image is beside the result, not in it."""
    entity.vulnerabilities, entity.compliances = result.vulnerabilities, result.compliances
    return entity


def _first(raw: Raw | None) -> Raw:
    try:
        items: list[Raw] = decode(raw or b"[]", list[Raw], "$")
    except Invalid:
        return Raw(b"{}")
    return items[0] if items else Raw(b"{}")


def _keys(raw: Raw) -> set[str]:
    try:
        keys: dict[str, Any] = decode(raw, dict[str, Raw], "$")
    except Invalid:
        return set()
    return set(keys)


def _vulnerability(flaw: _Vulnerability, distro: str) -> ReportedVulnerability:
    told_name = told(flaw.package) or "unknown"
    used = _USED_IN.fullmatch(told_name)
    name, version = used["name"] if used else told_name, flaw.version or ""
    # "used in" names the binaries of a distribution's source package; without it the kind is not told.
    kind = told(flaw.kind) or ("os" if used else "")
    kind = "os" if kind.lower() == "package" else kind
    fix = _FIXED_IN.search(flaw.status or "")
    fixes = tuple(v.strip() for v in fix["versions"].split(",") if v.strip()) if fix else ()
    return ReportedVulnerability(
        id=flaw.id,
        purl=package_url(kind, name, version, distro),
        name=name,
        version=version,
        severity=from_word(flaw.severity),
        severity_source="twistlock",
        cvss_score=score(flaw.cvss),
        cvss_vector=flaw.vector or "",
        fixed_versions=fixes,
        fix_state="fixed" if fixes else _FIX_STATES.get((flaw.status or "").lower(), ""),
        description=flaw.description or "",
        references=links(flaw.link),
        path=flaw.path or "",
        published_at=instant(flaw.published),
    )


_FIX_STATES = {"open": "not_fixed", "needed": "not_fixed", "will not fix": "wont_fix", "affected": "not_fixed"}


def _check(check: _Compliance) -> ReportedCheck:
    return ReportedCheck(
        kind=FindingKind.MISCONFIGURATION,
        check_id=str(check.id or check.title or "unknown"),
        target="image",
        severity=from_word(check.severity),
        title=check.title or "",
        description="\n".join(part for part in (check.cause, check.description) if part),
    )
