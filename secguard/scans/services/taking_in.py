"""What a worker does with an accepted report: bring an image's findings and inventory to what it says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from django.db import IntegrityError, OperationalError, transaction
from django.utils import timezone

from secguard.advisories import services as advisory_services
from secguard.advisories.naming import Flaw
from secguard.findings import services as finding_services
from secguard.findings.entries import Inventory, component_purl
from secguard.findings.identity import GENERIC, FindingKind
from secguard.findings.services import Taken
from secguard.images import services as image_services
from secguard.images.ecosystems import Build, build_of
from secguard.images.models import Image, ImageComponent, Repository, Tag
from secguard.images.services import Installed
from secguard.jobs.registry import Run
from secguard.scans import translation
from secguard.scans.condensed import Condensed, Head
from secguard.scans.lifecycle import OPEN_STATUSES, ScanEvent, ScanStatus, after
from secguard.scans.models import Report, Scan
from secguard.scans.report import OWN_SCANNER, ReportedComponent, Subject
from secguard.scans.services import matching, repeating
from secguard.scans.services.reading import condensed
from secguard.scans.services.repeating import speaks_for, speaks_for_all_places
from secguard.scans.services.telling import tell_of_failures
from secguard.scans.subject import Target, target_of

TAKE_IN = "scans.take-in"
ATTEMPTS = 3

SCANNED: list[Callable[[Image, Scan, datetime], None]] = []
"""Called inside the transaction that takes a scan in, after its findings stand: whoever judges images registers."""


def work(run: Run) -> Mapping[str, Any]:
    """The job: take in one scan. Safe to run twice."""
    scan = take_in(int(run.args["scan"]), progress=run.progress)
    return {"scan": scan.pk, "image": scan.image_id}


def failed(args: Mapping[str, Any], code: str, words: str) -> None:
    """The job was given up: the scan says so, and closes nothing."""
    Scan.objects.filter(pk=args["scan"], status__in=OPEN_STATUSES).update(
        status=ScanStatus.FAILED, finished_at=timezone.now(), problem={"code": code, "detail": words}
    )
    Report.objects.filter(scans=args["scan"]).update(condensed=None)
    tell_of_failures([args["scan"]], timezone.now())


Progress = Callable[[str, int, int], None]


class _SpokenMeanwhile(Exception):
    """What looked like a repetition is none any more."""


class _EndedMeanwhile(Exception):
    """Another worker took the scan in, or somebody called it off: this one's hands are off it."""


def take_in(scan_id: int, *, progress: Progress, now: datetime | None = None) -> Scan:
    """Bring an image's findings and inventory to what a kept report says. One transaction: all of it or nothing.

    ``now`` is for histories that are loaded afterwards (the sample).
    """
    at = now or timezone.now()
    scan = Scan.objects.select_related("application__team", "requested_by").get(pk=scan_id)
    if scan.status not in OPEN_STATUSES or scan.report_id is None:
        return scan
    scan.status = after(scan.status, ScanEvent.START)
    scan.started_at = at
    if not Scan.objects.filter(pk=scan.pk, status__in=OPEN_STATUSES).update(status=scan.status, started_at=at):
        return Scan.objects.get(pk=scan.pk)
    progress("reading the report", 0, 0)
    report = condensed(scan.report_id, scan.scanner)
    target = target_of(report.head.subject, scan.named, is_renamed=scan.is_renamed)
    progress("taking in findings", 0, report.head.finding_count)
    is_repeated = _seems_repeated(scan, target, report)
    for attempt in range(1, ATTEMPTS + 1):
        # What the world says is committed first: many reports name the same flaws, and none should wait for another's
        # end. A flaw that another report merges away between the two is found under its other name the next time.
        known = {} if is_repeated else advisory_services.resolve(report.body.flaws, teams=speaks_for(scan))
        try:
            with transaction.atomic():
                image, is_placed = _image(target, scan)
                _require_open(scan)
                if is_repeated:
                    _repeat(scan, image, report, is_placed=is_placed, now=at)
                else:
                    _take_in(scan, image, report, known, is_placed=is_placed, now=at)
            break
        except _EndedMeanwhile:
            return Scan.objects.get(pk=scan.pk)
        except (IntegrityError, OperationalError, _SpokenMeanwhile):
            if attempt == ATTEMPTS:
                raise
            scan.status = ScanStatus.RUNNING
            is_repeated = False
    progress("done", report.head.finding_count, report.head.finding_count)
    return scan


