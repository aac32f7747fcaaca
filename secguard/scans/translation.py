"""From a report's words to findings by identity. Pure: what the database knows comes in as mappings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import chain

from secguard.advisories.naming import Named, is_cve
from secguard.errors import Invalid
from secguard.findings.changes import Identity, Said
from secguard.findings.entries import (
    MAX_FIXES,
    Entry,
    Inventory,
    by_identity,
    component_purl,
    vulnerability_entry,
)
from secguard.findings.identity import GENERIC, FindingKind, canonical_vulnerability_id, risk_key
from secguard.scans.condensed import Body, Claim, Condensed, Head
from secguard.scans.report import OWN_LOOK, ReportedComponent, ReportedVulnerability, ScanReport

MAX_NAME = 100
MAX_VERSION = 200
MAX_TEXT = 4000
MAX_REFERENCES = 10
_VAGUE = f"pkg:{GENERIC}/"


def condense(report: ScanReport) -> Condensed:
    """What taking ``report`` in needs of it. Raises ``Invalid`` for a package that cannot be named."""
    named: dict[str, Named] = {}
    places: dict[str, int] = {}
    claims = []
    for v in report.vulnerabilities:
        canonical = canonical_vulnerability_id(v.id, v.aliases)[:MAX_NAME]
        known = named.get(canonical)
        if known is None:
            named[canonical] = _named(v, canonical, report.scanner)
            places[canonical] = len(places)
        else:
            if v.aliases or v.id != canonical:
                known.names.update(_names(v, canonical))
            known.known_exploited = known.known_exploited or v.known_exploited
        claims.append(_claim(v, places[canonical]))
    flaws = list(named.values())
    body = Body(flaws, claims, report.secrets, report.malware, report.checks, report.components)
    # What our own look says beside it, by matching, changes with the advisories.
    is_plain = report.format != OWN_LOOK and _is_plain(flaws, claims, report.components)
    return Condensed.of(_head(report, is_plain=is_plain), body)


def _claim(v: ReportedVulnerability, flaw: int) -> Claim:
    said = Said(int(v.severity), v.severity_source[:50], v.id[:MAX_NAME], _fixes(v), v.suppressed[:300])
    purl = component_purl(v, dict)
    if purl.startswith(_VAGUE):
        return Claim(flaw, said, purl, v.name, v.version, v.path, v.layer)
    return Claim(flaw, said, purl, path=v.path, layer=v.layer)


def _head(report: ScanReport, *, is_plain: bool) -> Head:
    return Head(
        subject=report.subject,
        covers=report.covers,
        inventory=report.inventory,
        complete=report.complete,
        warnings=report.warnings,
        finding_count=report.finding_count,
        component_count=len(report.components),
        is_plain=is_plain,
    )


def _is_plain(flaws: list[Named], claims: list[Claim], components: list[ReportedComponent]) -> bool:
    """See ``Head.is_plain``."""
    alone = all(f.names <= {f.canonical} and f.epss is None and not f.known_exploited for f in flaws)
    purls = chain((c.purl for c in claims), (component_purl(c, dict) for c in components))
    return alone and not any(purl.startswith(_VAGUE) for purl in purls)


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
    """Raises ``Invalid`` where an entry has no identity that can be kept (with ``condense``): here, before anything of
    the report is stored."""
    for component in report.components:
        component_purl(component, dict)
    for i, v in enumerate(report.vulnerabilities):
        if not v.id.strip():
            raise Invalid(
                f"Vulnerability {i} of the report has no id; expected one such as CVE-2024-3094.", where="vulnerability"
            )


def entries(body: Body, canonical: Mapping[str, str], inventory: Inventory) -> dict[Identity, Entry]:
    """Every finding of the report, once.

    ``canonical``: the names of ``Body.flaws`` to the canonical ids that they are known under;
    ``inventory``: see ``component_purl``.
    """
    return by_identity(chain(_vulnerabilities(body, canonical, inventory), _others(body)))


def _fixes(v: ReportedVulnerability) -> tuple[str, ...]:
    return tuple([f[:MAX_VERSION] for f in v.fixed_versions[:MAX_FIXES]])


def _vulnerabilities(body: Body, canonical: Mapping[str, str], inventory: Inventory) -> Iterator[Entry]:
    names = [canonical[flaw.canonical] for flaw in body.flaws]
    for c in body.claims:
        purl = c.purl
        if purl.startswith(_VAGUE):
            purl = inventory().get((c.name, c.version), purl)
        yield vulnerability_entry(name=names[c.flaw], purl=purl, said=c.said, path=c.path, layer=c.layer)


def _others(body: Body) -> Iterator[Entry]:
    for s in body.secrets:
        key = risk_key(FindingKind.SECRET, s.rule, s.path, s.fingerprint)
        said = Said(int(s.severity), reported_id=s.rule)
        yield Entry(
            FindingKind.SECRET, key, said, rule=s.rule, target=s.path, title=s.title, path=s.path, layer=s.layer
        )
    for m in body.malware:
        key = risk_key(FindingKind.MALWARE, m.signature, m.sha256)
        said = Said(int(m.severity), reported_id=m.signature)
        yield Entry(
            FindingKind.MALWARE, key, said, rule=m.signature, target=m.sha256, title=m.title, path=m.path, layer=m.layer
        )
    for c in body.checks:
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
