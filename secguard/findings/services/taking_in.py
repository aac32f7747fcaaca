"""Take in what a scanner says of an image: set-based, in one transaction, writing only what changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, Q

from secguard import bulk
from secguard.advisories.naming import Flaw
from secguard.findings.changes import Changes, Identity, Said, Standing, compare, outcome
from secguard.findings.entries import Entry, adoptions
from secguard.findings.identity import GENERIC
from secguard.findings.models import CLOSED, OPEN, Finding, Observation
from secguard.findings.services.exposures import know_older, refresh_exposures
from secguard.findings.services.risks import News, ensure_risks, learn
from secguard.findings.severity import Severity
from secguard.images.models import Image, Repository

NOT_REPORTED = "no scanner reports it any more"


@dataclass(slots=True)
class Taken:
    """What a scan changed, in findings."""

    found: int = 0
    introduced: int = 0
    reopened: int = 0
    changed: int = 0
    closed: int = 0
    unchanged: int = 0
    by_severity: dict[str, int] = field(default_factory=dict)

    def as_counts(self) -> dict[str, object]:
        return {f: getattr(self, f) for f in self.__slots__}


@dataclass(frozen=True, slots=True)
class Word:
    """Who speaks: one scan of one image by one scanner."""

    image: Image
    scanner: str
    scan_id: int
    at: datetime


@transaction.atomic
def take_in(
    image: Image,
    entries: Mapping[Identity, Entry],
    *,
    flaws: Mapping[str, Flaw],
    components: Mapping[str, int],
    scanner: str,
    scan_id: int,
    covers: Iterable[str],
    is_complete: bool,
    at: datetime,
    is_placed: bool = False,
) -> Taken:
    """Bring ``image``'s findings to what ``scanner`` now says. The caller holds the image's lock.

    ``flaws``: canonical name to flaw, ``components``: canonical purl to row id, both for everything in ``entries``.
    ``is_placed``: the image was not known in one of its repositories before.
    """
    word = Word(image, scanner, scan_id, at)
    standing = _standing(image, scanner)
    _adopt(word, entries, standing, flaws, components)
    changes = compare({i: e.said for i, e in entries.items()}, standing, covers, is_complete=is_complete)
    news = News()
    _create(word, changes.new, entries, flaws, components, news)
    touched = _hear(word, changes, entries, standing)
    taken = Taken(
        found=len(entries),
        introduced=len(changes.new),
        unchanged=changes.unchanged,
        changed=len(changes.said_again),
    )
    _settle(word, touched, standing, taken, news)
    learn(news, at)
    has_changed = bool(changes.new or touched)
    _count(image, taken, has_changed=has_changed)
    if has_changed or is_placed:
        _show_in_repositories(image, at)
    return taken


def _standing(image: Image, scanner: str) -> dict[Identity, Standing]:
    """What stands in the image by identity, with this scanner's own words."""
    by_id: dict[int, Standing] = {}
    standing: dict[Identity, Standing] = {}
    rows = Finding.objects.filter(image=image).values_list(
        "id", "risk_id", "risk__kind", "status", "risk__key", "component__purl"
    )
    for pk, risk, kind, status, key, purl in rows.iterator(chunk_size=10_000):
        by_id[pk] = standing[key, purl or ""] = Standing(pk, risk, kind, status == OPEN)
    words = Observation.objects.filter(finding__image=image, scanner=scanner) if by_id else Observation.objects.none()
    said = words.annotate(is_withdrawn=Q(withdrawn_at__isnull=False))
    for pk, finding, fingerprint, is_withdrawn in said.values_list("id", "finding_id", "fingerprint", "is_withdrawn"):
        row = by_id[finding]
        row.observation_id = pk
        row.fingerprint = "" if is_withdrawn else fingerprint
    return standing


