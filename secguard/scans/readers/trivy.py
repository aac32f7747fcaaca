"""Trivy's JSON: the first arrays of results, schema 2, ``trivy k8s`` about one image, and trivy-operator's resources.

Source: aquasecurity/trivy, ``pkg/types/report.go`` (``SchemaVersion`` since 0.20) and ``pkg/k8s/report/report.go``.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct, field

from secguard.errors import Invalid
from secguard.scans.document import Document, decode
from secguard.scans.readers import _trivy_operator
from secguard.scans.readers._bounds import require_few
from secguard.scans.readers._trivy_results import (
    Result,
    checks,
    components,
    covered,
    os_target,
    results_kind,
    secrets,
    vulnerabilities,
)
from secguard.scans.readers._values import LeftOut, moment
from secguard.scans.report import ScanReport, Subject

_ARCHIVE = re.compile(r"[./].*|.*\.(?:tar|tgz|tar\.gz|tar\.xz|tar\.zst|oci)")
_KINDS = {"container_image": "image", "cyclonedx": "sbom", "spdx": "sbom", "aws_account": "configuration"}


class _Os(Struct, gc=False):
    family: str | None = field(default=None, name="Family")
    name: str | None = field(default=None, name="Name")


class _ImageConfig(Struct, gc=False):
    architecture: str | None = None
    os: str | None = None


class _Metadata(Struct, gc=False):
    os: _Os | None = field(default=None, name="OS")
    image_id: str | None = field(default=None, name="ImageID")
    reference: str | None = field(default=None, name="Reference")
    tags: list[str] | None = field(default=None, name="RepoTags")
    digests: list[str] | None = field(default=None, name="RepoDigests")
    config: _ImageConfig | None = field(default=None, name="ImageConfig")


class _Tool(Struct, gc=False):
    version: str | None = field(default=None, name="Version")


class _Report(Struct, gc=False):
    schema: int | None = field(default=None, name="SchemaVersion")
    created: str | None = field(default=None, name="CreatedAt")
    name: str | None = field(default=None, name="ArtifactName")
    type: str | None = field(default=None, name="ArtifactType")
    tool: _Tool | None = field(default=None, name="Trivy")
    metadata: _Metadata | None = field(default=None, name="Metadata")
    results: list[Result] | None = field(default=None, name="Results")


class _Resource(Struct, gc=False):
    kind: str | None = field(default=None, name="Kind")
    name: str | None = field(default=None, name="Name")
    error: str | None = field(default=None, name="Error")
    results: list[Result] | None = field(default=None, name="Results")


class _Cluster(Struct, gc=False):
    resources: list[_Resource] | None = field(default=None, name="Resources")
    vulnerabilities: list[_Resource] | None = field(default=None, name="Vulnerabilities")
    misconfigurations: list[_Resource] | None = field(default=None, name="Misconfigurations")


def read(document: Document) -> ScanReport | None:
    """A report of Trivy or trivy-operator; ``None`` for anything else.

    Raises ``Invalid`` where a field has another type than Trivy gives it, and where the report is about a cluster or
    about several images.
    """
    require_few(document, findings=b'"VulnerabilityID"')
    if document.has("ClusterName") and any(
        document.has(n) for n in ("Resources", "Vulnerabilities", "Misconfigurations", "Findings")
    ):
        return _cluster(document)
    if document.has("SchemaVersion") and any(document.has(n) for n in ("ArtifactName", "ArtifactType", "Results")):
        return _report(document.decode(_Report))
    if document.has("Results") and _is_result(decode(document.raw, _FirstOf, "$").first):
        return _report(document.decode(_Report))
    if document.items and _is_result(document.items[0]):
        return _report(_Report(results=document.decode(list[Result])))
    return _trivy_operator.read(document)


class _FirstOf(Struct, gc=False):
    results: list[msgspec.Raw] | msgspec.Raw | None = field(default=None, name="Results")

    @property
    def first(self) -> msgspec.Raw | None:
        return self.results[0] if isinstance(self.results, list) and self.results else None


def _is_result(raw: msgspec.Raw | None) -> bool:
    """Whether this is an object with ``Target`` and one of the parts that only Trivy's results have."""
    if raw is None or not bytes(raw).lstrip().startswith(b"{"):
        return False
    keys = decode(raw, dict[str, msgspec.Raw], "$[0]").keys()
    return "Target" in keys and not keys.isdisjoint(
        ("Vulnerabilities", "Misconfigurations", "Secrets", "Packages", "Class", "Type")
    )


