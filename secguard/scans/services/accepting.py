"""Accept posted reports: read each once, refuse a bad one with the place of its fault, keep a good one."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, TooLarge
from secguard.images.models import Image, ImageRepository, Repository
from secguard.jobs import services as job_services
from secguard.jobs.lifecycle import Queue
from secguard.scans import translation
from secguard.scans.condensed import Condensed
from secguard.scans.lifecycle import OPEN_STATUSES, ScanStatus
from secguard.scans.models import IdempotencyKey, Report, Scan
from secguard.scans.redaction import redacted
from secguard.scans.report import OWN_SCANNER, ScanReport
from secguard.scans.services.reading import read
from secguard.scans.services.repeating import reach_of
from secguard.scans.services.taking_in import TAKE_IN
from secguard.scans.subject import Target, target_of

MAX_KEY = 255


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
    sha256 = hashlib.sha256(submission.raw).hexdigest()
    repeated = _by_idempotency_key(submission, actor) or _by_bytes(submission, sha256, actor)
    if repeated is not None:
        _remember(submission, actor, repeated)
        return repeated, False
    report = read(submission.raw, submission.scanner)
    _check_name(submission.scanner or report.scanner)
    translation.check(report)
    condensed = translation.condense(report)
    target = target_of(report.subject, submission.image, is_renamed=submission.is_renamed)
    application = application_for(target, submission.application, actor)
    _check_within(target.digest, actor)
    return _keep(submission, sha256, report, condensed, target, application, actor, now or timezone.now())


def _check_name(scanner: str) -> None:
    if scanner.strip().lower() == OWN_SCANNER:
        raise Invalid(
            f"The scanner is called {scanner!r}, as our own workers are. Say which tool wrote the report: "
            "?scanner=NAME, or scanner.name in SecGuard's own format.",
            code="scanner-name",
            where="scanner",
        )


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
    if actor.limit is not None and not Scan.objects.visible_to(actor).filter(pk=known.scan_id).exists():
        raise Conflict(
            "The Idempotency-Key was used for a scan that this token may not see: it is limited to "
            f"{actor.limit.words}.",
            code="idempotency-key-reused",
        )
    return known.scan


def _by_bytes(submission: Submission, sha256: str, actor: User) -> Scan | None:
    """The scan that stands for these very bytes, posted with the same words by somebody who may post them: found
    without reading the report again."""
    same = Scan.objects.visible_to(actor).filter(
        report__sha256=sha256, named=submission.image[:700], is_renamed=submission.is_renamed, requested_by=actor
    )
    if submission.scanner:
        same = same.filter(scanner=submission.scanner.lower()[:50])
    if submission.application:
        same = same.filter(application__slug=submission.application)
    key = same.exclude(status=ScanStatus.FAILED).order_by("-id").values_list("dedup_key", flat=True).first()
    return _standing(key) if key else None


def application_for(target: Target, slug: str, actor: User) -> Application | None:
    """Whose image it is. A known repository stays with its application; a new one goes to the one that is named, or to
    the only one of the sender's team. Posting into another team's repository is refused as if there were none."""
    known = None
    if target.place:
        _check_name_within(target.place.repository, actor)
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


def _check_within(digest: str, actor: User) -> None:
    """A report says what is in an image wherever that lies: whoever is limited to a part of the team does not say it
    for the rest. (What lies with other teams stays as it is: ``repeating.speaks_for_all_places``.)"""
    if actor.limit is None:
        return
    ours = ImageRepository.objects.filter(image__digest=digest, repository__application__team=actor.limit.team)
    if ours.exclude(repository__in=Repository.objects.visible_to(actor)).exists():
        raise NotAllowed(
            f"{digest} also lies in a repository of the team for which this token does not speak: it is limited to "
            f"{actor.limit.words}. Post the report with a token of the whole team.",
            code="token-limited",
        )


def _check_name_within(name: str, actor: User) -> None:
    """In the words of ``_check_own``: outside of its limit a token learns of no repository whether there is one."""
    if actor.limit is not None and not actor.limit.has_name(name):
        raise _not_own(name)


def _not_own(name: str) -> NotFound:
    return NotFound(f"You may not post about {name!r}: it is not one of your team's repositories.", where="image")


def _check_own(repository: Repository, actor: User) -> None:
    team = repository.application.team_id if repository.application else None
    if not Repository.objects.visible_to(actor).filter(pk=repository.pk).exists():
        raise _not_own(repository.name)
    if actor.may_within(Permission.REPORT_POST, repository.application, repository.name):
        return
    if not actor.can(Permission.REPORT_POST, team):
        raise NotAllowed("Your role in the repository's team may not post reports.", code="report-post")


def _keep(
    submission: Submission,
    sha256: str,
    report: ScanReport,
    condensed: Condensed,
    target: Target,
    application: Application | None,
    actor: User,
    at: datetime,
) -> tuple[Scan, bool]:
    scanner = (submission.scanner or report.scanner).lower()[:50]
    dedup = hashlib.sha256(f"{sha256}\0{target.digest}\0{target.place or ''}\0{scanner}".encode()).hexdigest()
    standing = _standing(dedup)
    if standing is not None:
        _remember(submission, actor, standing)
        return standing, False
    kept = {
        "body": zlib.compress(redacted(submission.raw, report), 1),
        "condensed": condensed.pack(),
        "size_bytes": len(submission.raw),
    }
    for _ in range(3):
        try:
            with transaction.atomic():
                row, _ = Report.objects.defer("body", "condensed").get_or_create(sha256=sha256, defaults=kept)
                scan = _record(submission, report, target, application, actor, scanner, dedup, row, at)
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
    kept: Report,
    at: datetime,
) -> Scan:
    scan = Scan.objects.create(
        reference=str(target.place or target.digest)[:700],
        scanner=scanner,
        scanner_version=report.scanner_version[:100],
        format=report.format,
        report=kept,
        dedup_key=dedup,
        application=application,
        requested_by=actor,
        speaks_for=reach_of(actor),
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
