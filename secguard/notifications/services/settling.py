"""Take back what no longer waits: somebody else did it, or it is gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction
from django.db.models import Count, F
from django.db.models.functions import Coalesce

from secguard import bulk
from secguard.notifications import digest, kinds
from secguard.notifications.models import Notice, NoticeLine
from secguard.notifications.queries import lines_of


def settle(kind: str, keys: Iterable[str], *, now: datetime) -> int:
    """The lines ``keys`` of ``kind`` wait for nobody any more: part of the caller's transaction.

    They leave every unread notice. One of which no line is left becomes read as it is, so that its reader still finds
    what it was about; no message repeats it. What was read before is left alone. Returns how many notices changed.
    """
    found = NoticeLine.objects.filter(kind=kind, key__in=bulk.among(sorted({key[:120] for key in keys})))
    with transaction.atomic():
        ids = found.values("notice_id")
        # In the order in which whoever adds lines, reads or takes into a message locks them.
        locked = Notice.objects.unread().filter(pk__in=ids).select_for_update(no_key=True).order_by("pk")
        notices = list(locked)
        pks = [n.pk for n in notices]
        gone = found.filter(notice_id__in=bulk.among(pks))
        counts = dict(gone.order_by().values_list("notice_id").annotate(lines=Count("pk")))
        kept = set(
            NoticeLine.objects.filter(notice_id__in=bulk.among(pks))
            .exclude(pk__in=gone.values("pk"))
            .values_list("notice_id", flat=True)
        )
        over = [pk for pk in pks if pk not in kept]
        Notice.objects.filter(pk__in=bulk.among(over)).update(seen_at=now, told_at=Coalesce(F("told_at"), now))
        gone.filter(notice_id__in=bulk.among(sorted(kept))).delete()
        _describe([n for n in notices if n.pk in kept], counts)
    return len(notices)


def _describe(notices: Sequence[Notice], gone: dict[int, int]) -> None:
    """Write down what is the most pressing of the lines that are left, and how many are."""
    lines = lines_of(notices, 1)
    rows = []
    for notice in notices:
        kind, top = kinds.kind(notice.kind), lines[notice.pk][0]
        url = top.url if digest.is_own_path(top.url) else kind.url
        rows.append((notice.pk, digest.subject_of(kind, top, 1), url, top.weight, notice.total - gone[notice.pk]))
    bulk.update(Notice, ("subject", "url", "weight", "total"), rows)