def _report(report: _Report) -> ScanReport:
    results = report.results or []
    subject = _subject(report, results)
    left_out = LeftOut()
    _count_licences(results, left_out)
    failed, joined = checks(results, report.name or subject.reference, left_out)
    packages = [r for r in results if results_kind(r) in ("os-pkgs", "lang-pkgs", "pkgs")]
    return ScanReport(
        format="trivy",
        format_version=str(report.schema or 1),
        scanner="trivy",
        scanner_version=(report.tool.version or "") if report.tool else "",
        subject=subject,
        covers=covered(results, is_image=subject.kind == "image"),
        vulnerabilities=vulnerabilities(results, subject.os_name, left_out),
        secrets=secrets(results, left_out),
        checks=failed,
        components=components(results, subject.os_name),
        inventory=bool(packages) and all(r.packages for r in packages),
        generated_at=moment(report.created),
        warnings=(*left_out.warnings(), *joined),
    )


def _count_licences(results: list[Result], left_out: LeftOut) -> None:
    left_out["licence findings were left out: licences are judged from the components"] = sum(
        len(r.licenses or ()) for r in results
    )


def _subject(report: _Report, results: list[Result]) -> Subject:
    metadata = report.metadata or _Metadata()
    told, os_name, os_version = next((t for r in results if (t := os_target(r.target))[1]), ("", "", ""))
    kind = _KINDS.get(report.type or "container_image", report.type or "image")
    name = report.name or (told if report.schema is None else "")
    if kind == "image" and _ARCHIVE.fullmatch(name):
        name = metadata.reference or next(iter(metadata.tags or ()), "")
    config = metadata.config or _ImageConfig()
    return Subject(
        reference=name,
        image_id=metadata.image_id or "",
        repository_digests=tuple(metadata.digests or ()),
        os_name=(metadata.os and metadata.os.family) or os_name,
        os_version=(metadata.os and metadata.os.name) or os_version,
        architecture=config.architecture or "",
        platform_os=config.os or "",
        kind=kind,
    )


def _cluster(document: Document) -> ScanReport:
    """``trivy k8s``: about one image where only one was scanned; its workload's checks are not the image's."""
    cluster = document.decode(_Cluster)
    resources = [*(cluster.resources or ()), *(cluster.vulnerabilities or ()), *(cluster.misconfigurations or ())]
    scanned = [r for r in resources if any(results_kind(x) != "config" for x in r.results or ())]
    images = {i for r in scanned for x in r.results or () if (i := os_target(x.target)[0])}
    if len(images) != 1 or len({(r.kind, r.name) for r in scanned}) != 1:
        shown = ", ".join(sorted(images)[:3]) or "none with an operating system"
        raise Invalid(
            f"This is a report of `trivy k8s` about {len(resources):,} resources of a cluster and {len(images)} images "
            f"({shown}{' …' if len(images) > 3 else ''}); a report is about one image. Scan and post the images one "
            "by one: trivy image --format json IMAGE.",
            code="several-images" if images else "no-image",
            where="$.Resources" if cluster.resources is not None else "$",
        )
    results = [x for r in scanned for x in r.results or () if results_kind(x) != "config"]
    read = _report(_Report(results=results))
    return msgspec.structs.replace(read, format_version="k8s", complete=not any(r.error for r in scanned))
