"""What every feed's reader makes of one statement of one source: which flaws, in which packages, in which versions.

Pure. Nothing here is judged: ``scans/matching`` holds packages against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cvss import CVSS2, CVSS3, CVSS4
from cvss.exceptions import CVSSError
from msgspec import Struct

from secguard.advisories.naming import is_cve

MAX_NAME = 100
"""Characters of the name of a flaw or an advisory."""
MAX_SUMMARY = 500
MAX_DETAILS = 20_000
MAX_REFERENCES = 20
MAX_FLAWS = 2_000
"""A kernel's update names hundreds; more than this is no advisory."""
MAX_AFFECTED = 20_000
MAX_EVENTS = 2_000
MAX_VERSIONS = 20_000


class Malformed(ValueError):
    """This entry cannot be taken: the text says what was found and what was expected."""


Event = tuple[str, str]
"""(``introduced`` | ``fixed`` | ``last_affected`` | ``limit``, a version)."""


class Affected(Struct, frozen=True, gc=False):
    """A package, and the versions of it that are affected: those in any of ``ranges``, and those listed."""

    ecosystem: str
    """As looked up (``packagenames.ecosystem``)."""
    name: str
    """As looked up (``packagenames.package``)."""
    ranges: tuple[tuple[Event, ...], ...] = ()
    versions: tuple[str, ...] = ()
    severity: str = ""
    """The source's own word for this package (Debian's urgency), where it has one; else the advisory's holds."""


class Flaw(Struct, frozen=True, gc=False):
    """One flaw that the statement is about."""

    canonical: str
    names: tuple[str, ...]
    """All its names, ``canonical`` among them; of CVEs none but that."""


class Entry(Struct, frozen=True, gc=False, kw_only=True):
    id: str
    """The source's own: ``GHSA-…``, ``DSA-5380-1``, ``ALSA-2023:4520``."""
    flaws: tuple[Flaw, ...]
    affected: tuple[Affected, ...] = ()
    summary: str = ""
    details: str = ""
    references: tuple[str, ...] = ()
    severity: str = ""
    """The source's own word."""
    cvss_score: float | None = None
    cvss_vector: str = ""
    published: datetime | None = None
    modified: datetime | None = None
    withdrawn: datetime | None = None


def flaws_of(own: str, names: Iterable[str]) -> tuple[Flaw, ...]:
    """The flaws behind an id and the names that its source gives as the same, or as what it bundles.

    One CVE, or none: all the names are one flaw's. Several CVEs: each is a flaw by itself, and the id is a name of none
    of them (two CVEs are never one flaw).
    """
    all_names = tuple(dict.fromkeys(n for n in map(tidy_name, (own, *names)) if n))
    cves = tuple(n for n in all_names if is_cve(n))
    if len(all_names) > MAX_FLAWS:
        raise Malformed(f"names {len(all_names):,} flaws; {MAX_FLAWS:,} at most are taken")
    if len(cves) > 1:
        return tuple(Flaw(c, (c,)) for c in cves)
    return (Flaw(cves[0] if cves else all_names[0], all_names),)


_CVE_LIKE = re.compile(r"cve-\d{4}-\d{4,19}", re.I)


def tidy_name(name: str) -> str:
    """A name of a flaw without outer space, CVEs in capitals; ``""`` for what is too long to be one."""
    name = name.strip()
    if len(name) > MAX_NAME or not name.isprintable():
        return ""
    return name.upper() if _CVE_LIKE.fullmatch(name) else name


_SCORERS = (("CVSS:4", CVSS4), ("CVSS:3", CVSS3), ("", CVSS2))


@lru_cache(maxsize=50_000)
def score(vector: str) -> float | None:
    """The base score of a CVSS 2, 3 or 4 vector (first.org); ``None`` for what is none."""
    make = next(m for start, m in _SCORERS if vector.startswith(start))
    try:
        return float(make(vector).scores()[0])
    except (CVSSError, ValueError, KeyError):
        return None


_PREFERRED = {"CVSS_V3": 0, "CVSS_V4": 1, "CVSS_V2": 2}


def best_rating(rated: Iterable[tuple[str, str]]) -> tuple[float | None, str]:
    """(score, vector) of the ratings, each (type, vector): CVSS 3 first, as everybody's reports carry it."""
    for type_, vector in sorted(rated, key=lambda r: _PREFERRED.get(r[0], 9)):
        if type_ in _PREFERRED and (found := score(vector)) is not None:
            return found, vector
    return None, ""


def moment(text: Any) -> datetime | None:
    """A time with its zone (UTC where none is told); ``None`` for what is no time, or Go's zero time."""
    if not isinstance(text, str) or text.startswith("0001-"):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
