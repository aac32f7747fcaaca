"""One scanner's words on many images at once, without a scan: because what it knows of the world changed.

Exactly what taking each of the images in again would write, by the same rules (``words``), in as many statements as for
one image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q

from secguard import bulk
from secguard.advisories.naming import Flaw
from secguard.findings.changes import Said, Standing
from secguard.findings.entries import Entry, adoptions
from secguard.findings.identity import GENERIC
from secguard.findings.models import OPEN, Finding, Observation, Risk
from secguard.findings.services.exposures import follow_findings
from secguard.findings.services.following import IMAGES_CHANGED
from secguard.findings.services.risks import News, learn
from secguard.findings.services.words import Speaker, Spoken, create, hear, move, recount
from secguard.images.models import Image

WITHDRAWN = "the advisories no longer say that this version is affected"


class Told(NamedTuple):
    """What the scanner now says, or no longer says, of one component in one image."""

    image_id: int
    component_id: int
    entry: Entry
    """The same object for all the images; its own path and layer are not read."""
    path: str
    layer: str
    is_said: bool

    @property
    def place(self) -> Place:
        return self.image_id, self.entry.risk_key, self.component_id


Place = tuple[int, str, int]
"""(image, risk key, component): a finding's identity over all images."""


@dataclass(slots=True)
class Spread:
    """What was written. The pairs are (image, risk)."""

    introduced: list[tuple[int, int]] = field(default_factory=list)
    reopened: list[tuple[int, int]] = field(default_factory=list)
    closed: list[tuple[int, int]] = field(default_factory=list)
    changed: int = 0
    """Findings of which the scanner says something else than before, those that it withdrew among them."""


@transaction.atomic
def spread(
    images: Sequence[Image], told: Iterable[Told], *, flaws: Mapping[str, Flaw], scanner: str, at: datetime
) -> Spread:
    """Bring findings of ``images``, which the caller has locked (``lock_images``), to what is told; safe to repeat.

    ``flaws``: canonical name to flaw, for every entry.
    """
    words = list(told)
    speaker = Speaker(scanner, at, scan_id=0, withdraws_as=WITHDRAWN)
    standing = _standing(images, words, scanner)
    left = _adopt(words, standing, flaws, at)
    if left:
        standing = _standing(images, words, scanner)
    new, again, gone, touched = _compare(words, standing)
    news = News()
    risks = create(speaker, [Spoken(t.image_id, t.component_id, t.entry, t.path, t.layer) for t in new], flaws, news)
    settled = hear(speaker, again, gone, news)
    learn(news, at)
    introduced = [(t.image_id, risk) for t, risk in zip(new, risks, strict=True)]
    _show(images, {*introduced, *touched.values(), *left}, at)
    return Spread(
        introduced=introduced,
        reopened=[touched[pk] for pk in settled.reopened],
        closed=[touched[pk] for pk in settled.closed],
        changed=len(touched),
    )


def _standing(images: Sequence[Image], words: Sequence[Told], scanner: str) -> dict[Place, Standing]:
    """The findings that are spoken of, as far as there are any."""
    keys = sorted({t.entry.risk_key for t in words})
    risks = dict(Risk.objects.filter(key__in=bulk.among(keys)).values_list("pk", "key"))
    rows = Finding.objects.filter(image__in=bulk.among([i.pk for i in images]), risk__in=bulk.among(sorted(risks)))
    spoken = {t.place for t in words}
    found: dict[Place, Standing] = {}
    by_id: dict[int, Standing] = {}
    for pk, image, risk, component, status in rows.values_list("pk", "image_id", "risk_id", "component_id", "status"):
        place = (image, risks[risk], component or 0)
        if place in spoken:
            by_id[pk] = found[place] = Standing(pk, risk, "", status == OPEN)
    said = Observation.objects.filter(finding__in=bulk.among(sorted(by_id)), scanner=scanner)
    said = said.annotate(is_withdrawn=Q(withdrawn_at__isnull=False))
    for pk, finding, fingerprint, is_withdrawn in said.values_list("pk", "finding_id", "fingerprint", "is_withdrawn"):
        by_id[finding].observation_id = pk
        by_id[finding].fingerprint = "" if is_withdrawn else fingerprint
    return found


def _adopt(
    words: Sequence[Told], standing: Mapping[Place, Standing], flaws: Mapping[str, Flaw], at: datetime
) -> set[tuple[int, int]]:
    """Let findings that stood under a mere name and version stand under the package that is now told (as taking an
    image in does); returns the (image, risk) that they left."""
    new: dict[int, dict[tuple[str, str], Told]] = defaultdict(dict)
    for t in words:
        if t.is_said and t.place not in standing:
            new[t.image_id][t.entry.identity] = t
    vague = Finding.objects.filter(
        image__in=bulk.among(sorted(new)),
        component__type=GENERIC,
        risk__vulnerability__in=bulk.among(sorted({f.id for f in flaws.values()})),
    )
    named: dict[int, list[tuple[tuple[str, str], str]]] = defaultdict(list)
    stands: dict[tuple[int, tuple[str, str]], Standing] = {}
    for pk, image, risk, key, purl, flaw in vague.values_list(
        "pk", "image_id", "risk_id", "risk__key", "component__purl", "risk__vulnerability__name"
    ):
        stands[image, (key, purl)] = Standing(pk, risk, "", is_open=True)
        named[image].append(((key, purl), flaw))
    moves: list[tuple[Standing, Entry, int]] = []
    left: set[tuple[int, int]] = set()
    for image, found in named.items():
        entries = {identity: t.entry for identity, t in new[image].items()}
        for old, taken in adoptions(entries, found).items():
            left.add((image, stands[image, old].risk_id))
            moves.append((stands[image, old], entries[taken], new[image][taken].component_id))
    if moves:
        move(moves, flaws, at)
    return left


Compared = tuple[list[Told], list[tuple[Standing, Said]], list[Standing], dict[int, tuple[int, int]]]


def _compare(words: Sequence[Told], standing: Mapping[Place, Standing]) -> Compared:
    """(new, said again or otherwise, withdrawn, {finding: (image, risk)} of the latter two)."""
    new, again, gone = [], [], []
    touched: dict[int, tuple[int, int]] = {}
    prints: dict[int, str] = {}
    for t in words:
        stands = standing.get(t.place)
        if stands is None:
            if t.is_said:
                new.append(t)
            continue
        if t.is_said:
            fingerprint = prints.get(id(t.entry)) or prints.setdefault(id(t.entry), t.entry.said.fingerprint)
            if stands.fingerprint == fingerprint:
                continue
            again.append((stands, t.entry.said))
        elif stands.fingerprint:
            gone.append(stands)
        else:
            continue
        touched[stands.id] = (t.image_id, stands.risk_id)
    return new, again, gone, touched


def _show(images: Sequence[Image], touched: set[tuple[int, int]], at: datetime) -> None:
    """Counts, exposures and whoever judges images follow the findings that changed."""
    changed = {image for image, _ in touched}
    if not changed:
        return
    recount(image for image in images if image.pk in changed)
    follow_findings(touched, at)
    for follow in IMAGES_CHANGED:
        follow(sorted(changed), at)
