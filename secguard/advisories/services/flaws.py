"""Names of flaws to flaws, in sets: one look-up for a whole report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import transaction
from django.db.models import FloatField, Q, Value
from django.utils import timezone

from secguard import bulk
from secguard.advisories.models import AdvisoryFlaw, Alias, EpssScore, KnownExploited, Vulnerability
from secguard.advisories.naming import Flaw, Named, is_cve, joined, owner
from secguard.advisories.services.following import DECIDED_BY_OTHERS, FACTS_CHANGED, ON_MERGE

KEV = "kev"
"""As the source of known exploitation: CISA's catalogue itself, not a scanner that carries it."""

EPSS_NEWS = 0.001
"""Scanners round differently and carry data of different days: a smaller difference is not news."""


@transaction.atomic
def resolve(flaws: Iterable[Named], *, teams: frozenset[int] | None = None) -> dict[str, Flaw]:
    """Every name in ``flaws`` to its vulnerability; unknown ones are made, and names that prove to be one are merged.

    ``teams``: those whose pipelines say so; ``None`` where the whole organisation's do. Flaws on which others have
    decided are not merged on a team's word (``DECIDED_BY_OTHERS``): an exception would cover what nobody approved.

    A name that already belongs to a flaw stays with it. Where one entry joins two known flaws, they become one: the
    one with the CVE (the older where none has it) is kept, and everything that hung on the other moves to it.
    Two different CVEs are never merged: a bundle's id stays with the flaw that had it first.
    """
    # CVEs first: what a report calls by a CVE in one place and by another name alone elsewhere is one new flaw.
    entries = sorted(flaws, key=lambda e: not is_cve(e.canonical))
    names = {n for e in entries for n in (*e.names, e.canonical)}
    known = known_flaws(names)
    pairs = _permitted(joined(entries, known), known, teams)
    if pairs:
        known = _merge(pairs, entries, known, names)
    fresh: dict[str, Named] = {}
    aliases: dict[str, str] = {}
    for entry in entries:
        _name(entry, known, fresh, aliases)
    known.update(_insert(fresh, aliases, names))
    _learn([e for e in entries if e.canonical not in fresh], known)
    return known


def _permitted(
    pairs: list[tuple[str, Flaw]], known: dict[str, Flaw], teams: frozenset[int] | None
) -> list[tuple[str, Flaw]]:
    if teams is None or not pairs:
        return pairs
    ids = sorted({f.id for kept, gone in pairs for f in (gone, known.get(kept)) if f is not None})
    held = {pk for ask in DECIDED_BY_OTHERS for pk in ask(ids, teams)}
    return [(k, g) for k, g in pairs if g.id not in held and (k not in known or known[k].id not in held)]


def _name(entry: Named, known: dict[str, Flaw], fresh: dict[str, Named], aliases: dict[str, str]) -> None:
    """Find the flaw of ``entry``, or put it among the ``fresh`` ones; its new names go to ``aliases``."""
    canonical = aliases.get(entry.canonical)
    if canonical is None:
        flaw = owner(entry, known)
        canonical = flaw.name if flaw else entry.canonical
        if flaw is None:
            fresh.setdefault(canonical, entry)
    for name in (entry.canonical, *sorted(entry.names)):
        if name not in known:
            aliases.setdefault(name, canonical)


_ROW = ("id", "name", "title", "cvss_score", "cvss_vector", "epss", "known_exploited", "known_exploited_source")


def known_flaws(names: set[str]) -> dict[str, Flaw]:
    """The flaws that go by these names, by name; names of none are left out."""
    rows = Alias.objects.filter(name__in=bulk.among(sorted(names))).annotate(
        described=~Q(vulnerability__description="")
    )
    columns = [f"vulnerability__{c}" for c in (*_ROW, "published_at")]
    flaws: dict[int, Flaw] = {}
    found: dict[str, Flaw] = {}
    for name, pk, *rest in rows.values_list("name", *columns, "described").iterator():
        flaw = flaws.get(pk)
        if flaw is None:
            flaw = flaws[pk] = Flaw(pk, *rest)
        found[name] = flaw
    return found


_COLUMNS = (
    "name",
    "title",
    "description",
    "references",
    "cvss_score",
    "cvss_vector",
    "epss",
    "known_exploited",
    "known_exploited_source",
    "published_at",
    "created_at",
)


def _insert(fresh: dict[str, Named], aliases: dict[str, str], names: set[str]) -> dict[str, Flaw]:
    """Insert in the order of names, so that reports taken in at the same time wait for each other and never deadlock;
    what another one inserted first is used instead of ours. Returns the flaws by every new name."""
    if not aliases:
        return {}
    now = timezone.now()
    facts = _facts(fresh)
    rows = [(*_made(e, *facts.get(name, (None, False))), now) for name, e in sorted(fresh.items())]
    made = bulk.insert_missing(Vulnerability, _COLUMNS, rows)
    if made is not None and fresh.keys() >= set(aliases.values()):
        flaws = {row[0]: _flaw(pk, row) for pk, row in zip(made, rows, strict=True)}
        named = [(n, flaws[c].id) for n, c in sorted(aliases.items())]
        if bulk.insert_missing(Alias, ("name", "vulnerability_id"), named) is not None:
            return {n: flaws[c] for n, c in aliases.items()}  # all of it is ours: no look-up tells more
    wanted = bulk.among(sorted(set(aliases.values())))
    ids = dict(Vulnerability.objects.filter(name__in=wanted).values_list("name", "pk"))
    # An id that somebody else's report merged away meanwhile is a name of another flaw by now; the look-up tells.
    named = [(n, ids[c]) for n, c in sorted(aliases.items()) if c in ids]
    bulk.insert_missing(Alias, ("name", "vulnerability_id"), named)
    return known_flaws(names if len(aliases) * 2 > len(names) else set(aliases))


