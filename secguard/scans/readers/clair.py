"""Clair v4 (claircore): the vulnerability report, and the index report alone, which is an inventory.

Fields: quay/claircore ``vulnerabilityreport.go``, ``indexreport.go``, ``package.go``, ``vulnerability.go``; what is
known of a package's place and distribution stands beside it, in ``environments``.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity, from_score, from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._advisory import advisory_id
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._times import instant
from secguard.scans.readers._values import score
from secguard.scans.readers._vulnerabilities import digest_in, distinct
from secguard.scans.report import ReportedComponent, ReportedVulnerability, ScanReport, Subject

_FINISHED = frozenset({"", "IndexFinished", "ScanFinished"})
_REPOSITORY_TYPES = {"rubygems": "gem", "red hat container catalog": ""}


class _Distribution(Struct):
    did: str | None = None
    name: str | None = None
    version_id: str | None = None

    @property
    def word(self) -> str:
        return self.did or self.name or ""


class _Package(Struct):
    name: str | None = None
    version: str | None = None
    kind: str | None = None
    arch: str | None = None
    path: str | None = field(name="filepath", default=None)
    distribution: _Distribution | None = field(name="dist", default=None)


class _Environment(Struct):
    package_db: str | None = None
    introduced_in: str | None = None
    distribution_id: str | None = None
    repository_ids: list[str] | None = None


class _Repository(Struct):
    name: str | None = None
    key: str | None = None


class _Vulnerability(Struct):
    name: str | None = None
    updater: str | None = None
    description: str | None = None
    links: str | None = None
    severity: str | None = None
    normalized_severity: str | None = None
    fixed_in_version: str | None = None
    issued: str | None = None


class _Cvss(Struct):
    score: float | None = field(name="baseScore", default=None)
    vector: str | None = field(name="vectorString", default=None)


class _Report(Struct):
    packages: dict[str, _Package] | None = None
    environments: dict[str, list[_Environment] | None] | None = None
    distributions: dict[str, _Distribution] | None = None
    repositories: dict[str, _Repository] | None = field(name="repository", default=None)
    vulnerabilities: dict[str, _Vulnerability] | None = None
    package_vulnerabilities: dict[str, list[str] | None] | None = None
    enrichments: dict[str, msgspec.Raw] | None = None
    manifest_hash: str | None = None
    state: str | None = None
    success: bool | None = None
    err: str | None = None


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` with every package as component and, of a vulnerability report, its vulnerabilities.

    ``None`` where the document is not claircore's. An index that failed (``success`` false, ``err``, an unfinished
    ``state``) is not complete. Raises ``Invalid`` with the JSON path of a broken part.
    """
    if not document.has("manifest_hash", "packages"):
        return None
    report = document.decode(_Report)
    place = _Places(report)
    judged = report.package_vulnerabilities is not None
    complete = report.success is not False and not report.err and (report.state or "") in _FINISHED
    return ScanReport(
        format="clair",
        format_version="4",
        scanner="clair",
        subject=_subject(report),
        covers=frozenset({FindingKind.VULNERABILITY}) if judged else frozenset(),
        vulnerabilities=distinct(_vulnerabilities(report, place)),
        components=_components(report, place),
        inventory=complete,
        complete=complete,
        warnings=() if complete else (f"Clair did not finish: {report.err or report.state or 'no reason given'}.",),
    )


class _Place(Struct, frozen=True):
    """Where a package is: its purl, its layer and its path."""

    purl: str
    layer: str = ""
    path: str = ""


class _Places:
    """The place of each package of a report, by the package's id."""

    def __init__(self, report: _Report) -> None:
        self._environments = report.environments or {}
        self._distributions = report.distributions or {}
        self._repositories = report.repositories or {}
        self._by_id = {id_: self._place(id_, p) for id_, p in (report.packages or {}).items()}

    def of(self, package_id: str) -> _Place | None:
        return self._by_id.get(package_id)

    def _place(self, id_: str, package: _Package) -> _Place:
        environment = next(iter(self._environments.get(id_) or ()), _Environment())
        distribution = self._distributions.get(environment.distribution_id or "") or package.distribution
        database = environment.package_db or ""
        repositories = [self._repositories.get(i) for i in environment.repository_ids or ()]
        kind = "os" if distribution else next((_type_of(r) for r in repositories if r and _type_of(r)), "")
        return _Place(
            purl=package_url(
                kind,
                package.name or "unknown",
                package.version or "",
                distribution.word if distribution else "",
                package.arch or "",
            ),
            layer=environment.introduced_in or "",
            path=package.path or ("" if distribution else database.partition(":")[2] or database),
        )