def _adopt(
    word: Word,
    entries: Mapping[Identity, Entry],
    standing: dict[Identity, Standing],
    flaws: Mapping[str, Flaw],
    components: Mapping[str, int],
) -> None:
    """Let findings that stood under a mere name and version stand under the package that is now told."""
    vague = {i: s for i, s in standing.items() if i[1].startswith(f"pkg:{GENERIC}/")}
    if not vague:
        return
    rows = Finding.objects.filter(pk__in=bulk.among([s.id for s in vague.values()]))
    names = dict(rows.values_list("pk", "risk__vulnerability__name"))
    named = [(i, names[s.id]) for i, s in vague.items()]
    moves = {old: new for old, new in adoptions(entries, named).items() if new not in standing}
    risks, _ = ensure_risks([entries[new] for new in moves.values()], flaws, word.at)
    updates = []
    for old, new in moves.items():
        stands = standing[new] = standing.pop(old)
        stands.risk_id = risks[new[0]]
        updates.append((stands.id, stands.risk_id, components[new[1]]))
    bulk.update(Finding, ("risk_id", "component_id"), updates)


_FINDING = (
    "image_id",
    "risk_id",
    "component_id",
    "status",
    "severity",
    "severity_source",
    "fixed_versions",
    "path",
    "layer",
    "first_seen_at",
    "close_reason",
)
_OBSERVATION = (
    "finding_id",
    "scanner",
    "severity",
    "severity_source",
    "reported_id",
    "fixed_versions",
    "suppressed",
    "fingerprint",
    "since",
    "scan_id",
    "withdrawn_at",
    "withdrawn_by_scan_id",
)


def _create(
    word: Word,
    new: Sequence[Identity],
    entries: Mapping[Identity, Entry],
    flaws: Mapping[str, Flaw],
    components: Mapping[str, int],
    news: News,
) -> None:
    if not new:
        return
    risks, unknown = ensure_risks([entries[i] for i in new], flaws, word.at)
    rows = []
    for identity in new:
        e = entries[identity]
        said, risk = e.said, risks[e.risk_key]
        rows.append(
            (
                word.image.pk,
                risk,
                components[e.purl] if e.purl else None,
                OPEN,
                said.severity,
                (said.severity_source or word.scanner)[:50],
                said.fixed_versions,
                e.path[:1000],
                e.layer[:80],
                word.at,
                "",
            )
        )
        if e.risk_key not in unknown:
            news.reported(risk, said.severity, fix=bool(said.fixed_versions))
    ids = bulk.insert(Finding, _FINDING, rows)
    words = (_observed(pk, entries[i].said, word) for pk, i in zip(ids, new, strict=True))
    bulk.insert(Observation, _OBSERVATION, words)


def _observed(finding_id: int, said: Said, word: Word) -> tuple[Any, ...]:
    return (
        finding_id,
        word.scanner,
        said.severity,
        said.severity_source[:50],
        said.reported_id[:100],
        said.fixed_versions,
        said.suppressed[:300],
        said.fingerprint,
        word.at,
        word.scan_id,
        None,
        None,
    )


def _hear(
    word: Word, changes: Changes, entries: Mapping[Identity, Entry], standing: Mapping[Identity, Standing]
) -> dict[Identity, Said | None]:
    """Write this scanner's changed and withdrawn words. Returns them by identity; ``None`` where it withdrew."""
    again, first = [], []
    for identity in changes.said_again:
        stands = standing[identity]
        row = _observed(stands.id, entries[identity].said, word)
        if stands.observation_id:
            again.append((stands.observation_id, *row[2:]))
        else:
            first.append(row)
    bulk.insert(Observation, _OBSERVATION, first)
    bulk.update(Observation, _OBSERVATION[2:], again)
    gone = [(standing[i].observation_id, word.at, word.scan_id) for i in changes.withdrawn]
    bulk.update(Observation, ("withdrawn_at", "withdrawn_by_scan_id"), gone)
    heard: dict[Identity, Said | None] = {i: entries[i].said for i in changes.said_again}
    return {**heard, **dict.fromkeys(changes.withdrawn)}


