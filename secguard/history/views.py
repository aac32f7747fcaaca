"""An image's history: what held at each gate at an instant, and what happened until then."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.history import timeline
from secguard.history.queries import events
from secguard.history.queries.events import Span
from secguard.history.queries.held import held
from secguard.history.timeline import Event, Kind, Place
from secguard.images.models import Image
from secguard.images.queries import find_image, with_places
from secguard.policies.facts import Gate
from secguard.policies.services import verdict_of
from secguard.signing.queries import signing_names

PAGE = 40
TONES = {
    Kind.DECIDED: "good",
    Kind.SIGNED: "good",
    Kind.PROMOTED: "good",
    Kind.ADMITTED: "good",
    Kind.ASKED: "warn",
    Kind.RECALLED: "bad",
    Kind.FOUND: "accent",
    Kind.SCANNED: "accent",
}


@dataclass(frozen=True, slots=True)
class Day:
    """The events of one day in UTC, newest first, each with its tone."""

    day: datetime
    events: list[tuple[Event, str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page was asked for; a fault in it is said beside the field, and the present is shown."""

    at: datetime
    is_now: bool
    after: Place | None = None
    fault: str = ""


@require_safe
@login_required
def image_history(request: HttpRequest, digest: str) -> HttpResponse:
    user = person_of(request)
    image = find_image(user, digest)
    asked = _asked(request.GET, timezone.now())
    if asked.is_now:
        for gate in Gate:
            verdict_of(image, gate, asked.at)
    page, after = events.timeline(image, user, Span(asked.at, after=asked.after), PAGE)
    placed = with_places(Image.objects.filter(pk=image.pk), user).get()
    context = {
        "image": placed,
        "name": _name(placed),
        "asked": asked,
        "field": f"{asked.at.astimezone(UTC):%Y-%m-%dT%H:%M}",
        "gates": [held(image, gate, asked.at, user) for gate in Gate],
        "days": _days(page),
        "total": events.count(image, user, asked.at) if asked.after is None else None,
        "older": _older(request.GET, asked, after) if after else "",
        "signing": signing_names(),
    }
    return render(request, "history/image.html", context, status=400 if asked.fault else 200)


def _name(image: Image) -> str:
    """As people call it: a place that they may see, with a tag that points to it there."""
    tags, places = image.shown_tags, getattr(image, "seen_places", [])
    if tags:
        return f"{tags[0].repository.name}:{tags[0].name}"
    return str(places[0].repository.name) if places else image.digest[:19]


def _asked(query: QueryDict, now: datetime) -> Asked:
    text, cursor = query.get("at", "").strip()[:64], query.get("cursor", "")
    try:
        at = timeline.instant_of(text) if text else now
        after = timeline.decode(cursor) if cursor else None
    except (ValueError, OverflowError):
        return Asked(now, True, fault="That is no date; expected one such as 2026-01-31 or 2026-01-31T12:00 (UTC).")
    # The field has whole minutes: this one, sent as it was shown, means now.
    if at >= now.replace(second=0, microsecond=0) and at - now < timedelta(days=1):
        return Asked(now, True, after)
    if at > now:
        return Asked(now, True, fault="That is still to come; the present is shown.")
    return Asked(at, False, after)


def _days(page: list[Event]) -> list[Day]:
    found: list[Day] = []
    for event in page:
        day = event.at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        if not found or found[-1].day != day:
            found.append(Day(day, []))
        found[-1].events.append((event, TONES.get(event.kind, "muted")))
    return found


def _older(query: QueryDict, asked: Asked, after: Place) -> str:
    kept = QueryDict(mutable=True)
    if not asked.is_now:
        kept["at"] = query.get("at", "")
    kept["cursor"] = after.encode()
    return kept.urlencode()
