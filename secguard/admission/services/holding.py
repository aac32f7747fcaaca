"""What a snapshot holds: gathered image by image in batches, by the same queries that answer a review."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, Min, OuterRef, Q, QuerySet

from secguard.admission.answer import GRACED, Knowledge
from secguard.admission.models import ClusterGate
from secguard.admission.review import Review, Subject
from secguard.admission.services.answering import known_of
from secguard.admission.snapshot import MAX_AGE, MAX_IMAGES, MAX_PLACES, Entry, Writer
from secguard.findings.models import Exposure, Finding
from secguard.images.models import Image, ImageRepository, IndexImage, Tag
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict
from secguard.policies.services import verdict_of
from secguard.workloads.models import Workload
from secguard.workloads.podspec import ImageUse

BATCH = 200
JUDGING_SECONDS = 5.0
"""How long a snapshot may take to judge what has no verdict that holds; what is left then is held as pending."""
NOWHERE = "secguard.invalid/image"
"""A repository that nobody has (RFC 6761, section 6.4): what is known of a digest wherever it lies."""


@dataclass
class Holding:
    """One snapshot in the making."""

    gate: ClusterGate
    now: datetime
    writer: Writer
    ends: dict[int, tuple[datetime, datetime | None]] = field(default_factory=dict)
    """Image id to the end of its verdict and of restarts; of those that are held and have a verdict."""
    digests: set[str] = field(default_factory=set)
    runs: Mapping[int, set[str]] = field(default_factory=dict)
    judging_ends: float = field(default_factory=lambda: time.monotonic() + JUDGING_SECONDS)
    is_full: bool = False

    def hold(self) -> bytearray:
        """The document's bytes."""
        self.runs = _namespaces(self.gate)
        images = _images(self.gate)
        known = images.count()
        ordered = list(images.order_by("-runs", "-pk").values_list("pk", "digest")[:MAX_IMAGES])
        for batch in _batches(ordered):
            self._images(dict(batch))
        for several in _batches(sorted(_indexes(self.ends).items())):
            self._indexes(dict(several))
        return self.writer.finish(_tags(self.digests), known)

    def _images(self, digests: Mapping[int, str]) -> None:
        judged = self._judged(digests)
        for pk in digests.keys() - judged:
            self._write(digests[pk], Entry(None))
        named = {pk: _Named(digests[pk]) for pk in judged}
        for pk, place in ImageRepository.objects.filter(image_id__in=judged).values_list(
            "image_id", "repository__name"
        ):
            named[pk].places |= {place}
        told = self._told(named.values())
        ends = restarts({k.image_id: k.document for k in told.values() if k.image_id and k.document}, self.now)
        for pk in sorted(judged):
            known = told.get(f"{NOWHERE}@{digests[pk]}")
            if known is None or known.document is None:
                self._write(digests[pk], Entry(None))
                continue
            self.ends[pk] = (_moment(known.document["valid_until"]), ends.get(pk))
            self._write(digests[pk], self._entry(named[pk], told, *self.ends[pk]))

    def _indexes(self, members: Mapping[str, list[int]]) -> None:
        """An index holds while all of its platforms' verdicts do."""
        whole = {digest: pks for digest, pks in members.items() if all(pk in self.ends for pk in pks)}
        for digest in members.keys() - whole.keys():
            self._write(digest, Entry(None), is_image=False)
        rows = ImageRepository.objects.filter(image_id__in={pk for pks in whole.values() for pk in pks})
        places: dict[int, set[str]] = defaultdict(set)
        for pk, place in rows.values_list("image_id", "repository__name"):
            places[pk].add(place)
        named = {digest: _Named(digest, set().union(*(places[pk] for pk in pks))) for digest, pks in whole.items()}
        told = self._told(named.values())
        for digest, pks in sorted(whole.items()):
            until = min(self.ends[pk][0] for pk in pks)
            restart = min((end for pk in pks if (end := self.ends[pk][1]) is not None), default=None)
            self._write(digest, self._entry(named[digest], told, until, restart), is_image=False)

    def _judged(self, digests: Mapping[int, str]) -> set[int]:
        """Those with a verdict that holds: stored, or judged now while there is time."""
        holds = set(_holding(digests, self.now).values_list("image_id", flat=True))
        for image in Image.objects.filter(pk__in=digests.keys() - holds).order_by("pk"):
            if time.monotonic() > self.judging_ends:
                break
            verdict_of(image, Gate.ADMIT)
            holds.add(image.pk)
        return holds

    def _told(self, named: Iterable[_Named]) -> Mapping[str, Knowledge]:
        """What is known by each name. Nothing is kept of it (a dry run), no break-glass is in it (no namespace)."""
        uses = tuple(ImageUse("", name, "container") for n in named for name in n.names)
        return known_of(Review(Subject(dry_run=True), uses), self.gate, self.now)

    def _entry(self, named: _Named, told: Mapping[str, Knowledge], until: datetime, restart: datetime | None) -> Entry:
        known, *there = (told[name] for name in named.names)
        where = dict(zip(sorted(named.places)[:MAX_PLACES], there, strict=True))
        return Entry(known, where, until, restart, frozenset(self.runs.get(known.image_id or 0, ())))

    def _write(self, digest: str, entry: Entry, *, is_image: bool = True) -> None:
        """What comes after the first that has no room is left out: one that runs is never the price of another."""
        if self.is_full or not self.writer.entry(digest, entry, is_image=is_image):
            self.is_full = True
            return
        self.digests.add(digest)


