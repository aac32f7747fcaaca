"""Take reports in: check them at once, keep them as received, and let a worker bring the findings up to date."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from django.db import IntegrityError, OperationalError, transaction
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.advisories import services as advisory_services
from secguard.advisories.naming import Flaw
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, TooLarge
from secguard.findings import services as finding_services
from secguard.findings.entries import component_purl
from secguard.findings.identity import GENERIC
from secguard.findings.services import Taken
from secguard.images import services as image_services
from secguard.images.models import Image, ImageComponent, Repository, Tag
from secguard.images.services import Installed
from secguard.jobs import services as job_services
from secguard.jobs.lifecycle import Queue
from secguard.jobs.registry import Run
from secguard.scans import translation
from secguard.scans.lifecycle import OPEN_STATUSES, ScanEvent, ScanStatus, after
from secguard.scans.models import IdempotencyKey, Report, Scan
from secguard.scans.readers import read_report
from secguard.scans.redaction import redacted
from secguard.scans.report import ReportedComponent, ScanReport
from secguard.scans.subject import Target, target_of

TAKE_IN = "scans.take-in"
MAX_KEY = 255
ATTEMPTS = 3

SCANNED: list[Callable[[Image, Scan, datetime], None]] = []
"""Called inside the transaction that takes a scan in, after its findings stand: whoever judges images registers."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One report as posted."""

    raw: bytes
    image: str = ""
    scanner: str = ""
    application: str = ""
    idempotency_key: str = ""
    is_renamed: bool = False

    @property
    def fingerprint(self) -> str:
        words = (self.image, self.scanner, self.application, str(self.is_renamed))
        return hashlib.sha256("\0".join(words).encode() + b"\0" + self.raw).hexdigest()


def submit(submission: Submission, *, actor: User, max_bytes: int, now: datetime | None = None) -> tuple[Scan, bool]:
    """Check a posted report, keep it, and ask a worker to take it in. Returns the scan and whether it is new.

    The whole report is read here once, so that a bad one is refused now, with the place of the fault, and leaves
    nothing behind. Posting the same bytes about the same image again returns the scan that stands.
    Raises ``Invalid``/``TooLarge`` for the report, ``NotAllowed`` for the person, ``Conflict`` where the
    ``Idempotency-Key`` was used with another body.
    """
    require(actor, Permission.REPORT_POST, anywhere=True)
    if len(submission.raw) > max_bytes:
        raise TooLarge(
            f"The report has {len(submission.raw):,} bytes; {max_bytes:,} are allowed (SECGUARD_MAX_REPORT_BYTES). "
            "Leave descriptions out, or scan fewer targets at once.",
            code="report-too-large",
            where="body",
        )
    repeated = _by_idempotency_key(submission, actor) or _by_bytes(submission, actor)
    if repeated is not None:
        _remember(submission, actor, repeated)
        return repeated, False
    report = read(submission.raw, submission.scanner)
    translation.check(report)
    target = target_of(report.subject, submission.image, is_renamed=submission.is_renamed)
    application = _application_for(target, submission.application, actor)
    return _keep(submission, report, target, application, actor, now or timezone.now())


def read(raw: bytes, scanner: str = "") -> ScanReport:
    """Read a report of any known format; text that no database holds (NUL) is replaced, here and nowhere else."""
    return read_report(raw.replace(b"\\u0000", b"\\ufffd"), scanner)


def _by_idempotency_key(submission: Submission, actor: User) -> Scan | None:
    if not submission.idempotency_key:
        return None
    if len(submission.idempotency_key) > MAX_KEY:
        raise Invalid(f"The Idempotency-Key is longer than {MAX_KEY} characters.", where="Idempotency-Key")
    known = IdempotencyKey.objects.filter(user=actor, key=submission.idempotency_key).select_related("scan").first()
    if known is None:
        return None
    if known.fingerprint != submission.fingerprint:
        raise Conflict(
            f"The Idempotency-Key {submission.idempotency_key!r} was used for another request (scan {known.scan_id}). "
            "Use a new key for a new report.",
            code="idempotency-key-reused",
        )
    return known.scan


def _by_bytes(submission: Submission, actor: User) -> Scan | None:
    """The scan that stands for these very bytes, posted with the same words by somebody who may post them: found
    without reading the report again."""
    sha256 = hashlib.sha256(submission.raw).hexdigest()
    same = Scan.objects.visible_to(actor).filter(
        report__sha256=sha256, named=submission.image[:700], is_renamed=submission.is_renamed, requested_by=actor
    )
    if submission.scanner:
        same = same.filter(scanner=submission.scanner.lower()[:50])
    if submission.application:
        same = same.filter(application__slug=submission.application)
    key = same.exclude(status=ScanStatus.FAILED).order_by("-id").values_list("dedup_key", flat=True).first()
    return _standing(key) if key else None


