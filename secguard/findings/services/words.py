"""Scanners' words written down, over any number of images: what is new, said otherwise, withdrawn, and what findings
then show of all that is said of them.

The callers hold the images' locks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Count, QuerySet

from secguard import bulk
from secguard.advisories.naming import Flaw
from secguard.findings.changes import Said, Standing, outcome
from secguard.findings.entries import Entry
from secguard.findings.models import CLOSED, OPEN, Finding, Observation
from secguard.findings.services.risks import News, ensure_risks
from secguard.findings.severity import Severity
from secguard.images.models import Image, Repository

NOT_REPORTED = "no scanner reports it any more"


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks, and when."""

    scanner: str
    at: datetime
    scan_id: int
    """0: without a scan, because what the scanner knows of the world changed."""
    withdraws_as: str = NOT_REPORTED
    """The reason on findings that close because this speaker withdrew the last word on them."""


class Spoken(NamedTuple):
    """A finding that an image does not have yet."""

    image_id: int
    component_id: int | None
    entry: Entry
    path: str
    layer: str


def lock_images(images: QuerySet[Image]) -> list[Image]:
    """Lock these images' rows, and then those of their repositories, each in one order for everybody."""
    locked = list(images.select_for_update(no_key=True).order_by("pk"))
    places = Repository.objects.filter(places__image__in=bulk.among([i.pk for i in locked])).values("pk")
    list(Repository.objects.select_for_update(no_key=True).filter(pk__in=places).order_by("pk").values_list("pk"))
    return locked


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


def create(speaker: Speaker, new: Sequence[Spoken], flaws: Mapping[str, Flaw], news: News) -> list[int]:
    """Write new findings with the speaker's word on each; returns their risks, in the same order."""
    if not new:
        return []
    risks, unknown = ensure_risks([s.entry for s in new], flaws, speaker.at)
    rows = []
    for image, component, e, path, layer in new:
        said, risk = e.said, risks[e.risk_key]
        rows.append(
            (
                image,
                risk,
                component,
                OPEN,
                said.severity,
                (said.severity_source or speaker.scanner)[:50],
                said.fixed_versions,
                path[:1000],
                layer[:80],
                speaker.at,
                "",
            )
        )
        if e.risk_key not in unknown:
            news.reported(risk, said.severity, fix=bool(said.fixed_versions))
    ids = bulk.insert(Finding, _FINDING, rows)
    bulk.insert(
        Observation, _OBSERVATION, (_observed(pk, s.entry.said, speaker) for pk, s in zip(ids, new, strict=True))
    )
    return [row[1] for row in rows]


def _observed(finding_id: int, said: Said, speaker: Speaker) -> tuple[Any, ...]:
    return (
        finding_id,
        speaker.scanner,
        said.severity,
        said.severity_source[:50],
        said.reported_id[:100],
        said.fixed_versions,
        said.suppressed[:300],
        said.fingerprint,
        speaker.at,
        speaker.scan_id,
        None,
        None,
    )


def move(moves: Sequence[tuple[Standing, Entry, int]], flaws: Mapping[str, Flaw], at: datetime) -> None:
    """Let findings stand under the packages that are now told: (finding, the entry that tells it, component)."""
    risks, _ = ensure_risks([entry for _, entry, _ in moves], flaws, at)
    for stands, entry, _ in moves:
        stands.risk_id = risks[entry.risk_key]
    bulk.update(Finding, ("risk_id", "component_id"), [(s.id, s.risk_id, component) for s, _, component in moves])


@dataclass(slots=True)
class Settled:
    """Findings that changed their status."""

    closed: list[int] = field(default_factory=list)
    reopened: list[int] = field(default_factory=list)


def hear(speaker: Speaker, again: Sequence[tuple[Standing, Said]], gone: Sequence[Standing], news: News) -> Settled:
    """Write the speaker's changed and withdrawn words, and bring those findings to what all their scanners say:
    another severity or fix, closed, or open again."""
    first = [_observed(s.id, said, speaker) for s, said in again if not s.observation_id]
    renewed = [(s.observation_id, *_observed(s.id, said, speaker)[2:]) for s, said in again if s.observation_id]
    bulk.insert(Observation, _OBSERVATION, first)
    bulk.update(Observation, _OBSERVATION[2:], renewed)
    withdrawn = [(s.observation_id, speaker.at, speaker.scan_id) for s in gone]
    bulk.update(Observation, ("withdrawn_at", "withdrawn_by_scan_id"), withdrawn)
    return _settle(speaker, [*again, *((s, None) for s in gone)], news)


def _settle(speaker: Speaker, touched: Sequence[tuple[Standing, Said | None]], news: News) -> Settled:
    settled = Settled()
    if not touched:
        return settled
    ids = [s.id for s, _ in touched]
    others = _words_of_others(ids, speaker.scanner)
    shown = _shown(ids)
    closing: list[tuple[Any, ...]] = []
    opening: list[tuple[Any, ...]] = []
    changing: list[tuple[Any, ...]] = []
    for stands, said in touched:
        words = others.get(stands.id, {})
        now = outcome({**words, speaker.scanner: said} if said else words)
        if now is None:
            if stands.is_open:
                closing.append((stands.id, CLOSED, speaker.at, speaker.withdraws_as))
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
    settled.closed, settled.reopened = [row[0] for row in closing], [row[0] for row in opening]
    return settled


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


def recount(images: Iterable[Image]) -> None:
    """Write the images' counts of open findings anew, on the rows and on the objects."""
    counted = {image.pk: image for image in images}
    rows = Finding.objects.filter(image__in=bulk.among(sorted(counted)), status=OPEN).order_by()
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for pk, severity, n in rows.values_list("image_id", "severity").annotate(n=Count("id")):
        found[pk][severity] = n
    for pk, image in counted.items():
        by_severity = found.get(pk, {})
        image.severity_counts = {Severity(s).label: n for s, n in sorted(by_severity.items(), reverse=True)}
        image.open_findings = sum(by_severity.values())
        image.worst_severity = max(by_severity, default=0)
    values = [(pk, i.severity_counts, i.open_findings, i.worst_severity) for pk, i in counted.items()]
    bulk.update(Image, ("severity_counts", "open_findings", "worst_severity"), values)
