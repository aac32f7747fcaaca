"""The shapes of one match in Anchore's reports. Each says whether it names a flaw, and itself as reported."""

from __future__ import annotations

import re
from typing import ClassVar

from msgspec import Struct, field

from secguard.findings.severity import from_word
from secguard.scans.readers._advisory import cves_in
from secguard.scans.readers._packages import package_url, purl_or
from secguard.scans.readers._values import score, versions
from secguard.scans.readers._vulnerabilities import links, told
from secguard.scans.report import ReportedVulnerability

_RPM_OR_APK = re.compile(r"(?P<name>.+)-(?P<version>[^-]+-[^-]+)")
_LAST_NUMBER = re.compile(r"(?P<name>.+)-(?P<version>\d.*)")


class _Cvss(Struct):
    base_score: float | None = None
    score: float | None = field(name="baseScore", default=None)


class _Nvd(Struct):
    """NVD's record of the flaw, in Engine's spelling and in anchorectl's."""

    id: str | None = None
    snake: _Cvss | None = field(name="cvss_v3", default=None)
    camel: _Cvss | None = field(name="cvssV3", default=None)
    exploited: bool | None = field(name="isKev", default=None)

    @property
    def base_score(self) -> float | None:
        cvss = self.snake or self.camel
        return score(cvss.base_score if cvss.base_score is not None else cvss.score) if cvss else None


class _Extra(Struct):
    description: str | None = None


class Engine(Struct):
    """Engine's match in snake_case (anchore-engine ``services/apiext`` ``vulnerability``)."""

    vuln: str | None = None
    severity: str | None = None
    package_name: str | None = None
    package_version: str | None = None
    package_type: str | None = None
    package_path: str | None = None
    purl: str | None = None
    fix: str | None = None
    url: str | None = None
    feed_group: str | None = None
    will_not_fix: bool | None = None
    description: str | None = None
    nvd: list[_Nvd | None] | None = field(name="nvd_data", default=None)
    extra: _Extra | None = None

    told_by: ClassVar[frozenset[str]] = frozenset({"vuln", "package_name", "package_version"})
    """Keys that together only this shape has."""

    def named(self) -> bool:
        return bool(told(self.vuln))

    def reported(self) -> ReportedVulnerability:
        name, version = told(self.package_name) or "unknown", told(self.package_version)
        id_, fix, group = told(self.vuln), told(self.fix), told(self.feed_group)
        records = [n for n in self.nvd or () if n is not None]
        return ReportedVulnerability(
            id=id_,
            purl=purl_or(self.purl, told(self.package_type), name, version, group),
            name=name,
            version=version,
            aliases=_aliases(id_, [n.id or "" for n in records]),
            severity=from_word(self.severity),
            severity_source=group or "anchore",
            cvss_score=max((n.base_score or 0.0 for n in records), default=0.0) or None,
            fixed_versions=versions(fix),
            fix_state="fixed" if fix else "wont_fix" if self.will_not_fix else "not_fixed",
            description=self.description or (self.extra.description if self.extra else "") or "",
            references=links(self.url),
            known_exploited=any(n.exploited for n in records),
            path=told(self.package_path),
        )


class Ctl(Struct, rename="camel"):
    """anchorectl's match: Engine's in camelCase. msgspec renames only a class's own fields, hence the second list."""

    vuln: str | None = None
    severity: str | None = None
    package_name: str | None = None
    package_version: str | None = None
    package_type: str | None = None
    package_path: str | None = None
    purl: str | None = None
    fix: str | None = None
    url: str | None = None
    feed_group: str | None = None
    will_not_fix: bool | None = None
    description: str | None = None
    nvd_data: list[_Nvd | None] | None = None

    told_by: ClassVar[frozenset[str]] = frozenset({"vuln", "packageName", "packageVersion"})

    def named(self) -> bool:
        return bool(told(self.vuln))

    def reported(self) -> ReportedVulnerability:
        values = {name: getattr(self, name) for name in self.__struct_fields__ if name != "nvd_data"}
        return Engine(**values, nvd=self.nvd_data).reported()


class App(Struct):
    """A line of ``anchorectl app vulnerability list``."""

    vulnerability_id: str | None = None
    severity: str | None = None
    package_name: str | None = None
    package_version: str | None = None
    package_type: str | None = None
    purl: str | None = None
    fix_state: str | None = None
    fix_versions: list[str] | None = None
    kev: bool | None = None

    told_by: ClassVar[frozenset[str]] = frozenset({"vulnerability_id", "package_name", "package_version"})

    def named(self) -> bool:
        return bool(told(self.vulnerability_id))

    def reported(self) -> ReportedVulnerability:
        name, version = told(self.package_name) or "unknown", told(self.package_version)
        fixes = tuple(self.fix_versions or ())
        state = (self.fix_state or "").replace("-", "_")
        return ReportedVulnerability(
            id=told(self.vulnerability_id),
            purl=purl_or(self.purl, told(self.package_type), name, version),
            name=name,
            version=version,
            severity=from_word(self.severity),
            severity_source="anchore",
            fixed_versions=fixes,
            fix_state="fixed" if fixes else state if state in ("wont_fix", "not_fixed") else "",
            known_exploited=bool(self.kev),
        )


