"""Reads of one person's inbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, tzinfo
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec
from django.conf import settings
from django.db.models import Case, F, IntegerField, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber
from django.http import HttpRequest
from django_filters import BooleanFilter, FilterSet

from secguard import bulk
from secguard.errors import NotFound
from secguard.notifications import kinds
from secguard.notifications.digest import Line
from secguard.notifications.kinds import Kind
from secguard.notifications.models import KindChoice, Message, Notice, NoticeLine, Preference
from secguard.notifications.rhythm import ByMail, Choice, MessageStatus, Rhythm, Wishes

BADGE_BOUND = 999


class NoticeFilter(FilterSet):
    unread = BooleanFilter(field_name="seen_at", lookup_expr="isnull", label="Unread")

    class Meta:
        model = Notice
        fields: list[str] = []


def inbox(user: Any) -> QuerySet[Notice]:
    """What ``user`` was told, each with ``is_unread`` (1 or 0)."""
    state = Case(When(seen_at=None, then=Value(1)), default=Value(0), output_field=IntegerField())
    return Notice.objects.visible_to(user).on_page().annotate(is_unread=state)


def find(user: Any, notice_id: int) -> Notice:
    """The notice, if it is ``user``'s; else ``NotFound``."""
    notice = inbox(user).filter(pk=notice_id).first()
    if notice is None:
        raise NotFound(f"There is no notification {notice_id} of yours.")
    return notice


class KeptLine(Protocol):
    """A row that holds a line: its identity and weight in columns, the rest as facts."""

    key: str
    weight: int
    facts: Any


def line_of(row: KeptLine) -> Line:
    return msgspec.convert({**row.facts, "key": row.key, "weight": row.weight}, Line)


def lines_of(notices: Iterable[Notice], most: int) -> dict[int, list[Line]]:
    """{notice id: its lines, the most pressing first, at most ``most``}, in one query."""
    ids = [n.pk for n in notices]
    place = Window(RowNumber(), partition_by=F("notice_id"), order_by=[F("weight").desc(), F("id").asc()])
    rows = NoticeLine.objects.filter(notice_id__in=ids).annotate(place=place).filter(place__lte=most)
    found: dict[int, list[Line]] = {pk: [] for pk in ids}
    for row in rows.order_by("notice_id", "place"):
        found[row.notice_id].append(line_of(row))
    return found


def unread_count(request: HttpRequest) -> int:
    """How many notices the person has not read, counted up to a bound: the navigation's badge."""
    user: Any = request.user
    return Notice.objects.visible_to(user).on_page().unread()[:BADGE_BOUND].count()


def preference_of(user: Any) -> Preference:
    """What the person chose, or the defaults, not saved."""
    return Preference.objects.filter(user_id=user.pk).first() or Preference(user_id=user.pk)


def choices_of(user_ids: Sequence[int], kind_names: Sequence[str]) -> dict[tuple[int, str], Choice]:
    """{(user id, kind): what that person chose}, where they chose something."""
    rows = KindChoice.objects.filter(user_id__in=bulk.among(user_ids), kind__in=kind_names)
    columns = rows.values_list("user_id", "kind", "by_mail", "on_page")
    return {(user, kind): Choice(ByMail(by_mail), on_page) for user, kind, by_mail, on_page in columns}


def own_choices(user: Any) -> list[tuple[Kind, Choice]]:
    """Every kind of news, and how ``user`` is told of it."""
    known = list(kinds.kinds())
    chosen = choices_of([user.pk], [kind.name for kind in known])
    return [(kind, chosen.get((user.pk, kind.name), kind.default)) for kind in known]


def wishes_of(preference: Preference) -> Wishes:
    return Wishes(
        rhythm=Rhythm(preference.interval),
        quiet_from=preference.quiet_from,
        quiet_until=preference.quiet_until,
        zone=_zone(preference.time_zone),
    )


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return UTC  # a zone that this host's data does not know (any more); the message is late, not lost


def mail_is_on() -> bool:
    return settings.SMTP is not None


def refused_message(user: Any) -> Message | None:
    """The person's last message, where the mail server did not take it: the page says so."""
    rows = Message.objects.filter(user_id=user.pk).exclude(status=MessageStatus.DROPPED)
    last = rows.order_by("-created_at", "-pk").first()
    return last if last is not None and last.error and last.status != MessageStatus.SENT else None
