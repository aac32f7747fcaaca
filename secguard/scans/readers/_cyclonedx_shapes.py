"""The parts of a CycloneDX document that are read, as its schemas name them; the rest is skipped undecoded.

Source: CycloneDX/specification, ``schema/bom-1.*.schema.json``, and ``schema/ext/vulnerability-1.0`` before 1.4.
"""

from __future__ import annotations

from msgspec import Struct, field

from secguard.findings.severity import Severity, from_score, from_word
from secguard.scans.readers._values import Version, score


class Property(Struct, gc=False):
    name: str | None = None
    value: str | int | float | bool | None = None


class License(Struct, gc=False):
    id: str | None = None
    name: str | None = None


class LicenseChoice(Struct, gc=False):
    license: License | str | None = None
    expression: str | None = None


class Component(Struct, gc=False):
    type: str | None = None
    ref: str | None = field(default=None, name="bom-ref")
    group: str | None = None
    name: str | None = None
    version: Version = None
    purl: str | None = None
    licenses: list[LicenseChoice] | None = None
    properties: list[Property] | None = None
    components: list[Component] | None = None
    vulnerabilities: list[Vulnerability] | None = None


class Source(Struct, gc=False):
    name: str | None = None
    url: str | None = None


class ExtensionScore(Struct, gc=False):
    base: float | None = None


class Rating(Struct, gc=False):
    source: Source | str | None = None
    score: float | ExtensionScore | None = None
    severity: str | None = None
    method: str | None = None
    vector: str | None = None

    @property
    def base(self) -> float | None:
        return score(self.score.base if isinstance(self.score, ExtensionScore) else self.score)

    @property
    def rated(self) -> Severity:
        return from_word(self.severity) or from_score(self.base)


class AffectedVersion(Struct, gc=False):
    version: Version = None
    status: str | None = None


class Affected(Struct, gc=False):
    ref: str | None = None
    versions: list[AffectedVersion] | None = None


class Reference(Struct, gc=False):
    id: str | None = None


class Advisory(Struct, gc=False):
    url: str | None = None


class Analysis(Struct, gc=False):
    state: str | None = None
    justification: str | None = None
    detail: str | None = None


class Vulnerability(Struct, gc=False):
    id: str | None = None
    ref: str | None = None
    source: Source | str | None = None
    references: list[Reference] | None = None
    ratings: list[Rating] | None = None
    description: str | None = None
    detail: str | None = None
    recommendation: str | None = None
    advisories: list[Advisory | str] | None = None
    published: str | None = None
    analysis: Analysis | None = None
    affects: list[Affected] | None = None


class Tool(Struct, gc=False):
    name: str | None = None
    version: Version = None


class Tools(Struct, gc=False):
    components: list[Tool] | None = None
    services: list[Tool] | None = None


class Metadata(Struct, gc=False):
    timestamp: str | None = None
    tools: list[Tool] | Tools | None = None
    component: Component | None = None


class Bom(Struct, gc=False):
    version: str | float | None = field(default=None, name="specVersion")
    metadata: Metadata | None = None
    components: list[Component] | None = None
    vulnerabilities: list[Vulnerability] | None = None