def _application_for(target: Target, slug: str, actor: User) -> Application | None:
    """Whose image it is. A known repository stays with its application; a new one goes to the one that is named, or to
    the only one of the sender's team. Posting into another team's repository is refused as if there were none."""
    known = None
    if target.place:
        known = Repository.objects.filter(name=target.place.repository).select_related("application").first()
    if known is not None:
        _check_own(known, actor)
        return known.application
    if target.place is None:
        _check_seen(target.digest, actor)
    if slug:
        application = Application.objects.visible_to(actor).filter(slug=slug).first()
        if application is None:
            raise NotFound(f"There is no application {slug!r}.", where="application")
        return application
    if actor.sees_everything:
        return None
    mine = list(Application.objects.visible_to(actor)[:2])
    if len(mine) != 1:
        raise Invalid(
            "The repository is new, and which of your team's applications it belongs to is not said. Add "
            "?application=SLUG (see /api/v1/applications/); your team has "
            + ("none yet: make one first." if not mine else "several."),
            code="no-application",
            where="application",
        )
    return mine[0]


def _check_seen(digest: str, actor: User) -> None:
    """A digest alone says nothing of whose image it is: a team posts so about images that it has, and no others."""
    if not Image.objects.visible_to(actor).filter(digest=digest).exists() and not actor.sees_everything:
        raise NotFound(
            f"None of your team's repositories holds {digest}. Name the repository as well: "
            f"?image=registry/repository@{digest}.",
            code="no-such-image",
            where="image",
        )


def _check_own(repository: Repository, actor: User) -> None:
    team = repository.application.team_id if repository.application else None
    if not actor.sees_everything and team not in actor.team_ids:
        raise NotFound(
            f"You may not post about {repository.name!r}: it is not one of your team's repositories.", where="image"
        )
    if not actor.can(Permission.REPORT_POST, team):
        raise NotAllowed("Your role in the repository's team may not post reports.", code="report-post")


def _keep(
    submission: Submission,
    report: ScanReport,
    target: Target,
    application: Application | None,
    actor: User,
    at: datetime,
) -> tuple[Scan, bool]:
    sha256 = hashlib.sha256(submission.raw).hexdigest()
    scanner = (submission.scanner or report.scanner).lower()[:50]
    dedup = hashlib.sha256(f"{sha256}\0{target.digest}\0{target.place or ''}\0{scanner}".encode()).hexdigest()
    standing = _standing(dedup)
    if standing is not None:
        _remember(submission, actor, standing)
        return standing, False
    body = zlib.compress(redacted(submission.raw, report), 1)
    for _ in range(3):
        try:
            with transaction.atomic():
                scan = _record(submission, report, target, application, actor, scanner, dedup, sha256, body, at)
        except IntegrityError:
            standing = _standing(dedup)  # somebody posts the same at this moment
            if standing is not None:
                return standing, False
        else:
            return scan, True
    raise Conflict("The same report is being posted by others; try again.", code="report-race")


def _standing(dedup: str) -> Scan | None:
    """The scan of these very bytes: an open one, or the one whose word still is this scanner's latest."""
    scan = Scan.objects.filter(dedup_key=dedup).exclude(status=ScanStatus.FAILED).order_by("-id").first()
    if scan is None or scan.status in OPEN_STATUSES:
        return scan
    later = Scan.objects.filter(image=scan.image_id, scanner=scan.scanner, pk__gt=scan.pk)
    return None if later.exclude(status=ScanStatus.FAILED).exists() else scan


def _record(
    submission: Submission,
    report: ScanReport,
    target: Target,
    application: Application | None,
    actor: User,
    scanner: str,
    dedup: str,
    sha256: str,
    body: bytes,
    at: datetime,
) -> Scan:
    kept, _ = Report.objects.get_or_create(sha256=sha256, defaults={"body": body, "size_bytes": len(submission.raw)})
    scan = Scan.objects.create(
        reference=str(target.place or target.digest)[:700],
        scanner=scanner,
        scanner_version=report.scanner_version[:100],
        format=report.format,
        report=kept,
        dedup_key=dedup,
        application=application,
        requested_by=actor,
        database_updated_at=translation.moment(report.database_updated_at),
        named=submission.image[:700],
        is_renamed=submission.is_renamed,
        created_at=at,
    )
    job = job_services.enqueue(TAKE_IN, {"scan": scan.pk}, key=str(scan.pk), queue=Queue.INTERACTIVE)
    scan.job_id = job.pk
    scan.save(update_fields=["job_id"])
    _remember(submission, actor, scan)
    return scan


def _remember(submission: Submission, actor: User, scan: Scan) -> None:
    if submission.idempotency_key:
        IdempotencyKey.objects.get_or_create(
            user=actor,
            key=submission.idempotency_key,
            defaults={"fingerprint": submission.fingerprint, "scan": scan},
        )


def work(run: Run) -> Mapping[str, Any]:
    """The job: take in one scan. Safe to run twice."""
    scan = take_in(int(run.args["scan"]), progress=run.progress)
    return {"scan": scan.pk, "image": scan.image_id}


def failed(args: Mapping[str, Any], code: str, words: str) -> None:
    """The job was given up: the scan says so, and closes nothing."""
    Scan.objects.filter(pk=args["scan"], status__in=OPEN_STATUSES).update(
        status=ScanStatus.FAILED, finished_at=timezone.now(), problem={"code": code, "detail": words}
    )


