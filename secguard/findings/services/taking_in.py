"""Take in what a scanner says of an image: set-based, in one transaction, writing only what changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from secguard import bulk
from secguard.advisories.naming import Flaw
from secguard.findings.changes import Identity, Standing, compare
from secguard.findings.entries import Entry, adoptions
from secguard.findings.identity import GENERIC
from secguard.findings.models import OPEN, Finding, Observation
from secguard.findings.services.exposures import know_older, refresh_exposures
from secguard.findings.services.risks import News, learn
from secguard.findings.services.words import Speaker, Spoken, create, hear, move, recount
from secguard.images.models import Image, Repository


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
    speaker = Speaker(scanner, at, scan_id)
    standing = _standing(image, scanner)
    _adopt(entries, standing, flaws, components, at)
    changes = compare({i: e.said for i, e in entries.items()}, standing, covers, is_complete=is_complete)
    news = News()
    create(speaker, [_spoken(image, entries[i], components) for i in changes.new], flaws, news)
    again = [(standing[i], entries[i].said) for i in changes.said_again]
    settled = hear(speaker, again, [standing[i] for i in changes.withdrawn], news)
    learn(news, at)
    has_changed = bool(changes.new or changes.said_again or changes.withdrawn)
    if has_changed or not image.severity_counts:
        recount([image])
    if has_changed or is_placed:
        _show_in_repositories(image, at)
    return Taken(
        found=len(entries),
        introduced=len(changes.new),
        reopened=len(settled.reopened),
        changed=len(changes.said_again),
        closed=len(settled.closed),
        unchanged=changes.unchanged,
        by_severity=image.severity_counts,
    )


def _spoken(image: Image, e: Entry, components: Mapping[str, int]) -> Spoken:
    return Spoken(image.pk, components[e.purl] if e.purl else None, e, e.path, e.layer)


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
    entries: Mapping[Identity, Entry],
    standing: dict[Identity, Standing],
    flaws: Mapping[str, Flaw],
    components: Mapping[str, int],
    at: datetime,
) -> None:
    """Let findings that stood under a mere name and version stand under the package that is now told."""
    vague = {i: s for i, s in standing.items() if i[1].startswith(f"pkg:{GENERIC}/")}
    if not vague:
        return
    rows = Finding.objects.filter(pk__in=bulk.among([s.id for s in vague.values()]))
    names = dict(rows.values_list("pk", "risk__vulnerability__name"))
    named = [(i, names[s.id]) for i, s in vague.items()]
    moves = {old: new for old, new in adoptions(entries, named).items() if new not in standing}
    move([(standing[old], entries[new], components[new[1]]) for old, new in moves.items()], flaws, at)
    for old, new in moves.items():
        standing[new] = standing.pop(old)


def _show_in_repositories(image: Image, at: datetime) -> None:
    for repository in Repository.objects.filter(places__image=image).select_related("application").order_by("pk"):
        if repository.newest_image_id == image.pk:
            refresh_exposures(repository, at=at)
        else:
            know_older(repository, image, at=at)
