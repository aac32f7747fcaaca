"""AWS Security Finding Format (ASFF, schema version 2018-10-08), as Security Hub exports it.

Read of it is what is about a container image: resources ``AwsEcrContainerImage`` (Amazon Inspector) and ``Container``
(other scanners, as Trivy's ``asff.tpl``, which puts the package under ``Details.Other``).
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field

from secguard.findings.severity import Severity, from_word
from secguard.scans.readers._aws_inspector import Package, fixed_versions, purl_of, whole_version
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._values import probability, score, versions
from secguard.scans.readers._vulnerabilities import links, told
from secguard.scans.report import ReportedVulnerability

IMAGE_TYPES = frozenset({"AwsEcrContainerImage", "Container"})
_PLATFORM = "aws/inspector/resources/1/resourceDetails/awsEcrContainerImageDetails/platform"


class _SeverityOf(Struct):
    label: str | None = field(name="Label", default=None)
    normalized: int | None = field(name="Normalized", default=None)

    @property
    def on_scale(self) -> Severity:
        """ASFF "Severity": the label, else the normalised number's band."""
        if self.label:
            return from_word(self.label)
        bands = ((90, Severity.CRITICAL), (70, Severity.HIGH), (40, Severity.MEDIUM), (1, Severity.LOW))
        number = self.normalized if self.normalized is not None else -1
        return next((s for floor, s in bands if number >= floor), Severity.UNKNOWN)


class _Package(Struct):
    name: str = field(name="Name")
    version: str | None = field(name="Version", default=None)
    release: str | None = field(name="Release", default=None)
    epoch: str | None = field(name="Epoch", default=None)
    manager: str | None = field(name="PackageManager", default=None)
    path: str | None = field(name="FilePath", default=None)
    fixed: str | None = field(name="FixedInVersion", default=None)
    layer: str | None = field(name="SourceLayerHash", default=None)

    def plain(self) -> Package:
        return Package(**{name: getattr(self, name) for name in self.__struct_fields__})


class _Cvss(Struct):
    score: float | None = field(name="BaseScore", default=None)
    vector: str | None = field(name="BaseVector", default=None)
    version: str | None = field(name="Version", default=None)


class _Flaw(Struct):
    id: str = field(name="Id")
    packages: list[_Package] | None = field(name="VulnerablePackages", default=None)
    cvss: list[_Cvss] | None = field(name="Cvss", default=None)
    urls: list[str] | None = field(name="ReferenceUrls", default=None)
    epss: float | None = field(name="EpssScore", default=None)


class _EcrImage(Struct):
    repository: str | None = field(name="RepositoryName", default=None)
    digest: str | None = field(name="ImageDigest", default=None)
    tags: list[str] | None = field(name="ImageTags", default=None)
    architecture: str | None = field(name="Architecture", default=None)


class _Container(Struct):
    image: str | None = field(name="ImageName", default=None)


class _Details(Struct):
    ecr: _EcrImage | None = field(name="AwsEcrContainerImage", default=None)
    container: _Container | None = field(name="Container", default=None)
    other: dict[str, str | None] | None = field(name="Other", default=None)


class Resource(Struct):
    type: str | None = field(name="Type", default=None)
    id: str | None = field(name="Id", default=None)
    details: _Details | None = field(name="Details", default=None)


class _Workflow(Struct):
    status: str | None = field(name="Status", default=None)


class Finding(Struct):
    resources: list[Resource] | None = field(name="Resources", default=None)
    flaws: list[_Flaw] | None = field(name="Vulnerabilities", default=None)
    severity: _SeverityOf | None = field(name="Severity", default=None)
    title: str | None = field(name="Title", default=None)
    description: str | None = field(name="Description", default=None)
    product: str | None = field(name="ProductName", default=None)
    fields: dict[str, str | None] | None = field(name="ProductFields", default=None)
    record: str | None = field(name="RecordState", default=None)
    workflow: _Workflow | None = field(name="Workflow", default=None)

    @property
    def scanner(self) -> str:
        """``trivy``, ``inspector`` …: other products name themselves in ``ProductFields``."""
        return ((self.fields or {}).get("Product Name") or self.product or "security-hub").lower().replace(" ", "-")

    def about(self) -> Resource | None:
        """The image it is about, or ``None`` where it is about something else."""
        return next((r for r in self.resources or () if r.type in IMAGE_TYPES), None)

    def reported(self, resource: Resource) -> Iterator[ReportedVulnerability]:
        """One for each vulnerable package; none where the record is archived."""
        if self.record == "ARCHIVED":
            return
        platform = (self.fields or {}).get(_PLATFORM) or ""
        for flaw in self.flaws or ():
            for package in flaw.packages or ():
                yield self._of_inspector(flaw, package.plain(), platform)
        other = resource.details.other if resource.details else None
        if other and told(other.get("CVE ID")) and told(other.get("PkgName")):
            yield self._of_other(other)

    def _suppressed(self) -> str:
        return "suppressed in Security Hub" if self.workflow and self.workflow.status == "SUPPRESSED" else ""

    def _rated(self) -> Severity:
        return self.severity.on_scale if self.severity else Severity.UNKNOWN

    def _of_inspector(self, flaw: _Flaw, package: Package, platform: str) -> ReportedVulnerability:
        cvss = max(flaw.cvss or (), key=lambda c: c.version or "", default=_Cvss())
        return ReportedVulnerability(
            id=flaw.id,
            purl=purl_of(package, platform),
            name=package.name,
            version=whole_version(package),
            severity=self._rated(),
            severity_source=self.scanner,
            cvss_score=score(cvss.score),
            cvss_vector=cvss.vector or "",
            fixed_versions=fixed_versions(package),
            fix_state="fixed" if fixed_versions(package) else "not_fixed",
            title=self.title or "",
            description=self.description or "",
            references=links(*(flaw.urls or ())),
            epss=probability(flaw.epss),
            layer=package.layer or "",
            path=package.path or "",
            suppressed=self._suppressed(),
        )

    def _of_other(self, other: dict[str, str | None]) -> ReportedVulnerability:
        name, version = told(other.get("PkgName")), told(other.get("Installed Package"))
        fix = told(other.get("Patched Package"))
        return ReportedVulnerability(
            id=told(other.get("CVE ID")),
            purl=package_url("", name, version),
            name=name,
            version=version,
            severity=self._rated(),
            severity_source=self.scanner,
            cvss_vector=other.get("NvdCvssVectorV3") or "",
            fixed_versions=versions(fix),
            fix_state="fixed" if fix else "not_fixed",
            title=other.get("CVE Title") or "",
            description=self.description or "",
            suppressed=self._suppressed(),
        )
