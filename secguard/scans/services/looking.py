"""The job of a look: resolve, pull, examine, and take the result in like any scanner's report.

Every step may be run again: what was pulled and what was found in layers is kept, the report is kept before it is taken
in, and the findings come in one transaction. So a worker that is killed anywhere leaves a scan that the next one ends.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from secguard.errors import Invalid, NotFound
from secguard.images import services as image_services
from secguard.images.adapters.archives import open_archive
from secguard.images.adapters.registry import RegistrySource
from secguard.images.adapters.source import ImageSource, Resolved, images_of
from secguard.images.manifest import Descriptor, ImageIndex, ImageManifest, Platform, require_image
from secguard.images.models import Image, Index, IndexImage, Registry, Repository, Tag
from secguard.images.reference import Reference, parse
from secguard.jobs.registry import Run
from secguard.scans import translation
from secguard.scans.assembling import Seen, SeenLayer, assemble
from secguard.scans.inspection.secrets import secrets_in
from secguard.scans.lifecycle import OPEN_STATUSES, ScanEvent, ScanStatus, after
from secguard.scans.models import Report, Scan
from secguard.scans.report import ReportedSecret, ScanReport, Subject
from secguard.scans.services import archives
from secguard.scans.services.asking import ScanRequest, record
from secguard.scans.services.examining import (
    LOOK_FORM,
    Examination,
    Examined,
    configuration_text,
    fingerprint_key,
)
from secguard.scans.services.taking_in import take_in
from secguard.scans.services.telling import tell_of_failures

MAIN_PLATFORM = ("linux/amd64", "linux/arm64", "linux/arm64/v8")
"""Which platform's image a tag leads to, where it names an index: the first that is there."""
CONFIGURATION = "image configuration"


def look(run: Run) -> Mapping[str, Any]:
    """The handler. Safe to run twice, and to be killed at any point."""
    scan = Scan.objects.select_related("application__team", "requested_by", "parent").get(pk=run.args["scan"])
    if scan.same_as_id is not None:
        return {"scan": scan.pk}
    if scan.status in OPEN_STATUSES:
        if scan.report_id is None and not _examine(scan, run):
            return {"scan": scan.pk}
        take_in(scan.pk, progress=run.progress)
    # Also where the scan had ended before: the worker that ended it may have been killed right then.
    _settle(scan.pk)
    return {"scan": scan.pk, "image": Scan.objects.values_list("image_id", flat=True).get(pk=scan.pk)}


def _settle(scan_id: int) -> None:
    """What waits for the scan's end: the same digest under other names, and the index that it is a platform of."""
    end_followers(scan_id)
    ended = Scan.objects.filter(Q(pk=scan_id) | Q(same_as=scan_id), parent__isnull=False)
    for parent in sorted(set(ended.values_list("parent_id", flat=True))):
        settle_parent(parent)


def _examine(scan: Scan, run: Run) -> bool:
    """Whether the scan has its report now; False where other scans bring it to its end."""
    _start(scan)
    run.progress("resolving", 0, 0)
    with _source(scan) as source:
        resolved = _resolve(source, scan)
        found = resolved.parse()
        if isinstance(found, ImageIndex):
            _split(scan, resolved, found, images_of(source, found))
            return False
        require_image(found)
        if not _leads(scan, resolved.digest):
            return False
        examined = Examination(source, progress=run.progress).examine(resolved, found)
    run.progress("putting it together", 0, 0)
    _keep(scan, _report(scan, examined), examined)
    return True


def _start(scan: Scan) -> None:
    scan.status = after(scan.status, ScanEvent.START)
    scan.started_at = scan.started_at or timezone.now()
    Scan.objects.filter(pk=scan.pk, status__in=OPEN_STATUSES).update(status=scan.status, started_at=scan.started_at)


@contextmanager
def _source(scan: Scan) -> Iterator[ImageSource]:
    reference = parse(scan.named)
    source = _archive(scan) if scan.archive else _registry(reference)
    try:
        yield source
    finally:
        source.close()


def _archive(scan: Scan) -> ImageSource:
    return open_archive(archives.path_of(scan.archive), scratch=archives.scratch())


def _registry(reference: Reference) -> ImageSource:
    registry = Registry.objects.filter(host=reference.host).first()
    if registry is None:
        raise NotFound(f"The registry {reference.host} is no longer known here.", code="registry-not-set-up")
    return RegistrySource(image_services.client_of(registry), reference.path)


def _resolve(source: ImageSource, scan: Scan) -> Resolved:
    """What the reference means in the source; in an archive also its only image, whatever that is called there."""
    reference = parse(scan.named)
    try:
        return source.resolve(reference.digest or reference.tag)
    except NotFound:
        if not scan.archive or reference.digest:
            raise
    return source.resolve("")


# --- once for each digest ---


