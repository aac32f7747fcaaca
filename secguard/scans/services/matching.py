"""Hold builds of components against the advisories, and keep the answer: an image's flaws are then only looked up.

A build is up to date when its ``matched_to`` is not below the newest ``ChangedPackage`` of its package. What changes
advisories writes those rows in its own transaction, and only one does so at a time, so a build that was matched while
an import went on is found to be behind afterwards, whoever was faster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import Count, Exists, Max, OuterRef, Q
from django.utils import timezone

from secguard import bulk, packagenames
from secguard.advisories.models import AdvisoryFlaw, AffectedRange, EcosystemData
from secguard.advisories.naming import Flaw
from secguard.advisories.services import Changes, known_flaws
from secguard.findings.changes import Identity, Said
from secguard.findings.entries import Entry, vulnerability_entry
from secguard.findings.identity import FindingKind
from secguard.images.ecosystems import Build
from secguard.images.models import ComponentBuild, Image, ImageComponent
from secguard.jobs import services as job_services
from secguard.jobs.lifecycle import Queue
from secguard.scans.matching import Candidate, Hit, match, streams_in
from secguard.scans.models import BuildMatch, ChangedMatch, ChangedPackage
from secguard.scans.services import inflight

BATCH = 2000


class Package(NamedTuple):
    ecosystem: str
    name: str


@dataclass(slots=True)
class Rematched:
    """What matching builds again changed."""

    added: list[tuple[int, int]] = field(default_factory=list)
    """(build, flaw) that are new, or are now said otherwise (severity, fix)."""
    removed: list[tuple[int, int]] = field(default_factory=list)
    is_noted: bool = False
    """Other images than the caller's may have to follow."""
    unknown: int = 0
    """Flaws that may be there or not: the version or the range cannot be compared."""


@transaction.atomic
def match_builds(build_ids: Iterable[int], *, of_nobody: Collection[int] = frozenset()) -> Rematched:
    """Bring ``BuildMatch`` of these builds to what the advisories say now; writes the difference only.

    What changed is noted for the images that have the builds (``ChangedMatch``), except for builds that no other image
    than the caller's can have (``of_nobody``).
    """
    result = Rematched()
    wanted = sorted(set(build_ids))
    for start in range(0, len(wanted), BATCH):
        _match_batch(wanted[start : start + BATCH], result)
    noted = [pair for pair in (*result.added, *result.removed) if pair[0] not in of_nobody]
    bulk.insert(ChangedMatch, ("build_id", "vulnerability_id"), noted)
    result.is_noted = bool(noted)
    return result


def _match_batch(ids: Sequence[int], result: Rematched) -> None:
    newest = newest_change()  # read before the advisories: what changes after it is found again
    rows = ComponentBuild.objects.filter(pk__in=bulk.among(ids)).order_by("pk").select_for_update(no_key=True)
    builds = {pk: Build(*words) for pk, *words in rows.values_list("pk", *Build._fields)}
    candidates = candidates_for({Package(b.ecosystem, b.source_name) for b in builds.values() if b.ecosystem})
    standing = _standing(list(builds))
    new, changed, gone = [], [], []
    for pk, (ecosystem, name, version, stream) in builds.items():
        found = match(ecosystem, name, version, candidates.get(Package(ecosystem, name), ()), stream)
        result.unknown += len(found.unknown)
        known = standing.get(pk, {})
        for flaw, hit in found.hits.items():
            row = _row(hit, ecosystem)
            if flaw not in known:
                new.append((pk, flaw, *row))
            elif known[flaw][1:] != row:
                changed.append((known[flaw][0], *row))
            else:
                continue
            result.added.append((pk, flaw))
        for flaw, (match_id, *_) in known.items():
            if flaw not in found.hits:
                gone.append(match_id)
                result.removed.append((pk, flaw))
    bulk.insert(BuildMatch, ("build_id", "vulnerability_id", *WORDS), new)
    bulk.update(BuildMatch, WORDS, changed)
    if gone:
        BuildMatch.objects.filter(pk__in=bulk.among(gone)).delete()
    ComponentBuild.objects.filter(pk__in=bulk.among(list(builds)), matched_to__lt=newest).update(matched_to=newest)


WORDS = ("severity", "severity_source", "reported_id", "fixed_versions")
Words = tuple[int, str, str, list[str]]


def _row(hit: Hit, ecosystem: str) -> Words:
    source = ecosystem.partition(":")[0].lower()[:50] if hit.severity else ""
    return int(hit.severity), source, min(hit.advisories)[:150], list(hit.fixed_versions)


