"""What our own looks leave behind and nobody needs any more, taken away once a day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Exists, Max, OuterRef
from django.utils import timezone

from secguard.images.adapters.blobs import BlobStore
from secguard.images.models import ComponentBuild
from secguard.jobs.registry import Run
from secguard.scans.adapters import workplace
from secguard.scans.models import ChangedPackage, LayerResult
from secguard.scans.services import archives

TIDY = "scans.tidy"
KEEP_RESULTS = timedelta(days=30)
KEEP_CHANGES = timedelta(days=7)


def tidy(_run: Run) -> Mapping[str, Any]:
    """The handler. What it takes away costs nothing but time where somebody asks for it again."""
    now = timezone.now()
    return {
        "layer_results": _old_results(now),
        "changes": _old_changes(now),
        "archives": archives.discard_unneeded(),
        "work_folders": workplace.clear(archives.scratch()),
        "layer_bytes": BlobStore(settings.DATA_DIR / "layers", settings.LAYER_CACHE_BYTES).trim(),
    }


def _old_results(now: datetime) -> int:
    return LayerResult.objects.filter(used_at__lt=now - KEEP_RESULTS).delete()[0]


def _old_changes(now: datetime) -> int:
    """Not the newest, by which is told up to where a build was matched, and none that some build is behind of."""
    newest = ChangedPackage.objects.aggregate(n=Max("pk"))["n"]
    late = ComponentBuild.objects.filter(
        ecosystem=OuterRef("ecosystem"), source_name=OuterRef("name"), matched_to__lt=OuterRef("pk")
    )
    old = ChangedPackage.objects.filter(~Exists(late), at__lt=now - KEEP_CHANGES)
    return old.exclude(pk=newest).delete()[0]