def _leads(scan: Scan, digest: str) -> bool:
    """Whether this scan is the one that looks at ``digest`` now. Otherwise it ends as the one that does."""
    try:
        with transaction.atomic():
            Scan.objects.filter(pk=scan.pk).update(examines=digest)
    except IntegrityError:
        return _follow(scan, digest)
    return True


def _follow(scan: Scan, digest: str) -> bool:
    with transaction.atomic():
        leader = (
            Scan.objects.select_for_update(no_key=True)
            .filter(examines=digest, status__in=OPEN_STATUSES)
            .exclude(pk=scan.pk)
            .first()
        )
        if leader is not None:
            Scan.objects.filter(pk=scan.pk).update(same_as=leader)
            return False
    return _leads(scan, digest)  # it ended between our look and our wish to wait for it


def end_followers(leader_id: int) -> None:
    """Who waited for this scan's end: the same report about the same digest, under the name that they gave it."""
    leader = Scan.objects.get(pk=leader_id)
    for follower in Scan.objects.filter(same_as=leader, status__in=OPEN_STATUSES).order_by("pk"):
        Scan.objects.filter(pk=follower.pk, status__in=OPEN_STATUSES).update(
            # The name is another one; the digest, which both resolved, is not.
            report=leader.report,
            scanner_version=leader.scanner_version,
            is_renamed=True,
        )
        take_in(follower.pk, progress=lambda *_: None)


# --- an index ---


def _split(scan: Scan, resolved: Resolved, found: ImageIndex, images: Sequence[Descriptor]) -> None:
    """One scan a platform; the index's own scan ends with the last of them.

    Whoever asks for the same index meanwhile has scans of its platforms too: those wait for ours, digest by digest.
    """
    reference = parse(scan.named)
    with transaction.atomic():
        if scan.children.exists():
            return  # the worker that split it was killed before its job ended
        index, _ = Index.objects.get_or_create(digest=resolved.digest, defaults={"media_type": found.media_type})
        Scan.objects.filter(pk=scan.pk).update(index=index)
        for place, image in enumerate(_main_first(images)):
            request = ScanRequest(
                image=f"{reference.repository}@{image.digest}",
                trigger=scan.trigger,
                archive=scan.archive,
                platform=str(image.platform or Platform()),
            )
            record(
                Reference(reference.host, reference.path, "", image.digest),
                request,
                application=scan.application,
                actor=scan.requested_by,
                # The newest in a repository leads it: the main platform's image is to be it, whichever ends last.
                at=scan.created_at - timedelta(milliseconds=place),
                parent=scan,
            )


def _main_first(images: Sequence[Descriptor]) -> list[Descriptor]:
    def rank(image: Descriptor) -> int:
        name = str(image.platform or "")
        return MAIN_PLATFORM.index(name) if name in MAIN_PLATFORM else len(MAIN_PLATFORM)

    return sorted(images, key=rank)


def settle_parent(parent_id: int) -> None:
    """End the scan of an index once none of its platforms is open."""
    with transaction.atomic():
        parent = Scan.objects.select_for_update(no_key=True).filter(pk=parent_id).first()
        if parent is None or parent.status not in OPEN_STATUSES:
            return
        children = list(parent.children.order_by("pk"))
        if not children or any(c.status in OPEN_STATUSES for c in children):
            return
        _end_parent(parent, children)


def _end_parent(parent: Scan, children: Sequence[Scan]) -> None:
    good = [c for c in children if c.status == ScanStatus.FINISHED]
    counts: dict[str, int] = {}
    for child in good:
        for name, number in child.counts.items():
            if isinstance(number, int):
                counts[name] = counts.get(name, 0) + number
    parent.counts = counts
    parent.status = after(parent.status, ScanEvent.FINISH if len(good) == len(children) else ScanEvent.FAIL)
    parent.finished_at = timezone.now()
    if len(good) < len(children):
        bad = [
            f"{c.platform or c.reference}: {(c.problem or {}).get('detail', c.status)}"
            for c in children
            if c not in good
        ]
        detail = f"{len(bad)} of {len(children)} platforms could not be scanned. {' '.join(bad)}"
        parent.problem = {"code": "platforms-failed", "detail": detail[:2000]}
    parent.is_complete = len(good) == len(children)
    parent.save(update_fields=["counts", "status", "finished_at", "problem", "is_complete"])
    if parent.status == ScanStatus.FAILED:
        tell_of_failures([parent.pk], parent.finished_at)


def conclude(image: Image, scan: Scan, now: datetime) -> None:
    """``taking_in.SCANNED``: a platform's image belongs to its index, and the index's tag leads to the main one."""
    if scan.parent is None or scan.parent.index is None:
        return
    IndexImage.objects.get_or_create(index=scan.parent.index, image=image, platform=scan.platform[:100])
    first = Scan.objects.filter(parent=scan.parent_id).order_by("pk").values_list("pk", flat=True).first()
    if first == scan.pk:
        _point_tag(scan.parent, image, now)