Progress = Callable[[str, int, int], None]


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
    scan.save(update_fields=["status", "started_at"])
    progress("reading the report", 0, 0)
    body = Report.objects.values_list("body", flat=True).get(pk=scan.report_id)
    report = read(zlib.decompress(body), scan.scanner)
    target = target_of(report.subject, scan.named, is_renamed=scan.is_renamed)
    progress("taking in findings", 0, report.finding_count)
    flaws = translation.flaws(report)
    teams = _speaks_for(scan)
    for attempt in range(1, ATTEMPTS + 1):
        # What the world says is committed first: many reports name the same flaws, and none should wait for another's
        # end. A flaw that another report merges away between the two is found under its other name the next time.
        known = advisory_services.resolve(flaws, teams=teams)
        try:
            with transaction.atomic():
                image, is_placed = _image(target, scan)
                _take_in(scan, image, report, known, is_placed=is_placed, now=at)
            break
        except (IntegrityError, OperationalError):
            if attempt == ATTEMPTS:
                raise
            scan.status = ScanStatus.RUNNING
    progress("done", report.finding_count, report.finding_count)
    return scan


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
    scan: Scan, image: Image, report: ScanReport, known: Mapping[str, Flaw], *, is_placed: bool, now: datetime
) -> None:
    inventory = cache(lambda: _inventory(image, report))
    entries = translation.entries(report, {n: v.name for n, v in known.items()}, inventory)
    flaws = {v.name: v for v in known.values()}
    purls = {e.purl for e in entries.values() if e.purl}
    listed = {component_purl(c, inventory): c for c in report.components}
    components = image_services.ensure_components(purls | set(listed))
    taken = finding_services.take_in(
        image,
        entries,
        flaws=flaws,
        components=components,
        scanner=scan.scanner,
        scan_id=scan.pk,
        covers=[k.value for k in report.covers],
        is_complete=report.complete and _speaks_for_all_places(scan, image),
        at=now,
        is_placed=is_placed,
    )
    if report.inventory and report.complete:
        image_services.replace_inventory(image, _components(listed, components))
    _describe(image, report, now)
    _finish(scan, image, report, taken, now)
    for follow in SCANNED:
        follow(image, scan, now)


def _inventory(image: Image, report: ScanReport) -> dict[tuple[str, str], str]:
    """(name, version) to purl for what is unique: from the image's inventory, its findings, and the report."""
    found: dict[tuple[str, str], set[str]] = {}
    columns = ("component__name", "component__version", "component__purl")
    listed = ImageComponent.objects.filter(image=image).exclude(component__type=GENERIC)
    standing = image.findings.exclude(component=None).exclude(component__type=GENERIC)
    for name, version, purl in (*listed.values_list(*columns), *standing.values_list(*columns)):
        found.setdefault((name, version), set()).add(purl)
    for c in report.components:
        if (purl := component_purl(c, dict)).partition("/")[0] != f"pkg:{GENERIC}":
            found.setdefault((c.name, c.version), set()).add(purl)
    return {words: next(iter(purls)) for words, purls in found.items() if len(purls) == 1}


def _speaks_for_all_places(scan: Scan, image: Image) -> bool:
    """Whether the sender may post for every team that holds the image.

    A digest that lies in two teams' repositories is one image: whoever speaks for one of them may add findings, and
    their name stands on the scan, but may not make the other team's findings go away.
    """
    teams = _speaks_for(scan)
    if teams is None:
        return True
    owners = image.places.values_list("repository__application__team_id", flat=True).distinct()
    return all(team in teams for team in owners)


def _speaks_for(scan: Scan) -> frozenset[int] | None:
    """The teams for which the sender may post; ``None``: for the whole organisation."""
    return scan.requested_by.teams_with(Permission.REPORT_POST) if scan.requested_by else None


def _components(listed: Mapping[str, ReportedComponent], ids: Mapping[str, int]) -> list[Installed]:
    return [
        Installed(
            component_id=ids[purl],
            purl=c.purl[:1000],
            layer=c.layer[:80],
            path=(c.paths[0] if c.paths else "")[:1000],
            licenses=[x[:200] for x in c.licenses[:10]],
        )
        for purl, c in listed.items()
    ]


def _describe(image: Image, report: ScanReport, now: datetime) -> None:
    s = report.subject
    image.os_name = image.os_name or s.os_name[:50]
    image.os_version = image.os_version or s.os_version[:50]
    image.architecture = image.architecture or s.architecture[:50]
    image.last_scanned_at = now
    image.save(update_fields=["os_name", "os_version", "architecture", "last_scanned_at"])


def _finish(scan: Scan, image: Image, report: ScanReport, taken: Taken, now: datetime) -> None:
    scan.status = after(scan.status, ScanEvent.FINISH)
    scan.image = image
    scan.is_complete = report.complete
    scan.covers = sorted(k.value for k in report.covers)
    scan.counts = {**taken.as_counts(), "components": len(report.components)}
    scan.warnings = [w[:300] for w in report.warnings[:50]]
    scan.finished_at = now
    scan.save(
        update_fields=["status", "image", "is_complete", "covers", "counts", "warnings", "finished_at"],
    )