def _standing(build_ids: Sequence[int]) -> dict[int, dict[int, tuple[int, int, str, str, list[str]]]]:
    found: dict[int, dict[int, tuple[int, int, str, str, list[str]]]] = defaultdict(dict)
    rows = BuildMatch.objects.filter(build__in=bulk.among(build_ids))
    for build, flaw, pk, *words in rows.values_list("build_id", "vulnerability_id", "pk", *WORDS):
        severity, source, reported, fixes = words
        found[build][flaw] = (pk, severity, source, reported, fixes)
    return found


def candidates_for(packages: Iterable[Package]) -> dict[Package, list[Candidate]]:
    """Everything that advisories say of these packages; two queries, whatever their number."""
    names: dict[str, list[str]] = defaultdict(list)
    for package in sorted(set(packages)):
        names[package.ecosystem].append(package.name)
    found: dict[Package, list[Candidate]] = defaultdict(list)
    for ecosystem, wanted in names.items():
        rows = list(_affected(ecosystem, wanted))
        flaws = _flaws_of({row[0] for row in rows})
        has_modules = packagenames.base(ecosystem) in packagenames.RPM
        for advisory, name, ranges, versions, word, source, whole, score, title in rows:
            streams = streams_in(title) if has_modules else ()
            candidate = Candidate(
                source, ecosystem, name, ranges, versions, flaws.get(advisory, ()), False, word, whole, score, streams
            )
            found[Package(ecosystem, name)].append(candidate)
    return found


Affected = tuple[int, str, list[list[list[str]]], list[str], str, str, str, float | None, str]


def _affected(ecosystem: str, names: Sequence[str]) -> Iterable[Affected]:
    rows = AffectedRange.objects.filter(ecosystem=ecosystem, name__in=bulk.among(names), advisory__withdrawn_at=None)
    return rows.values_list(
        "advisory_id",
        "name",
        "ranges",
        "versions",
        "severity",
        "advisory__name",
        "advisory__severity",
        "advisory__cvss_score",
        "advisory__summary",
    )


def _flaws_of(advisory_ids: set[int]) -> dict[int, tuple[int, ...]]:
    found: dict[int, list[int]] = defaultdict(list)
    rows = AdvisoryFlaw.objects.filter(advisory__in=bulk.among(sorted(advisory_ids))).order_by("vulnerability_id")
    for advisory, flaw in rows.values_list("advisory_id", "vulnerability_id"):
        found[advisory].append(flaw)
    return {advisory: tuple(flaws) for advisory, flaws in found.items()}


# --- what is behind ---


def note_changes(changes: Changes) -> None:
    """Inside the transaction that changes what is said of packages: whatever was matched to it before is behind."""
    now = timezone.now()
    bulk.insert(ChangedPackage, ("ecosystem", "name", "at"), [(*p, now) for p in sorted(changes.packages)])


def newest_change() -> int:
    return ChangedPackage.objects.aggregate(n=Max("pk"))["n"] or 0


def behind() -> Q:
    """Builds that were never held against anything, or of which something was said since."""
    later = ChangedPackage.objects.filter(
        ecosystem=OuterRef("ecosystem"), name=OuterRef("source_name"), pk__gt=OuterRef("matched_to")
    )
    return Q(matched_to=0) | Q(Exists(later))


REMATCH = "scans.rematch"


def rematch_soon() -> None:
    """Ask for the job that matches what is behind and brings what changed to the images."""
    job_services.enqueue(REMATCH, {}, key="all", queue=Queue.INTERACTIVE, again=True)


# --- one image ---


@dataclass(frozen=True, slots=True)
class Matched:
    """What the advisories say of an image's inventory."""

    entries: Mapping[Identity, Entry]
    flaws: Mapping[str, Flaw]
    covers: frozenset[str]
    """``vulnerability`` where there are advisories for every ecosystem in the image, else nothing: what could not be
    held against anything is not clean."""
    warnings: Sequence[str]
    data_at: datetime | None
    """How old the advisories are: the date of the newest data that was read."""


def newest_build() -> int:
    """Builds with higher ids are made after this was asked."""
    return ComponentBuild.objects.aggregate(n=Max("pk"))["n"] or 0


def matches_of(image: Image, *, known_builds: int) -> Matched | None:
    """Hold the image's inventory, which the caller has just written, against the advisories.

    ``known_builds``: ``newest_build()`` before it was written. ``None`` where there are no advisories at all: then
    nothing is said, not that nothing was found. Call inside the transaction that takes the image in.
    """
    inflight.enter()
    if not AffectedRange.objects.exists():
        return None
    entries = entries_of(image, known_builds=known_builds)
    covers, warnings = coverage(image)
    return Matched(
        entries=entries,
        flaws=known_flaws({e.vulnerability for e in entries.values()}),
        covers=covers,
        warnings=warnings,
        data_at=data_of(image),
    )


