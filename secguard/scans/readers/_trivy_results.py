"""Trivy's ``Results``: the part that all its reports share, from the first version to the present schema 2.

Source: aquasecurity/trivy, ``pkg/types/report.go``, ``pkg/fanal/types/{artifact,package,secret,misconf}.go``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct, field

from secguard.findings.identity import FindingKind, secret_fingerprint
from secguard.findings.severity import from_word
from secguard.scans.readers._bounds import require_bounded, require_listed
from secguard.scans.readers._checks import distinct_checks, joined_warning
from secguard.scans.readers._packages import distribution, full_version, purl_or
from secguard.scans.readers._values import (
    LeftOut,
    Version,
    fix_state,
    moment,
    references,
    score,
    version_text,
    versions,
)
from secguard.scans.report import ReportedCheck, ReportedComponent, ReportedSecret, ReportedVulnerability


class Cvss(Struct, gc=False):
    v2_score: float | None = field(default=None, name="V2Score")
    v2_vector: str | None = field(default=None, name="V2Vector")
    v3_score: float | None = field(default=None, name="V3Score")
    v3_vector: str | None = field(default=None, name="V3Vector")
    v40_score: float | None = field(default=None, name="V40Score")
    v40_vector: str | None = field(default=None, name="V40Vector")

    def best(self) -> tuple[float | None, str]:
        if score(self.v3_score):
            return self.v3_score, self.v3_vector or ""
        if score(self.v40_score):
            return self.v40_score, self.v40_vector or ""
        return score(self.v2_score), self.v2_vector or ""


class Layer(Struct, gc=False):
    digest: str | None = field(default=None, name="Digest")
    diff_id: str | None = field(default=None, name="DiffID")


class Identifier(Struct, gc=False):
    purl: str | None = field(default=None, name="PURL")


class Vulnerability(Struct, gc=False):
    id: str | None = field(default=None, name="VulnerabilityID")
    vendor_ids: list[str] | None = field(default=None, name="VendorIDs")
    package: str | None = field(default=None, name="PkgName")
    path: str | None = field(default=None, name="PkgPath")
    identifier: Identifier | None = field(default=None, name="PkgIdentifier")
    installed: Version = field(default=None, name="InstalledVersion")
    fixed: Version = field(default=None, name="FixedVersion")
    status: str | int | None = field(default=None, name="Status")
    layer: Layer | None = field(default=None, name="Layer")
    severity: str | None = field(default=None, name="Severity")
    severity_source: str | None = field(default=None, name="SeveritySource")
    primary_url: str | None = field(default=None, name="PrimaryURL")
    title: str | None = field(default=None, name="Title")
    description: str | None = field(default=None, name="Description")
    cvss: dict[str, Cvss] | None = field(default=None, name="CVSS")
    links: list[str | None] | None = field(default=None, name="References")
    published: str | None = field(default=None, name="PublishedDate")


class Secret(Struct, gc=False):
    rule: str | None = field(default=None, name="RuleID")
    category: str | None = field(default=None, name="Category")
    severity: str | None = field(default=None, name="Severity")
    title: str | None = field(default=None, name="Title")
    line: int | None = field(default=None, name="StartLine")
    match: str | None = field(default=None, name="Match")
    layer: Layer | None = field(default=None, name="Layer")


class Cause(Struct, gc=False):
    resource: str | None = field(default=None, name="Resource")
    line: int | None = field(default=None, name="StartLine")


class Misconfiguration(Struct, gc=False):
    id: str | None = field(default=None, name="ID")
    avd_id: str | None = field(default=None, name="AVDID")
    title: str | None = field(default=None, name="Title")
    description: str | None = field(default=None, name="Description")
    message: str | None = field(default=None, name="Message")
    resolution: str | None = field(default=None, name="Resolution")
    severity: str | None = field(default=None, name="Severity")
    status: str | None = field(default=None, name="Status")
    primary_url: str | None = field(default=None, name="PrimaryURL")
    links: list[str | None] | None = field(default=None, name="References")
    cause: Cause | None = field(default=None, name="CauseMetadata")


class Package(Struct, gc=False):
    name: str | None = field(default=None, name="Name")
    version: Version = field(default=None, name="Version")
    release: Version = field(default=None, name="Release")
    epoch: int | None = field(default=None, name="Epoch")
    identifier: Identifier | None = field(default=None, name="Identifier")
    licenses: list[str] | None = field(default=None, name="Licenses")
    layer: Layer | None = field(default=None, name="Layer")
    path: str | None = field(default=None, name="FilePath")


class Modified(Struct, gc=False):
    """A finding that an ignore file or a VEX document took out of the result."""

    type: str | None = field(default=None, name="Type")
    status: str | None = field(default=None, name="Status")
    statement: str | None = field(default=None, name="Statement")
    source: str | None = field(default=None, name="Source")
    finding: Vulnerability | None = field(default=None, name="Finding")


class _Uncounted(Struct, gc=False):
    """Something of which only the number counts."""


class Result(Struct, gc=False):
    target: str | None = field(default=None, name="Target")
    class_: str | None = field(default=None, name="Class")
    type: str | None = field(default=None, name="Type")
    vulnerabilities: list[Vulnerability] | None = field(default=None, name="Vulnerabilities")
    secrets: list[Secret] | None = field(default=None, name="Secrets")
    misconfigurations: list[Misconfiguration] | None = field(default=None, name="Misconfigurations")
    misconfiguration_summary: _Uncounted | None = field(default=None, name="MisconfSummary")
    packages: list[Package] | None = field(default=None, name="Packages")
    licenses: list[_Uncounted] | None = field(default=None, name="Licenses")
    modified: list[Modified] | None = field(default=None, name="ExperimentalModifiedFindings")


_LOCK_FILES = {
    "composer.lock": "composer",
    "package-lock.json": "npm",
    "yarn.lock": "npm",
    "gemfile.lock": "gem",
    "pipfile.lock": "pypi",
    "poetry.lock": "pypi",
    "cargo.lock": "cargo",
    "go.sum": "golang",
    "go.mod": "golang",
}
_OS_TARGET = re.compile(r"(?P<image>.+) \((?P<os>[a-z][a-z.-]*(?: [a-z]+)*)(?: (?P<version>[\w.]+)(?: \(.*\))?)?\)")
_SAME_FLAW = ("GHSA-", "PYSEC-", "GO-", "RUSTSEC-", "CVE-")
"""Vendor ids that name one flaw; DSA, RHSA, USN … bundle several and are no aliases."""


def os_target(target: str | None) -> tuple[str, str, str]:
    """``image:tag (debian 12.1)`` to image, distribution and version; three ``""`` for any other target."""
    found = _OS_TARGET.fullmatch(target or "")
    return (found["image"], found["os"], found["version"] or "") if found else ("", "", "")


def results_kind(result: Result) -> str:
    """Trivy's class of a result; told by what it holds where an old version does not say."""
    if result.class_:
        return result.class_
    if result.secrets:
        return "secret"
    return "config" if result.misconfigurations or result.misconfiguration_summary else "pkgs"


