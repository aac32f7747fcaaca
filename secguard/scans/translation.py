"""From a report's words to findings by identity. Pure: what the database knows comes in as mappings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from secguard.advisories.naming import Named
from secguard.findings.changes import Identity, Said
from secguard.findings.entries import MAX_FIXES, Entry, by_identity, component_purl, vulnerability_entry
from secguard.findings.identity import FindingKind, canonical_vulnerability_id, risk_key
from secguard.scans.report import ReportedVulnerability, ScanReport

MAX_TEXT = 4000
MAX_REFERENCES = 10


def flaws(report: ScanReport) -> list[Named]:
    """Every flaw that the report names, once."""
    found: dict[str, Named] = {}
    for v in report.vulnerabilities:
        canonical = canonical_vulnerability_id(v.id, v.aliases)[:100]
        known = found.get(canonical)
        if known is None:
            found[canonical] = _named(v, canonical, report.scanner)
        else:
            known.names.update(_names(v))
            known.known_exploited = known.known_exploited or v.known_exploited
    return list(found.values())


def _named(v: ReportedVulnerability, canonical: str, scanner: str) -> Named:
    return Named(
        canonical=canonical,
        names=_names(v),
        title=v.title,
        description=v.description[:MAX_TEXT],
        references=tuple(r[:500] for r in v.references[:MAX_REFERENCES]),
        cvss_score=v.cvss_score,
        cvss_vector=v.cvss_vector,
        epss=v.epss,
        known_exploited=v.known_exploited,
        published_at=v.published_at,
        source=scanner,
    )


def _names(v: ReportedVulnerability) -> set[str]:
    return {n.strip()[:100] for n in (v.id, *v.aliases) if n.strip()}


def entries(
    report: ScanReport, canonical: Mapping[str, str], inventory: Mapping[tuple[str, str], str]
) -> dict[Identity, Entry]:
    """Every finding of the report, once.

    ``canonical``: any reported name of a flaw to its canonical id; ``inventory``: see ``component_purl``.
    """
    return by_identity(_all(report, canonical, inventory))


def _all(report: ScanReport, canonical: Mapping[str, str], inventory: Mapping[tuple[str, str], str]) -> Iterator[Entry]:
    for v in report.vulnerabilities:
        said = Said(int(v.severity), v.severity_source, v.id, v.fixed_versions[:MAX_FIXES], v.suppressed)
        name = canonical[v.id.strip()[:100]]
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
