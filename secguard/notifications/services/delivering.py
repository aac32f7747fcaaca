"""Write to people: gather what waits for each into one message, and hand it to the mail server.

The inbox tells exactly once: a notice is a row. A mail server can only be asked at least once or at most once, because
whoever dies between its "250" and our commit cannot know. Here it is at least once: a warning about what runs must not
be lost, and a second copy does little harm. The copy carries the same Message-ID as the first and is dropped by mail
systems that look for it (RFC 7352 is how Sieve does). The window is as small as it can be: a message is claimed by a
conditional UPDATE before anything is sent, and the commit follows the server's answer at once; a worker that dies
anywhere else has told nobody.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q
from django.utils import timezone

from secguard import bulk
from secguard.errors import Invalid, Unavailable
from secguard.notifications import digest, kinds
from secguard.notifications.adapters import email
from secguard.notifications.digest import News
from secguard.notifications.models import KindChoice, Message, Notice, Preference
from secguard.notifications.queries import lines_of, mail_is_on, wishes_of
from secguard.notifications.rhythm import GIVE_UP_AFTER, ByMail, MessageStatus, Wishes, delay, is_due
from secguard.notifications.services.people import Addressee, addressees
from secguard.notifications.services.writers import Written, written_for

log = structlog.get_logger(__name__)

CLAIM = timedelta(minutes=3)
"""Longer than one letter may take (``adapters.email.WHOLE_SECONDS``): nobody else sends what is being sent."""

PEOPLE = 1_000
"""People whose news are gathered in one step."""

MESSAGES = 500
"""Messages sent in one run of the job."""


def deliver(now: datetime | None = None) -> dict[str, int]:
    """The job: gather and send whatever is due. Safe to run twice, and by several workers at once.

    Returns how many messages were made, sent, and ended otherwise. Where no mail server is set, the page alone tells.
    """
    if not mail_is_on():
        return {}
    made = sum(1 for _ in gather(now or timezone.now()))
    counts = {"made": made, "sent": 0, "other": 0}
    for status in _send_due(now):
        counts["sent" if status is MessageStatus.SENT else "other"] += 1
    return counts


# --- gathering ---


def gather(now: datetime) -> Iterator[Message]:
    """Make a message for everybody for whom something waits and is due."""
    last = 0
    while waiting := _waiting(after=last):
        last = waiting[-1][0]
        ids = [user for user, *_ in waiting]
        people, wishes, sent = addressees(ids), _wishes(ids), _last_sent(ids)
        for user, first, latest, at_once in waiting:
            wanted, before = wishes.get(user) or Wishes(), sent.get(user)
            if user in people and is_due(
                wanted, first=first, latest=latest, last_sent=before, now=now, at_once=bool(at_once)
            ):
                message = _take(user, now)
                if message is not None:
                    yield message


def _waiting(*, after: int) -> list[tuple[int, datetime, datetime, int]]:
    """(user, first, latest, how many of them at once) of people with untold news, who want mail and for whom no message
    waits already."""
    rows = Notice.objects.pending().for_mail().filter(user_id__gt=after, total__gt=0)
    rows = rows.exclude(user__in=Preference.objects.filter(email=False).values("user_id"))
    rows = rows.exclude(user__in=Message.objects.filter(status=MessageStatus.WAITING, about="").values("user_id"))
    pressing = Count("pk", filter=_is_pressing())
    grouped = rows.order_by("user_id").values("user_id")
    grouped = grouped.annotate(first=Min("created_at"), latest=Max("changed_at"), at_once=pressing)
    return list(grouped.values_list("user_id", "first", "latest", "at_once")[:PEOPLE])


def _is_pressing() -> Q:
    """News to be written at once: as the person chose, or else as the kind says."""
    chosen = KindChoice.objects.filter(user=OuterRef("user"), kind=OuterRef("kind"))
    usual = Q(kind__in=[kind.name for kind in kinds.kinds() if kind.at_once])
    return Q(Exists(chosen.filter(by_mail=ByMail.AT_ONCE))) | usual & ~Q(Exists(chosen))


def _wishes(user_ids: Sequence[int]) -> dict[int, Wishes]:
    return {p.user_id: wishes_of(p) for p in Preference.objects.filter(user_id__in=bulk.among(user_ids))}


def _last_sent(user_ids: Sequence[int]) -> dict[int, datetime]:
    sent = Message.objects.filter(user_id__in=bulk.among(user_ids), status=MessageStatus.SENT, about="")
    return dict(sent.order_by().values_list("user_id").annotate(at=Max("ended_at")))


def _take(user_id: int, now: datetime) -> Message | None:
    """Take the person's untold notices into a message; None where another worker was first."""
    with transaction.atomic():
        locked = Notice.objects.pending().for_mail().filter(user_id=user_id, total__gt=0).select_for_update(no_key=True)
        ids = list(locked.order_by("pk").values_list("pk", flat=True))
        if not ids or Message.objects.filter(user_id=user_id, status=MessageStatus.WAITING, about="").exists():
            return None
        name = f"<{secrets.token_hex(16)}@{settings.PUBLIC_HOST}>"
        message = Message.objects.create(user_id=user_id, message_id=name, next_at=now, created_at=now)
        Notice.objects.filter(pk__in=ids).update(message=message)
    return message


