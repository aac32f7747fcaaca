"""The tags of a promotion: what the one at the source names, and moving those at the destination, last of all."""

from __future__ import annotations

import time
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from secguard.errors import NotFound, Unavailable
from secguard.images.adapters.transfers import told
from secguard.images.models import Repository, Tag
from secguard.images.reference import is_digest, parse
from secguard.promotion.lifecycle import PromotionStatus, Step
from secguard.promotion.models import Promotion
from secguard.promotion.services.way import Found, Refused, Way, begin

WAIT_SECONDS = 5.0
"""How long an earlier promotion is waited for here, before others have the worker."""


def check_source_tag(way: Way) -> None:
    """Whoever asked for a tag meant what it points to: where it has moved since, they are told."""
    reference = parse(way.promotion.asked_reference)
    if reference.digest or way.promotion.requested_by_id is None:
        return
    name = reference.tag or "latest"
    try:
        with told("source", way.reading, way.source.path):
            now = way.reading.peek(way.source.path, name)
    except NotFound:
        raise Refused(f"The tag {name} is no longer in {way.source.name}.") from None
    if is_digest(now) and now != way.promotion.digest:
        raise Refused(
            f"The tag {name} of {way.source.name} points to {now} now; asked for was what it pointed to when it was "
            f"scanned, {way.promotion.digest}. Scan it again (secguard scan {way.source.name}:{name}), then ask again; "
            "or ask for the digest itself."
        )


def is_shown(way: Way) -> bool:
    """Whether the run before this one had moved a tag: its answer then was yes, all was read back, and is told so.

    What is left then is to end it. A verdict that turns after that is no matter of the promotion: admission asks for it
    itself. Tags that named the digest before it was asked for say nothing.
    """
    promotion = way.promotion
    if Step.TAG not in promotion.steps:
        return False
    begun = datetime.fromisoformat(promotion.steps[Step.TAG])
    rows = Tag.objects.filter(repository=way.destination, name__in=promotion.tags, moved_at__lt=begun)
    named = rows.values_list("name", "index__digest", "image__digest")
    before = {name for name, index, image in named if (index or image) == promotion.digest}
    with told("destination", way.writing, way.destination.path):
        return any(_points(way, tag) for tag in promotion.tags if tag not in before)


def _points(way: Way, tag: str) -> bool:
    try:
        return way.writing.peek(way.destination.path, tag) == way.promotion.digest
    except NotFound:
        return False


def move_tags(way: Way, found: Found) -> list[str]:
    """Let the tags point to the digest; returns those that were this promotion's to move."""
    tags = _claimed(way)
    with told("destination", way.writing, way.destination.path):
        for tag in tags:
            way.writing.point(way.destination.path, tag, found.whole)
    return tags


def _claimed(way: Way) -> list[str]:
    until = time.monotonic() + WAIT_SECONDS
    while (tags := _claim(way)) is None:
        if time.monotonic() > until:
            raise Unavailable(
                f"A promotion that was asked for earlier is moving the same tags of {way.destination.name}; this one "
                "goes on once that has ended.",
                code="tags-in-motion",
            )
        way.run.progress("waiting for an earlier promotion to the same tags")
        time.sleep(0.1)
    return tags


@transaction.atomic
def _claim(way: Way) -> list[str] | None:
    """Begin the step, and the tags that are this promotion's to move; ``None`` while an earlier one moves them.

    Of two to one place the one that was asked for later wins, whichever comes here first: it waits until the earlier
    one has ended, and the earlier one leaves it the tags that it has begun to move. Looked at and begun under one lock.
    """
    Repository.objects.select_for_update(no_key=True).get(pk=way.destination.pk)
    promotion = way.promotion
    others = Promotion.objects.filter(destination_name=promotion.destination_name)
    moving = others.filter(status=PromotionStatus.RUNNING, steps__has_key=Step.TAG.value)
    if _tags(moving.filter(pk__lt=promotion.pk)) & set(promotion.tags):
        return None
    later = moving.filter(pk__gt=promotion.pk), others.filter(pk__gt=promotion.pk, status=PromotionStatus.PROMOTED)
    taken = set().union(*map(_tags, later))
    begin(way, Step.TAG)
    return [tag for tag in promotion.tags if tag not in taken]


def _tags(rows: QuerySet[Promotion]) -> set[str]:
    return {tag for tags in rows.values_list("tags", flat=True) for tag in tags}