def covered(results: list[Result], *, is_image: bool) -> frozenset[FindingKind]:
    """What the tool looked for. An image scan looks for vulnerabilities unless it was for configuration alone."""
    classes = {results_kind(r) for r in results}
    kinds = set()
    besides = {"config", "license", "license-file"} | (set() if is_image else {"secret"})
    if classes - besides or not classes:
        kinds.add(FindingKind.VULNERABILITY)
    if "secret" in classes or any(r.secrets for r in results):
        kinds.add(FindingKind.SECRET)
    if "config" in classes or any(r.misconfigurations for r in results):
        kinds.add(FindingKind.MISCONFIGURATION)
    return frozenset(kinds)


def package_kind(result: Result, distro: str) -> tuple[str, str]:
    """The tool's word for the ecosystem of a result's packages, and their distribution."""
    _, os_name, _ = os_target(result.target)
    if result.type:
        return result.type, distribution(result.type) or distro or os_name
    if os_name:
        return os_name, os_name
    return _LOCK_FILES.get((result.target or "").rpartition("/")[2].lower(), ""), ""


def vulnerabilities(results: Iterable[Result], distro: str, left_out: LeftOut) -> list[ReportedVulnerability]:
    """Every vulnerability once for each package version; the first place is kept."""
    found: dict[tuple[str, str], ReportedVulnerability] = {}
    for result in results:
        kind, os_name = package_kind(result, distro)
        for v, ignored in _with_ignored(result, left_out):
            if not v.id or not v.package:
                left_out["vulnerabilities without an id or a package name were left out"] += 1
                continue
            read = _vulnerability(v, result, kind, os_name, ignored)
            known = found.setdefault((read.id, read.purl), read)
            require_bounded(len(found))
            if known.suppressed and not ignored:
                found[(read.id, read.purl)] = read
    return list(found.values())


def _with_ignored(result: Result, left_out: LeftOut) -> Iterator[tuple[Vulnerability, str]]:
    for v in result.vulnerabilities or ():
        yield v, "not_affected" if v.status == "not_affected" else ""
    for m in result.modified or ():
        if m.finding is not None and m.type == "vulnerability":
            yield (
                m.finding,
                " ".join(p for p in (m.status, m.statement, m.source and f"({m.source})") if p) or "ignored",
            )
        else:
            left_out["ignored findings of other kinds than vulnerability were left out"] += 1


