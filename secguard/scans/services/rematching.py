"""Builds of which the advisories say something else than before are matched again, and images' findings follow.

Three steps, each of which can be killed anywhere: builds that are behind are matched batch by batch, with what changed
noted in the same transaction (``ChangedMatch``); what is noted is brought to the images, batch by batch, and the notes
are deleted after the last; whoever tells people hears of all new hits at once.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Max
from django.utils import timezone

from secguard import bulk
from secguard.advisories.models import Vulnerability
from secguard.advisories.naming import Flaw
from secguard.advisories.services import Changes, known_flaws
from secguard.findings import services as finding_services
from secguard.findings.entries import Entry, vulnerability_entry
from secguard.findings.services import Told
from secguard.images.models import ComponentBuild, Image, ImageComponent
from secguard.jobs import services as job_services
from secguard.jobs.registry import Run
from secguard.scans.models import BuildMatch, ChangedMatch, NewHit
from secguard.scans.report import OWN_SCANNER
from secguard.scans.services import inflight
from secguard.scans.services.covering import cover
from secguard.scans.services.matching import REMATCH, WORDS, behind, match_builds, note_changes, rematch_soon, said_of
from secguard.workloads.models import Workload

CATCH_UP = "scans.catch-up"
BUILDS = 1000
"""Builds matched in one transaction."""
ROUND = 20_000
"""Changed matches brought to the images together: bounds what is held in memory."""
IMAGES = 200
"""Images in one transaction: bounds how many rows are locked, and for how long."""
ATTEMPTS = 3

HIT: list[Callable[[Sequence[int], Sequence[int]], object]] = []
"""Called once a rematch, inside a transaction, as ``(image ids, risk ids)`` of equal length: image ``[i]`` is newly hit
by risk ``[i]`` because advisories changed. Whoever tells people registers."""


def follow_advisories(changes: Changes) -> None:
    """``advisories.services.ADVISORIES_CHANGED``: what was matched to these packages is behind; ask for the job."""
    note_changes(changes)
    rematch_soon()


def follow_merge(pairs: Sequence[tuple[int, int]]) -> None:
    """``advisories.services.ON_MERGE``: what was matched to a flaw that is gone is the kept one's.

    The builds are matched again: what two flaws said of them is now said of one.
    """
    for kept, gone in pairs:
        rows = BuildMatch.objects.filter(vulnerability=gone)
        builds = list(rows.order_by("build_id").values_list("build_id", flat=True))
        touched = ComponentBuild.objects.filter(pk__in=bulk.among(builds))
        list(touched.order_by("pk").select_for_update(no_key=True).values_list("pk"))
        touched.update(matched_to=0)
        both = BuildMatch.objects.filter(vulnerability=kept, build__in=bulk.among(builds)).values("build_id")
        rows.filter(build__in=both).delete()
        rows.update(vulnerability=kept)
        ChangedMatch.objects.filter(vulnerability=gone).update(vulnerability=kept)
        if builds:
            rematch_soon()


def catch_up(run: Run) -> None:
    """The job, now and then: ask for a rematch where something is left to do and nobody asked, or it was given up."""
    if ComponentBuild.objects.filter(behind()).exists() or _is_noted():
        job_services.enqueue(REMATCH, {}, key="all")


def _is_noted() -> bool:
    return ChangedMatch.objects.exists() or NewHit.objects.exists()


def rematch(run: Run) -> Mapping[str, Any]:
    """The job. Safe to run twice, and beside itself."""
    done = Done()
    _match(run, done)
    while rows := list(ChangedMatch.objects.order_by("pk").values_list("pk", "build_id", "vulnerability_id")[:ROUND]):
        _spread(rows, run, done)
    done.covered = cover()
    tell()
    return done.as_result()


@dataclass(slots=True)
class Done:
    builds: int = 0
    images: int = 0
    introduced: int = 0
    reopened: int = 0
    closed: int = 0
    changed: int = 0
    covered: int = 0
    """Scans that could not be held against any advisories before."""

    def as_result(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in self.__slots__}


def _match(run: Run, done: Done) -> None:
    # Those of one package together: what is said of it is read once.
    rows = ComponentBuild.objects.filter(behind()).order_by("ecosystem", "source_name", "pk")
    ids = list(rows.values_list("pk", flat=True))
    for start in range(0, len(ids), BUILDS):
        match_builds(ids[start : start + BUILDS])
        done.builds = min(start + BUILDS, len(ids))
        run.progress(f"matching {done.builds:,} of {len(ids):,} builds", done.builds, len(ids))


# --- from builds to images ---


@dataclass(slots=True)
class Round:
    """Some of the changed matches, with what now stands there."""

    last: int
    """The highest id of ``ChangedMatch`` that was read."""
    flaws_of: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    """By build."""
    entries: dict[tuple[int, int], Entry] = field(default_factory=dict)
    """By (build, flaw), as far as both are there."""
    said: set[tuple[int, int]] = field(default_factory=set)
    """Those that advisories say now; of the others the word is withdrawn."""
    flaws: dict[str, Flaw] = field(default_factory=dict)


def _spread(rows: Sequence[tuple[int, int, int]], run: Run, done: Done) -> None:
    """Bring changed matches to all the images that have the builds, and then forget that they changed."""
    now = Round(last=rows[-1][0])
    _read(now, {(build, flaw) for _, build, flaw in rows})
    met: set[int] = set()
    missing = _images(now)
    while True:
        for batch in _batches(missing):
            _spread_surely(batch, now, done)
            met.update(batch)
            done.images += len(batch)
            total = max(len(met), len(missing))
            run.progress(f"bringing matches to images: {len(met):,} of {total:,}", len(met), total)
        # An image may have been matched before all this and be committed only now: it is found by another look.
        inflight.wait(lambda: run.progress("waiting for scans that are being taken in"))
        missing = [pk for pk in _images(now) if pk not in met]
        if not missing:
            break
    _forget(rows)


@transaction.atomic
def _forget(rows: Sequence[tuple[int, int, int]]) -> None:
    """Delete what was brought to the images: not the rows that meanwhile name another flaw (``follow_merge``)."""
    read = {pk: (build, flaw) for pk, build, flaw in rows}
    stands = ChangedMatch.objects.filter(pk__in=bulk.among(sorted(read))).order_by("pk").select_for_update()
    done = [pk for pk, *pair in stands.values_list("pk", "build_id", "vulnerability_id") if read[pk] == tuple(pair)]
    ChangedMatch.objects.filter(pk__in=bulk.among(done)).delete()


def _images(now: Round) -> list[int]:
    """Ids of the images that have any of the builds, those that run somewhere first."""
    rows = ImageComponent.objects.filter(build__in=bulk.among(sorted(now.flaws_of)))
    found = set(rows.values_list("image_id", flat=True).distinct())
    used = Workload.images.through.objects.filter(workload__gone_at=None).values_list("image_id", flat=True)
    running = found.intersection(used)
    return [*sorted(running), *sorted(found - running)]


def _batches(images: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(images), IMAGES):
        yield images[start : start + IMAGES]


def _read(now: Round, pairs: set[tuple[int, int]]) -> None:
    """What stands of these (build, flaw) at this moment."""
    builds, flaws = sorted({b for b, _ in pairs}), sorted({f for _, f in pairs})
    for build, flaw in pairs:
        now.flaws_of[build].add(flaw)
    purls = dict(ComponentBuild.objects.filter(pk__in=bulk.among(builds)).values_list("pk", "component__purl"))
    names = dict(Vulnerability.objects.filter(pk__in=bulk.among(flaws)).values_list("pk", "name"))
    now.flaws.update(known_flaws(set(names.values())))
    now.said -= pairs
    nothing = said_of(0, "", "", ())
    for build, flaw in pairs:
        now.entries.pop((build, flaw), None)
        if build in purls and flaw in names:
            now.entries[build, flaw] = vulnerability_entry(name=names[flaw], purl=purls[build], said=nothing)
    rows = BuildMatch.objects.filter(build__in=bulk.among(builds), vulnerability__in=bulk.among(flaws))
    for build, flaw, *words in rows.values_list("build_id", "vulnerability_id", *WORDS):
        if (build, flaw) in pairs:
            entry = vulnerability_entry(name=names[flaw], purl=purls[build], said=said_of(*words))
            now.entries[build, flaw] = entry
            now.said.add((build, flaw))


def _spread_surely(batch: Sequence[int], now: Round, done: Done) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _spread_batch(batch, now, done)
            return
        except (IntegrityError, OperationalError):
            # Two flaws became one meanwhile, or two transactions waited for each other: what stands is read again.
            if attempt == ATTEMPTS:
                raise
            _read(now, {(build, flaw) for build, flaws in now.flaws_of.items() for flaw in flaws})


def _spread_batch(batch: Sequence[int], now: Round, done: Done) -> None:
    with transaction.atomic():
        images = finding_services.lock_images(Image.objects.filter(pk__in=bulk.among(batch)))
        _read_again(now)
        spread = finding_services.spread(
            images, _told(images, now), flaws=now.flaws, scanner=OWN_SCANNER, at=timezone.now()
        )
        bulk.insert(NewHit, ("image_id", "risk_id"), [*spread.introduced, *spread.reopened])
    done.introduced += len(spread.introduced)
    done.reopened += len(spread.reopened)
    done.closed += len(spread.closed)
    done.changed += spread.changed


def _read_again(now: Round) -> None:
    """What was matched since it was read: a scan that took one of these images in meanwhile knew it already."""
    rows = list(
        ChangedMatch.objects.filter(pk__gt=now.last).order_by("pk").values_list("pk", "build_id", "vulnerability_id")
    )
    if rows:
        now.last = rows[-1][0]
        _read(now, {(b, f) for _, b, f in rows if f in now.flaws_of.get(b, ())})


def _told(images: Sequence[Image], now: Round) -> Iterator[Told]:
    rows = ImageComponent.objects.filter(
        image__in=bulk.among([i.pk for i in images]), build__in=bulk.among(sorted(now.flaws_of))
    )
    columns = ("image_id", "component_id", "build_id", "path", "layer")
    for image, component, build, path, layer in rows.order_by("image_id", "component_id").values_list(*columns):
        for flaw in now.flaws_of[build]:
            if (entry := now.entries.get((build, flaw))) is not None:
                yield Told(image, component, entry, path, layer, (build, flaw) in now.said)


# --- whom to tell ---


TOLD = 50_000


@transaction.atomic
def tell() -> None:
    """Let whoever tells people know of all new hits, once."""
    table = connection.ops.quote_name(NewHit._meta.db_table)
    images, risks = array("q"), array("q")
    # By a bound, and not by ids: PostgreSQL plans ``id IN (a limited query)`` as one loop in another.
    while (bound := NewHit.objects.order_by("pk").values("pk")[:TOLD].aggregate(n=Max("pk"))["n"]) is not None:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {table} WHERE id <= %s RETURNING image_id, risk_id", [bound])  # noqa: S608
            rows = cursor.fetchall()
        images.extend(row[0] for row in rows)
        risks.extend(row[1] for row in rows)
    for follow in HIT if images else ():
        follow(images, risks)
