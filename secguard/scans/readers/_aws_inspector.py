"""Amazon Inspector's findings: as ``inspector2 list-findings`` gives them, and as ECR's ``enhancedFindings``.

Fields: Inspector2 API ``Finding`` and ECR API ``EnhancedImageScanFinding``, which share the parts that are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct, field

from secguard.findings.severity import from_word
from secguard.scans.readers._packages import full_version, package_url
from secguard.scans.readers._times import instant
from secguard.scans.readers._values import probability, score
from secguard.scans.readers._vulnerabilities import links, told
from secguard.scans.report import ReportedVulnerability

IMAGE = "AWS_ECR_CONTAINER_IMAGE"


class Package(Struct):
    name: str
    version: str | None = None
    release: str | None = None
    epoch: int | str | None = None
    arch: str | None = None
    manager: str | None = field(name="packageManager", default=None)
    path: str | None = field(name="filePath", default=None)
    fixed: str | None = field(name="fixedInVersion", default=None)
    layer: str | None = field(name="sourceLayerHash", default=None)


class Cvss(Struct):
    score: float | None = field(name="baseScore", default=None)
    vector: str | None = field(name="scoringVector", default=None)
    source: str | None = None
    version: str | None = None


class Details(Struct):
    id: str | None = field(name="vulnerabilityId", default=None)
    packages: list[Package] | None = field(name="vulnerablePackages", default=None)
    cvss: list[Cvss] | None = None
    source: str | None = None
    source_url: str | None = field(name="sourceUrl", default=None)
    urls: list[str] | None = field(name="referenceUrls", default=None)
    published: Any = field(name="vendorCreatedAt", default=None)


class Image(Struct):
    hash: str | None = field(name="imageHash", default=None)
    tags: list[str] | None = field(name="imageTags", default=None)
    platform: str | None = None
    repository: str | None = field(name="repositoryName", default=None)
    architecture: str | None = None


class ResourceDetails(Struct):
    image: Image | None = field(name="awsEcrContainerImage", default=None)


class Resource(Struct):
    type: str | None = None
    id: str | None = None
    details: ResourceDetails | None = None

    @property
    def image(self) -> Image | None:
        return self.details.image if self.details else None


class Epss(Struct):
    score: float | None = None


class Finding(Struct):
    title: str | None = None
    description: str | None = None
    severity: str | None = None
    status: str | None = None
    details: Details | None = field(name="packageVulnerabilityDetails", default=None)
    resources: list[Resource] | None = None
    epss: Epss | None = None

    def about(self) -> Resource | None:
        """The image it is about, or ``None`` where it is about something else."""
        return next((r for r in self.resources or () if r.type == IMAGE or r.image), None)

    def reported(self, platform: str) -> Iterator[ReportedVulnerability]:
        """One for each vulnerable package; none where it is closed or not about a package."""
        details = self.details
        if details is None or not details.id or self.status == "CLOSED":
            return
        cvss = _best(details.cvss or [])
        for package in details.packages or ():
            yield ReportedVulnerability(
                id=details.id,
                purl=purl_of(package, platform),
                name=package.name,
                version=whole_version(package),
                severity=from_word(self.severity),
                severity_source=(details.source or "inspector").lower(),
                cvss_score=score(cvss.score),
                cvss_vector=cvss.vector or "",
                fixed_versions=fixed_versions(package),
                fix_state="fixed" if fixed_versions(package) else "not_fixed",
                title=self.title or "",
                description=self.description or "",
                references=links(details.source_url, *(details.urls or ())),
                epss=probability(self.epss.score) if self.epss else None,
                layer=package.layer or "",
                path=package.path or "",
                published_at=instant(details.published),
                suppressed="suppressed in Amazon Inspector" if self.status == "SUPPRESSED" else "",
            )


def _best(scores: list[Cvss]) -> Cvss:
    """CVSS 3 before 2, then NVD's before a vendor's, as Inspector itself prefers."""
    return max(scores, key=lambda c: ((c.version or "") >= "3", (c.source or "").upper() == "NVD"), default=Cvss())


def purl_of(package: Package, platform: str) -> str:
    """``platform`` is Inspector's, ``DEBIAN_11``; its package managers are ``OS``, ``GOMOD``, ``NODEPKG`` …"""
    manager = (package.manager or "").lower().replace("_", "-")
    return package_url("npm" if manager == "nodepkg" else manager, package.name, whole_version(package), platform)


def whole_version(package: Package) -> str:
    return full_version(package.version or "", package.release or "", package.epoch)


def fixed_versions(package: Package) -> tuple[str, ...]:
    fix = told(package.fixed)
    return (fix.removeprefix("0:"),) if fix else ()