def _require_open(scan: Scan) -> None:
    """Hold the scan's row until the end of the transaction; raises where the scan has ended.

    A worker that lost its lease (it was stopped, or cut off) may come back here after another one did the work.
    """
    open_ones = Scan.objects.select_for_update(no_key=True).filter(pk=scan.pk, status__in=OPEN_STATUSES)
    if not open_ones.values_list("pk", flat=True):
        raise _EndedMeanwhile


def _seems_repeated(scan: Scan, target: Target, report: Condensed) -> bool:
    """A look without any lock: whether this scanner's present words on the image are these very ones."""
    image = Image.objects.filter(digest=target.digest).first()
    return image is not None and repeating.said_before(scan, image, _content(scan, image, report)) is not None


def _content(scan: Scan, image: Image, report: Condensed) -> str:
    return repeating.content_of(report, is_complete=report.head.complete and speaks_for_all_places(scan, image))


def _repeat(scan: Scan, image: Image, report: Condensed, *, is_placed: bool, now: datetime) -> None:
    """The scanner says again what it said last: its findings stand as they are, and nothing of them is even read.

    Raises ``_SpokenMeanwhile`` where that no longer holds, now that the image is locked, or the image is new in a
    repository, which has to learn of its findings.
    """
    content = _content(scan, image, report)
    before = repeating.said_before(scan, image, content)
    if before is None or is_placed:
        raise _SpokenMeanwhile
    found = int(before.counts["found"])
    taken = Taken(found=found, unchanged=found, by_severity=image.severity_counts)
    if report.head.inventory and report.head.complete:
        listed = _listed(report.body.components, dict)
        components, known_builds = image_services.ensure_components(listed), matching.newest_build()
        has_changed = image_services.replace_inventory(image, _components(listed, components, report.head.subject))
        if has_changed and (matched := matching.matches_of(image, known_builds=known_builds)) is not None:
            _take_in_matches(scan, image, matched, components, now)
    scan.covers, scan.warnings = before.covers, list(report.head.warnings)
    if report.head.inventory and report.head.complete:
        # Advisories may have come for what nothing could be held against before: that is no longer left out.
        covers, left_out = matching.coverage(image)
        scan.covers = sorted({kind.value for kind in report.head.covers} | covers)
        scan.warnings = [*scan.warnings, *left_out]
        scan.database_updated_at = scan.database_updated_at or matching.data_of(image)
    _conclude(scan, image, report, taken, content, now)


def _image(target: Target, scan: Scan) -> tuple[Image, bool]:
    """The image's row, locked: two scans of one image are taken in one after the other. And whether it is new there."""
    at = scan.created_at
    repository = image_services.ensure_repository(target.place, application=scan.application) if target.place else None
    image = _pointed_at(target, repository) or image_services.ensure_image(
        target.digest, config_digest=target.config_digest, is_asserted=target.is_asserted, at=at
    )
    image = image_services.lock(image, repository)
    is_placed = False
    if repository is not None and target.place is not None:
        is_placed = image_services.place(image, repository, target.place.tag, at=at, by=scan.requested_by)
    return image, is_placed


def _pointed_at(target: Target, repository: Repository | None) -> Image | None:
    """What the named tag points to, where the report itself knows no digest at all."""
    if not target.is_by_tag or repository is None or target.place is None:
        return None
    tag = Tag.objects.filter(repository=repository, name=target.place.tag or "latest").select_related("image").first()
    return tag.image if tag else None


def _take_in(
    scan: Scan, image: Image, report: Condensed, known: Mapping[str, Flaw], *, is_placed: bool, now: datetime
) -> None:
    head, body = report.head, report.body
    inventory = cache(lambda: _inventory(image, body.components))
    entries = translation.entries(body, {n: v.name for n, v in known.items()}, inventory)
    flaws = {v.name: v for v in known.values()}
    purls = {e.purl for e in entries.values() if e.purl}
    listed = _listed(body.components, inventory)
    components = image_services.ensure_components(purls | set(listed))
    is_complete = head.complete and speaks_for_all_places(scan, image)
    covers = {k.value for k in head.covers}
    matched, heard = None, covers
    if head.inventory and head.complete:
        known_builds = matching.newest_build()
        image_services.replace_inventory(image, _components(listed, components, head.subject))
        matched = matching.matches_of(image, known_builds=known_builds)
        scan.database_updated_at = scan.database_updated_at or (matched.data_at if matched else None)
    if matched is not None and scan.scanner == OWN_SCANNER:
        entries, flaws = {**entries, **matched.entries}, {**flaws, **matched.flaws}
        # What the advisories no longer say is withdrawn, whether or not there are some for all that is in the image.
        heard = covers | {FindingKind.VULNERABILITY.value}
    taken = finding_services.take_in(
        image,
        entries,
        flaws=flaws,
        components=components,
        scanner=scan.scanner,
        scan_id=scan.pk,
        covers=heard,
        is_complete=is_complete,
        at=now,
        is_placed=is_placed,
    )
    if matched is not None and scan.scanner != OWN_SCANNER:
        _take_in_matches(scan, image, matched, components, now)
    scan.covers = sorted(covers | (matched.covers if matched else set()))
    left_out = [matching.NO_ADVISORIES] if matched is None and head.inventory and head.complete else ()
    scan.warnings = [*head.warnings, *(matched.warnings if matched else left_out)]
    _conclude(scan, image, report, taken, repeating.content_of(report, is_complete=is_complete), now)