class Evaluation(Struct, rename="camel"):
    """A line of Enterprise's security evaluation: ``package`` is ``name-version`` in one."""

    vulnerability_id: str | None = None
    cves: str | None = None
    severity: str | None = None
    package_type: str | None = None
    package: str | None = None
    path: str | None = None
    fix_available: str | None = None
    link: str | None = None
    nvd_cvss_base_score: float | str | None = None

    told_by: ClassVar[frozenset[str]] = frozenset({"vulnerabilityId", "package", "packageType"})

    def named(self) -> bool:
        return bool(told(self.vulnerability_id))

    def reported(self) -> ReportedVulnerability:
        kind = told(self.package_type)
        name, version = _name_and_version(kind, told(self.package) or "unknown")
        id_, fix = told(self.vulnerability_id), told(self.fix_available)
        rated = self.nvd_cvss_base_score
        return ReportedVulnerability(
            id=id_,
            purl=package_url(kind, name, version),
            name=name,
            version=version,
            aliases=_aliases(id_, list(cves_in(self.cves or ""))),
            severity=from_word(self.severity),
            severity_source="anchore",
            cvss_score=score(rated) if isinstance(rated, float) else None,
            fixed_versions=versions(fix),
            fix_state="fixed" if fix else "not_fixed",
            references=links(self.link),
            path=told(self.path),
        )


class _Artifact(Struct):
    name: str | None = None
    version: str | None = None
    kind: str | None = field(name="pkg_type", default=None)
    location: str | None = None


class _Fix(Struct):
    versions: list[str] | None = None
    will_not_fix: bool | None = None


class _Score(Struct):
    version: str | None = None
    base_score: float | None = None
    vector: str | None = None


class _Flaw(Struct):
    id: str | None = field(name="vulnerability_id", default=None)
    severity: str | None = None
    description: str | None = None
    feed_group: str | None = None
    link: str | None = None
    cvss: list[_Score] | None = None


class _Related(Struct):
    id: str | None = field(name="vulnerability_id", default=None)


class PolicyEngine(Struct):
    """A match of the policy engine's report (anchore-engine ``vulnerability_report.schema.json``)."""

    artifact: _Artifact
    vulnerability: _Flaw
    fix: _Fix | None = None
    nvd: list[_Related] | None = None

    told_by: ClassVar[frozenset[str]] = frozenset({"artifact", "fix", "match", "vulnerability", "nvd"})

    def named(self) -> bool:
        return bool(told(self.vulnerability.id))

    def reported(self) -> ReportedVulnerability:
        artifact, flaw, fix = self.artifact, self.vulnerability, self.fix or _Fix()
        name, version, group = told(artifact.name) or "unknown", told(artifact.version), told(flaw.feed_group)
        cvss = next((s for s in flaw.cvss or () if (s.version or "").startswith("3")), _Score())
        fixes = tuple(fix.versions or ())
        return ReportedVulnerability(
            id=told(flaw.id),
            purl=package_url(told(artifact.kind), name, version, group),
            name=name,
            version=version,
            aliases=_aliases(told(flaw.id), [n.id or "" for n in self.nvd or ()]),
            severity=from_word(flaw.severity),
            severity_source=group or "anchore",
            cvss_score=score(cvss.base_score),
            cvss_vector=cvss.vector or "",
            fixed_versions=fixes,
            fix_state="fixed" if fixes else "wont_fix" if fix.will_not_fix else "not_fixed",
            description=flaw.description or "",
            references=links(flaw.link),
            path=told(artifact.location),
        )


Match = Engine | Ctl | App | Evaluation | PolicyEngine
SHAPES: tuple[type[Match], ...] = (Engine, Ctl, App, Evaluation, PolicyEngine)


def _aliases(id_: str, others: list[str]) -> tuple[str, ...]:
    """NVD's records beside an advisory that is no CVE itself: the CVEs of the same flaw."""
    if id_.upper().startswith("CVE-"):
        return ()
    return tuple(dict.fromkeys(cve for other in others for cve in cves_in(other)))


def _name_and_version(kind: str, package: str) -> tuple[str, str]:
    """``openssl-1:1.1.1k-14.el8_6`` (RPM and APK: version and release) or ``log4j-1.2-api-2.17.1`` (the rest)."""
    pattern = _RPM_OR_APK if kind.lower() in ("rpm", "apk", "apkg") else _LAST_NUMBER
    found = pattern.fullmatch(package)
    return (found["name"], found["version"]) if found else (package, "")
