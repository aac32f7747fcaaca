"""Checkov: ``checkov --output json``, one object for each framework, or a list of them.

``{check_type, results: {passed_checks, failed_checks, skipped_checks, parsing_errors}, summary}``; where nothing was
checked ``{passed, failed, skipped, parsing_errors, resource_count, checkov_version}``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Raw, Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._checks import check_kind, clean_path, distinct_checks, joined_warning
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._values import Version, moment, score, version_text, versions
from secguard.scans.readers._vulnerabilities import distinct, links, told
from secguard.scans.report import ReportedCheck, ReportedVulnerability, ScanReport, Subject

_SCA = frozenset({"sca_image", "sca_package"})
_SECRETS = "secrets"


class _Details(Struct):
    id: str | None = None
    package: str | None = field(default=None, name="package_name")
    kind: str | None = field(default=None, name="package_type")
    version: Version = field(default=None, name="package_version")
    severity: str | None = None
    cvss: float | None = None
    vector: str | None = None
    fix: Version = field(default=None, name="lowest_fixed_version")
    description: str | None = None
    link: str | None = None
    published: str | None = field(default=None, name="published_date")


class _Check(Struct):
    id: str | None = field(default=None, name="check_id")
    name: str | None = field(default=None, name="check_name")
    path: str | None = field(default=None, name="file_path")
    resource: str | None = None
    severity: str | None = None
    guideline: str | None = None
    lines: list[int] | None = field(default=None, name="file_line_range")
    details: _Details | None = field(default=None, name="vulnerability_details")


class _Results(Struct):
    failed: list[_Check] | None = field(default=None, name="failed_checks")
    errors: list[Any] | None = field(default=None, name="parsing_errors")


class _Summary(Struct):
    version: str | None = field(default=None, name="checkov_version")


class _Framework(Struct):
    type: str | None = field(default=None, name="check_type")
    results: _Results | None = None
    summary: _Summary | None = None


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of failed checks and of an image's vulnerabilities; ``None`` where it is not Checkov's.

    Files that it could not parse, and a run that checked nothing at all, make it incomplete. Secrets are left to
    Checkov's SARIF. Raises ``Invalid`` with the JSON path of a broken part.
    """
    if document.has("passed", "failed", "checkov_version"):
        return _report([])
    if document.has("check_type", "results"):
        return _report([document.decode(_Framework)])
    if document.items and {"check_type", "results"} <= _keys(document.items[0]):
        return _report(document.decode(list[_Framework]))
    return None


def _keys(raw: Raw) -> set[str]:
    try:
        keys: dict[str, Any] = decode(raw, dict[str, Raw], "$[0]")
    except Invalid:
        return set()
    return set(keys)


def _report(frameworks: list[_Framework]) -> ScanReport:
    kinds = {f.type for f in frameworks}
    checks, joined = distinct_checks(_checks(frameworks))
    unparsed = sum(len(f.results.errors or ()) for f in frameworks if f.results)
    secrets = sum(len(f.results.failed or ()) for f in frameworks if f.results and f.type == _SECRETS)
    warnings = (
        *(("Checkov found nothing to check.",) if not frameworks else ()),
        *((f"{unparsed} files could not be parsed.",) if unparsed else ()),
        *((f"{secrets} secrets were left out: post Checkov's SARIF for them.",) if secrets else ()),
    )
    covers = {FindingKind.VULNERABILITY} if kinds & _SCA else set()
    if kinds - _SCA - {_SECRETS}:
        covers |= {FindingKind.MISCONFIGURATION, FindingKind.HYGIENE}
    return ScanReport(
        format="checkov",
        scanner="checkov",
        scanner_version=next((f.summary.version or "" for f in frameworks if f.summary), ""),
        subject=Subject(kind="configuration"),
        covers=frozenset(covers),
        checks=checks,
        vulnerabilities=distinct(_vulnerabilities(frameworks)),
        complete=bool(frameworks) and not unparsed,
        warnings=(*warnings, *joined_warning(joined)),
    )


def _failed(frameworks: list[_Framework]) -> Iterator[tuple[str, _Check]]:
    for f in frameworks:
        for check in (f.results.failed if f.results else None) or ():
            yield f.type or "", check


def _checks(frameworks: list[_Framework]) -> Iterator[ReportedCheck]:
    for kind, check in _failed(frameworks):
        if check.details is None and kind not in _SCA and kind != _SECRETS and check.id:
            path, resource = clean_path(check.path or "").lstrip("/"), check.resource or ""
            # Of a Dockerfile the resource is an instruction with the path before it: the path alone tells as much.
            target = path if kind == "dockerfile" or not resource else f"{path}: {resource}"
            yield ReportedCheck(
                kind=check_kind(check.id),
                check_id=check.id,
                target=target,
                severity=from_word(check.severity),
                title=check.name or check.id,
                references=links(check.guideline),
                line=next(iter(check.lines or ()), 0),
            )


def _vulnerabilities(frameworks: list[_Framework]) -> Iterator[ReportedVulnerability]:
    for _, check in _failed(frameworks):
        if check.details is not None:
            yield _vulnerability(check.details, check)


def _vulnerability(v: _Details, check: _Check) -> ReportedVulnerability:
    name, version, fixes = v.package or "unknown", version_text(v.version), versions(told(version_text(v.fix)))
    return ReportedVulnerability(
        id=v.id or "",
        purl=package_url(v.kind or "", name, version),
        name=name,
        version=version,
        severity=from_word(v.severity or check.severity),
        severity_source="checkov",
        cvss_score=score(v.cvss),
        cvss_vector=v.vector or "",
        fixed_versions=fixes,
        fix_state="fixed" if fixes else "",
        description=v.description or "",
        references=links(v.link),
        published_at=moment(v.published),
    )