def _point_tag(parent: Scan, image: Image, now: datetime) -> None:
    reference = parse(parent.named)
    repository = Repository.objects.filter(name=reference.repository).first()
    if reference.tag and repository is not None:
        image_services.point(repository, reference.tag, image, at=now, by=parent.requested_by)
        Tag.objects.filter(repository=repository, name=reference.tag).update(index=parent.index)


# --- the report ---


def _report(scan: Scan, examined: Examined) -> ScanReport:
    layers = [
        SeenLayer(
            diff_id=layer.diff_id,
            files=look.files,
            secrets=look.secrets,
            malware=look.malware,
            packages=packages.packages,
            texts=look.texts,
            warnings=look.warnings,
        )
        for layer, look, packages in zip(examined.layers, examined.looks, examined.packages, strict=True)
    ]
    seen = Seen(
        subject=_subject(scan, examined),
        config=examined.config,
        layers=layers,
        size_bytes=_size(examined.manifest),
        previous_size_bytes=_previous_size(scan, examined.resolved.digest),
        of_configuration=_secrets_of_configuration(examined),
        version=version(),
    )
    return assemble(seen, key=fingerprint_key())


def _subject(scan: Scan, examined: Examined) -> Subject:
    resolved, platform = examined.resolved, examined.config.platform
    return Subject(
        reference=scan.named,
        digest=resolved.digest if resolved.is_digest_asserted else "",
        image_id=examined.config_digest,
        architecture=platform.architecture,
        platform_os=platform.os,
    )


def _size(manifest: ImageManifest) -> int:
    return sum(layer.size for layer in manifest.layers)


def _previous_size(scan: Scan, digest: str) -> int | None:
    """Of the newest other image of the repository, as registries keep it."""
    reference = parse(scan.named)
    rows = Image.objects.filter(places__repository__name=reference.repository, size_bytes__isnull=False)
    newest = rows.exclude(digest=digest).order_by("-places__first_seen_at", "-pk")
    return newest.values_list("size_bytes", flat=True).first()


def _secrets_of_configuration(examined: Examined) -> list[ReportedSecret]:
    text = configuration_text(examined.config)
    found = secrets_in(text, CONFIGURATION, examined.of_configuration, key=fingerprint_key())
    return [msgspec.structs.replace(secret, path=CONFIGURATION, line=0) for secret in found]


def version() -> str:
    """Of what looks: the form of what it finds."""
    return f"{LOOK_FORM}"


def _keep(scan: Scan, report: ScanReport, examined: Examined) -> None:
    """Keep the report before it is taken in: from here on nothing is pulled or looked at again."""
    translation.check(report)
    raw = msgspec.json.encode(report, order="deterministic")  # the same words are the same report
    sha256 = hashlib.sha256(raw).hexdigest()
    kept = {
        "body": zlib.compress(raw, 1),
        "condensed": translation.condense(report).pack(),
        "size_bytes": len(raw),
    }
    with transaction.atomic():
        _note_build(examined, scan)
        row, _ = Report.objects.defer("body", "condensed").get_or_create(sha256=sha256, defaults=kept)
        open_ones = Scan.objects.filter(pk=scan.pk, status__in=OPEN_STATUSES)
        if not open_ones.update(report=row, scanner_version=report.scanner_version):
            raise Invalid("The scan was called off meanwhile.", code="scan-state")


def _note_build(examined: Examined, scan: Scan) -> None:
    resolved, config = examined.resolved, examined.config
    image = image_services.ensure_image(
        resolved.digest,
        config_digest=examined.config_digest,
        is_asserted=resolved.is_digest_asserted,
        at=scan.created_at,
    )
    build = image_services.ImageBuild(
        media_type=examined.manifest.media_type,
        variant=config.platform.variant,
        built_at=config.created,
        labels=dict(config.execution.labels),
        layers=[(layer.descriptor, layer.diff_id, layer.created_by) for layer in examined.layers],
    )
    image_services.note_build(image, build)


def failed(args: Mapping[str, Any], code: str, words: str) -> None:
    """The job was given up: the scan says why, and so do those that waited for it. It closes nothing."""
    ids = list(Scan.objects.filter(pk=args["scan"]).values_list("pk", flat=True))
    ids += Scan.objects.filter(same_as=args["scan"]).values_list("pk", flat=True)
    Scan.objects.filter(pk__in=ids, status__in=OPEN_STATUSES).update(
        status=ScanStatus.FAILED, finished_at=timezone.now(), problem={"code": code, "detail": words}
    )
    tell_of_failures(ids, timezone.now())
    for parent in Scan.objects.filter(pk__in=ids, parent__isnull=False).values_list("parent_id", flat=True):
        settle_parent(parent)