def _take_in_matches(
    scan: Scan, image: Image, matched: matching.Matched, components: Mapping[str, int], now: datetime
) -> None:
    """What the advisories say of the inventory that somebody else's tool listed: a word of our own beside its."""
    finding_services.take_in(
        image,
        matched.entries,
        flaws=matched.flaws,
        components=components,
        scanner=OWN_SCANNER,
        scan_id=scan.pk,
        covers=[FindingKind.VULNERABILITY.value],
        is_complete=True,
        at=now,
    )


def _conclude(scan: Scan, image: Image, report: Condensed, taken: Taken, content: str, now: datetime) -> None:
    _describe(image, report.head.subject, now)
    repeating.stands(scan, image, content)
    _finish(scan, image, report.head, taken, now)
    Report.objects.filter(scans=scan, condensed__isnull=False).update(condensed=None)
    for follow in SCANNED:
        follow(image, scan, now)


def _inventory(image: Image, reported: Iterable[ReportedComponent]) -> dict[tuple[str, str], str]:
    """(name, version) to purl for what is unique: from the image's inventory, its findings, and the report."""
    found: dict[tuple[str, str], set[str]] = {}
    columns = ("component__name", "component__version", "component__purl")
    listed = ImageComponent.objects.filter(image=image).exclude(component__type=GENERIC)
    standing = image.findings.exclude(component=None).exclude(component__type=GENERIC)
    for name, version, purl in (*listed.values_list(*columns), *standing.values_list(*columns)):
        found.setdefault((name, version), set()).add(purl)
    for c in reported:
        if (purl := component_purl(c, dict)).partition("/")[0] != f"pkg:{GENERIC}":
            found.setdefault((c.name, c.version), set()).add(purl)
    return {words: next(iter(purls)) for words, purls in found.items() if len(purls) == 1}


def _listed(reported: Iterable[ReportedComponent], inventory: Inventory) -> dict[str, ReportedComponent]:
    """By canonical purl; of several under one name the last that no other package owns."""
    return {component_purl(c, inventory): c for c in sorted(reported, key=lambda c: not c.owner)}


def _components(listed: Mapping[str, ReportedComponent], ids: Mapping[str, int], subject: Subject) -> list[Installed]:
    """With what advisories call each; what a distribution's package brought has no build of its own beside that."""
    system = subject.os_name, subject.os_version
    owners = {owner: build_of(owner, *system).ecosystem for owner in {c.owner for c in listed.values() if c.owner}}
    builds = {p: Build() if owners.get(c.owner) else build_of(c.purl, *system) for p, c in listed.items()}
    known = image_services.ensure_builds((ids[purl], build) for purl, build in builds.items() if build.ecosystem)
    return [
        Installed(
            component_id=ids[purl],
            purl=c.purl[:1000],
            layer=c.layer[:80],
            path=(c.paths[0] if c.paths else "")[:1000],
            licenses=[x[:200] for x in c.licenses[:10]],
            build_id=known.get((ids[purl], builds[purl])),
            owner=c.owner[:1000],
        )
        for purl, c in listed.items()
    ]


def _describe(image: Image, s: Subject, now: datetime) -> None:
    image.os_name = image.os_name or s.os_name[:50]
    image.os_version = image.os_version or s.os_version[:50]
    image.architecture = image.architecture or s.architecture[:50]
    image.last_scanned_at = now
    image.save(update_fields=["os_name", "os_version", "architecture", "last_scanned_at"])


def _finish(scan: Scan, image: Image, report: Head, taken: Taken, now: datetime) -> None:
    scan.status = after(scan.status, ScanEvent.FINISH)
    scan.image = image
    scan.is_complete = report.complete
    scan.counts = {**taken.as_counts(), "components": report.component_count}
    scan.warnings = [w[:300] for w in scan.warnings[:50]]
    scan.finished_at = now
    scan.save(
        update_fields=[
            "status",
            "image",
            "is_complete",
            "covers",
            "counts",
            "warnings",
            "content",
            "database_updated_at",
            "finished_at",
        ],
    )