def coverage(image: Image) -> tuple[frozenset[str], list[str]]:
    """(``Matched.covers`` for the image's inventory as it stands, what could not be matched in words)."""
    if not AffectedRange.objects.exists():
        return frozenset(), [NO_ADVISORIES]
    missing = _without_advisories(image)
    words = [
        f"{NONE_THERE} for {name}: {count} package{' was' if count == 1 else 's were'} not matched"
        for name, count in missing
    ]
    return frozenset() if missing else frozenset({FindingKind.VULNERABILITY.value}), words


NONE_THERE = "There are no advisories"
"""So begins every warning of packages that were held against nothing; ``covering`` knows it by that."""
NO_ADVISORIES = (
    f"{NONE_THERE} here yet, so no package was matched. Fetch or bring some (Vulnerability data, or: "
    "secguard advisories import), then scan or post again"
)


def data_of(image: Image) -> datetime | None:
    """How old the advisories are that the image's packages are held against: of its ecosystems that of the oldest.

    ``None`` where nothing in it is held against any, or none of them tells its date. One query.
    """
    return data_of_images([image.pk]).get(image.pk)


def data_of_images(image_ids: Sequence[int]) -> dict[int, datetime]:
    """``data_of`` for each of several images; one of which nothing is told is left out. Two queries."""
    listed = ImageComponent.objects.filter(image__in=image_ids, build__isnull=False)
    rows = listed.order_by().values_list("image_id", "build__ecosystem").distinct()
    oldest: dict[int, datetime] = {}
    ages = dict(EcosystemData.objects.values_list("ecosystem", "data_at"))
    for image, ecosystem in rows if image_ids and ages else ():
        if ecosystem in ages:
            oldest[image] = min(oldest.get(image, ages[ecosystem]), ages[ecosystem])
    return oldest


def _without_advisories(image: Image) -> list[tuple[str, int]]:
    """(ecosystem, packages of it in the image) for ecosystems of which no advisory is known, and for distributions'
    packages of a release that nobody knows."""
    rows = ImageComponent.objects.filter(image=image, build__isnull=False).order_by("build__ecosystem")
    counts = rows.values_list("build__ecosystem").annotate(n=Count("pk"))
    found = [(e, n) for e, n in counts if not AffectedRange.objects.filter(ecosystem=e).exists()]
    nobodys = ImageComponent.objects.filter(image=image, build=None, component__type__in=DISTRIBUTION_TYPES)
    count = nobodys.count()
    return [*found, *([("this distribution, which no ecosystem stands for", count)] if count else [])]


DISTRIBUTION_TYPES = ("alpm", "apk", "deb", "ebuild", "nix", "opkg", "rpm")
"""Package types (purl-types) of systems. A program or an archive that no advisory speaks of counts as none."""


def entries_of(image: Image, *, known_builds: int) -> dict[Identity, Entry]:
    """The flaws of an image's inventory by identity, as our own scanner says them; its builds are matched first."""
    _match_own(image, known_builds)
    rows = ImageComponent.objects.filter(image=image, build__matches__isnull=False).values_list(
        "build__matches__vulnerability__name",
        "component__purl",
        "path",
        "layer",
        *(f"build__matches__{word}" for word in WORDS),
    )
    found: dict[Identity, Entry] = {}
    for name, purl, path, layer, *words in rows:
        entry = vulnerability_entry(name=name, purl=purl, said=said_of(*words), path=path, layer=layer)
        found[entry.identity] = entry
    return found


def said_of(severity: int, source: str, reported: str, fixes: Sequence[str]) -> Said:
    """A ``BuildMatch`` (its ``WORDS``) as our own scanner's word."""
    return Said(severity, source, reported[:100], tuple(fixes))


def _match_own(image: Image, known_builds: int) -> None:
    mine = ImageComponent.objects.filter(image=image, build__isnull=False).values("build_id")
    rows = ComponentBuild.objects.filter(behind(), pk__in=mine)
    late = dict(rows.values_list("pk", "matched_to"))
    fresh = {pk for pk, matched_to in late.items() if pk > known_builds and not matched_to}
    others = ImageComponent.objects.filter(build__in=bulk.among(sorted(fresh))).exclude(image=image)
    result = match_builds(late, of_nobody=fresh - set(others.values_list("build_id", flat=True)))
    if result.is_noted:
        # After the commit, and in no transaction that others wait for. Were it lost, ``catch_up`` would ask.
        transaction.on_commit(rematch_soon, robust=True)
