"""What every reader makes of a tool's report: one neutral form, whatever the tool.

A reader copies what the report says. It does not judge, does not look anything up, knows no clock and no database.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity

OWN_LOOK = "secguard-scan"
"""The format of what our own workers write."""
OWN_SCANNER = "secguard"
"""Their name, and that of what matching finds: no posted report speaks under it."""


class Subject(Struct, frozen=True, kw_only=True):
    """What the report says it is about; each part may be missing."""

    reference: str = ""
    """As the tool names it: ``registry/repo:tag``, ``repo@sha256:…``, a path. Not parsed."""
    digest: str = ""
    """The manifest digest ``sha256:<64 hex>`` of the image, never the image id (config digest)."""
    image_id: str = ""
    """The config digest, where the tool tells only that."""
    repository_digests: tuple[str, ...] = ()
    """``repo@sha256:…`` entries (``RepoDigests``)."""
    os_name: str = ""
    """``debian``, ``alpine`` … as in os-release ID."""
    os_version: str = ""
    architecture: str = ""
    platform_os: str = ""
    kind: str = "image"
    """``image``, or ``filesystem``, ``repository``, ``configuration`` … for what is no image by itself."""


class ReportedComponent(Struct, frozen=True, kw_only=True):
    """A package version that the tool found in the image."""

    purl: str
    """As the tool gives it, with qualifiers; made by the reader where the tool gives none."""
    name: str
    version: str
    licenses: tuple[str, ...] = ()
    layer: str = ""
    """Digest (or diff id) of the layer that brought it."""
    paths: tuple[str, ...] = ()
    owner: str = ""
    """Of a language's package: the purl of the distribution's package that its files came with, and whose verdict is
    its own."""


class ReportedVulnerability(Struct, frozen=True, kw_only=True):
    id: str
    """As the tool names the flaw: ``CVE-…``, ``GHSA-…``, ``DSA-…``, ``SNYK-…``."""
    purl: str
    """Of the affected component. ``pkg:generic/name@version`` where the tool tells neither type nor distribution."""
    name: str
    version: str
    aliases: tuple[str, ...] = ()
    """Other names of the *same* flaw. Not: related, upstream-of, or bundled ones."""
    severity: Severity = Severity.UNKNOWN
    severity_source: str = ""
    """Who rated it: ``nvd``, ``debian``, ``ghsa`` …; the scanner's name where it does not say."""
    cvss_score: float | None = None
    cvss_vector: str = ""
    fixed_versions: tuple[str, ...] = ()
    fix_state: str = ""
    """``fixed``, ``not_fixed``, ``wont_fix`` or ``""`` for unknown."""
    title: str = ""
    description: str = ""
    references: tuple[str, ...] = ()
    known_exploited: bool = False
    epss: float | None = None
    """Probability 0..1 as the report gives it."""
    layer: str = ""
    path: str = ""
    published_at: datetime | None = None
    suppressed: str = ""
    """The tool's own reason for ignoring the finding; it is still detected, the policy decides, not the tool."""


class ReportedSecret(Struct, frozen=True, kw_only=True):
    """The secret itself never leaves the reader; ``fingerprint`` is what tells two secrets apart."""

    rule: str
    path: str
    fingerprint: str
    """Of where and what without the secret's text: made by ``identity.secret_fingerprint``."""
    line: int = 0
    severity: Severity = Severity.UNKNOWN
    title: str = ""
    layer: str = ""


class ReportedMalware(Struct, frozen=True, kw_only=True):
    signature: str
    sha256: str
    path: str = ""
    severity: Severity = Severity.CRITICAL
    title: str = ""
    layer: str = ""


class ReportedCheck(Struct, frozen=True, kw_only=True):
    """A failed check of configuration or leanness."""

    kind: FindingKind
    """``MISCONFIGURATION`` or ``HYGIENE``."""
    check_id: str
    target: str
    """What failed it inside the image: a file, an instruction, a resource; stable between runs, no line numbers."""
    severity: Severity = Severity.UNKNOWN
    title: str = ""
    description: str = ""
    remediation: str = ""
    references: tuple[str, ...] = ()
    line: int = 0


class ScanReport(Struct, frozen=True, kw_only=True):
    format: str
    """The reader's name: ``trivy``, ``grype``, ``cyclonedx`` …"""
    format_version: str = ""
    scanner: str
    """The tool, lower case: ``trivy``, ``grype``, ``docker-scout`` … Two reports of one scanner replace each other."""
    scanner_version: str = ""
    subject: Subject = Subject()
    covers: frozenset[FindingKind] = frozenset()
    """Which kinds the tool looked for, so what it no longer reports of them is gone. An SBOM covers none."""
    vulnerabilities: list[ReportedVulnerability] = []
    secrets: list[ReportedSecret] = []
    malware: list[ReportedMalware] = []
    checks: list[ReportedCheck] = []
    components: list[ReportedComponent] = []
    inventory: bool = False
    """``components`` is the whole package list (an SBOM, or a report that lists all packages)."""
    complete: bool = True
    """False where the tool says that it failed in part: such a scan closes nothing."""
    generated_at: datetime | None = None
    database_updated_at: datetime | None = None
    """How old the tool's vulnerability data is."""
    warnings: tuple[str, ...] = ()
    """What was left out and why, for people: ``"3 results without a package name"``."""

    @property
    def finding_count(self) -> int:
        return len(self.vulnerabilities) + len(self.secrets) + len(self.malware) + len(self.checks)
