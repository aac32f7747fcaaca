"""What people do with their inbox: read, and choose how they are told. Nobody touches another person's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from secguard.errors import Invalid, NotFound
from secguard.notifications.models import Message, Notice, NoticeQuerySet, Preference
from secguard.notifications.queries import preference_of
from secguard.notifications.rhythm import Rhythm

KEEP_SEEN = timedelta(days=90)
KEEP_UNSEEN = timedelta(days=365)
PRUNE_BATCH = 1_000


def mark_read(notice_id: int, *, actor: Any, now: datetime | None = None) -> Notice:
    """Note that ``actor`` has read it: it is told then, and no message repeats it. ``NotFound`` for another's."""
    at = now or timezone.now()
    mine = Notice.objects.visible_to(actor).filter(pk=notice_id)
    _mark(mine, at)
    notice = mine.first()
    if notice is None:
        raise NotFound(f"There is no notification {notice_id} of yours.")
    return notice


def mark_all_read(*, actor: Any, now: datetime | None = None) -> int:
    """Note that ``actor`` has read all that there is; returns how many were unread."""
    return _mark(Notice.objects.visible_to(actor), now or timezone.now())


@transaction.atomic
def _mark(notices: NoticeQuerySet, at: datetime) -> int:
    # Locked in one order: whoever adds lines, or takes notices into a message, does the same.
    ids = list(notices.unread().select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    return Notice.objects.filter(pk__in=ids).update(seen_at=at, told_at=Coalesce(F("told_at"), at))


@transaction.atomic
def edit_preferences(changes: Mapping[str, Any], *, actor: Any) -> Preference:
    """Change what is named in ``changes`` (columns of ``Preference``) for ``actor`` themselves.

    Raises ``Invalid`` at an interval or time zone that is not known, and at quiet hours of which one is missing.
    """
    preference = preference_of(actor)
    for name, value in changes.items():
        setattr(preference, name, value)
    _check(preference)
    columns = ("email", "interval", "quiet_from", "quiet_until", "time_zone")
    stored, _ = Preference.objects.update_or_create(
        user_id=actor.pk, defaults={name: getattr(preference, name) for name in columns}
    )
    return stored


def _check(preference: Preference) -> None:
    if preference.interval not in list(Rhythm):
        known = ", ".join(Rhythm)
        raise Invalid(f"The interval is {str(preference.interval)[:40]!r}; expected one of {known}.", where="interval")
    try:
        ZoneInfo(preference.time_zone)
    except (ValueError, OSError, LookupError):
        raise Invalid(
            f"There is no time zone {preference.time_zone[:64]!r}; expected a name such as Europe/Berlin, or UTC.",
            where="time_zone",
        ) from None
    for name in ("quiet_from", "quiet_until"):
        hour = getattr(preference, name)
        if hour is not None and not 0 <= hour <= 23:
            raise Invalid(f"The hour is {hour}; expected a whole number from 0 to 23.", where=name)
    if (preference.quiet_from is None) != (preference.quiet_until is None):
        missing = "quiet_from" if preference.quiet_from is None else "quiet_until"
        raise Invalid("Quiet hours need both their beginning and their end, or neither.", where=missing)


def prune(now: datetime | None = None) -> int:
    """Delete what was read ninety days ago, and what nobody read for a year; returns how many notices."""
    at = now or timezone.now()
    read = Notice.objects.filter(seen_at__lt=at - KEEP_SEEN)
    deleted = _delete(read) + _delete(Notice.objects.filter(seen_at=None, changed_at__lt=at - KEEP_UNSEEN))
    # Only those that nothing stands in any more: a notice without its message would be told again.
    Message.objects.filter(notices=None, ended_at__lt=at - KEEP_SEEN).delete()
    return deleted


def _delete(notices: NoticeQuerySet) -> int:
    deleted = 0
    while ids := list(notices.order_by("pk").values_list("pk", flat=True)[:PRUNE_BATCH]):
        Notice.objects.filter(pk__in=ids).delete()
        deleted += len(ids)
    return deleted
