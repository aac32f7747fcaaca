"""A batch of advisories into the database: what says the same writes nothing, what changed is told of."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.utils import timezone

from secguard import bulk
from secguard.advisories.entry import Affected, Entry
from secguard.advisories.models import Advisory, AdvisoryFlaw, AffectedRange
from secguard.advisories.naming import Named
from secguard.advisories.reading import Statement
from secguard.advisories.services.flaws import resolve
from secguard.advisories.services.following import ADVISORIES_CHANGED, Changes

BATCH = 2000
"""Advisories in one transaction."""
_ONE_IMPORT = 0x5EC60A4D
"""The key of PostgreSQL's advisory lock: batches of several imports are written one after another."""


Key = tuple[str, str]
"""(source, the source's id)."""


class _Known(NamedTuple):
    id: int
    content_hash: str
    modified_at: datetime | None


@transaction.atomic
def store(statements: Iterable[Statement]) -> dict[str, int]:
    """Take in at most ``BATCH`` advisories: ``{read, added, changed, unchanged}``.

    An entry that its source modified earlier than what stands is an older copy of it, and changes nothing. Of several
    entries of one id the last counts. A withdrawn one stands without flaws of its own: what it called by two names is
    not taken for one.
    """
    _wait_for_others()
    latest: dict[Key, Statement] = {(s.source, s.entry.id): s for s in statements}
    known = _known(latest)
    fresh = [s for key, s in latest.items() if key not in known]
    changed = [(known[key].id, s) for key, s in latest.items() if key in known and _is_news(s, known[key])]
    if fresh or changed:
        _write(fresh, changed)
    count = len(latest)
    return {
        "read": count,
        "added": len(fresh),
        "changed": len(changed),
        "unchanged": count - len(fresh) - len(changed),
    }


def _wait_for_others() -> None:
    """One batch at a time; and none waits for the disk, for the import's own end does so for all of them, and one that
    is broken off before is read again (PostgreSQL, "Asynchronous Commit")."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_advisory_xact_lock(%s), set_config('synchronous_commit', 'off', true)", [_ONE_IMPORT]
            )


def _known(latest: Iterable[Key]) -> dict[Key, _Known]:
    found: dict[Key, _Known] = {}
    for source, keys in itertools.groupby(sorted(latest), key=lambda key: key[0]):
        rows = Advisory.objects.filter(source=source, name__in=bulk.among([name for _, name in keys]))
        for row in rows.values_list("name", "pk", "content_hash", "modified_at"):
            found[source, row[0]] = _Known(*row[1:])
    return found


def _is_news(s: Statement, row: _Known) -> bool:
    modified = s.entry.modified
    is_older = modified is not None and row.modified_at is not None and modified < row.modified_at
    return row.content_hash != s.content_hash and not is_older


_COLUMNS = (
    "content_hash",
    "names",
    "summary",
    "details",
    "references",
    "severity",
    "cvss_score",
    "cvss_vector",
    "published_at",
    "modified_at",
    "withdrawn_at",
    "changed_at",
)


def _write(fresh: Sequence[Statement], changed: Sequence[tuple[int, Statement]]) -> None:
    now = timezone.now()
    packages, gone = _before([pk for pk, _ in changed])
    flaws = resolve(n for s in (*fresh, *(s for _, s in changed)) for n in _named(s.entry))
    ids = bulk.insert(Advisory, ("source", "name", *_COLUMNS), [(s.source, s.entry.id, *_row(s, now)) for s in fresh])
    bulk.update(Advisory, _COLUMNS, [(pk, *_row(s, now)) for pk, s in sorted(changed, key=lambda c: c[0])])
    written = [*zip(ids, (s.entry for s in fresh), strict=True), *((pk, s.entry) for pk, s in changed)]
    about = _about(written, flaws)
    bulk.insert(AdvisoryFlaw, ("advisory_id", "vulnerability_id"), about)
    packages |= _insert_affected(written)
    changes = Changes(frozenset(packages), frozenset(gone | {flaw for _, flaw in about}))
    for follow in ADVISORIES_CHANGED:
        follow(changes)


def _before(ids: Sequence[int]) -> tuple[set[tuple[str, str]], set[int]]:
    """What changed advisories said, and of which flaws; it is taken out, to be written anew."""
    wanted = bulk.among(ids)
    affected = AffectedRange.objects.filter(advisory__in=wanted)
    about = AdvisoryFlaw.objects.filter(advisory__in=wanted)
    found = set(affected.values_list("ecosystem", "name")), set(about.values_list("vulnerability_id", flat=True))
    affected.delete()
    about.delete()
    return found


def _named(entry: Entry) -> Iterable[Named]:
    """What the entry says of its flaws: its texts only where it is about one. Nothing where it was withdrawn."""
    if entry.withdrawn is not None:
        return
    for flaw in entry.flaws:
        named = Named(flaw.canonical, set(flaw.names), published_at=None)
        if len(entry.flaws) == 1:
            named.title, named.description, named.references = entry.summary, entry.details, entry.references
            named.cvss_score, named.cvss_vector, named.published_at = (
                entry.cvss_score,
                entry.cvss_vector,
                entry.published,
            )
        yield named


def _row(s: Statement, now: datetime) -> tuple[Any, ...]:
    entry = s.entry
    return (
        s.content_hash,
        list(dict.fromkeys(name for flaw in entry.flaws for name in flaw.names)),
        entry.summary,
        entry.details,
        list(entry.references),
        entry.severity,
        entry.cvss_score,
        entry.cvss_vector[:200],
        entry.published,
        entry.modified,
        entry.withdrawn,
        now,
    )


def _about(written: Iterable[tuple[int, Entry]], flaws: dict[str, Any]) -> list[tuple[int, int]]:
    return list(
        dict.fromkeys(
            (pk, flaws[flaw.canonical].id)
            for pk, entry in written
            if entry.withdrawn is None
            for flaw in entry.flaws
            if flaw.canonical in flaws
        )
    )


def _insert_affected(written: Sequence[tuple[int, Entry]]) -> set[tuple[str, str]]:
    """One row for a package in an advisory, however many ranges it names for it."""
    rows = [
        (pk, ecosystem[:100], name[:300], *_merged(group))
        for pk, entry in written
        for (ecosystem, name), group in _by_package(entry).items()
    ]
    bulk.insert(AffectedRange, ("advisory_id", "ecosystem", "name", "ranges", "versions", "severity"), rows)
    return {(row[1], row[2]) for row in rows}


def _by_package(entry: Entry) -> dict[tuple[str, str], list[Affected]]:
    found: dict[tuple[str, str], list[Affected]] = {}
    for a in entry.affected:
        found.setdefault((a.ecosystem, a.name), []).append(a)
    return found


def _merged(group: Sequence[Affected]) -> tuple[Any, Any, str]:
    """(ranges, versions, severity) of all that one advisory says of one package."""
    first = group[0]
    if len(group) == 1:
        return first.ranges, first.versions, first.severity
    ranges = tuple(dict.fromkeys(r for a in group for r in a.ranges))
    listed = tuple(dict.fromkeys(v for a in group for v in a.versions))
    return ranges, listed, next((a.severity for a in group if a.severity), "")
