"""Wiz CLI: ``wizcli docker scan --image IMAGE --output FILE,json`` and ``wizcli dir scan``.

``{scanOriginResource, status, result: {osPackages, libraries, secrets, …}}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind, secret_fingerprint
from secguard.findings.severity import Severity, from_word
from secguard.scans.document import Document
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._values import Version, moment, probability, score, version_text, versions
from secguard.scans.readers._vulnerabilities import digest_in, distinct, links
from secguard.scans.report import ReportedSecret, ReportedVulnerability, ScanReport, Subject

_KINDS = {"CICDScanOriginContainerImage": "image", "CICDScanOriginDirectory": "filesystem"}
_BY_HOST = (
    ("alpinelinux.org", "alpine"),
    ("debian.org", "debian"),
    ("ubuntu.com", "ubuntu"),
    ("redhat.com", "redhat"),
    ("alas.aws.amazon.com", "amzn"),
    ("oracle.com", "ol"),
)
"""Wiz does not say of which distribution a package is, but whose advisory names it."""

_BY_FILE = (
    ("go.mod", "golang"),
    ("go.sum", "golang"),
    ("package.json", "npm"),
    ("package-lock.json", "npm"),
    ("yarn.lock", "npm"),
    ("pnpm-lock.yaml", "npm"),
    ("requirements.txt", "pypi"),
    ("poetry.lock", "pypi"),
    ("pipfile.lock", "pypi"),
    ("metadata", "pypi"),
    ("pkg-info", "pypi"),
    ("pom.xml", "maven"),
    (".jar", "maven"),
    (".war", "maven"),
    ("gemfile.lock", "gem"),
    (".gemspec", "gem"),
    ("cargo.lock", "cargo"),
    ("composer.lock", "composer"),
    (".deps.json", "nuget"),
    ("packages.lock.json", "nuget"),
)


class _Vulnerability(Struct):
    name: str | None = None
    severity: str | None = None
    fix: Version = field(default=None, name="fixedVersion")
    source: str | None = None
    description: str | None = None
    score: float | None = None
    exploited: bool | None = field(default=None, name="hasCisaKevExploit")
    epss: float | None = field(default=None, name="epssProbability")
    published: str | None = field(default=None, name="publishDate")


class _Package(Struct):
    name: str | None = None
    version: Version = None
    path: str | None = None
    vulnerabilities: list[_Vulnerability] | None = None


class _Secret(Struct):
    type: str | None = None
    path: str | None = None
    line: int | None = field(default=None, name="lineNumber")


class _Result(Struct):
    os: list[_Package] | None = field(default=None, name="osPackages")
    libraries: list[_Package] | None = None
    applications: list[_Package] | None = None
    secrets: list[_Secret] | None = None


class _Origin(Struct):
    kind: str | None = field(default=None, name="__typename")
    name: str | None = None
    digest: str | None = None


class _Status(Struct):
    state: str | None = None


class _Report(Struct):
    origin: _Origin | None = field(default=None, name="scanOriginResource")
    status: _Status | None = None
    result: _Result | None = None
    created: str | None = field(default=None, name="createdAt")


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities and secrets; ``None`` where the document is not of the Wiz CLI.

    A scan whose state is not success is incomplete. Raises ``Invalid`` where it is about neither an image nor a folder,
    and with the JSON path of a broken part.
    """
    if not document.has("scanOriginResource", "result", "status"):
        return None
    report = document.decode(_Report)
    origin, result = report.origin or _Origin(), report.result or _Result()
    if origin.kind not in _KINDS:
        raise Invalid(
            f"The report is about a {origin.kind or 'thing without a type'}; expected an image. Scan it with: "
            "wizcli docker scan --image IMAGE.",
            code="no-image",
            where="$.scanOriginResource",
        )
    state = (report.status.state if report.status else None) or "SUCCESS"
    return ScanReport(
        format="wiz",
        scanner="wiz",
        # The name is the scan's own, and only sometimes that of the image.
        subject=Subject(kind=_KINDS[origin.kind], digest=digest_in(origin.digest)),
        covers=frozenset({FindingKind.VULNERABILITY, FindingKind.SECRET}),
        vulnerabilities=distinct(_all(result)),
        secrets=_secrets(result.secrets or ()),
        complete=state == "SUCCESS",
        generated_at=moment(report.created),
        warnings=() if state == "SUCCESS" else (f"The scan's state is {state!r}.",),
    )


def _all(result: _Result) -> Iterator[ReportedVulnerability]:
    for packages, is_os in ((result.os, True), (result.libraries, False), (result.applications, False)):
        for p in packages or ():
            for v in p.vulnerabilities or ():
                yield _vulnerability(v, p, is_os=is_os)


def _vulnerability(v: _Vulnerability, package: _Package, *, is_os: bool) -> ReportedVulnerability:
    name, version, fixes = package.name or "unknown", version_text(package.version), versions(version_text(v.fix))
    kind, distro = ("os", _distribution(v.source or "")) if is_os else (_ecosystem(package.path or ""), "")
    return ReportedVulnerability(
        id=v.name or "",
        purl=package_url(kind, name, version, distro),
        name=name,
        version=version,
        severity=from_word(v.severity),
        severity_source="wiz",
        cvss_score=score(v.score),
        fixed_versions=fixes,
        fix_state="fixed" if fixes else "",
        description=v.description or "",
        references=links(v.source),
        known_exploited=bool(v.exploited),
        epss=probability(v.epss),
        path=package.path or "",
        published_at=moment(v.published),
    )


def _distribution(source: str) -> str:
    return next((name for host, name in _BY_HOST if host in source), "")


def _ecosystem(path: str) -> str:
    return next((kind for end, kind in _BY_FILE if path.lower().endswith(end)), "")


def _secrets(secrets: Iterable[_Secret]) -> list[ReportedSecret]:
    """Every secret once; its description quotes a part of it and is not taken."""
    found: dict[tuple[str, str, int], ReportedSecret] = {}
    for s in secrets:
        rule, path, line = s.type or "SECRET", s.path or "", s.line or 0
        found[rule, path, line] = ReportedSecret(
            rule=rule,
            path=path,
            fingerprint=secret_fingerprint(rule, path, f"line {line}"),
            line=line,
            severity=Severity.UNKNOWN,
            title=rule.replace("_", " ").capitalize(),
        )
    return list(found.values())
