"""Snyk's own JSON: ``snyk container test --json`` and ``snyk test --json``, one project, or a list of projects.

Fields: snyk/cli ``src/lib/snyk-test/legacy.ts`` (``TestResult``, ``AnnotatedIssue``). A project of a container holds
the operating system's packages; the languages' are in ``applications``, each shaped like a project. One flaw in one
package comes once for every dependency path that leads to it: it is read once, with the first path.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._snyk import snyk_purl
from secguard.scans.readers._times import instant
from secguard.scans.readers._values import probability, score
from secguard.scans.readers._vulnerabilities import distinct, links
from secguard.scans.report import ReportedVulnerability, ScanReport, Subject

_PROBED = 20
_OF_DISTRIBUTIONS = ("pkg:deb/", "pkg:rpm/", "pkg:apk/")
_PROJECT_KEYS = frozenset({"packageManager", "dependencyCount", "numDependencies", "projectName", "licensesPolicy"})


class _Reference(Struct):
    url: str | None = None


class _Epss(Struct):
    probability: float | None = None


class _Ignored(Struct):
    reason: str | None = None


class _Filtered(Struct):
    ignored: list[_Ignored] | None = None


class _Issue(Struct):
    id: str
    type: str | None = None
    title: str | None = None
    description: str | None = None
    severity: str | None = None
    severity_with_critical: str | None = field(name="severityWithCritical", default=None)
    cvss: float | None = field(name="cvssScore", default=None)
    vector: str | None = field(name="CVSSv3", default=None)
    identifiers: dict[str, Any] | None = None
    name: str | None = None
    package_name: str | None = field(name="packageName", default=None)
    version: str | None = None
    package_version: str | None = field(name="packageVersion", default=None)
    package_manager: str | None = field(name="packageManager", default=None)
    language: str | None = None
    fixed_in: list[str] | None = field(name="fixedIn", default=None)
    nearest_fix: str | None = field(name="nearestFixedInVersion", default=None)
    dependency_path: list[str | bool] | None = field(name="from", default=None)
    upgrade_path: list[str | bool | None] | None = field(name="upgradePath", default=None)
    upgradable: bool | None = field(name="isUpgradable", default=None)
    references: list[_Reference] | None = None
    published: str | None = field(name="publicationTime", default=None)
    epss: _Epss | None = field(name="epssDetails", default=None)
    filtered: _Filtered | None = None


class _Left(Struct):
    """What the project's ``.snyk`` policy leaves out."""

    ignore: list[_Issue] | None = None