# --- sending ---


def _send_due(now: datetime | None) -> Iterator[MessageStatus]:
    """Send what is due, the oldest first, until nothing is or the server does not speak with us."""
    for _ in range(MESSAGES):
        at = now or timezone.now()
        message = _claim(at)
        if message is None:
            return
        try:
            status = _send(message, at)
        except Unavailable as error:
            _put_off(message, error, at)
            if error.code == email.AWAY:
                log.warning("The mail server is away.", error=error.detail)
                return
            continue
        yield status


def _claim(now: datetime) -> Message | None:
    """A message that is due and that nobody sends; ours alone for ``CLAIM``, by an UPDATE that says so."""
    due = Message.objects.filter(
        Q(claimed_until=None) | Q(claimed_until__lt=now), status=MessageStatus.WAITING, next_at__lte=now
    )
    while (pk := due.order_by("next_at", "pk").values_list("pk", flat=True).first()) is not None:
        claim = secrets.token_hex(16)
        if due.filter(pk=pk).update(claim=claim, claimed_until=now + CLAIM, attempts=F("attempts") + 1):
            return Message.objects.get(pk=pk)
    return None


def _send(message: Message, now: datetime) -> MessageStatus:
    person = addressees([message.user_id]).get(message.user_id)
    if person is None or Preference.objects.filter(user_id=message.user_id, email=False).exists():
        return _end(message, MessageStatus.DROPPED, now, "The person is not written to any more.")
    written = written_for(message.about, message.user_id, now) if message.about else _written(message, person)
    if written is None:
        why = "Nobody asks for it any more." if message.about else "The person has read all of it here."
        return _end(message, MessageStatus.DROPPED, now, why)
    try:
        email.send(written.letter, email.Envelope(person.email, message.message_id, written.headers))
    except Invalid as error:
        return _end(message, MessageStatus.FAILED, now, error.detail)
    return _end(message, MessageStatus.SENT, now)


def _written(message: Message, person: Addressee) -> Written | None:
    """What the message says now: without what was read meanwhile, or is no longer the person's to see."""
    notices = list(Notice.objects.visible_to(person).for_mail().unread().filter(message=message))
    letter = digest.compose(_news(notices), base_url=settings.PUBLIC_URL, name=person.name)
    settings_url = f"{settings.PUBLIC_URL}/notifications/settings/"
    return None if letter is None else Written(letter, (("List-Unsubscribe", f"<{settings_url}>"),))


def _news(notices: Sequence[Notice]) -> Iterator[News]:
    lines = lines_of(notices, digest.MAX_LINES)
    for notice in notices:
        yield News(kinds.kind_or_plain(notice.kind), lines[notice.pk], notice.total)


def _end(message: Message, status: MessageStatus, now: datetime, error: str = "") -> MessageStatus:
    """Write the end down, and that its notices are told. Nothing where the claim was lost: another one ends it."""
    with transaction.atomic():
        ours = Message.objects.filter(pk=message.pk, claim=message.claim, status=MessageStatus.WAITING)
        columns: Mapping[str, Any] = {"status": status, "ended_at": now, "error": error[:500], "claimed_until": None}
        if ours.update(**columns) and status is MessageStatus.SENT:
            Notice.objects.filter(message=message, told_at=None).update(told_at=now)
            Notice.objects.filter(message=message, is_on_page=False).update(seen_at=now)  # it is read nowhere else
    return status


def _put_off(message: Message, error: Unavailable, now: datetime) -> None:
    """Try later; after days give up: the page has told it all the time, and says that mail does not work."""
    if now - message.created_at >= GIVE_UP_AFTER:
        _end(message, MessageStatus.FAILED, now, error.detail)
        return
    Message.objects.filter(pk=message.pk, claim=message.claim, status=MessageStatus.WAITING).update(
        next_at=now + delay(message.attempts), claimed_until=None, claim="", error=error.detail[:500]
    )
