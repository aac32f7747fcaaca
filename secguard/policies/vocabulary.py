"""The words a policy condition may use: their types, and how each is read from the facts at an instant.

There is no clock and no timestamp in a condition. Ages are whole days, and what is unknown has a value that is
documented here together with a flag, so that a condition never meets ``null``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from secguard.findings.identity import FindingKind
from secguard.findings.severity import LABELS, Severity
from secguard.policies.facts import Facts, FindingFact, Gate, PlanningFact, ScanFact

DAY: Final = timedelta(days=1)
NEVER_DAYS: Final = 36_500
"""The age of a scan that never was: older than any limit, because unscanned is not clean."""


class Type(Struct, frozen=True):
    """``name`` is ``bool``, ``int``, ``double``, ``string``, ``list``, ``map``, ``null`` or a record's name."""

    name: str
    of: Type | None = None
    """Of a list's items or a map's values; a map's keys are strings."""
    words: tuple[str, ...] = ()
    """The only values that a string may have."""
    least: float | None = None
    most: float | None = None

    def __str__(self) -> str:
        return f"{self.name} of {self.of}" if self.of else self.name


BOOL, INT, DOUBLE, STRING = Type("bool"), Type("int"), Type("double"), Type("string")
STRINGS, LABELS_MAP = Type("list", STRING), Type("map", STRING)
COUNT: Final = Type("int", least=0)
KIND: Final = Type("string", words=tuple(k.value for k in FindingKind))
SEVERITY: Final = Type("string", words=LABELS)
GATE: Final = Type("string", words=tuple(g.value for g in Gate))
RANK: Final = Type("int", least=0, most=max(Severity))


class Word(Struct, frozen=True):
    """One field of a record."""

    type: Type
    about: str
    read: Callable[[Any, datetime], Any]
    moment: Callable[[Any], datetime | None] | None = None
    """Where the value moves with time: the instant that its days are counted from, or at which it turns."""
    turns: bool = False
    """It turns at that instant itself, and counts no days from it. So does every ``bool``."""