class _Project(Struct):
    vulnerabilities: list[_Issue] | None = None
    filtered: _Left | None = None
    applications: list[_Project] | None = None
    package_manager: str | None = field(name="packageManager", default=None)
    target_file: str | None = field(name="targetFile", default=None)
    display_file: str | None = field(name="displayTargetFile", default=None)
    docker: Any = None
    path: str | None = None
    platform: str | None = None
    error: str | None = None


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities, or ``None`` where the document is not Snyk's.

    Licence issues are left out, with a warning. What a ``.snyk`` policy ignores is reported as suppressed. A project
    that Snyk could not test makes the report incomplete. Raises ``Invalid``: nothing could be tested, or the projects
    are of several images.
    """
    if not _is_snyk(document):
        return None
    projects = document.decode(list[_Project]) if document.items is not None else [document.decode(_Project)]
    failed = [p for p in projects if p.error]
    if len(failed) == len(projects):
        raise Invalid(f"Snyk could not test: {failed[0].error}", code="scan-failed", where="$.error")
    licences = sum(issue.type == "license" for project in _every(projects) for issue in project.vulnerabilities or ())
    warnings = [f"{len(failed)} of {len(projects)} projects could not be tested: {failed[0].error}"] if failed else []
    warnings += [f"{licences} licence issues were left out."] if licences else []
    return ScanReport(
        format="snyk",
        scanner="snyk",
        subject=_subject(projects),
        covers=frozenset({FindingKind.VULNERABILITY}),
        vulnerabilities=distinct(v for project in _every(projects) for v in _of_project(project)),
        complete=not failed,
        warnings=tuple(warnings),
    )


def _is_snyk(document: Document) -> bool:
    if document.items is None:
        return _is_project(document.keys or {})
    probed = [_keys(raw) for raw in document.items[:_PROBED]]
    return bool(probed) and all(_is_project(keys) for keys in probed)


def _is_project(keys: dict[str, msgspec.Raw]) -> bool:
    if {"ok", "error", "path"} <= keys.keys():
        return True
    if "vulnerabilities" not in keys:
        return False
    if "ok" in keys and keys.keys() & _PROJECT_KEYS:
        return True
    try:
        issues: list[msgspec.Raw] = decode(keys["vulnerabilities"], list[msgspec.Raw], "$")
    except Invalid:
        return False
    return bool(issues) and {"id", "from", "identifiers", "title"} <= _keys(issues[0]).keys()


def _keys(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        keys: dict[str, msgspec.Raw] = decode(raw, dict[str, msgspec.Raw], "$[]")
    except Invalid:
        return {}
    return keys


def _every(projects: list[_Project]) -> Iterator[_Project]:
    for project in projects:
        yield project
        yield from project.applications or ()


def _of_project(project: _Project) -> Iterator[ReportedVulnerability]:
    for issue in project.vulnerabilities or ():
        if issue.type != "license":
            yield _vulnerability(issue, project)
    for issue in (project.filtered.ignore or ()) if project.filtered else ():
        if issue.type != "license":
            yield _vulnerability(issue, project, _reason(issue))


def _reason(issue: _Issue) -> str:
    ignored = (issue.filtered.ignored or ()) if issue.filtered else ()
    return next((i.reason for i in ignored if i.reason), "") or "ignored by the .snyk policy"


def _vulnerability(issue: _Issue, project: _Project, suppressed: str = "") -> ReportedVulnerability:
    name = issue.name or issue.package_name or "unknown"
    version = issue.version or issue.package_version or ""
    fixes = _fixes(issue, name)
    purl = _purl(issue, project, name, version)
    return ReportedVulnerability(
        id=issue.id,
        purl=purl,
        # "source/binary" of a distribution's package: the binary is what is installed.
        name=name.rpartition("/")[2] if purl.startswith(_OF_DISTRIBUTIONS) else name,
        version=version,
        aliases=_aliases(issue),
        severity=from_word(issue.severity_with_critical or issue.severity),
        severity_source="snyk",
        cvss_score=score(issue.cvss),
        cvss_vector=issue.vector or "",
        fixed_versions=fixes,
        fix_state="fixed" if fixes else "not_fixed",
        title=issue.title or "",
        description=issue.description or "",
        references=links(*(r.url for r in issue.references or ())),
        epss=probability(issue.epss.probability) if issue.epss else None,
        path=_path(issue, project),
        published_at=instant(issue.published),
        suppressed=suppressed,
    )


def _purl(issue: _Issue, project: _Project, name: str, version: str) -> str:
    """An issue of a container says ``debian:11`` where others say ``npm``; the project then says ``deb``."""
    own = issue.package_manager or ""
    word, _, release = own.partition(":")
    if release:
        return snyk_purl(issue.id, project.package_manager or "linux", name, version, word)
    return snyk_purl(issue.id, own or project.package_manager or issue.language or "", name, version)


def _aliases(issue: _Issue) -> tuple[str, ...]:
    names: list[str] = []
    for kind in ("CVE", "GHSA"):
        value = (issue.identifiers or {}).get(kind)
        names += [n for n in value if isinstance(n, str)] if isinstance(value, list) else []
    return tuple(dict.fromkeys(n for n in names if n and n != issue.id))


def _fixes(issue: _Issue, name: str) -> tuple[str, ...]:
    """The fixed versions of the package itself; else where an upgrade of what brings it in leads to."""
    if issue.fixed_in:
        return tuple(issue.fixed_in)
    if issue.nearest_fix:
        return (issue.nearest_fix,)
    last = (issue.upgrade_path or [None])[-1]
    package, _, version = last.rpartition("@") if isinstance(last, str) else ("", "", "")
    return (version,) if issue.upgradable and package == name else ()


def _path(issue: _Issue, project: _Project) -> str:
    """The file that lists it, else the dependencies that bring it in (the first is the project itself)."""
    file = project.display_file or project.target_file
    if file:
        return file.replace("\\", "/")
    return " > ".join(step for step in (issue.dependency_path or ())[1:] if isinstance(step, str))


def _subject(projects: list[_Project]) -> Subject:
    images = dict.fromkeys(_image(p) for p in projects if p.docker is not None and p.path)
    if len(images) > 1:
        raise Invalid(
            f"The report is about {len(images)} images: {', '.join(list(images)[:5])}. Post one report for each.",
            code="several-images",
            where="$",
        )
    first = projects[0]
    system, _, architecture = (first.platform or "").partition("/")
    return Subject(
        reference=next(iter(images), first.path or ""),
        kind="image" if images else "repository",
        platform_os=system,
        architecture=architecture,
    )


def _image(project: _Project) -> str:
    """The image's name; with application projects Snyk adds the project's to its own path, not to theirs."""
    path = project.path or ""
    for application in project.applications or ():
        if application.path and path.startswith(application.path):
            return application.path
    return path
