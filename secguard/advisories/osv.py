"""Entries in the OSV format (ossf.github.io/osv-schema, 1.0 to 1.7), whoever publishes them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from secguard import packagenames
from secguard.advisories.entry import (
    MAX_AFFECTED,
    MAX_DETAILS,
    MAX_EVENTS,
    MAX_NAME,
    MAX_REFERENCES,
    MAX_SUMMARY,
    MAX_VERSIONS,
    Affected,
    Entry,
    Event,
    Malformed,
    best_rating,
    flaws_of,
    moment,
)


class _Severity(Struct, gc=False):
    type: str = ""
    score: str = ""


class _Range(Struct, gc=False):
    type: str = ""
    events: list[dict[str, str]] | None = None
    database_specific: Any = None


class _Package(Struct, gc=False):
    name: str = ""
    ecosystem: str = ""


class _Affected(Struct, gc=False):
    package: _Package | None = None
    ranges: list[_Range] | None = None
    versions: list[str] | None = None
    severity: list[_Severity] | None = None
    ecosystem_specific: Any = None
    database_specific: Any = None


class _Reference(Struct, gc=False):
    url: str = ""


class _Osv(Struct, gc=False):
    id: str
    modified: str | None = None
    published: str | None = None
    withdrawn: str | None = None
    aliases: list[str] | None = None
    upstream: list[str] | None = None
    related: list[str] | None = None
    summary: str | None = None
    details: str | None = None
    severity: list[_Severity] | None = None
    affected: list[_Affected] | None = None
    references: list[_Reference] | None = None
    database_specific: Any = None


_DECODER = msgspec.json.Decoder(_Osv)


def read(raw: bytes) -> Entry:
    """One entry from its JSON. Raises ``Malformed`` saying what is wrong and where."""
    try:
        return _entry(_DECODER.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Malformed(str(fault)) from fault


def convert(document: Any) -> Entry:
    """One entry from a decoded document (YAML's, or an array's). Raises ``Malformed``."""
    try:
        raw = msgspec.json.encode(document)
    except (TypeError, ValueError, RecursionError) as fault:  # what JSON cannot say
        raise Malformed(str(fault)) from fault
    return read(raw)


def _entry(o: _Osv) -> Entry:
    if not o.id.strip() or len(o.id) > MAX_NAME or not o.id.isprintable():
        raise Malformed(f"has no usable id: {o.id[:MAX_NAME]!r}; 1 to {MAX_NAME} characters are expected")
    if len(o.affected or ()) > MAX_AFFECTED:
        raise Malformed(f"lists {len(o.affected or ()):,} packages; {MAX_AFFECTED:,} at most are taken")
    rated = [*(o.severity or ()), *(s for a in o.affected or () for s in a.severity or ())]
    score, vector = best_rating((s.type, s.score) for s in rated)
    return Entry(
        id=o.id.strip(),
        flaws=flaws_of(o.id, _same(o)),
        affected=tuple(dict.fromkeys(_affected(o.affected or ()))),
        summary=(o.summary or "").strip()[:MAX_SUMMARY],
        details=(o.details or "")[:MAX_DETAILS].replace("\0", ""),
        references=tuple(r.url for r in o.references or () if r.url.startswith(("https://", "http://")))[
            :MAX_REFERENCES
        ],
        severity=_word(o),
        cvss_score=score,
        cvss_vector=vector,
        published=moment(o.published),
        modified=moment(o.modified),
        withdrawn=moment(o.withdrawn),
    )


_BUNDLES = re.compile(
    r"(?:AL|RL|RX|RH|EL|CE|O)[SBE]A-|(?:DSA|DLA|USN|LSN|ALAS|MGASA|PHSA)-|(?:openSUSE|SUSE)-|openEuler-"
)


def _same(o: _Osv) -> Iterable[str]:
    """The names of the flaws that the entry is about: aliases, and what a distribution's statement is about (upstream).

    ``related`` is another flaw's name by the schema. AlmaLinux alone puts there what an update fixes: so it is read for
    a distribution's update that names no CVE otherwise.
    """
    names = [*(o.aliases or ()), *(o.upstream or ())]
    if o.upstream and _BUNDLES.match(o.id):
        return names
    if _BUNDLES.match(o.id) and not any(n.startswith("CVE-") for n in names):
        return [*names, *(n for n in o.related or () if n.startswith("CVE-"))]
    return names


_SUMMARY_WORD = re.compile(r"(Critical|Important|Moderate|Low): ")


def _word(o: _Osv) -> str:
    """The source's own word: its field where it has one, or the beginning of Red Hat's and AlmaLinux's summaries."""
    for rated in o.severity or ():
        if rated.type not in ("CVSS_V2", "CVSS_V3", "CVSS_V4"):
            return rated.score[:20].lower()  # type "Ubuntu": the priority's word (schema 1.6.8)
    if word := _text(o.database_specific, "severity"):
        return word
    found = _SUMMARY_WORD.match(o.summary or "")
    return found[1].lower() if found else ""


def _text(holder: Any, key: str) -> str:
    value = holder.get(key) if isinstance(holder, dict) else None
    return value[:20].lower() if isinstance(value, str) else ""


def _affected(listed: Iterable[_Affected]) -> Iterator[Affected]:
    for a in listed:
        if a.package is None or not a.package.name or not a.package.ecosystem:
            continue  # commits of a repository only: no package to find
        if len(a.versions or ()) > MAX_VERSIONS:
            raise Malformed(f"lists {len(a.versions or ()):,} versions of {a.package.name}")
        ecosystem = packagenames.ecosystem(a.package.ecosystem)
        yield Affected(
            ecosystem=ecosystem,
            name=packagenames.package(ecosystem, a.package.name),
            ranges=tuple(_events(r, a.database_specific) for r in a.ranges or () if r.type != "GIT"),
            versions=tuple(a.versions or ()),
            severity=_package_word(a),
        )


_LESS = {"unmaintained", "notice"}


def _package_word(a: _Affected) -> str:
    if a.ecosystem_specific is None and a.database_specific is None:
        return ""
    if word := _text(a.ecosystem_specific, "urgency"):
        return "" if word in ("not yet assigned", "end-of-life") else word
    if _text(a.database_specific, "informational") in _LESS:  # RustSec: no flaw, but nobody mends one
        return "informational"
    return _text(a.ecosystem_specific, "severity") or _text(a.database_specific, "severity")


_KINDS = frozenset({"introduced", "fixed", "last_affected", "limit"})
_LAST_KNOWN = re.compile(r"(<=?) *(\S+)")


def _events(r: _Range, beside: Any) -> tuple[Event, ...]:
    events = tuple([(kind, text) for e in r.events or () for kind, text in e.items() if kind in _KINDS])
    if not events or len(events) > MAX_EVENTS:
        raise Malformed(f"has a range of {len(events):,} events; 1 to {MAX_EVENTS:,} are expected")
    if beside is not None and all(kind == "introduced" for kind, _ in events):
        # GitHub says where an open range ends there, and nowhere else.
        known = isinstance(beside, dict) and beside.get("last_known_affected_version_range")
        if found := _LAST_KNOWN.fullmatch(known if isinstance(known, str) else ""):
            return (*events, ("last_affected" if found[1] == "<=" else "limit", found[2]))
    return events
