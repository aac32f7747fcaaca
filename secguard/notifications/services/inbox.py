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
from secguard.notifications import kinds
from secguard.notifications.models import KindChoice, Message, Notice, NoticeQuerySet, Preference
from secguard.notifications.queries import choices_of, preference_of
from secguard.notifications.rhythm import ByMail, Choice, Rhythm

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
    return _mark(Notice.objects.visible_to(actor).on_page(), now or timezone.now())


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


@transaction.atomic
def choose(
    kind_name: str, *, actor: Any, by_mail: str | None = None, on_page: bool | None = None, now: datetime | None = None
) -> Choice:
    """How ``actor`` themselves are told of one kind of news; None leaves what is chosen.

    Raises ``NotFound`` for a kind that nobody registered, ``Invalid`` for a way that is none, and where an urgent kind
    would be hidden from those who answer for it.
    """
    kind = kinds.kind(kind_name)
    had = choices_of([actor.pk], [kind.name]).get((actor.pk, kind.name), kind.default)
    if by_mail is not None and by_mail not in list(ByMail):
        raise Invalid(f"The way is {by_mail[:40]!r}; expected one of {', '.join(ByMail)}.", where="by_mail")
    choice = Choice(had.by_mail if by_mail is None else ByMail(by_mail), had.on_page if on_page is None else on_page)
    if kind.is_urgent and not choice.on_page:
        raise Invalid(
            f"{kind.heading} cannot be turned off on the page: only people who answer for these are told of them, and "
            "minutes count. Whether they are written to as well is theirs to choose.",
            code="urgent-kind",
            where="on_page",
        )
    KindChoice.objects.update_or_create(
        user_id=actor.pk, kind=kind.name, defaults={"by_mail": choice.by_mail, "on_page": choice.on_page}
    )
    if had.by_mail is ByMail.NEVER and choice.by_mail is not ByMail.NEVER:
        # What came while no mail was wanted is not written afterwards.
        pending = Notice.objects.pending().filter(user_id=actor.pk, kind=kind.name)
        pending.update(told_at=now or timezone.now())
    return choice


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
