"""NeuVector (SUSE Security): the scanner's report on one image, ``{report: {vulnerabilities, modules, checks, …}}``.

Fields: ``RESTScanRepoReport`` of its REST API (controller/api/apis.yaml), which its scanner writes to a file as well.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct, field

from secguard.findings.identity import FindingKind, secret_fingerprint
from secguard.findings.severity import from_word
from secguard.scans.document import Document
from secguard.scans.readers._checks import check_kind, distinct_checks
from secguard.scans.readers._packages import distribution, package_url
from secguard.scans.readers._times import instant
from secguard.scans.readers._values import Version, score, version_text, versions
from secguard.scans.readers._vulnerabilities import digest_in, distinct, links
from secguard.scans.report import ReportedCheck, ReportedSecret, ReportedVulnerability, ScanReport, Subject

_FAILED = frozenset({"WARN", "HIGH", "ERROR"})


class _Vulnerability(Struct):
    name: str | None = None
    severity: str | None = None
    score: float | None = None
    vectors: str | None = None
    score_v3: float | None = None
    vectors_v3: str | None = None
    description: str | None = None
    file: str | None = field(default=None, name="file_name")
    package: str | None = field(default=None, name="package_name")
    version: Version = field(default=None, name="package_version")
    fix: Version = field(default=None, name="fixed_version")
    link: str | None = None
    published: float | None = field(default=None, name="published_timestamp")


class _Module(Struct):
    name: str | None = None
    file: str | None = None
    version: Version = None
    source: str | None = None


class _Check(Struct):
    number: str | None = field(default=None, name="test_number")
    level: str | None = None
    description: str | None = None
    remediation: str | None = None


class _Secret(Struct):
    type: str | None = None
    path: str | None = None


class _Image(Struct):
    image_id: str | None = None
    registry: str | None = None
    repository: str | None = None
    tag: str | None = None
    digest: str | None = None
    os: str | None = field(default=None, name="base_os")
    vulnerabilities: list[_Vulnerability] | None = None
    modules: list[_Module] | None = None
    checks: list[_Check] | None = None
    secrets: list[_Secret] | None = None


class _Report(Struct):
    report: _Image
    error: str | None = field(default=None, name="error_message")


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities, failed checks and secrets; ``None`` where the document is not NeuVector's.

    A report with an error message is incomplete. Raises ``Invalid`` with the JSON path of a broken part.
    """
    if not document.has("report") or b'"modules"' not in document.raw or b'"vulnerabilities"' not in document.raw:
        return None
    told = document.decode(_Report)
    image = told.report
    kinds = {(m.name, version_text(m.version)): m.source or "" for m in image.modules or ()}
    checks, _ = distinct_checks(_check(c) for c in image.checks or () if c.number and c.level in _FAILED)
    return ScanReport(
        format="neuvector",
        scanner="neuvector",
        subject=_subject(image),
        covers=frozenset({FindingKind.VULNERABILITY, FindingKind.MISCONFIGURATION, FindingKind.SECRET}),
        vulnerabilities=distinct(_vulnerability(v, kinds, image.os or "") for v in image.vulnerabilities or ()),
        checks=checks,
        secrets=_secrets(image.secrets or ()),
        complete=not told.error,
        warnings=(f"NeuVector says: {told.error}",) if told.error else (),
    )


def _subject(image: _Image) -> Subject:
    registry = (image.registry or "").removeprefix("https://").removeprefix("http://").strip("/")
    # The address of Docker Hub's web site stands for its registry.
    registry = "docker.io" if registry in ("registry.hub.docker.com", "index.docker.io") else registry
    name = "/".join(part for part in (registry, image.repository) if part) if image.repository else ""
    return Subject(
        reference=f"{name}:{image.tag}" if name and image.tag else name,
        digest=digest_in(image.digest),
        image_id=digest_in(image.image_id),
        os_name=distribution(image.os or ""),
        os_version=(image.os or "").partition(":")[2],
    )


def _vulnerability(v: _Vulnerability, kinds: dict[tuple[str | None, str], str], distro: str) -> ReportedVulnerability:
    name, version, fixes = v.package or "unknown", version_text(v.version), versions(version_text(v.fix))
    kind = kinds.get((v.package, version)) or ("" if v.file else "os")
    return ReportedVulnerability(
        id=v.name or "",
        purl=package_url(kind, name, version, distro),
        name=name,
        version=version,
        severity=from_word(v.severity),
        severity_source="neuvector",
        cvss_score=score(v.score_v3) or score(v.score),
        cvss_vector=v.vectors_v3 or v.vectors or "",
        fixed_versions=fixes,
        fix_state="fixed" if fixes else "",
        description=v.description or "",
        references=links(v.link),
        path=v.file or "",
        published_at=instant(v.published),
    )


def _check(check: _Check) -> ReportedCheck:
    number = check.number or ""
    return ReportedCheck(
        kind=check_kind(number),
        check_id=number,
        target="image",
        severity=from_word(check.level),
        title=check.description or number,
        remediation=check.remediation or "",
    )


def _secrets(secrets: Iterable[_Secret]) -> list[ReportedSecret]:
    """Every secret once for each file; of its evidence nothing is taken."""
    found = {(s.type, s.path or ""): s for s in secrets if s.type}
    return [
        ReportedSecret(
            rule=rule or "", path=path, fingerprint=secret_fingerprint(rule or "", path, ""), title=rule or ""
        )
        for rule, path in found
    ]