def _flaw(pk: int, row: Sequence[Any]) -> Flaw:
    """As ``known_flaws`` reads what was written as ``row``."""
    name, title, description, _, score, vector, epss, is_exploited, source, published_at, _ = row
    return Flaw(pk, name, title, score, vector, epss, is_exploited, source, published_at, bool(description))


def _facts(names: Iterable[str]) -> dict[str, tuple[float | None, bool]]:
    """A flaw met for the first time may have a probability and long be known to be exploited: by its CVE."""
    cves = bulk.among(sorted(n for n in names if is_cve(n)))
    scores = EpssScore.objects.filter(name__in=cves).values_list("name", "score")
    exploited = KnownExploited.objects.filter(name__in=cves).values_list("name", Value(None, FloatField()))
    found: dict[str, tuple[float | None, bool]] = {}
    for name, score in scores.union(exploited, all=True):
        before = found.get(name, (None, False))
        found[name] = (before[0], True) if score is None else (score, before[1])
    return found


def _made(e: Named, score: float | None, is_exploited: bool) -> tuple[Any, ...]:
    source = e.source[:50] if e.known_exploited else KEV if is_exploited else ""
    return (
        e.canonical,
        e.title[:500],
        e.description,
        list(e.references),
        e.cvss_score,
        e.cvss_vector[:200],
        e.epss if score is None else score,
        e.known_exploited or is_exploited,
        source,
        e.published_at,
    )


def _merge(
    pairs: list[tuple[str, Flaw]], entries: list[Named], known: dict[str, Flaw], names: set[str]
) -> dict[str, Flaw]:
    new = {e.canonical: e for e in entries if e.canonical not in known}
    missing = {kept: new[kept] for kept, _ in pairs if kept in new}
    known = known | _insert(missing, {n: n for n in missing}, set(missing))
    merge([(known[kept].id, gone.id) for kept, gone in pairs])
    return known_flaws(names)


@transaction.atomic
def merge(pairs: Sequence[tuple[int, int]]) -> None:
    """For each (kept id, gone id): make the gone flaw another name of the kept one."""
    for follow in ON_MERGE:
        follow(pairs)
    for kept, gone in pairs:
        Alias.objects.filter(vulnerability=gone).update(vulnerability=kept)
        said = AdvisoryFlaw.objects.filter(vulnerability=gone)
        said.exclude(advisory__about__vulnerability=kept).update(vulnerability=kept)
        if Vulnerability.objects.filter(pk=gone, known_exploited=True).exists():
            Vulnerability.objects.filter(pk=kept).update(known_exploited=True)
    Vulnerability.objects.filter(pk__in=[gone for _, gone in pairs]).delete()


_FACTS = ("title", "cvss_score", "cvss_vector", "published_at", "epss", "known_exploited", "known_exploited_source")


def _learn(entries: list[Named], known: dict[str, Flaw]) -> None:
    """Fill what was empty; EPSS and known exploitation follow the latest report. Writes only what changed."""
    changed: dict[int, Flaw] = {}
    described: dict[int, Named] = {}
    news: set[int] = set()
    for e in entries:
        flaw = known[e.canonical]
        before = (flaw.epss, flaw.known_exploited)
        if _fill(flaw, e):
            changed[flaw.id] = flaw
            if before != (flaw.epss, flaw.known_exploited):
                news.add(flaw.id)
        if e.description and not flaw.is_described:
            described[flaw.id] = e
    ids = sorted(changed.keys() | described.keys())
    if not ids:
        return
    _lock(ids)
    bulk.update(Vulnerability, _FACTS, [(pk, *(getattr(changed[pk], f) for f in _FACTS)) for pk in sorted(changed)])
    texts = [(pk, e.description, list(e.references)) for pk, e in sorted(described.items())]
    bulk.update(Vulnerability, ("description", "references"), texts)
    for follow in FACTS_CHANGED if news else ():
        follow(sorted(news))


def _lock(ids: Sequence[int]) -> None:
    """In one order for everybody; rows that point here stay free to be written."""
    rows = Vulnerability.objects.filter(pk__in=bulk.among(ids)).order_by("pk")
    list(rows.select_for_update(no_key=True).values_list("pk"))


def _fill(flaw: Flaw, e: Named) -> bool:
    before = [getattr(flaw, f) for f in _FACTS]
    flaw.title = flaw.title or e.title[:500]
    flaw.cvss_vector = flaw.cvss_vector or e.cvss_vector[:200]
    flaw.cvss_score = e.cvss_score if flaw.cvss_score is None else flaw.cvss_score
    flaw.published_at = flaw.published_at or e.published_at
    if e.epss is not None and (flaw.epss is None or abs(flaw.epss - e.epss) > EPSS_NEWS):
        flaw.epss = e.epss
    if e.known_exploited and not flaw.known_exploited:
        flaw.known_exploited, flaw.known_exploited_source = True, e.source[:50]
    return before != [getattr(flaw, f) for f in _FACTS]
