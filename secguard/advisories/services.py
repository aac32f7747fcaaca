"""Names of flaws to flaws, in sets: one look-up for a whole report."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.db import transaction
from django.db.models import Q

from secguard.advisories.models import Alias, Vulnerability
from secguard.advisories.naming import Named

Merged = Callable[[Vulnerability, Vulnerability], None]
ON_MERGE: list[Merged] = []
"""Called inside the transaction as ``(kept, gone)`` before ``gone`` is deleted: upper apps re-point what they own."""


CHUNK = 5000
BATCH = 2000
"""Names in one statement: below every database's limit of parameters."""


@transaction.atomic
def resolve(flaws: Iterable[Named]) -> dict[str, Vulnerability]:
    """Every name in ``flaws`` to its vulnerability; unknown ones are made, and names that prove to be one are merged.

    A name that already belongs to a flaw stays with it. Where one entry joins two known flaws, they become one: the
    one with the CVE (the older where both or none have it) is kept, and everything that hung on the other moves to it.
    Two different CVEs are never merged: a bundle's id stays with the flaw that had it first.
    """
    entries = list(flaws)
    known = _known({n for e in entries for n in (*e.names, e.canonical)})
    fresh: dict[str, Vulnerability] = {}
    aliases: dict[str, Vulnerability] = {}
    for entry in entries:
        owner = _owner(entry, known)
        if owner is None:
            owner = fresh.setdefault(entry.canonical, _made(entry))
        for name in (entry.canonical, *entry.names):
            if name not in known:
                known[name] = aliases[name] = owner
    _insert(fresh, aliases)
    _learn(entries, known, set(map(id, fresh.values())))
    return known


def _insert(fresh: dict[str, Vulnerability], aliases: dict[str, Vulnerability]) -> None:
    """Insert in the order of names, so that reports taken in at the same time wait for each other and never deadlock;
    what another one inserted first is used instead of ours."""
    names = sorted(fresh)
    Vulnerability.objects.bulk_create([fresh[n] for n in names], batch_size=BATCH, ignore_conflicts=True)
    for start in range(0, len(names), CHUNK):
        chunk = names[start : start + CHUNK]
        for pk, name in Vulnerability.objects.filter(name__in=chunk).values_list("pk", "name"):
            fresh[name].pk = pk
    rows = [Alias(name=n, vulnerability_id=v.pk) for n, v in sorted(aliases.items())]
    Alias.objects.bulk_create(rows, batch_size=BATCH, ignore_conflicts=True)


def _known(names: set[str]) -> dict[str, Vulnerability]:
    """The flaws that go by these names; their long texts stay in the database (10,000 of them are 10 MB)."""
    owner: dict[str, int] = {}
    wanted = sorted(names)
    for start in range(0, len(wanted), CHUNK):
        owner.update(
            Alias.objects.filter(name__in=wanted[start : start + CHUNK]).values_list("name", "vulnerability_id")
        )
    flaws: dict[int, Vulnerability] = {}
    ids = sorted(set(owner.values()))
    for start in range(0, len(ids), CHUNK):
        rows = Vulnerability.objects.filter(pk__in=ids[start : start + CHUNK]).defer("description", "references")
        flaws.update({v.pk: v for v in rows.annotate(is_described=~Q(description=""))})
    return {n: flaws[pk] for n, pk in owner.items()}


def _owner(entry: Named, known: dict[str, Vulnerability]) -> Vulnerability | None:
    owners = list({id(v): v for n in (entry.canonical, *sorted(entry.names)) if (v := known.get(n))}.values())
    if len(owners) < 2:
        return owners[0] if owners else None
    return _merge(owners, known)


def _merge(owners: list[Vulnerability], known: dict[str, Vulnerability]) -> Vulnerability:
    cves = [v for v in owners if v.name.startswith("CVE-")]
    if len(cves) > 1:
        return owners[0]
    kept = cves[0] if cves else min(owners, key=lambda v: v.pk or 0)
    for gone in owners:
        if gone is not kept and gone.pk and kept.pk:
            merge(kept, gone)
            known.update({n: kept for n, v in known.items() if v is gone})
    return kept


def merge(kept: Vulnerability, gone: Vulnerability) -> None:
    """Make ``gone`` another name of ``kept``. Call inside a transaction."""
    Alias.objects.filter(vulnerability=gone).update(vulnerability=kept)
    for follow in ON_MERGE:
        follow(kept, gone)
    kept.known_exploited = kept.known_exploited or gone.known_exploited
    kept.save(update_fields=["known_exploited"])
    gone.delete()


def _made(e: Named) -> Vulnerability:
    return Vulnerability(
        name=e.canonical[:100],
        title=e.title[:500],
        description=e.description,
        references=list(e.references),
        cvss_score=e.cvss_score,
        cvss_vector=e.cvss_vector[:200],
        epss=e.epss,
        known_exploited=e.known_exploited,
        known_exploited_source=e.source if e.known_exploited else "",
        published_at=e.published_at,
    )


def _learn(entries: list[Named], known: dict[str, Vulnerability], fresh: set[int]) -> None:
    """Fill what was empty; EPSS and known exploitation follow the latest report. Writes only what changed."""
    changed: dict[int, Vulnerability] = {}
    described: dict[int, Vulnerability] = {}
    for e in entries:
        v = known[e.canonical]
        if id(v) in fresh:
            continue
        if _fill(v, e):
            changed[v.pk] = v
        if e.description and not getattr(v, "is_described", True):
            v.description, v.references = e.description, list(e.references)
            described[v.pk] = v
    if changed:
        rows = [changed[pk] for pk in sorted(changed)]
        Vulnerability.objects.bulk_update(rows, _FACTS, batch_size=500)
    if described:
        rows = [described[pk] for pk in sorted(described)]
        Vulnerability.objects.bulk_update(rows, ["description", "references"], batch_size=200)


_FACTS = ["title", "cvss_score", "cvss_vector", "published_at", "epss", "known_exploited", "known_exploited_source"]


def _fill(v: Vulnerability, e: Named) -> bool:
    before = [getattr(v, f) for f in _FACTS]
    v.title = v.title or e.title[:500]
    v.cvss_vector = v.cvss_vector or e.cvss_vector[:200]
    v.cvss_score = e.cvss_score if v.cvss_score is None else v.cvss_score
    v.published_at = v.published_at or e.published_at
    # Scanners round differently: a difference in the fifth digit is not news.
    if e.epss is not None and (v.epss is None or abs(v.epss - e.epss) > 1e-4):
        v.epss = e.epss
    if e.known_exploited and not v.known_exploited:
        v.known_exploited, v.known_exploited_source = True, e.source[:50]
    return before != [getattr(v, f) for f in _FACTS]
