"""Copying what is promoted from the source's registry to the destination's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from django.db.models import F

from secguard.images.adapters.copying import Copied, Place, copy
from secguard.images.adapters.pushing import PushingClient
from secguard.images.models import Registry
from secguard.images.services import pusher_of
from secguard.jobs.registry import Run
from secguard.promotion.lifecycle import Step
from secguard.promotion.models import Promotion
from secguard.promotion.services.way import Found, Way


def writer_of(registry: Registry, run: Run) -> PushingClient:
    """Whatever it writes is read back in a step of its own."""
    return pusher_of(registry, run.require_lease, reads_back=False)


def copied(way: Way, found: Found) -> Sequence[str]:
    """Copy it; returns the digests that are at the destination then, what refers to the image among them."""
    if way.is_in_place:
        return []
    reading, writing = way.source.registry, way.destination.registry
    source = Place(lambda: pusher_of(reading), way.source.path)
    destination = Place(lambda: writer_of(writing, way.run), way.destination.path)
    progress = partial(way.run.progress, Step.COPY.value)
    return _noted(way, copy(source, destination, found.whole.digest, progress=progress))


def _noted(way: Way, done: Copied) -> Sequence[str]:
    # What an attempt that was broken off brought is not counted again.
    Promotion.objects.filter(pk=way.promotion.pk).update(copied_bytes=F("copied_bytes") + done.bytes)
    return done.digests
