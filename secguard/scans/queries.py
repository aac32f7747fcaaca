"""How scans are shown to whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models import Case, Exists, IntegerField, OuterRef, Q, QuerySet, Value, When

from secguard import bulk
from secguard.accounts.models import User
from secguard.advisories.entry import tidy_name
from secguard.advisories.models import Advisory, AdvisoryFlaw, AffectedRange, Alias
from secguard.errors import NotFound
from secguard.findings.models import OPEN, Finding
from secguard.images.ecosystems import Build
from secguard.images.models import ComponentBuild, Image, ImageComponent, ImageRepository, Repository
from secguard.scans.matching import match
from secguard.scans.models import BuildMatch, Scan
from secguard.scans.services.matching import Package, behind, candidates_for
from secguard.workloads.models import Workload

MOST_SHOWN = 50
"""Packages and workloads shown of one image."""


def shown_references(reader: User, scans: Iterable[Scan]) -> dict[int, str]:
    """What each scan's image was called, by the scan's id; one query for all.

    A digest may lie in two teams' repositories: what one calls it is none of the other's business, who reads its
    digest instead. One's own scans, and those that have not found their image yet, show what was asked for.
    """
    rows = list(scans)
    if reader.sees_everything:
        return {s.pk: s.reference for s in rows}
    names = {s.repository_name for s in rows}
    seen = set(Repository.objects.visible_to(reader).filter(name__in=names).values_list("name", flat=True))
    return {s.pk: _shown(s, reader, seen) for s in rows}


def _shown(scan: Scan, reader: User, seen: set[str]) -> str:
    # A token that is limited is its owner's, and yet a stranger to what they asked for elsewhere.
    is_own = scan.requested_by_id == reader.pk and reader.limit is None
    is_known = scan.image is None or is_own or scan.repository_name in seen
    return scan.reference if is_known or scan.image is None else scan.image.digest


# --- who is hit ---


def flaws_called(name: str) -> list[int]:
    """Ids of the flaws that an advisory (its number here, or its source's id) is about, or that go by ``name``.

    Raises ``NotFound``.
    """
    if name.isascii() and name.isdigit() and len(name) < 19:
        advisories = Advisory.objects.filter(pk=int(name))
    else:
        known = Alias.objects.filter(name=tidy_name(name)).values_list("vulnerability_id", flat=True)
        if known:
            return list(known)
        advisories = Advisory.objects.filter(name=name[:150])
    ids = list(advisories.values_list("pk", flat=True))
    if not ids:
        raise NotFound(
            f"There is no advisory or flaw {name[:100]!r}; expected a name such as CVE-2024-3094, an advisory's id, or "
            "its number here."
        )
    about = AdvisoryFlaw.objects.filter(advisory__in=ids).order_by("vulnerability_id")
    return list(about.values_list("vulnerability_id", flat=True).distinct())


def builds_hit(flaw_ids: Sequence[int]) -> list[int]:
    """Ids of the builds that the advisories on these flaws hit at this moment, matched again already or not yet."""
    flaws = bulk.among(flaw_ids)
    about = AdvisoryFlaw.objects.filter(vulnerability__in=flaws).values("advisory_id")
    packages = set(AffectedRange.objects.filter(advisory__in=about).values_list("ecosystem", "name"))
    named = ComponentBuild.objects.filter(source_name__in=bulk.among(sorted({name for _, name in packages})))
    late = {
        pk: (Package(ecosystem, name), version, stream)
        for pk, ecosystem, name, version, stream in named.filter(behind()).values_list("pk", *Build._fields)
        if (ecosystem, name) in packages
    }
    known = set(BuildMatch.objects.filter(vulnerability__in=flaws).values_list("build_id", flat=True))
    candidates = candidates_for({package for package, *_ in late.values()})
    found = known - set(late)
    for pk, (package, version, stream) in late.items():
        if not match(*package, version, candidates.get(package, ()), stream).hits.keys().isdisjoint(flaw_ids):
            found.add(pk)
    return sorted(found)


def images_hit(flaw_ids: Sequence[int], builds: Sequence[int], user: User) -> QuerySet[Image]:
    """Images that have a flaw, by an advisory on one of their builds (``builds_hit``) or by any scanner's word.

    ``runs`` is 1 where a workload that the user may see runs the image now, else 0.
    """
    matched = ImageComponent.objects.filter(build__in=bulk.among(builds)).values("image_id")
    said = Finding.objects.filter(risk__vulnerability__in=bulk.among(flaw_ids), status=OPEN).values("image_id")
    used = Workload.objects.running().visible_to(user).filter(images=OuterRef("pk"))
    runs = Case(When(Exists(used), then=Value(1)), default=Value(0), output_field=IntegerField())
    return Image.objects.visible_to(user).filter(Q(pk__in=matched) | Q(pk__in=said)).annotate(runs=runs)


@dataclass(slots=True)
class HitImage:
    """Where an image that is hit lies and runs, as far as its reader may see, and by which packages it is hit."""

    digest: str
    repositories: list[str] = field(default_factory=list)
    packages: list[str] = field(default_factory=list)
    workloads: list[Workload] = field(default_factory=list)


def shown_hits(images: Sequence[Image], flaw_ids: Sequence[int], builds: Sequence[int], user: User) -> list[HitImage]:
    """A page of ``images_hit``; a fixed number of queries."""
    here = bulk.among([i.pk for i in images])
    shown = {i.pk: HitImage(i.digest) for i in images}
    places = ImageRepository.objects.filter(image__in=here, repository__in=Repository.objects.visible_to(user))
    for image, name in places.order_by("repository__name").values_list("image_id", "repository__name"):
        shown[image].repositories.append(name)
    packages: dict[int, set[str]] = defaultdict(set)
    matched = ImageComponent.objects.filter(image__in=here, build__in=bulk.among(builds))
    said = Finding.objects.filter(image__in=here, risk__vulnerability__in=bulk.among(flaw_ids), status=OPEN)
    for rows in (matched, said):
        for image, purl in rows.values_list("image_id", "component__purl"):
            packages[image].add(purl)
    for image, purls in packages.items():
        shown[image].packages = sorted(purls)[:MOST_SHOWN]
    used = Workload.images.through.objects.filter(image__in=here).values("workload_id")
    workloads = Workload.objects.running().visible_to(user).filter(pk__in=used)
    for w in workloads.select_related("cluster", "application").prefetch_related("images").order_by("pk"):
        for run in w.images.all():
            if run.pk in shown and len(shown[run.pk].workloads) < MOST_SHOWN:
                shown[run.pk].workloads.append(w)
    return [shown[i.pk] for i in images]
