"""Ask our own workers for a look at an image, and call it off."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Conflict, Invalid, NotFound
from secguard.images.models import Registry
from secguard.images.reference import Reference, parse
from secguard.jobs import services as job_services
from secguard.jobs.lifecycle import Queue
from secguard.scans.lifecycle import OPEN_STATUSES, ScanEvent, ScanOrigin, ScanStatus, after
from secguard.scans.models import Scan
from secguard.scans.report import OWN_LOOK, OWN_SCANNER
from secguard.scans.services.accepting import application_for
from secguard.scans.services.archives import path_of
from secguard.scans.subject import Target

LOOK = "scans.look"


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """What is to be looked at: a reference, in its registry or in an uploaded ``archive``."""

    image: str
    trigger: str = "api"
    application: str = ""
    archive: str = ""
    platform: str = ""


def ask(request: ScanRequest, *, actor: User | None, now: datetime | None = None) -> tuple[Scan, bool]:
    """Ask for a look; returns the scan and whether it is new. What is asked for already is not asked for again.

    ``actor`` None is the system itself (a webhook, a schedule), and stays within repositories that are known or of a
    registry that somebody set up. Raises ``NotAllowed``, ``Invalid`` for a reference or a registry that nobody set up,
    ``NotFound`` for an application or another team's repository.
    """
    reference, application = check_request(request, actor=actor)
    standing = _standing(reference) if reference.digest and not request.archive else None
    if standing is not None:
        return standing, False
    return record(reference, request, application=application, actor=actor, at=now or timezone.now())


def check_request(request: ScanRequest, *, actor: User | None) -> tuple[Reference, Application | None]:
    """What is asked for and whose it is; raises as ``ask`` does. An upload asks before it takes the bytes."""
    require(actor, Permission.SCAN_REQUEST, anywhere=True)
    reference = parse(request.image)
    if not request.archive and request.trigger != "upload":
        _check_registry(reference)
    return reference, _application(reference, request, actor)


def _check_registry(reference: Reference) -> None:
    if not Registry.objects.filter(host=reference.host, configured_at__isnull=False).exists():
        raise Invalid(
            f"Workers do not pull from {reference.host}: nobody has set that registry up here. Operators and "
            "administrators of the whole organisation add it (Settings, Registries; POST /api/v1/registries/). A "
            "report of a scanner of your own can be posted meanwhile: POST /api/v1/reports/.",
            code="registry-not-set-up",
            where="image",
        )


def _application(reference: Reference, request: ScanRequest, actor: User | None) -> Application | None:
    if actor is None:
        return Application.objects.filter(repositories__name=reference.repository).first()
    return application_for(Target(reference.digest, True, "", reference), request.application, actor)


def _standing(reference: Reference) -> Scan | None:
    """The open look at this very digest in its repository: whoever asks for it meanwhile waits for the same one."""
    name = reference.repository
    here = Q(named=name) | Q(named__startswith=f"{name}:") | Q(named__startswith=f"{name}@")
    this = Q(examines=reference.digest) | Q(index__digest=reference.digest)
    return Scan.objects.filter(here, this, origin=ScanOrigin.WORKER, status__in=OPEN_STATUSES).first()


def record(
    reference: Reference,
    request: ScanRequest,
    *,
    application: Application | None,
    actor: User | None,
    at: datetime,
    parent: Scan | None = None,
) -> tuple[Scan, bool]:
    """Write the scan down and ask for its job. The same reference asked for while one is open is that one."""
    words = (str(reference), request.archive, request.platform, str(parent.pk if parent else ""))
    dedup = hashlib.sha256("\0".join(("look", *words)).encode()).hexdigest()
    for _ in range(3):
        standing = Scan.objects.filter(dedup_key=dedup, status__in=OPEN_STATUSES).first()
        if standing is not None:
            return standing, False
        try:
            with transaction.atomic():
                return _insert(reference, request, dedup, application, actor, at, parent), True
        except IntegrityError:
            continue  # somebody asks for the same at this moment
    raise Conflict("The same scan is being asked for by others; try again.", code="scan-race")


def _insert(
    reference: Reference,
    request: ScanRequest,
    dedup: str,
    application: Application | None,
    actor: User | None,
    at: datetime,
    parent: Scan | None,
) -> Scan:
    scan = Scan.objects.create(
        origin=ScanOrigin.WORKER,
        trigger=request.trigger,
        reference=str(reference)[:700],
        named=str(reference)[:700],
        scanner=OWN_SCANNER,
        format=OWN_LOOK,
        dedup_key=dedup,
        application=application,
        requested_by=actor,
        archive=request.archive,
        platform=request.platform,
        parent=parent,
        created_at=at,
    )
    enqueue(scan)
    return scan


def enqueue(scan: Scan) -> None:
    """Interactive where a person or a pipeline waits; what a schedule or a watch asks for stands behind that."""
    queue = Queue.SCHEDULED if scan.trigger in ("schedule", "watch") else Queue.INTERACTIVE
    scan.job_id = job_services.enqueue(LOOK, {"scan": scan.pk}, key=str(scan.pk), queue=queue).pk
    scan.save(update_fields=["job_id"])


def ask_again(scan_id: int, *, actor: User) -> tuple[Scan, bool]:
    """Ask anew for what an ended look was asked for; of a platform's look, for its whole index.

    Raises ``NotFound`` (also where an uploaded archive is gone), ``NotAllowed``, ``Invalid`` as ``ask`` does, and
    ``Conflict`` where the look is still open or was no worker's.
    """
    scan = Scan.objects.visible_to(actor).select_related("application", "parent").filter(pk=scan_id).first()
    if scan is None:
        raise NotFound(f"There is no scan {scan_id} that you may see.")
    owner = scan.application
    _require(actor, owner, scan)
    if scan.origin != ScanOrigin.WORKER:
        raise Conflict("A posted report is not ours to make again; post a new one.", code="scan-state")
    if scan.status in OPEN_STATUSES:
        raise Conflict(f"The scan is {scan.status}; it can be asked for again once it has ended.", code="scan-state")
    first = scan.parent or scan
    if first.archive:
        path_of(first.archive)
    application = scan.application.slug if scan.application else ""
    return ask(ScanRequest(first.named, "page", application, first.archive), actor=actor)


def _require(actor: User, owner: Application | None, scan: Scan) -> None:
    team_id, name = owner.team_id if owner else None, scan.repository_name
    require(actor, Permission.SCAN_REQUEST, team_id=team_id, application=owner, repository=name)


@transaction.atomic
def cancel(scan_id: int, *, actor: User) -> Scan:
    """Call an open look off, with the looks at its platforms; who waited for the same digest goes on without it.

    Needs scan:request for the image's team. Raises ``NotFound``, ``NotAllowed``, ``Conflict`` where it has ended.
    """
    scan = Scan.objects.visible_to(actor).select_related("application").filter(pk=scan_id).first()
    if scan is None:
        raise NotFound(f"There is no scan {scan_id} that you may see.")
    owner = scan.application
    _require(actor, owner, scan)
    after(scan.status, ScanEvent.CANCEL)
    if scan.origin != ScanOrigin.WORKER:
        raise Conflict("A posted report is taken in within moments; it cannot be cancelled.", code="scan-state")
    for one in (scan, *scan.children.filter(status__in=OPEN_STATUSES)):
        _cancel(one)
    scan.refresh_from_db()
    return scan


def _cancel(scan: Scan) -> None:
    ended = Scan.objects.filter(pk=scan.pk, status__in=OPEN_STATUSES).update(
        status=ScanStatus.CANCELLED, finished_at=timezone.now()
    )
    if not ended:
        return
    if scan.job_id:
        job_services.cancel_if_open(scan.job_id)
    go_on_without(scan)


def wait_for_end(scan: Scan, seconds: float) -> Scan:
    """The scan once it has ended, or as it is after ``seconds``. Outside of a transaction only."""
    for _ in job_services.looks(seconds):
        scan.refresh_from_db()
        if scan.status not in OPEN_STATUSES:
            break
    return scan


def go_on_without(scan: Scan) -> None:
    """The first of those that waited for ``scan``'s end looks itself; the others wait for that one."""
    waiting = list(scan.followers.filter(status__in=OPEN_STATUSES).order_by("pk"))
    if not waiting:
        return
    first, *others = waiting
    first.same_as = None
    first.save(update_fields=["same_as"])
    Scan.objects.filter(pk__in=[s.pk for s in others]).update(same_as=first)
    enqueue(first)