def _type_of(repository: _Repository) -> str:
    """``pypi``, ``maven`` … as claircore names language repositories; Red Hat's are CPEs, and hold RPMs."""
    name = (repository.name or "").lower()
    if name.startswith("cpe:"):
        return "redhat" if ":redhat:enterprise_linux" in name or ":redhat:rhel" in name else ""
    return _REPOSITORY_TYPES.get(name, name)


def _subject(report: _Report) -> Subject:
    distribution = next(iter((report.distributions or {}).values()), _Distribution())
    return Subject(
        digest=digest_in(report.manifest_hash),
        os_name=(distribution.did or "").lower(),
        os_version=distribution.version_id or "",
    )


def _components(report: _Report, place: _Places) -> list[ReportedComponent]:
    found: dict[str, ReportedComponent] = {}
    for id_, package in (report.packages or {}).items():
        at = place.of(id_)
        if at is not None and package.name:
            component = ReportedComponent(
                purl=at.purl,
                name=package.name,
                version=package.version or "",
                layer=at.layer,
                paths=(at.path,) if at.path else (),
            )
            found.setdefault(at.purl, component)
    return list(found.values())


def _vulnerabilities(report: _Report, place: _Places) -> list[ReportedVulnerability]:
    flaws, scores = report.vulnerabilities or {}, _scores(report)
    found = []
    for package_id, flaw_ids in (report.package_vulnerabilities or {}).items():
        package, at = (report.packages or {}).get(package_id), place.of(package_id)
        if package is None or at is None:
            raise Invalid(
                f"Package {package_id!r} has vulnerabilities but is not among the packages.",
                code="dangling",
                where=f"$.package_vulnerabilities[{package_id!r}]",
            )
        for flaw_id in flaw_ids or ():
            flaw = flaws.get(flaw_id)
            if flaw is not None and flaw.name:
                found.append(_vulnerability(flaw, package, at, scores.get(flaw_id, _Cvss())))
    return found


def _vulnerability(flaw: _Vulnerability, package: _Package, at: _Place, cvss: _Cvss) -> ReportedVulnerability:
    name = flaw.name or "unknown"
    fix = _fixed_in(flaw.fixed_in_version or "")
    rated = from_word(flaw.normalized_severity)
    return ReportedVulnerability(
        id=advisory_id(name) or name,
        purl=at.purl,
        name=package.name or "unknown",
        version=package.version or "",
        severity=rated if rated is not Severity.UNKNOWN else from_score(score(cvss.score)),
        severity_source=flaw.updater or "clair",
        cvss_score=score(cvss.score),
        cvss_vector=cvss.vector or "",
        fixed_versions=(fix,) if fix else (),
        fix_state="fixed" if fix else "not_fixed",
        title="" if advisory_id(name) == name else name,
        description=flaw.description or "",
        references=tuple((flaw.links or "").split()),
        layer=at.layer,
        path=at.path,
        published_at=instant(flaw.issued),
    )


def _fixed_in(text: str) -> str:
    """The version; of OSV's advisories claircore keeps a query string, ``fixed=1.2.3&introduced=0``."""
    if "=" not in text:
        return text.strip()
    return next(iter(parse_qs(text).get("fixed", ())), "")


def _scores(report: _Report) -> dict[str, _Cvss]:
    """CVSS by vulnerability, from Clair's enrichment ``message/vnd.clair.map.vulnerability; enricher=clair.cvss``."""
    scores: dict[str, _Cvss] = {}
    for kind, raw in (report.enrichments or {}).items():
        if "clair.cvss" not in kind:
            continue
        maps: list[Any] | None = decode(raw, list[dict[str, list[_Cvss]]] | None, f"$.enrichments[{kind!r}]")
        for map_ in maps or ():
            for id_, entries in map_.items():
                best = max(entries, key=lambda e: e.score or 0.0, default=None)
                if best is not None:
                    scores.setdefault(id_, best)
    return scores
