"""SecGuard's own report format, for tools that no other reader knows; described in docs/report-format.md.

The field names here are the format: a change of meaning is a new ``schema`` value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated
from urllib.parse import unquote

from msgspec import Meta, Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind, canonical_purl, secret_fingerprint
from secguard.findings.severity import LABELS, Severity, from_score, from_word
from secguard.scans.document import Document
from secguard.scans.readers._bounds import require_bounded, require_few, require_listed
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._values import fix_state, probability, score
from secguard.scans.report import (
    ReportedCheck,
    ReportedComponent,
    ReportedMalware,
    ReportedSecret,
    ReportedVulnerability,
    ScanReport,
    Subject,
)

SCHEMA = "secguard-report/v1"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SCANNER = re.compile(r"[a-z0-9][a-z0-9._-]{0,49}")
_KINDS = tuple(k.value for k in FindingKind)

Moment = Annotated[datetime, Meta(tz=True)]
"""RFC 3339 with an offset; a time without one is refused."""


class _Scanner(Struct, forbid_unknown_fields=True):
    name: str
    version: str = ""
    database_updated_at: Moment | None = None


class _Image(Struct, forbid_unknown_fields=True):
    reference: str = ""
    digest: str = ""
    image_id: str = ""
    os: str = ""
    os_version: str = ""
    architecture: str = ""


class _Package(Struct, forbid_unknown_fields=True):
    purl: str = ""
    type: str = ""
    name: str = ""
    version: str = ""


class _Finding(Struct, forbid_unknown_fields=True):
    kind: str
    id: str = ""
    aliases: list[str] = []
    package: _Package | None = None
    severity: str = ""
    severity_source: str = ""
    cvss_score: float | None = None
    cvss_vector: str = ""
    fixed_versions: list[str] = []
    fix_state: str = ""
    known_exploited: bool = False
    epss: float | None = None
    published_at: Moment | None = None
    title: str = ""
    description: str = ""
    remediation: str = ""
    references: list[str] = []
    path: str = ""
    line: int = 0
    layer: str = ""
    target: str = ""
    sha256: str = ""
    fingerprint: str = ""
    suppressed: str = ""


class _Component(Struct, forbid_unknown_fields=True):
    purl: str = ""
    type: str = ""
    name: str = ""
    version: str = ""
    licenses: list[str] = []
    layer: str = ""
    paths: list[str] = []


class _Report(Struct, forbid_unknown_fields=True):
    schema: str
    scanner: _Scanner
    image: _Image = field(default_factory=_Image)
    covers: list[str] = []
    findings: list[_Finding] = []
    components: list[_Component] | None = None
    complete: bool = True
    generated_at: Moment | None = None


def read(document: Document) -> ScanReport | None:
    """A report in SecGuard's own format; ``None`` where ``schema`` does not begin with ``secguard-report/``.

    Raises ``Invalid`` with the JSON path of an unknown or missing field, a value out of range, or an unknown version.
    """
    schema = document.text("schema")
    if not schema.startswith("secguard-report/"):
        return None
    if schema != SCHEMA:
        raise Invalid(f"The report says {schema!r}; {SCHEMA!r} is read.", code="unknown-version", where="$.schema")
    require_few(document, findings=b'"kind"')
    report = document.decode(_Report)
    require_bounded(len(report.findings or ()))
    require_listed(len(report.components or ()))
    return ScanReport(
        format="secguard",
        format_version="v1",
        scanner=_scanner(report.scanner.name),
        scanner_version=report.scanner.version,
        subject=_subject(report.image),
        covers=_covers(report),
        vulnerabilities=[_vulnerability(f, i, report) for i, f in _of(report, FindingKind.VULNERABILITY)],
        secrets=[_secret(f, i) for i, f in _of(report, FindingKind.SECRET)],
        malware=[_malware(f, i) for i, f in _of(report, FindingKind.MALWARE)],
        checks=[
            _check(f, i, kind)
            for kind in (FindingKind.MISCONFIGURATION, FindingKind.HYGIENE)
            for i, f in _of(report, kind)
        ],
        components=[_component(c, i, report.image.os) for i, c in enumerate(report.components or ())],
        inventory=report.components is not None,
        complete=report.complete,
        generated_at=report.generated_at,
        database_updated_at=report.scanner.database_updated_at,
    )


def _scanner(name: str) -> str:
    if not _SCANNER.fullmatch(name):
        raise _fault(
            "$.scanner.name", f"{name[:60]!r} is no scanner name; use lower-case letters, digits, '.', '_' and '-'"
        )
    return name


def _subject(image: _Image) -> Subject:
    for value, where in ((image.digest, "$.image.digest"), (image.image_id, "$.image.image_id")):
        if value and not (value.startswith("sha256:") and _SHA256.fullmatch(value[7:])):
            raise _fault(where, f"{value[:80]!r} is no digest; expected 'sha256:' and 64 lower-case hex digits")
    return Subject(
        reference=image.reference,
        digest=image.digest,
        image_id=image.image_id,
        os_name=image.os,
        os_version=image.os_version,
        architecture=image.architecture,
    )


def _covers(report: _Report) -> frozenset[FindingKind]:
    """What the tool says that it looked for, which must have room for what it found."""
    for i, name in enumerate(report.covers):
        _kind(name, f"$.covers[{i}]")
    for i, f in enumerate(report.findings):
        if _kind(f.kind, f"$.findings[{i}].kind") not in report.covers:
            raise _fault("$.covers", f"the report has a finding of kind {f.kind!r}, which 'covers' does not list")
    return frozenset(FindingKind(name) for name in report.covers)


def _kind(name: str, where: str) -> str:
    if name not in _KINDS:
        raise _fault(where, f"{name[:40]!r} is no kind of finding; expected one of {', '.join(_KINDS)}")
    return name


def _of(report: _Report, kind: FindingKind) -> Iterable[tuple[int, _Finding]]:
    return ((i, f) for i, f in enumerate(report.findings) if f.kind == kind)


def _fault(where: str, what: str) -> Invalid:
    return Invalid(
        f"{what[0].upper()}{what[1:]}, at {where}; see docs/report-format.md.", code="bad-value", where=where
    )


def _required(value: str, where: str, what: str) -> str:
    if not value:
        raise _fault(where, f"{what} is missing")
    return value


def _severity(finding: _Finding, where: str, default: Severity = Severity.UNKNOWN) -> Severity:
    if not finding.severity:
        return from_score(finding.cvss_score) or default
    if finding.severity not in LABELS:
        raise _fault(f"{where}.severity", f"{finding.severity[:40]!r} is no severity; expected {', '.join(LABELS)}")
    return from_word(finding.severity)


def _purl(package: _Package | _Component, where: str, distro: str) -> str:
    """The given purl, checked; else one made of ``type``, ``name`` and ``version``."""
    if not package.purl:
        name = _required(package.name, f"{where}.name", "'name' or 'purl'")
        return package_url(package.type, name, package.version, distro)
    try:
        canonical_purl(package.purl)
    except Invalid as e:
        raise _fault(f"{where}.purl", e.detail) from e
    return package.purl


def _named(package: _Package | _Component, purl: str) -> tuple[str, str]:
    """Name and version as given, else as in the purl."""
    name, _, version = canonical_purl(purl).rpartition("/")[2].partition("@")
    return package.name or unquote(name), package.version or unquote(version)


def _vulnerability(finding: _Finding, index: int, report: _Report) -> ReportedVulnerability:
    where = f"$.findings[{index}]"
    if finding.package is None:
        raise _fault(f"{where}.package", "'package' is missing; a vulnerability is in a package")
    purl = _purl(finding.package, f"{where}.package", report.image.os)
    name, version = _named(finding.package, purl)
    fixed = tuple(finding.fixed_versions)
    return ReportedVulnerability(
        id=_required(finding.id, f"{where}.id", "the vulnerability's 'id'"),
        purl=purl,
        name=name,
        version=version,
        aliases=tuple(finding.aliases),
        severity=_severity(finding, where),
        severity_source=finding.severity_source or report.scanner.name,
        cvss_score=score(finding.cvss_score),
        cvss_vector=finding.cvss_vector,
        fixed_versions=fixed,
        fix_state=fix_state(finding.fix_state, fixed),
        title=finding.title,
        description=finding.description,
        references=tuple(finding.references),
        known_exploited=finding.known_exploited,
        epss=probability(finding.epss),
        layer=finding.layer,
        path=finding.path,
        published_at=finding.published_at,
        suppressed=finding.suppressed,
    )


def _secret(finding: _Finding, index: int) -> ReportedSecret:
    where = f"$.findings[{index}]"
    rule = _required(finding.id, f"{where}.id", "the secret's rule, 'id',")
    path = _required(finding.path, f"{where}.path", "the secret's 'path'")
    return ReportedSecret(
        rule=rule,
        path=path,
        fingerprint=secret_fingerprint(rule, path, finding.fingerprint or f"line {finding.line}"),
        line=finding.line,
        severity=_severity(finding, where),
        title=finding.title,
        layer=finding.layer,
    )


def _malware(finding: _Finding, index: int) -> ReportedMalware:
    where = f"$.findings[{index}]"
    if not _SHA256.fullmatch(finding.sha256):
        raise _fault(f"{where}.sha256", f"{finding.sha256[:80]!r} is no SHA-256; expected 64 lower-case hex digits")
    return ReportedMalware(
        signature=_required(finding.id, f"{where}.id", "the malware's signature, 'id',"),
        sha256=finding.sha256,
        path=finding.path,
        severity=_severity(finding, where, Severity.CRITICAL),
        title=finding.title,
        layer=finding.layer,
    )


def _check(finding: _Finding, index: int, kind: FindingKind) -> ReportedCheck:
    where = f"$.findings[{index}]"
    return ReportedCheck(
        kind=kind,
        check_id=_required(finding.id, f"{where}.id", "the check's 'id'"),
        target=finding.target or _required(finding.path, f"{where}.target", "the check's 'target'"),
        severity=_severity(finding, where),
        title=finding.title,
        description=finding.description,
        remediation=finding.remediation,
        references=tuple(finding.references),
        line=finding.line,
    )


def _component(component: _Component, index: int, distro: str) -> ReportedComponent:
    purl = _purl(component, f"$.components[{index}]", distro)
    name, version = _named(component, purl)
    return ReportedComponent(
        purl=purl,
        name=name,
        version=version,
        licenses=tuple(component.licenses),
        layer=component.layer,
        paths=tuple(component.paths),
    )