def _vulnerability(v: Vulnerability, result: Result, kind: str, distro: str, ignored: str) -> ReportedVulnerability:
    name, version = v.package or "", version_text(v.installed)
    fixed = versions(version_text(v.fixed))
    cvss_score, cvss_vector = _cvss(v)
    return ReportedVulnerability(
        id=v.id or "",
        purl=purl_or(v.identifier.purl if v.identifier else None, kind, name, version, distro),
        name=name,
        version=version,
        aliases=tuple(a for a in v.vendor_ids or () if a.startswith(_SAME_FLAW)),
        severity=from_word(v.severity),
        severity_source=v.severity_source or "trivy",
        cvss_score=cvss_score,
        cvss_vector=cvss_vector,
        fixed_versions=fixed,
        fix_state=fix_state(v.status if isinstance(v.status, str) else None, fixed),
        title=v.title or "",
        description=v.description or "",
        references=references((v.primary_url,), v.links),
        layer=layer_of(v.layer),
        path=v.path or ("" if distro or os_target(result.target)[0] else result.target or ""),
        published_at=moment(v.published),
        suppressed=ignored,
    )


def _cvss(v: Vulnerability) -> tuple[float | None, str]:
    """The score of whoever rated the severity, else NVD's, else the first by name."""
    for source in (v.severity_source or "", "nvd", *sorted(v.cvss or ())):
        rated = (v.cvss or {}).get(source)
        if rated is not None and (best := rated.best())[0] is not None:
            return best
    return None, ""


def layer_of(layer: Layer | None) -> str:
    return (layer.digest or layer.diff_id or "") if layer else ""


def secrets(results: Iterable[Result], left_out: LeftOut) -> list[ReportedSecret]:
    """Every secret once; of the match only a hash is kept, and that only where Trivy has masked it."""
    found: dict[tuple[str, str, str, int], ReportedSecret] = {}
    alike: dict[tuple[str, str, str], int] = {}
    for result in results:
        for s in result.secrets or ():
            if not s.rule:
                left_out["secrets without a rule were left out"] += 1
                continue
            hint = s.match if s.match and "**" in s.match else f"line {s.line or 0}"
            place = (s.rule, result.target or "", hint, s.line or 0)
            if place in found:
                continue
            number = alike[place[:3]] = alike.get(place[:3], 0) + 1
            found[place] = _secret(s, place[1], hint if number == 1 else f"{hint}#{number}")
            require_bounded(len(found))
    return list(found.values())


def _secret(s: Secret, path: str, hint: str) -> ReportedSecret:
    return ReportedSecret(
        rule=s.rule or "",
        path=path,
        fingerprint=secret_fingerprint(s.rule or "", path, hint),
        line=s.line or 0,
        severity=from_word(s.severity),
        title=s.title or s.category or "",
        layer=layer_of(s.layer),
    )


def checks(results: Iterable[Result], subject: str, left_out: LeftOut) -> tuple[list[ReportedCheck], tuple[str, ...]]:
    """Failed checks, one for each check and target; ``subject`` is the image's name, which is no target in itself."""
    failed = []
    for result in results:
        for m in result.misconfigurations or ():
            if (m.status or "FAIL").upper() != "FAIL":
                continue
            if not (m.id or m.avd_id):
                left_out["failed checks without an id were left out"] += 1
                continue
            failed.append(_check(m, check_target(result, m.cause, subject)))
    distinct, joined = distinct_checks(failed)
    return distinct, joined_warning(joined)


def check_target(result: Result, cause: Cause | None, subject: str) -> str:
    target = result.target or ""
    if subject and target.startswith(subject):
        # The image's own configuration: named alike in every tag, so that a decision follows to the next one.
        target = "Dockerfile" if result.type == "dockerfile" else "image"
    resource = cause.resource if cause else ""
    return f"{target}: {resource}" if resource else target


def _check(m: Misconfiguration, target: str) -> ReportedCheck:
    return ReportedCheck(
        kind=FindingKind.MISCONFIGURATION,
        check_id=m.id or m.avd_id or "",
        target=target,
        severity=from_word(m.severity),
        title=m.title or "",
        description="\n".join(t for t in (m.message, m.description) if t),
        remediation=m.resolution or "",
        references=references((m.primary_url,), m.links),
        line=(m.cause.line or 0) if m.cause else 0,
    )


def components(results: Iterable[Result], distro: str) -> list[ReportedComponent]:
    """Every package version once."""
    found: dict[str, ReportedComponent] = {}
    for result in results:
        kind, os_name = package_kind(result, distro)
        for p in result.packages or ():
            if p.name:
                read = _component(p, result, kind, os_name)
                found.setdefault(read.purl, read)
                require_listed(len(found))
    return list(found.values())


def _component(p: Package, result: Result, kind: str, distro: str) -> ReportedComponent:
    version = full_version(version_text(p.version), version_text(p.release), p.epoch)
    path = p.path or ("" if distro else result.target or "")
    return ReportedComponent(
        purl=purl_or(p.identifier.purl if p.identifier else None, kind, p.name or "", version, distro),
        name=p.name or "",
        version=version,
        licenses=tuple(p.licenses or ()),
        layer=layer_of(p.layer),
        paths=(path,) if path else (),
    )
