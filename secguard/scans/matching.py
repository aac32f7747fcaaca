"""Does an advisory hit a build of a component? Pure: what is stored in, an answer out.

A build is judged only by what its own ecosystem says of its own name. So for a distribution's package (deb, rpm, apk)
the distribution's verdict stands, which knows what was backported, and no upstream range is ever asked; a package of a
language is judged by its language's advisories wherever it lies. Whatever cannot be compared is *unknown*: it is
counted and named, and is never taken for unaffected.

Ranges are evaluated as the OSV schema says ("Evaluation"), for any order of events.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cmp_to_key

from secguard import packagenames
from secguard.advisories import versions
from secguard.advisories.orders import Unparsable
from secguard.advisories.versions import Version
from secguard.findings.severity import Severity, from_score, from_word

Event = tuple[str, str]
"""(``introduced`` | ``fixed`` | ``last_affected`` | ``limit``, a version), as ``AffectedRange.ranges`` keeps it."""
Range = Sequence[Sequence[str]]


class Answer(StrEnum):
    AFFECTED = "affected"
    NOT_AFFECTED = "not_affected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One package of one advisory (a row of ``AffectedRange`` with what its ``Advisory`` says)."""

    advisory: str
    """The source's id: ``DSA-5380-1``."""
    ecosystem: str
    name: str
    ranges: Sequence[Range]
    versions: Sequence[str] = ()
    flaws: tuple[int, ...] = ()
    """Ids of the flaws that the advisory is about."""
    is_withdrawn: bool = False
    severity: str = ""
    """The source's word for this package."""
    advisory_severity: str = ""
    """The source's word for the advisory."""
    cvss_score: float | None = None
    streams: tuple[str, ...] = ()
    """Of modules, as far as the advisory names them: ``nodejs:16``."""


@dataclass(frozen=True, slots=True)
class Judgement:
    answer: Answer
    fixed_versions: tuple[str, ...] = ()
    """The nearest version that fixes, for each range that holds the version; none where no fix is told."""
    why: str = ""
    """Of an unknown: what could not be compared."""


@dataclass(slots=True)
class Hit:
    """A flaw in a build, with everything that says so."""

    flaw: int
    severity: Severity
    fixed_versions: tuple[str, ...]
    advisories: list[str]


@dataclass(slots=True)
class Matches:
    hits: dict[int, Hit] = field(default_factory=dict)
    """By flaw."""
    unknown: dict[int, str] = field(default_factory=dict)
    """Flaws of which nobody can say whether they are there, and why. None of them is among the hits."""


_NOT = Judgement(Answer.NOT_AFFECTED)


def match(ecosystem: str, name: str, version: str, candidates: Iterable[Candidate], stream: str = "") -> Matches:
    """Hold one build (``ComponentBuild``'s words) against the candidates for its ecosystem and name.

    Candidates of another ecosystem or name, or of another stream of its module, and withdrawn ones, are passed over.
    What one advisory of the ecosystem says is enough for a hit; the worst severity counts.
    """
    found = Matches()
    own = [c for c in candidates if not c.is_withdrawn and (c.ecosystem, c.name) == (ecosystem, name)]
    nearest = None
    if _is_modular(version):
        own = [c for c in own if not _is_of_another(stream, c.streams)]
        nearest = _nearest_streams(version, own, stream)
    for c in own:
        flaws = c.flaws if nearest is None else [f for f in c.flaws if c in nearest[f]]
        if not flaws:
            continue
        judged = judge(ecosystem, version, c.ranges, c.versions)
        if judged.answer is Answer.AFFECTED:
            _hit(found, c, judged, flaws)
        elif judged.answer is Answer.UNKNOWN:
            for flaw in flaws:
                found.unknown.setdefault(flaw, f"{c.advisory}: {judged.why}")
    for flaw in found.hits:
        found.unknown.pop(flaw, None)
    return found


_STREAM = re.compile(r"(?<![\w+.:/-])[A-Za-z0-9][\w+.-]*:[\w+.-]*\w(?![:/\w])")


def streams_in(summary: str) -> tuple[str, ...]:
    """The streams that an advisory's title names: ``nodejs:16`` of ``Moderate: nodejs:16 security update``. OSV has no
    other place for them."""
    return tuple(sorted(set(_STREAM.findall(summary))))


def _is_of_another(stream: str, streams: Sequence[str]) -> bool:
    """Whether the advisory names streams of the installed one's module, and not that one."""
    module = stream.partition(":")[0]
    named = {s for s in streams if stream and s.partition(":")[0] == module}
    return bool(named) and stream not in named


_EXACT = 1000
"""More than any likeness of versions."""


def _nearest_streams(version: str, candidates: Iterable[Candidate], stream: str) -> dict[int, list[Candidate]]:
    """By flaw, the candidates that speak of the version's own stream: those that name it, else as far as versions tell.

    A distribution mends one flaw in each stream of a module by an advisory of its own (``ruby:2.5``, ``ruby:2.6``). The
    one whose fix shares the most leading numbers with the version is it.
    """
    nearest: dict[int, tuple[int, list[Candidate]]] = {}
    for c in candidates:
        likeness = max((_likeness(version, text) for r in c.ranges for kind, text in r if kind == "fixed"), default=0)
        likeness = _EXACT if stream and stream in c.streams else likeness
        for flaw in c.flaws:
            best, kept = nearest.get(flaw, (-1, []))
            if likeness > best:
                nearest[flaw] = (likeness, [c])
            elif likeness == best:
                kept.append(c)
    return {flaw: kept for flaw, (_, kept) in nearest.items()}


