"""Scans that could not be held against advisories for want of any: as soon as there are some, they could."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from secguard import bulk
from secguard.advisories.models import AffectedRange
from secguard.findings import services as finding_services
from secguard.findings.identity import FindingKind
from secguard.images.models import ComponentBuild, Image, ImageComponent
from secguard.scans.lifecycle import ScanStatus
from secguard.scans.models import Scan
from secguard.scans.services.matching import DISTRIBUTION_TYPES, NONE_THERE, data_of

SCANS = 200
"""Scans in one transaction."""


def cover() -> int:
    """Let each image's last scan that said so say it no longer, where by now there are advisories for all that is in
    the image; returns how many. Their verdicts stop holding. Safe to run twice, and beside itself."""
    ids = list(_coverable().order_by("pk").values_list("pk", flat=True))
    for start in range(0, len(ids), SCANS):
        _cover(ids[start : start + SCANS])
    return len(ids)


def _coverable() -> QuerySet[Scan]:
    ecosystems = ComponentBuild.objects.order_by("ecosystem").values_list("ecosystem", flat=True).distinct()
    missing = [e for e in ecosystems if not AffectedRange.objects.filter(ecosystem=e).exists()]
    listed = ImageComponent.objects.filter(image=OuterRef("image_id"))
    unmatched = listed.filter(Q(build__ecosystem__in=missing) | Q(build=None, component__type__in=DISTRIBUTION_TYPES))
    scans = Scan.objects.filter(status=ScanStatus.FINISHED, is_complete=True, image__isnull=False)
    later = Scan.objects.filter(
        status=ScanStatus.FINISHED, image=OuterRef("image_id"), scanner=OuterRef("scanner"), pk__gt=OuterRef("pk")
    )
    said = scans.annotate(said=Cast("warnings", TextField())).filter(said__contains=NONE_THERE)
    return said.select_related("image").filter(Exists(listed), ~Exists(unmatched), ~Exists(later))


@transaction.atomic
def _cover(ids: Sequence[int]) -> None:
    scans = list(_coverable().filter(pk__in=bulk.among(ids)).order_by("pk"))
    images = sorted({scan.image_id for scan in scans if scan.image_id})
    # Locked first, as by whoever takes a scan in.
    finding_services.lock_images(Image.objects.filter(pk__in=bulk.among(images)))
    for scan in scans:
        scan.covers = sorted({*scan.covers, FindingKind.VULNERABILITY.value})
        scan.warnings = [words for words in scan.warnings if not words.startswith(NONE_THERE)]
        scan.database_updated_at = scan.database_updated_at or (data_of(scan.image) if scan.image else None)
    Scan.objects.bulk_update(scans, ["covers", "warnings", "database_updated_at"])
    for follow in finding_services.IMAGES_CHANGED if images else ():
        follow(images, timezone.now())