def _settle(
    word: Word,
    touched: Mapping[Identity, Said | None],
    standing: Mapping[Identity, Standing],
    taken: Taken,
    news: News,
) -> None:
    """Bring touched findings to what all their scanners say: another severity or fix, closed, or open again."""
    if not touched:
        return
    ids = [standing[i].id for i in touched]
    others = _words_of_others(ids, word.scanner)
    shown = _shown(ids)
    closing: list[tuple[Any, ...]] = []
    opening: list[tuple[Any, ...]] = []
    changing: list[tuple[Any, ...]] = []
    for identity, said in touched.items():
        stands = standing[identity]
        words = others.get(stands.id, {})
        now = outcome({**words, word.scanner: said} if said else words)
        if now is None:
            if stands.is_open:
                closing.append((stands.id, CLOSED, word.at, NOT_REPORTED))
                news.lowered.add(stands.risk_id)
            continue
        row = (stands.id, now.severity, now.severity_source[:50], now.fixed_versions)
        before = shown[stands.id]
        news.reported(stands.risk_id, now.severity, fix=bool(now.fixed_versions))
        if not stands.is_open:
            opening.append((*row, OPEN, None, ""))
        elif row[1:] != before:
            changing.append(row)
            if now.severity < before[0]:
                news.lowered.add(stands.risk_id)
    columns = ("severity", "severity_source", "fixed_versions")
    bulk.update(Finding, columns, changing)
    bulk.update(Finding, (*columns, "status", "closed_at", "close_reason"), opening)
    bulk.update(Finding, ("status", "closed_at", "close_reason"), closing)
    taken.closed, taken.reopened = len(closing), len(opening)


def _words_of_others(finding_ids: Sequence[int], scanner: str) -> dict[int, dict[str, Said]]:
    """What scanners other than ``scanner`` say of these findings at present."""
    rows = Observation.objects.filter(finding__in=bulk.among(finding_ids), withdrawn_at=None).exclude(scanner=scanner)
    found: dict[int, dict[str, Said]] = {}
    for finding, who, severity, source, reported, fixed, suppressed in rows.values_list(
        "finding_id", "scanner", "severity", "severity_source", "reported_id", "fixed_versions", "suppressed"
    ):
        found.setdefault(finding, {})[who] = Said(severity, source, reported, tuple(fixed), suppressed)
    return found


def _shown(finding_ids: Sequence[int]) -> dict[int, tuple[int, str, tuple[str, ...]]]:
    rows = Finding.objects.filter(pk__in=bulk.among(finding_ids))
    return {
        pk: (severity, source, tuple(fixed))
        for pk, severity, source, fixed in rows.values_list("pk", "severity", "severity_source", "fixed_versions")
    }


def _count(image: Image, taken: Taken, *, has_changed: bool) -> None:
    """The image's own counts, of all scanners."""
    if has_changed or not image.severity_counts:
        recount(image)
    taken.by_severity = image.severity_counts


def recount(image: Image) -> None:
    """Write the image's counts of open findings anew."""
    rows = Finding.objects.filter(image=image, status=OPEN).order_by("severity").values_list("severity")
    by_severity = dict(rows.annotate(n=Count("id")))
    image.severity_counts = {Severity(s).label: n for s, n in sorted(by_severity.items(), reverse=True)}
    image.open_findings = sum(by_severity.values())
    image.worst_severity = max(by_severity, default=0)
    image.save(update_fields=["severity_counts", "open_findings", "worst_severity"])


def _show_in_repositories(image: Image, at: datetime) -> None:
    for repository in Repository.objects.filter(places__image=image).select_related("application").order_by("pk"):
        if repository.newest_image_id == image.pk:
            refresh_exposures(repository, at=at)
        else:
            know_older(repository, image, at=at)
