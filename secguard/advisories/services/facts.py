"""Known exploitation and exploit probability, as their catalogues say: flaws follow, and whoever depends on them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.db import transaction
from django.db.models import QuerySet

from secguard import bulk
from secguard.advisories.epss import Score
from secguard.advisories.kev import Catalogue
from secguard.advisories.models import Alias, EpssScore, KnownExploited, Vulnerability
from secguard.advisories.services.flaws import EPSS_NEWS, KEV
from secguard.advisories.services.following import FACTS_CHANGED

_KEV_COLUMNS = ("vendor", "product", "title", "required_action", "is_ransomware", "added_on", "due_on")


@transaction.atomic
def store_catalogue(catalogue: Catalogue) -> dict[str, int]:
    """Make the catalogue ours: ``{read, added, changed, unchanged, removed}``.

    What it no longer lists is no longer known to be exploited by it; a scanner's own word stands. A catalogue that
    could not be read whole, or does not say how many entries it has, takes nothing back.
    """
    known = {row.name: row for row in KnownExploited.objects.select_for_update()}
    fresh, changed = [], []
    for e in catalogue.entries:
        row = known.pop(e.name, None)
        values = {c: getattr(e, c) for c in _KEV_COLUMNS}
        if row is None:
            fresh.append(KnownExploited(name=e.name, **values))
        elif any(getattr(row, c) != v for c, v in values.items()):
            for c, v in values.items():
                setattr(row, c, v)
            changed.append(row)
    gone = list(known.values()) if catalogue.is_counted and not catalogue.faults else []
    KnownExploited.objects.bulk_create(fresh, batch_size=500)
    KnownExploited.objects.bulk_update(changed, _KEV_COLUMNS, batch_size=500)
    KnownExploited.objects.filter(pk__in=bulk.among([row.pk for row in gone])).delete()
    _follow_catalogue([e.name for e in catalogue.entries], [row.name for row in gone])
    count = len(catalogue.entries)
    return {
        "read": count,
        "added": len(fresh),
        "changed": len(changed),
        "unchanged": count - len(fresh) - len(changed),
        "removed": len(gone),
    }


def _follow_catalogue(listed: Sequence[str], gone: Sequence[str]) -> None:
    begun = _flaws(listed).filter(known_exploited=False)
    ended = _flaws(gone).filter(known_exploited=True, known_exploited_source=KEV)
    news = sorted({*_locked(begun), *_locked(ended)})
    begun.update(known_exploited=True, known_exploited_source=KEV)
    ended.update(known_exploited=False, known_exploited_source="")
    _tell(news)


def _flaws(names: Sequence[str]) -> QuerySet[Vulnerability]:
    wanted = Alias.objects.filter(name__in=bulk.among(sorted(names))).values("vulnerability_id")
    return Vulnerability.objects.filter(pk__in=wanted)


def _locked(flaws: QuerySet[Vulnerability]) -> list[int]:
    return list(flaws.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True))


@transaction.atomic
def store_scores(rows: Iterable[Score]) -> dict[str, int]:
    """Take in part of an EPSS list: ``{read, added, changed, unchanged}``. Writes no row that says the same."""
    listed = {row.name: row for row in rows}
    wanted = bulk.among(sorted(listed))
    known = {
        name: (pk, score, percentile)
        for name, pk, score, percentile in EpssScore.objects.filter(name__in=wanted).values_list(
            "name", "pk", "score", "percentile"
        )
    }
    fresh = [row for name, row in sorted(listed.items()) if name not in known]
    changed = [row for name, row in sorted(listed.items()) if name in known and known[name][1:] != row[1:]]
    bulk.insert_missing(EpssScore, ("name", "score", "percentile"), fresh)
    bulk.update(EpssScore, ("score", "percentile"), [(known[r.name][0], r.score, r.percentile) for r in changed])
    _follow_scores({r.name: r.score for r in (*fresh, *changed)})
    return {
        "read": len(listed),
        "added": len(fresh),
        "changed": len(changed),
        "unchanged": len(listed) - len(fresh) - len(changed),
    }


def _follow_scores(scores: dict[str, float]) -> None:
    """A flaw's probability follows where the difference is news, or none was known."""
    if not scores:
        return
    rows = Alias.objects.filter(name__in=bulk.among(sorted(scores))).values_list(
        "name", "vulnerability_id", "vulnerability__epss", "vulnerability__name"
    )
    news: dict[int, float] = {}
    for alias, pk, before, own in rows:
        # Of a flaw with several CVEs among its names its own one speaks.
        if (before is None or abs(before - scores[alias]) > EPSS_NEWS) and (alias == own or pk not in news):
            news[pk] = scores[alias]
    if not news:
        return
    list(
        Vulnerability.objects.filter(pk__in=bulk.among(sorted(news)))
        .order_by("pk")
        .select_for_update(no_key=True)
        .values_list("pk")
    )
    bulk.update(Vulnerability, ("epss",), sorted(news.items()))
    _tell(sorted(news))


def _tell(flaws: Sequence[int]) -> None:
    for follow in FACTS_CHANGED if flaws else ():
        follow(flaws)