@dataclass
class _Named:
    digest: str
    places: set[str] = field(default_factory=set)

    @property
    def names(self) -> list[str]:
        """As nobody's repository names it, and as each of its own does."""
        return [f"{place}@{self.digest}" for place in (NOWHERE, *sorted(self.places)[:MAX_PLACES])]


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _images(gate: ClusterGate) -> QuerySet[Any]:
    """What may be asked about: what runs in this cluster, was judged for admission or lies in a preferred registry."""
    runs = Exists(Workload.objects.running().filter(cluster_id=gate.cluster_id, images=OuterRef("pk")))
    judged = Exists(Verdict.objects.filter(image=OuterRef("pk"), stage=Gate.ADMIT))
    preferred = Exists(ImageRepository.objects.filter(image=OuterRef("pk"), repository__registry__is_preferred=True))
    return Image.objects.annotate(runs=runs).filter(Q(runs=True) | judged | preferred)


def _namespaces(gate: ClusterGate) -> dict[int, set[str]]:
    """Image id to the namespaces of the cluster in which it runs."""
    found: dict[int, set[str]] = defaultdict(set)
    rows = Workload.objects.running().filter(cluster_id=gate.cluster_id, images__isnull=False)
    for image, namespace in rows.values_list("images", "namespace").distinct():
        found[image].add(namespace)
    return found


def _holding(image_ids: Iterable[int], now: datetime) -> QuerySet[Verdict]:
    """As ``queries.stored_verdicts`` has them."""
    return Verdict.objects.filter(
        image_id__in=image_ids,
        stage=Gate.ADMIT,
        valid_until__gt=now,
        evaluation__policy_version__policy__is_gating=True,
        evaluation__policy_version__policy__active_version=F("evaluation__policy_version"),
    )


def _indexes(held: Iterable[int]) -> dict[str, list[int]]:
    """Indexes that name images that are held, by digest, with all of their members."""
    ids: set[int] = set()
    for batch in _batches(sorted(held)):
        ids.update(IndexImage.objects.filter(image_id__in=batch).values_list("index_id", flat=True))
    found: dict[str, list[int]] = defaultdict(list)
    for batch in _batches(sorted(ids)):
        for digest, pk in IndexImage.objects.filter(index_id__in=batch).values_list("index__digest", "image_id"):
            found[digest].append(pk)
    return found


def _tags(digests: set[str]) -> Iterator[tuple[str, str, str]]:
    rows = Tag.objects.order_by("repository__name", "name")
    columns = rows.values_list("repository__name", "name", "index__digest", "image__digest")
    for repository, name, index, image in columns.iterator(chunk_size=2000):
        if (digest := index or image) in digests:
            yield repository, name, digest


# --- until when what runs may restart, once the verdict has ended ---


def restarts(documents: Mapping[int, Mapping[str, Any]], now: datetime) -> dict[int, datetime]:
    """Image id to the instant from which what runs may restart no longer, by what is known now (DESIGN rule 8).

    Nothing is learned while the server is away, but time passes: a grace of the policy and a decision end. From then on
    their findings block, and what runs may restart until the first of their deadlines, where all of them have one. Two
    queries.
    """
    ends: dict[int, list[datetime]] = defaultdict(list)
    for pk, document in documents.items():
        for reason in document["reasons"]:
            if reason["effect"] == "warn" and reason.get("until"):
                ends[pk].append(_end(_moment(reason["until"]), reason["findings"]))
    soon = _ending(documents, now)
    found = _findings({finding for several in soon.values() for _, ids in several for finding in ids})
    for pk, several in soon.items():
        for end, ids in several:
            ends[pk].append(_end(end, [found[i] for i in ids if i in found]))
    return {pk: min(moments) for pk, moments in ends.items()}


def _end(begins: datetime, findings: Sequence[Mapping[str, Any]]) -> datetime:
    """From ``begins`` on they block; the first of their deadlines, if it is later and each has one."""
    due = [f.get("due_at") for f in findings]
    if not findings or None in due or any(f["kind"] not in GRACED for f in findings):
        return begins
    return max(begins, min(_moment(d) for d in due))


def _ending(documents: Mapping[int, Mapping[str, Any]], now: datetime) -> dict[int, list[tuple[datetime, list[int]]]]:
    """Image id to decisions that may end within a snapshot's life: (their end, the findings that they cover)."""
    found: dict[int, list[tuple[datetime, list[int]]]] = defaultdict(list)
    for pk, document in documents.items():
        ends = {d["id"]: _moment(d["expires_at"]) for d in document.get("decisions", ()) if d.get("expires_at")}
        for covered in document.get("covered", ()):
            end = ends.get(covered["decision"])
            if end is not None and end <= now + MAX_AGE:
                found[pk].append((end, covered["findings"]))
    return found


def _findings(ids: set[int]) -> dict[int, dict[str, Any]]:
    """Finding id to its kind, and its deadline as the image's repositories have it."""
    rows = list(Finding.objects.filter(pk__in=ids).values_list("pk", "image_id", "risk_id", "risk__kind"))
    if not rows:
        return {}
    dues: dict[tuple[int, int], datetime] = {}
    deadlines = Exposure.objects.filter(
        risk_id__in={risk for _, _, risk, _ in rows},
        repository__places__image_id__in={image for _, image, _, _ in rows},
    ).values_list("repository__places__image_id", "risk_id")
    for image, risk, due in deadlines.annotate(Min("due_at")):
        dues[image, risk] = due
    return {pk: {"kind": kind, "due_at": dues.get((image, risk))} for pk, image, risk, kind in rows}


def _moment(value: Any) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)
