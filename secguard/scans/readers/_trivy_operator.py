"""trivy-operator's Kubernetes resources: VulnerabilityReport, ConfigAuditReport, ExposedSecretReport.

Source: aquasecurity/trivy-operator, ``pkg/apis/aquasecurity/v1alpha1`` and ``pkg/webhook/webhookreporter.go``.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct, field

from secguard.errors import Invalid
from secguard.findings.identity import FindingKind, secret_fingerprint
from secguard.findings.severity import from_word
from secguard.scans.document import Document, decode
from secguard.scans.readers._checks import distinct_checks, joined_warning
from secguard.scans.readers._packages import distribution, purl_or
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
from secguard.scans.report import ReportedCheck, ReportedSecret, ReportedVulnerability, ScanReport, Subject

GROUP = "aquasecurity.github.io"
_CHECKS = ("ConfigAuditReport", "ClusterConfigAuditReport")
_IMAGES = ("VulnerabilityReport", "ClusterVulnerabilityReport", "ExposedSecretReport")


class _Vulnerability(Struct, gc=False):
    id: str | None = field(default=None, name="vulnerabilityID")
    resource: str | None = None
    installed: Version = field(default=None, name="installedVersion")
    fixed: Version = field(default=None, name="fixedVersion")
    severity: str | None = None
    score: float | None = None
    title: str | None = None
    description: str | None = None
    link: str | None = field(default=None, name="primaryLink")
    links: list[str | None] | None = None
    target: str | None = None
    purl: str | None = field(default=None, name="packagePURL")
    type: str | None = field(default=None, name="packageType")
    path: str | None = field(default=None, name="packagePath")
    published: str | None = field(default=None, name="publishedDate")


class _Secret(Struct, gc=False):
    rule: str | None = field(default=None, name="ruleID")
    category: str | None = None
    severity: str | None = None
    title: str | None = None
    target: str | None = None
    match: str | None = None


class _Check(Struct, gc=False):
    id: str | None = field(default=None, name="checkID")
    title: str | None = None
    description: str | None = None
    messages: list[str] | None = None
    remediation: str | None = None
    severity: str | None = None
    success: bool | None = None


class _Artifact(Struct, gc=False):
    repository: str | None = None
    tag: str | None = None
    digest: str | None = None


class _Registry(Struct, gc=False):
    server: str | None = None


class _Scanner(Struct, gc=False):
    version: str | None = None


class _Os(Struct, gc=False):
    family: str | None = None
    name: str | None = None


class _Report(Struct, gc=False):
    artifact: _Artifact | None = None
    registry: _Registry | None = None
    scanner: _Scanner | None = None
    os: _Os | None = None
    updated: str | None = field(default=None, name="updateTimestamp")
    vulnerabilities: list[_Vulnerability] | None = None
    secrets: list[_Secret] | None = None
    checks: list[_Check] | None = None


class _Metadata(Struct, gc=False):
    name: str | None = None
    labels: dict[str, str] | None = None


class _Resource(Struct, gc=False):
    version: str | None = field(default=None, name="apiVersion")
    kind: str | None = None
    metadata: _Metadata | None = None
    report: _Report | None = None


class _Head(Struct, gc=False):
    version: str | None = field(default=None, name="apiVersion")


class _List(Struct, gc=False):
    items: list[_Resource] | None = None


class _Hook(Struct, gc=False):
    verb: str | None = None
    resource: _Resource = field(default_factory=_Resource, name="operatorObject")


def read(document: Document) -> ScanReport | None:
    """One resource, several (``kubectl get -o json``, an array, a mapping by kind), or what the webhook sends."""
    resources = _resources(document)
    return None if resources is None else _join(resources)


def _resources(document: Document) -> list[_Resource] | None:
    if document.has("apiVersion", "kind"):
        if _is_ours(document.text("apiVersion")):
            one = document.decode(_Resource)
            return document.decode(_List).items or [] if (one.kind or "").endswith("List") else [one]
        if document.text("kind") == "List" and _first_is_ours(document):
            return document.decode(_List).items or []
        return None
    if document.has("verb", "operatorObject"):
        hook = document.decode(_Hook)
        return [hook.resource] if _is_ours(hook.resource.version) and hook.verb != "delete" else None
    if document.keys and all(k.endswith(f".{GROUP}") for k in document.keys):
        return [r for rs in document.decode(dict[str, list[_Resource] | None]).values() for r in rs or ()]
    if document.items and _starts_ours(document.items[0]):
        return document.decode(list[_Resource])
    return None


def _is_ours(version: str | None) -> bool:
    return (version or "").startswith(f"{GROUP}/")


def _starts_ours(raw: msgspec.Raw) -> bool:
    return f'"{GROUP}/'.encode() in bytes(raw) and _is_ours(decode(raw, _Head, "$[0]").version)


def _first_is_ours(document: Document) -> bool:
    items = decode((document.keys or {}).get("items", b"null"), list[msgspec.Raw] | None, "$.items")
    return bool(items) and _starts_ours(items[0])


def _join(resources: list[_Resource]) -> ScanReport:
    """One report of everything said about one image; several images, or none at all, are refused."""
    known = [r for r in resources if r.kind in (*_IMAGES, *_CHECKS) and r.report]
    subjects = {s.reference: s for r in known if r.kind in _IMAGES and (s := _subject(r)).reference}
    if not known or len(subjects) > 1:
        kinds = ", ".join(sorted({r.kind or "?" for r in resources})) or "nothing"
        raise Invalid(
            f"This is output of trivy-operator with {kinds}, about {len(subjects)} images; a report is about one "
            "image. Post VulnerabilityReport, ExposedSecretReport or ConfigAuditReport resources one image at a time.",
            code="several-images" if subjects else "no-image",
            where="$",
        )
    left_out = LeftOut()
    subject = next(iter(subjects.values()), None) or _workload(known[0])
    failed, joined = distinct_checks(c for r in known for c in _checks(r, left_out))
    return ScanReport(
        format="trivy",
        format_version=known[0].version or "",
        scanner="trivy",
        scanner_version=next((r.report.scanner.version or "" for r in known if r.report and r.report.scanner), ""),
        subject=subject,
        covers=frozenset(k for r in known for k in _covers(r)),
        vulnerabilities=_vulnerabilities(known, subject, left_out),
        secrets=_secrets(known, left_out),
        checks=failed,
        generated_at=moment(known[0].report.updated) if known[0].report else None,
        warnings=(*left_out.warnings(), *joined_warning(joined)),
    )


def _covers(resource: _Resource) -> tuple[FindingKind, ...]:
    if resource.kind in _CHECKS:
        return (FindingKind.MISCONFIGURATION,)
    return (FindingKind.SECRET if resource.kind == "ExposedSecretReport" else FindingKind.VULNERABILITY,)


def _subject(resource: _Resource) -> Subject:
    report = resource.report or _Report()
    artifact, os = report.artifact or _Artifact(), report.os or _Os()
    server = (report.registry.server or "") if report.registry else ""
    path = "/".join(p for p in (server, artifact.repository or "") if p) if artifact.repository else ""
    tag, digest = artifact.tag or "", artifact.digest or ""
    reference = f"{path}:{tag}" if path and tag else f"{path}@{digest}" if path and digest else path
    return Subject(reference=reference, digest=digest, os_name=os.family or "", os_version=os.name or "")


def _workload(resource: _Resource) -> Subject:
    return Subject(reference=_workload_name(resource), kind="configuration")


def _workload_name(resource: _Resource) -> str:
    metadata = resource.metadata or _Metadata()
    labels = metadata.labels or {}
    kind, name = (labels.get(f"trivy-operator.resource.{part}", "") for part in ("kind", "name"))
    return f"{kind}/{name}" if kind and name else metadata.name or ""


def _vulnerabilities(
    resources: Iterable[_Resource], subject: Subject, left_out: LeftOut
) -> list[ReportedVulnerability]:
    found: dict[tuple[str, str], ReportedVulnerability] = {}
    for v in (v for r in resources if r.report for v in r.report.vulnerabilities or ()):
        if not v.id or not v.resource:
            left_out["vulnerabilities without an id or a package name were left out"] += 1
            continue
        read = _vulnerability(v, distribution(subject.os_name))
        found.setdefault((read.id, read.purl), read)
    return list(found.values())


def _vulnerability(v: _Vulnerability, distro: str) -> ReportedVulnerability:
    name, version, fixed = v.resource or "", version_text(v.installed), versions(version_text(v.fixed))
    return ReportedVulnerability(
        id=v.id or "",
        purl=purl_or(v.purl, v.type or "", name, version, distro),
        name=name,
        version=version,
        severity=from_word(v.severity),
        severity_source="trivy",
        cvss_score=score(v.score),
        fixed_versions=fixed,
        fix_state=fix_state(None, fixed),
        title=v.title or "",
        description=v.description or "",
        references=references((v.link,), v.links),
        path=v.path or v.target or "",
        published_at=moment(v.published),
    )


def _secrets(resources: Iterable[_Resource], left_out: LeftOut) -> list[ReportedSecret]:
    found: dict[str, ReportedSecret] = {}
    for s in (s for r in resources if r.report for s in r.report.secrets or ()):
        if not s.rule:
            left_out["secrets without a rule were left out"] += 1
            continue
        # The operator tells no line; an unmasked match must not be hashed, so then the rule and file are all there is.
        fingerprint = secret_fingerprint(s.rule, s.target or "", s.match if s.match and "**" in s.match else "")
        secret = ReportedSecret(
            rule=s.rule,
            path=s.target or "",
            fingerprint=fingerprint,
            severity=from_word(s.severity),
            title=s.title or s.category or "",
        )
        found.setdefault(fingerprint, secret)
    return list(found.values())


def _checks(resource: _Resource, left_out: LeftOut) -> Iterable[ReportedCheck]:
    for c in (resource.report.checks or ()) if resource.report else ():
        if c.success:
            continue
        if not c.id:
            left_out["failed checks without an id were left out"] += 1
            continue
        yield ReportedCheck(
            kind=FindingKind.MISCONFIGURATION,
            check_id=c.id,
            target=_workload_name(resource),
            severity=from_word(c.severity),
            title=c.title or "",
            description="\n".join((*(c.messages or ()), c.description or "")),
            remediation=c.remediation or "",
        )
