"""From a report's words to findings by identity. Pure: what the database knows comes in as mappings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from secguard.advisories.naming import Named, is_cve
from secguard.errors import Invalid
from secguard.findings.changes import Identity, Said
from secguard.findings.entries import (
    MAX_FIXES,
    Entry,
    Inventory,
    PackageWords,
    by_identity,
    component_purl,
    vulnerability_entry,
)
from secguard.findings.identity import FindingKind, canonical_vulnerability_id, risk_key
from secguard.scans.report import ReportedVulnerability, ScanReport

MAX_NAME = 100
MAX_VERSION = 200
MAX_TEXT = 4000
MAX_REFERENCES = 10


def flaws(report: ScanReport) -> list[Named]:
    """Every flaw that the report names, once."""
    found: dict[str, Named] = {}
    for v in report.vulnerabilities:
        canonical = canonical_vulnerability_id(v.id, v.aliases)[:MAX_NAME]
        known = found.get(canonical)
        if known is None:
            found[canonical] = _named(v, canonical, report.scanner)
        else:
            known.names.update(_names(v, canonical))
            known.known_exploited = known.known_exploited or v.known_exploited
    return list(found.values())


def _named(v: ReportedVulnerability, canonical: str, scanner: str) -> Named:
    return Named(
        canonical=canonical,
        names=_names(v, canonical),
        title=v.title,
        description=v.description[:MAX_TEXT],
        references=tuple(r[:500] for r in v.references[:MAX_REFERENCES]),
        cvss_score=v.cvss_score,
        cvss_vector=v.cvss_vector,
        epss=v.epss,
        known_exploited=v.known_exploited,
        published_at=moment(v.published_at),
        source=scanner,
    )


def moment(at: datetime | None) -> datetime | None:
    """``at`` where a database can hold it: not where it lies before the first or after the last year in UTC."""
    try:
        return at and at.astimezone(UTC)
    except OverflowError:
        return None


def _names(v: ReportedVulnerability, canonical: str) -> set[str]:
    """Its names, as far as they can be this flaw's alone: of several CVEs none but the canonical one."""
    names = {n.strip()[:MAX_NAME] for n in (v.id, *v.aliases)}
    return {n for n in names if n and (n == canonical or not is_cve(n.upper()))}


def check(report: ScanReport) -> None:
    """Raises ``Invalid`` where an entry has no identity that can be kept: here, before anything of it is stored."""
    named: tuple[PackageWords, ...] = (*report.vulnerabilities, *report.components)
    for words in named:
        component_purl(words, dict)
    for i, v in enumerate(report.vulnerabilities):
        if not v.id.strip():
            raise Invalid(
                f"Vulnerability {i} of the report has no id; expected one such as CVE-2024-3094.", where="vulnerability"
            )


def entries(report: ScanReport, canonical: Mapping[str, str], inventory: Inventory) -> dict[Identity, Entry]:
    """Every finding of the report, once.

    ``canonical``: the names of ``flaws`` to the canonical ids that they are known under;
    ``inventory``: see ``component_purl``.
    """
    return by_identity(_all(report, canonical, inventory))


def _fixes(v: ReportedVulnerability) -> tuple[str, ...]:
    return tuple([f[:MAX_VERSION] for f in v.fixed_versions[:MAX_FIXES]])


def _all(report: ScanReport, canonical: Mapping[str, str], inventory: Inventory) -> Iterator[Entry]:
    for v in report.vulnerabilities:
        said = Said(int(v.severity), v.severity_source[:50], v.id[:MAX_NAME], _fixes(v), v.suppressed[:300])
        name = canonical[canonical_vulnerability_id(v.id, v.aliases)[:MAX_NAME]]
        purl = component_purl(v, inventory)
        yield vulnerability_entry(name=name, purl=purl, said=said, path=v.path, layer=v.layer, title=v.title)
    for s in report.secrets:
        key = risk_key(FindingKind.SECRET, s.rule, s.path, s.fingerprint)
        said = Said(int(s.severity), reported_id=s.rule)
        yield Entry(
            FindingKind.SECRET, key, said, rule=s.rule, target=s.path, title=s.title, path=s.path, layer=s.layer
        )
    for m in report.malware:
        key = risk_key(FindingKind.MALWARE, m.signature, m.sha256)
        said = Said(int(m.severity), reported_id=m.signature)
        yield Entry(
            FindingKind.MALWARE, key, said, rule=m.signature, target=m.sha256, title=m.title, path=m.path, layer=m.layer
        )
    for c in report.checks:
        yield Entry(
            c.kind,
            risk_key(c.kind, c.check_id, c.target),
            Said(int(c.severity), reported_id=c.check_id),
            rule=c.check_id,
            target=c.target,
            title=c.title,
            description=c.description[:MAX_TEXT],
            remediation=c.remediation[:MAX_TEXT],
            path=c.target,
        )
