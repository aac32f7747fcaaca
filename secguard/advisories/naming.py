"""What a source says of a flaw, what is known of it, and which of its names make two flaws one. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class Named:
    """What one report says of one flaw."""

    canonical: str
    names: set[str]
    """Its other names; of CVEs none but ``canonical`` itself: an id that bundles several flaws is not one of them."""
    title: str = ""
    description: str = ""
    references: tuple[str, ...] = ()
    cvss_score: float | None = None
    cvss_vector: str = ""
    epss: float | None = None
    known_exploited: bool = False
    published_at: datetime | None = None
    source: str = ""


@dataclass(slots=True)
class Flaw:
    """A vulnerability as it is known, without its long texts (10,000 of them are 10 MB)."""

    id: int
    name: str
    title: str = ""
    cvss_score: float | None = None
    cvss_vector: str = ""
    epss: float | None = None
    known_exploited: bool = False
    known_exploited_source: str = ""
    published_at: datetime | None = None
    is_described: bool = True


_CVE = re.compile(r"CVE-\d{4}-\d{4,19}")


def is_cve(name: str) -> bool:
    """True for an id of the CVE list, in capitals (cve.org, "CVE ID syntax")."""
    return _CVE.fullmatch(name) is not None


def owner(entry: Named, known: Mapping[str, Flaw]) -> Flaw | None:
    """The flaw that ``entry`` speaks of, among the ``known`` by name; ``None`` where it is a new one.

    A name that already belongs to a flaw stays with it. A CVE is its own flaw always; any other id that is not known
    is the one flaw that its other names belong to, and a new one where they belong to several.
    """
    if (own := known.get(entry.canonical)) is not None or is_cve(entry.canonical):
        return own
    owners = _owners(entry, known)
    return owners[0] if len(owners) == 1 else None


def joined(entries: Iterable[Named], known: Mapping[str, Flaw]) -> list[tuple[str, Flaw]]:
    """Which known flaws prove to be another's: (canonical name of the one that is kept, the one that goes).

    Kept is the one with the CVE, known or not yet; without any CVE the older one. Two CVEs are never made one.
    """
    pairs: dict[int, tuple[str, Flaw]] = {}
    for entry in entries:
        owners = _owners(entry, known)
        cves = {f.name for f in owners if is_cve(f.name)} | ({entry.canonical} if is_cve(entry.canonical) else set())
        if len(cves) > 1 or not owners:
            continue
        kept = next(iter(cves)) if cves else min(owners, key=lambda f: f.id).name
        others = (f for f in owners if f.name != kept and known.get(kept) is not f)
        for flaw in others:
            pairs.setdefault(flaw.id, (kept, flaw))
    return [pairs[i] for i in sorted(pairs)]


def _owners(entry: Named, known: Mapping[str, Flaw]) -> list[Flaw]:
    names = (entry.canonical, *sorted(entry.names))
    return list({flaw.id: flaw for n in names if (flaw := known.get(n)) is not None}.values())
