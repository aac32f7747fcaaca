"""Clair v2 through its two command lines, which are still run in pipelines:

* clair-scanner: ``{image, unapproved, vulnerabilities: [{featurename, featureversion, vulnerability, …}]}``
* Klar: ``{LayerCount, Vulnerabilities: {<severity>: [{Name, FeatureName, FeatureVersion, NamespaceName, …}]}}``
"""

from __future__ import annotations

from msgspec import Struct, field

from secguard.findings.identity import FindingKind
from secguard.findings.severity import from_word
from secguard.scans.document import Document
from secguard.scans.readers._packages import package_url
from secguard.scans.readers._vulnerabilities import distinct
from secguard.scans.report import ReportedVulnerability, ScanReport, Subject


class _Line(Struct):
    vulnerability: str
    featurename: str
    featureversion: str | None = None
    namespace: str | None = None
    severity: str | None = None
    description: str | None = None
    link: str | None = None
    fixedby: str | None = None

    def reported(self, suppressed: str = "") -> ReportedVulnerability:
        version, fix = self.featureversion or "", self.fixedby or ""
        return ReportedVulnerability(
            id=self.vulnerability,
            purl=package_url("os", self.featurename, version, self.namespace or ""),
            name=self.featurename,
            version=version,
            severity=from_word(self.severity),
            severity_source=self.namespace or "clair",
            fixed_versions=(fix,) if fix else (),
            fix_state="fixed" if fix else "not_fixed",
            description=self.description or "",
            references=(self.link,) if self.link else (),
            suppressed=suppressed,
        )


class _ClairScanner(Struct):
    vulnerabilities: list[_Line] | None = None
    unapproved: list[str] | None = None
    image: str | None = None


class _KlarLine(Struct):
    vulnerability: str = field(name="Name")
    featurename: str = field(name="FeatureName")
    featureversion: str | None = field(name="FeatureVersion", default=None)
    namespace: str | None = field(name="NamespaceName", default=None)
    severity: str | None = field(name="Severity", default=None)
    description: str | None = field(name="Description", default=None)
    link: str | None = field(name="Link", default=None)
    fixedby: str | None = field(name="FixedBy", default=None)

    def reported(self) -> ReportedVulnerability:
        return _Line(**{name: getattr(self, name) for name in self.__struct_fields__}).reported()


class _Klar(Struct):
    vulnerabilities: dict[str, list[_KlarLine] | None] | None = field(name="Vulnerabilities", default=None)


def read(document: Document) -> ScanReport | None:
    """A ``ScanReport`` of vulnerabilities, or ``None`` where the document is of neither tool.

    What clair-scanner's whitelist approves is still reported, as suppressed. Raises ``Invalid`` with the JSON path of
    a line without a vulnerability or a feature.
    """
    image = ""
    if document.has("image", "unapproved", "vulnerabilities"):
        report = document.decode(_ClairScanner)
        image = report.image or ""
        found = [v.reported(_approved(v, report)) for v in report.vulnerabilities or ()]
    elif document.has("LayerCount", "Vulnerabilities"):
        klar = document.decode(_Klar)
        found = [v.reported() for lines in (klar.vulnerabilities or {}).values() for v in lines or ()]
    else:
        return None
    return ScanReport(
        format="clair_scanner",
        format_version="2",
        scanner="clair",
        subject=Subject(reference=image),
        covers=frozenset({FindingKind.VULNERABILITY}),
        vulnerabilities=distinct(found),
    )


def _approved(line: _Line, report: _ClairScanner) -> str:
    return "" if line.vulnerability in (report.unapproved or ()) else "approved by clair-scanner's whitelist"