def _days(since: datetime | None, now: datetime, unknown: int) -> int:
    # A clock that runs ahead elsewhere makes nothing younger than today.
    return unknown if since is None else max(0, (now - since) // DAY)


def _raw(type_: Type, name: str, about: str) -> Word:
    return Word(type_, about, lambda fact, _now: getattr(fact, name))


_RANKS: Final = {label: int(Severity[label.upper()]) for label in LABELS}


def rank(word: str) -> int:
    """A severity word's place on the scale, 0 (unknown) to 5 (critical): the function ``rank`` of conditions."""
    return _RANKS.get(word, 0)


def _ecosystem(finding: FindingFact) -> str:
    return finding.purl.removeprefix("pkg:").partition("/")[0] if finding.purl.startswith("pkg:") else ""


FINDING: Final[dict[str, Word]] = {
    "age_days": Word(
        Type("int", least=0),
        "whole days since it was first seen in the image's lineage",
        lambda f, now: _days(f.first_seen_at, now, 0),
        lambda f: f.first_seen_at,
    ),
    "aliases": _raw(STRINGS, "aliases", "other names of the same vulnerability"),
    "cvss_score": Word(
        Type("double", least=0, most=10), "CVSS base score; 0.0 where unknown", lambda f, _: float(f.cvss_score or 0.0)
    ),
    "ecosystem": Word(
        STRING, "the purl's type: deb, apk, npm, pypi …; empty where unknown", lambda f, _: _ecosystem(f)
    ),
    "epss": Word(
        Type("double", least=0, most=1),
        "probability of exploitation within 30 days; 0.0 where unknown",
        lambda f, _: float(f.epss or 0.0),
    ),
    "fix_available": _raw(BOOL, "fix_available", "a fixed version exists"),
    "fixed_versions": _raw(STRINGS, "fixed_versions", "the versions that fix it"),
    "has_cvss": Word(BOOL, "a CVSS score is known", lambda f, _: f.cvss_score is not None),
    "has_epss": Word(BOOL, "an EPSS probability is known", lambda f, _: f.epss is not None),
    "kind": _raw(KIND, "kind", "what it is"),
    "known_exploited": _raw(BOOL, "known_exploited", "listed as exploited in the wild (CISA KEV or the report)"),
    "name": _raw(STRING, "name", "the component's name"),
    "overdue": Word(
        BOOL,
        "past the date by which the risk appetite wants it fixed",
        lambda f, now: f.due_at is not None and f.due_at <= now,
        lambda f: f.due_at,
    ),
    "package": _raw(STRING, "package", "the purl without version"),
    "path": _raw(STRING, "path", "where in the image"),
    "purl": _raw(STRING, "purl", "the component's purl"),
    "rule": _raw(STRING, "rule", "the rule, signature or check that found what is no vulnerability"),
    "severity": _raw(SEVERITY, "severity", "the worst that its sources say"),
    "severity_rank": Word(RANK, 'severity as a number; compare with rank("high")', lambda f, _: rank(f.severity)),
    "sources": _raw(STRINGS, "sources", "the scanners that report it"),
    "title": _raw(STRING, "title", "its title"),
    "version": _raw(STRING, "version", "the component's version"),
    "vulnerability": _raw(STRING, "vulnerability", "its canonical id, such as CVE-2024-3094"),
}


def _vulnerability_scans(facts: Facts) -> list[ScanFact]:
    return [s for s in facts.scans if s.complete and FindingKind.VULNERABILITY.value in s.covers]


def last_scan(facts: Facts) -> datetime | None:
    """When the last complete scan for vulnerabilities ended."""
    return max((s.finished_at for s in _vulnerability_scans(facts)), default=None)


def data_updated(facts: Facts) -> datetime | None:
    """The date of the newest vulnerability data that a complete scan was held against, where one is told."""
    known = [s.database_updated_at for s in _vulnerability_scans(facts) if s.database_updated_at is not None]
    return max(known, default=None)


def _of_image(type_: Type, name: str, about: str) -> Word:
    return Word(type_, about, lambda facts, _now: getattr(facts.image, name))


def _of_planning(type_: Type, about: str, read: Callable[[PlanningFact], Any]) -> Word:
    """A word of the checklists; where there is none it reads as one that asks for nothing."""
    none = PlanningFact()
    return Word(
        type_,
        about,
        lambda facts, _now: read(facts.image.planning or none),
        lambda facts: facts.image.planning.turns_at if facts.image.planning else None,
        turns=True,
    )


IMAGE: Final[dict[str, Word]] = {
    "age_days": Word(
        Type("int", least=0),
        "whole days since it was built; 0 where unknown",
        lambda facts, now: _days(facts.image.created_at, now, 0),
        lambda facts: facts.image.created_at,
    ),
    "application": _of_image(STRING, "application", "the application that owns it; empty where none does"),
    "database_age_days": Word(
        Type("int", least=0),
        "whole days since the scanner's vulnerability data was made; 0 where unknown",
        lambda facts, now: _days(data_updated(facts), now, 0),
        data_updated,
    ),
    "digest": _of_image(STRING, "digest", "its manifest digest"),
    "exposed": _of_image(BOOL, "exposed", "its application can be reached from outside the organisation"),
    "has_age": Word(BOOL, "it is known when it was built", lambda facts, _: facts.image.created_at is not None),
    "has_database_age": Word(
        BOOL, "a scanner told how old its data is", lambda facts, _: data_updated(facts) is not None
    ),
    "has_size": Word(BOOL, "its size is known", lambda facts, _: facts.image.size_bytes is not None),
    "labels": _of_image(LABELS_MAP, "labels", "its labels, by name"),
    "os": _of_image(STRING, "os", "its distribution, such as debian"),
    "planning_known": Word(
        BOOL,
        "every application that owns it has a checklist of requirements",
        lambda facts, _: facts.image.planning is not None and facts.image.planning.known,
    ),
    "planning_missing": _of_planning(
        STRINGS,
        "the ids of its application's requirements that are not known to be kept; empty where several teams own it",
        lambda planning: list(planning.missing),
    ),
    "planning_open": _of_planning(
        COUNT,
        "how many of its application's requirements are not known to be kept; 0 without a checklist",
        lambda planning: planning.open,
    ),
    "planning_templates": _of_planning(
        STRINGS,
        "the templates that its application's checklist is made from",
        lambda planning: list(planning.templates),
    ),
    "production": _of_image(BOOL, "production", "its application is in production"),
    "reference": _of_image(STRING, "reference", "as people name it: registry/repository:tag"),
    "registry": _of_image(STRING, "registry", "the registry's host"),
    "repositories": _of_image(STRINGS, "repositories", "every repository that holds it"),
    "scan_age_days": Word(
        Type("int", least=0),
        f"whole days since the last complete scan for vulnerabilities; {NEVER_DAYS} where there was none",
        lambda facts, now: _days(last_scan(facts), now, NEVER_DAYS),
        last_scan,
    ),
    "scanned_for": Word(
        Type("list", KIND),
        "the kinds of findings that a complete scan looked for",
        lambda facts, _: sorted({k for s in facts.scans if s.complete for k in s.covers}),
    ),
    "scanners": Word(
        STRINGS,
        "the scanners with a complete scan",
        lambda facts, _: sorted({s.scanner for s in facts.scans if s.complete}),
    ),
    "size_mb": Word(
        Type("double", least=0),
        "size in MB (10^6 bytes); 0.0 where unknown",
        lambda facts, _: (facts.image.size_bytes or 0) / 1e6,
    ),
    "tags": _of_image(STRINGS, "tags", "the tags that point to it"),
    "team": _of_image(STRING, "team", "the team that owns the application"),
}


def _count(label: str) -> Word:
    about = f"open findings of severity {label} that no decision covers"
    return Word(COUNT, about, lambda found, _now: found[label])


COUNTS: Final[dict[str, Word]] = {
    **{label: _count(label) for label in LABELS},
    "total": Word(COUNT, "open findings that no decision covers", lambda c, _now: sum(c[k] for k in LABELS)),
}

RECORDS: Final[dict[str, dict[str, Word]]] = {"finding": FINDING, "image": IMAGE, "counts": COUNTS}
VARIABLES: Final[dict[str, Type]] = {**{name: Type(name) for name in RECORDS}, "stage": GATE}
FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {"rank": rank}


def listed() -> list[tuple[str, Type, str]]:
    """(name as conditions write it, type, what it is) of every word."""
    told = [(f"{record}.{name}", w.type, w.about) for record, words in RECORDS.items() for name, w in words.items()]
    return [*told, ("stage", GATE, "the gate that asks")]


def image_values(facts: Facts, now: datetime) -> dict[str, Any]:
    """Every field of ``image`` at ``now``."""
    return {name: word.read(facts, now) for name, word in IMAGE.items()}


def count_values(open_findings: Iterable[FindingFact], now: datetime) -> dict[str, int]:
    """``counts`` over the findings that no decision covers."""
    found = Counter(f.severity if f.severity in _RANKS else "unknown" for f in open_findings)
    return {name: word.read(found, now) for name, word in COUNTS.items()}
