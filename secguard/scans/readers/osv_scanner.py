"""OSV-Scanner: ``osv-scanner scan image --format json IMAGE`` and scans of source folders.

``{results: [{source, packages: [{package, vulnerabilities, groups}]}]}``; version 2 adds ``image_metadata``. Each
vulnerability is an advisory in the OSV schema (ossf.github.io/osv-schema); a group holds the names of one flaw.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Raw, Struct, field

from secguard.advisories.naming import is_cve
from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity, from_score, from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._values import LeftOut, Version, moment, references, version_text
from secguard.scans.readers._vulnerabilities import distinct
from secguard.scans.report import ReportedVulnerability, ScanReport, Subject

_OF_IMAGES = frozenset({"docker", "artifact", "os"})
_MALICIOUS = "MAL-"


class _Rating(Struct):
    type: str | None = None
    score: str | float | None = None


class _Named(Struct):
    name: str | None = None
    version: Version = None
    ecosystem: str | None = None


class _Event(Struct):
    fixed: Version = None


class _Range(Struct):
    type: str | None = None
    events: list[_Event] | None = None


class _Affected(Struct):
    package: _Named | None = None
    ranges: list[_Range] | None = None


class _Link(Struct):
    url: str | None = None


class _Vulnerability(Struct):
    id: str | None = None
    aliases: list[str] | None = None
    summary: str | None = None
    details: str | None = None
    published: str | None = None
    severity: list[_Rating] | None = None
    affected: list[_Affected] | None = None
    links: list[_Link] | None = field(default=None, name="references")
    database: dict[str, Any] | None = field(default=None, name="database_specific")


class _Group(Struct):
    ids: list[str] | None = None
    aliases: list[str] | None = None
    max_severity: str | float | None = None


class _Package(Struct):
    package: _Named | None = None
    vulnerabilities: list[_Vulnerability] | None = None
    groups: list[_Group] | None = None


class _Source(Struct):
    path: str | None = None
    type: str | None = None


class _Result(Struct):
    source: _Source | None = None
    packages: list[_Package] | None = None


class _Os(Struct):
    os: str | None = None


class _Report(Struct):
    results: list[_Result] | None = None
    image: _Os | None = field(default=None, name="image_metadata")


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities; ``None`` where the document is not OSV-Scanner's.

    Raises ``Invalid`` with the JSON path of a broken part.
    """
    if not document.has("results") or not (document.has("experimental_config") or _is_result(document)):
        return None
    report = document.decode(_Report)
    left_out = LeftOut()
    return ScanReport(
        format="osv_scanner",
        scanner="osv-scanner",
        subject=_subject(report),
        covers=frozenset({FindingKind.VULNERABILITY}),
        vulnerabilities=distinct(_all(report, left_out)),
        warnings=left_out.warnings(),
    )


def _is_result(document: Document) -> bool:
    try:
        items: list[dict[str, Raw]] = decode((document.keys or {})["results"], list[dict[str, Raw]], "$.results")
    except Invalid:
        return False
    return bool(items) and {"source", "packages"} <= items[0].keys()


def _subject(report: _Report) -> Subject:
    sources = [r.source for r in report.results or () if r.source]
    named = next((s.path for s in sources if s.type == "docker" and s.path), "")
    if report.image or any(s.type in _OF_IMAGES for s in sources) or not sources:
        return Subject(reference=named or "")
    return Subject(kind="repository", reference=(sources[0].path or "") if len(sources) == 1 else "")


def _all(report: _Report, left_out: LeftOut) -> Iterator[ReportedVulnerability]:
    for result in report.results or ():
        place = (result.source.path or "") if result.source else ""
        for p in result.packages or ():
            if p.package is None or not p.package.name:
                left_out["results about a commit, not a package, were left out"] += 1
                continue
            yield from _of(p, p.package, place)


def _of(p: _Package, package: _Named, place: str) -> Iterator[ReportedVulnerability]:
    """One for each group of names."""
    known = {v.id: v for v in p.vulnerabilities or () if v.id}
    grouped = [g for g in p.groups or () if g.ids]
    seen = {i for g in grouped for i in g.ids or ()}
    for group in (*grouped, *(_Group(ids=[i]) for i in known if i not in seen)):
        advisories = [known[i] for i in group.ids or () if i in known]
        if advisories:
            yield _vulnerability(group, advisories, package, place)


def _vulnerability(
    group: _Group, advisories: list[_Vulnerability], package: _Named, place: str
) -> ReportedVulnerability:
    ids = group.ids or []
    names = dict.fromkeys((*ids, *(group.aliases or ()), *(a for v in advisories for a in v.aliases or ())))
    cves = [n for n in names if is_cve(n.upper())]
    id_ = cves[0] if len(cves) == 1 else ids[0]
    name, version, first = package.name or "", version_text(package.version), advisories[0]
    fixes = tuple(dict.fromkeys(f for v in advisories for f in _fixes(v, package)))
    rated = _severity(group, advisories)
    return ReportedVulnerability(
        id=id_,
        purl=package_url((package.ecosystem or "").partition(":")[0], name, version),
        name=name,
        version=version,
        aliases=tuple(n for n in names if n != id_),
        severity=rated,
        severity_source="osv",
        cvss_score=_number(group.max_severity),
        cvss_vector=next((s.score for v in advisories for s in v.severity or () if isinstance(s.score, str)), ""),
        fixed_versions=fixes,
        fix_state="fixed" if fixes else "not_fixed",
        title=first.summary or "",
        description=first.details or "",
        references=references(link.url for v in advisories for link in v.links or ()),
        path=place,
        published_at=moment(first.published),
    )


def _number(text: str | float | None) -> float | None:
    try:
        value = float(text) if text not in (None, "") else None
    except ValueError:
        return None
    return value if value is not None and 0 < value <= 10 else None


def _severity(group: _Group, advisories: list[_Vulnerability]) -> Severity:
    """By the group's CVSS score, else by the databases' own word. Malicious code needs no score."""
    if any(i.startswith(_MALICIOUS) for i in group.ids or ()):
        return Severity.CRITICAL
    if (number := _number(group.max_severity)) is not None:
        return from_score(number)
    words = (v.database.get("severity") for v in advisories if v.database)
    return max((from_word(w) for w in words if isinstance(w, str)), default=Severity.UNKNOWN)


def _fixes(v: _Vulnerability, package: _Named) -> Iterator[str]:
    for affected in v.affected or ():
        about = affected.package or _Named()
        if about.name != package.name or (about.ecosystem or "") != (package.ecosystem or ""):
            continue
        for r in affected.ranges or ():
            if r.type != "GIT":
                yield from (f for e in r.events or () if (f := version_text(e.fixed)))
