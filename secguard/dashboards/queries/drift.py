"""Where what runs is not what was promoted, judged and looked at."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from django.db.models import Exists, OuterRef, Q

from secguard.images.models import IndexImage
from secguard.signing.models import Attestation
from secguard.signing.statements import PROMOTION
from secguard.workloads.models import Container, Workload

SCAN_DAYS: Final = 7
"""A scan older than this says nothing of what became known since."""
_RUNS = Workload.images.through


class Drift(StrEnum):
    NOT_PROMOTED = "not-promoted"
    UNKNOWN = "unknown"
    NOT_SCANNED = "not-scanned"


WORDS: Final = {
    Drift.NOT_PROMOTED: "not promoted there",
    Drift.UNKNOWN: "image not known here",
    Drift.NOT_SCANNED: f"no scan in {SCAN_DAYS} days",
}


def unscanned(now: datetime, path: str = "image__") -> Q:
    """Images that were not looked at lately, or never."""
    old = Q(**{f"{path}last_scanned_at__lt": now - timedelta(days=SCAN_DAYS)})
    return old | Q(**{f"{path}last_scanned_at": None})


def drifting(word: Drift, now: datetime) -> Q:
    """Workloads that drift so, as a condition on them."""
    if word is Drift.UNKNOWN:
        found = Container.objects.filter(image=None, gone_at=None).exclude(digest="")
        return Q(pk__in=found.values("workload_id"))
    asked = not_promoted(now) if word is Drift.NOT_PROMOTED else unscanned(now)
    return Q(Exists(_RUNS.objects.filter(asked, workload=OuterRef("pk"))))


def not_promoted(now: datetime) -> Q:
    """Of rows of workloads and their images (``Workload.images.through``): the cluster runs what was promoted to an
    environment, and this digest was not, neither by itself nor with its index."""
    standing = Attestation.objects.standing(now).filter(
        predicate_type=PROMOTION, environment=OuterRef("workload__cluster__gate__environment")
    )
    itself = standing.filter(digest=OuterRef("image__digest"))
    indexes = IndexImage.objects.filter(image=OuterRef("image")).filter(
        Exists(
            Attestation.objects.standing(now).filter(
                predicate_type=PROMOTION,
                environment=OuterRef(OuterRef("workload__cluster__gate__environment")),
                digest=OuterRef("index__digest"),
            )
        )
    )
    asked = Q(workload__cluster__gate__environment__gt="")
    return asked & ~Q(Exists(itself)) & ~Q(Exists(indexes))