def _likeness(version: str, other: str) -> int:
    a, b = (re.split(r"[.:~^+]", v.rpartition("-")[0].rpartition(":")[2]) for v in (version, other))
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _is_modular(version: str) -> bool:
    return ".module" in version


def _hit(found: Matches, c: Candidate, judged: Judgement, flaws: Iterable[int]) -> None:
    severity = severity_of(c)
    for flaw in flaws:
        known = found.hits.get(flaw)
        if known is None:
            found.hits[flaw] = Hit(flaw, severity, judged.fixed_versions, [c.advisory])
            continue
        known.severity = max(known.severity, severity)
        known.advisories.append(c.advisory)
        known.fixed_versions = _in_order(c.ecosystem, {*known.fixed_versions, *judged.fixed_versions})


def severity_of(c: Candidate) -> Severity:
    """The source's own word for the package, else for the advisory, else what its CVSS score amounts to."""
    return from_word(c.severity) or from_word(c.advisory_severity) or from_score(c.cvss_score)


def judge(ecosystem: str, version: str, ranges: Sequence[Range], listed: Sequence[str] = ()) -> Judgement:
    """Is ``version`` among ``listed``, or in any of ``ranges``? With the versions that mend it."""
    order = versions.order_of(ecosystem)
    try:
        parsed = versions.parse(order, version)
    except Unparsable as fault:
        if version in listed:
            return Judgement(Answer.AFFECTED)
        return Judgement(Answer.UNKNOWN, why=str(fault)) if ranges or not listed else _NOT
    fixes: set[str] = set()
    hit, why = _is_listed(parsed, listed, alone=not ranges), ""
    for events in ranges:
        try:
            inside, fix = _inside(parsed, events, was_listed=hit)
        except Unparsable as fault:
            why = str(fault)
            continue
        hit = hit or inside
        if inside and fix:
            fixes.add(fix)
    if hit:
        return Judgement(Answer.AFFECTED, _in_order(ecosystem, fixes))
    if why or not (ranges or listed):
        return Judgement(Answer.UNKNOWN, why=why or "the advisory names no version")
    return _NOT


def _is_listed(version: Version, listed: Sequence[str], *, alone: bool) -> bool:
    """By its text; where the list is all there is, by its value too (``1.0`` and ``1.0.0`` of PyPI)."""
    if version.text in listed:
        return True
    if not alone:
        return False
    for text in listed:
        try:
            if versions.compare(version, versions.parse(version.order, text)) == 0:
                return True
        except Unparsable:
            continue
    return False


def _inside(version: Version, events: Range, *, was_listed: bool) -> tuple[bool, str]:
    """Whether the events hold ``version``, and the nearest version that fixes it. Raises ``Unparsable``.

    The last ``introduced`` at or before the version opens; a ``fixed`` from there to the version, or a
    ``last_affected`` before it, closes. Below ``limit``, where there is one (OSV schema, "Evaluation").
    """
    bounds = [(kind, _bound(version.order, kind, text)) for kind, text in events]
    if not _same_stream(version, bounds):
        return False, ""
    start = _start(version, bounds)
    nearest: Version | None = None
    inside = start is not None or was_listed
    limits = [b for kind, b in bounds if kind == "limit"]
    if limits and not any(b is None or versions.compare(version, b) < 0 for b in limits):
        return False, ""
    for kind, bound in bounds:
        if bound is None or kind in ("introduced", "limit") or _is_before(bound, start):
            continue
        side = versions.compare(version, bound)
        if side > 0 or (side == 0 and kind == "fixed"):
            return False, ""
        if kind == "fixed" and (nearest is None or versions.compare(bound, nearest) < 0):
            nearest = bound
    return inside, nearest.text if nearest else ""


_FIRST = Version("0", (), "")


def _start(version: Version, bounds: Sequence[tuple[str, Version | None]]) -> Version | None:
    """The last ``introduced`` at or before the version; ``_FIRST`` for the beginning of time; ``None`` for none."""
    start: Version | None = None
    for kind, bound in bounds:
        if kind != "introduced":
            continue
        if bound is None:
            start = start or _FIRST
        elif versions.compare(version, bound) >= 0 and not _is_before(bound, start):
            start = bound
    return start


def _is_before(bound: Version, start: Version | None) -> bool:
    return start is not None and start is not _FIRST and versions.compare(bound, start) < 0


def _bound(order: str, kind: str, text: str) -> Version | None:
    """``None`` stands for no bound at all: ``introduced: 0`` and ``limit: *``."""
    if (kind == "introduced" and text == "0") or (kind == "limit" and text == "*"):
        return None
    return versions.parse(order, text)


def _same_stream(version: Version, bounds: Sequence[tuple[str, Version | None]]) -> bool:
    """A module's package (Red Hat's modularity) and the plain one of the same name are two packages."""
    if version.order not in packagenames.RPM:
        return True
    is_modular = _is_modular(version.text)
    return all(_is_modular(b.text) == is_modular for kind, b in bounds if kind == "fixed" and b is not None)


def _in_order(ecosystem: str, texts: Iterable[str]) -> tuple[str, ...]:
    """Oldest first; all of them were parsed before."""
    wanted = set(texts)
    if len(wanted) < 2:
        return tuple(wanted)
    order = versions.order_of(ecosystem)
    parsed = [versions.parse(order, t) for t in sorted(wanted)]
    return tuple(v.text for v in sorted(parsed, key=cmp_to_key(versions.compare)))
