"""Events one by one, and by what they are the same as."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.db.models import Count, Max, Min, OuterRef, Q, QuerySet, Subquery, Sum

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import NotFound
from secguard.events.keeping import hour_of
from secguard.events.models import KNOWN_KINDS, Event, Tally

KEY: Final = r"(?:[a-z]{1,12}(?:-[a-z]{1,12})?-[0-9]{8}-)?[0-9]{1,18}"
_KEY: Final = re.compile(r"(?P<kind>[a-z-]+)-(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)-(?P<pk>\d{1,18})")
NEIGHBOURS: Final = 5
"""Of one story to each side of an event."""
NEAR: Final = timedelta(days=7)
COUNTED: Final = 2_000
"""Stories are counted among so many of their newest hours."""


def readable(user: User) -> None:
    """Raises ``NotAllowed`` for who may read no events at all."""
    require(user, Permission.EVENT_READ, anywhere=True)


def events(user: User) -> QuerySet[Event]:
    readable(user)
    return Event.objects.visible_to(user)


def stories(user: User) -> QuerySet[Tally]:
    """Each story in each hour; narrow it, then take its ``heads``."""
    readable(user)
    return Tally.objects.visible_to(user)


def heads(rows: QuerySet[Tally]) -> QuerySet[Tally]:
    """Of each story its last hour among ``rows``: one row a story, which a list walks from the newest on.

    A look-up for each row that is walked over, and no join: a page of the newest must not read what it does not show.
    ``>=``, though none is greater: PostgreSQL takes ``=`` for so rare that it sorts all there is before the first row.
    """
    last = rows.order_by("-hour").filter(story=OuterRef("story")).values("hour")[:1]
    return rows.filter(hour__gte=Subquery(last))


def count_heads(rows: QuerySet[Tally]) -> tuple[int, bool]:
    """(stories, True); where ``rows`` are more than ``COUNTED``, the stories of the newest of them, and False."""
    newest = rows.order_by("-last_at", "-pk")[: COUNTED + 1]
    found = newest.aggregate(hours=Count("pk"), stories=Count("story", distinct=True))
    return found["stories"], found["hours"] <= COUNTED


def matching(rows: QuerySet[Any], text: str) -> QuerySet[Any]:
    """Those of ``rows`` (tallies) whose title or rule holds ``text``, in any case."""
    return rows.filter(Q(title__icontains=text) | Q(rule__icontains=text))


def searched(rows: QuerySet[Event], user: User, text: str, since: datetime, until: datetime) -> QuerySet[Event]:
    """Those of ``rows`` whose stories' title or rule holds ``text``: stories are far fewer than events."""
    hours = Tally.objects.visible_to(user).filter(hour__gte=hour_of(since), hour__lt=until)
    return rows.filter(story__in=matching(hours, text).order_by().values("story"))


@dataclass(frozen=True, slots=True)
class Told:
    """What the hours of a story add up to."""

    count: int
    first_at: datetime
    last_at: datetime
    severity: int


def totals(rows: QuerySet[Tally], names: Iterable[str]) -> dict[str, Told]:
    """{story: what its hours among ``rows`` add up to}. One query."""
    found = rows.order_by().filter(story__in=sorted(set(names))).values("story")
    added = found.annotate(n=Sum("count"), first=Min("first_at"), last=Max("last_at"), worst=Max("severity"))
    return {r["story"]: Told(r["n"], r["first"], r["last"], r["worst"]) for r in added}


def find(user: User, key: str) -> Event:
    """The event of that key; raises ``NotFound`` where there is none that ``user`` may see."""
    found = _KEY.fullmatch(key)
    rows = events(user)
    try:
        day = date(int(found["year"]), int(found["month"]), int(found["day"])) if found else None
    except ValueError:
        day = None
    if found and day and found["kind"] in KNOWN_KINDS:
        event = rows.filter(kind=found["kind"], day=day, pk=int(found["pk"])).first()
        if event is not None:
            return event
    raise NotFound(
        f"There is no event {key} that you may see. What is past its retention is gone; its story may still be counted."
    )


def story_of(event: Event, user: User) -> Told | None:
    """What is counted of the event's story, as far back as counts are kept; None where no count is left."""
    return totals(Tally.objects.visible_to(user), [event.story]).get(event.story)


def neighbours(event: Event, user: User) -> list[Event]:
    """The events of the same story just before and after it, newest first, itself not among them. Two queries."""
    same = Event.objects.visible_to(user).filter(
        story=event.story, day__gte=event.day - NEAR, day__lte=event.day + NEAR
    )
    after = Q(at__gt=event.at) | Q(at=event.at, pk__gt=event.pk)
    before = Q(at__lt=event.at) | Q(at=event.at, pk__lt=event.pk)
    later = list(same.filter(after).order_by("at", "pk")[:NEIGHBOURS])
    return [*reversed(later), *same.filter(before).order_by("-at", "-pk")[:NEIGHBOURS]]
