"""The event store's pages: stories, events one by one, how much comes, and what it takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import Application
from secguard.accounts.queries import application_slugs
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.events import keeping, partitions, queries, sources
from secguard.events.around import parts_of
from secguard.events.models import Event, Position, Tally
from secguard.events.queries.filters import EventFilter, NarrowFilter, StoryFilter, window
from secguard.events.queries.series import Series
from secguard.events.ranges import Point, Step
from secguard.events.record import Kind
from secguard.events.services.ageing import BOUNDED, days_kept
from secguard.events.views.figures import (
    CSV_HEADER,
    series_chart,
    series_document,
    series_png,
    series_rows,
    storage_chart,
)
from secguard.images.models import Image
from secguard.web import spreadsheet
from secguard.web.filters import ChipFilter
from secguard.web.listing import Chip, Column, Listing
from secguard.workloads.models import Workload

SPANS: Final[Mapping[str, tuple[Step, int, str]]] = {
    "2": (Step.HOUR, 2, "48 hours"),
    "7": (Step.HOUR, 7, "7 days"),
    "30": (Step.DAY, 30, "30 days"),
    "90": (Step.DAY, 90, "90 days"),
}
"""What a series may show: its step, days, and words."""
STORED_DAYS: Final = 30
FORMATS: Final = ("csv", "json", "png")
"""What a series is exported as."""


class _View(StoryFilter):
    view = ChipFilter(method="later")


class _EachView(EventFilter):
    view = ChipFilter(method="later")


class _Listing(Listing):
    """What stories and events have in common: the period that is always there, and the view that no chip takes away."""

    page_size = 50

    @cached_property
    def chips(self) -> list[Chip]:
        return [chip for chip in super().chips if chip.label != "View"]

    @property
    def clear_url(self) -> str:
        kept = {name: self.request.GET[name] for name in ("view", "sort", "per") if self.request.GET.get(name)}
        return f"{self.request.path}?{urlencode(kept)}" if kept else self.request.path

    def prepare(self, rows: list[Any]) -> None:
        slugs = application_slugs(sorted({row.application_id for row in rows if row.application_id}))
        for row in rows:
            row.application = slugs.get(row.application_id, "")


class StoryListing(_Listing):
    name, noun, noun_plural = "stories", "story", "stories"
    caption = "What happened, the same as one line, the last heard first"
    columns = (
        Column("title", "What"),
        Column("severity", "Severity", value=lambda t: t.told.severity),
        Column("place", "Where", value=lambda t: place_of(t)),
        Column("count", "Times", numeric=True, value=lambda t: t.told.count),
        Column("first", "First in the period", value=lambda t: t.told.first_at),
        Column("last_at", "Last", sort="last_at", first="-", nullable=False),
        Column("kind", "Kind", hidden=True),
        Column("source", "Source", hidden=True),
        Column("rule", "Rule", hidden=True),
        Column("application", "Application", hidden=True),
        Column("digest", "Digest", hidden=True),
        Column("story", "Story", hidden=True),
    )
    default_sort = "-last_at"
    filterset = _View
    search_hint = "Search in titles and rules"

    def search(self, queryset: QuerySet[Any, Any], text: str) -> QuerySet[Any, Any]:
        return queries.matching(queryset, text)

    @cached_property
    def hours(self) -> QuerySet[Tally]:
        """Each story in each hour of the period, narrowed."""
        return super().queryset

    @cached_property
    def queryset(self) -> QuerySet[Tally]:
        return queries.heads(self.hours)

    @cached_property
    def _counted(self) -> tuple[int, bool]:
        fits = self.page.next is None and self.page.previous is None
        return (len(self.rows), True) if fits else queries.count_heads(self.hours)

    def prepare(self, rows: list[Any]) -> None:
        super().prepare(rows)
        told = queries.totals(self.hours, [row.story for row in rows])
        kept = {name: self.request.GET[name] for name in ("period", "from", "to") if self.request.GET.get(name)}
        for row in rows:
            alone = queries.Told(row.count, row.first_at, row.last_at, row.severity)
            row.told, row.place = told.get(row.story, alone), place_of(row)
            row.url = f"{self.request.path}?{urlencode({'view': 'each', 'story': row.story, **kept})}"


class EventListing(_Listing):
    name, noun = "events", "event"
    caption = "Events kept in full, newest first"
    columns = (
        Column("at", "When", sort="at", first="-"),
        Column("title", "What"),
        Column("severity", "Severity"),
        Column("outcome", "Outcome"),
        Column("place", "Where", value=lambda e: place_of(e)),
        Column("actor", "Who"),
        Column("kind", "Kind", hidden=True),
        Column("source", "Source", hidden=True),
        Column("rule", "Rule", hidden=True),
        Column("host", "Host", hidden=True),
        Column("application", "Application", hidden=True),
        Column("digest", "Digest", hidden=True),
        Column("story", "Story", hidden=True),
        Column("received_at", "Received", hidden=True),
        Column("detail", "Detail", value=lambda e: json.dumps(e.detail, sort_keys=True), hidden=True),
    )
    default_sort = "-at"
    filterset = _EachView
    search_hint = "Search in titles and rules"

    def search(self, queryset: QuerySet[Any, Any], text: str) -> QuerySet[Any, Any]:
        if self.filters is None or not self.filters.is_valid():
            return queryset.none()
        period = window(self.filters.form.cleaned_data, timezone.now())
        return queries.searched(queryset, person_of(self.request), text, *period)

    def prepare(self, rows: list[Any]) -> None:
        super().prepare(rows)
        for row in rows:
            row.place = place_of(row)


def place_of(row: Any) -> str:
    """Cluster, namespace and workload, as far as they are known."""
    return " · ".join(part for part in (row.cluster, row.namespace, row.workload) if part)


@require_safe
@login_required
def event_list(request: HttpRequest) -> HttpResponseBase:
    """What happened: by story, or (``view=each``) each by itself."""
    user = person_of(request)
    if request.GET.get("view") == "each":
        each = EventListing(request, queries.events(user))
        return each.respond("events/list.html", "events/_list.html", _around(request, "each"))
    stories = StoryListing(request, queries.stories(user))
    return stories.respond("events/list.html", "events/_stories.html", _around(request, "stories"))


def _around(request: HttpRequest, tab: str) -> dict[str, Any]:
    """What the tabs above each page need: which one it is, what they carry along, and whether costs are shown."""
    sees_costs = person_of(request).teams_with(Permission.EVENT_READ) is None
    return {"tab": tab, "carried": _carried(request), "sees_costs": sees_costs}


def _carried(request: HttpRequest) -> str:
    """What the other views of the same are narrowed by too, as the end of a query string."""
    names = [*NarrowFilter.base_filters, "period", "from", "to", "q"]
    kept = [(name, request.GET[name]) for name in names if request.GET.get(name)]
    return f"&{urlencode(kept)}" if kept else ""


# --- one event ---


@require_safe
@login_required
def event_detail(request: HttpRequest, key: str) -> HttpResponse:
    """One event in full, what it is about, and what came of the same story."""
    user = person_of(request)
    event = queries.find(user, key)
    image = Image.objects.visible_to(user).filter(digest=event.digest).first() if event.digest else None
    workload = Workload.objects.visible_to(user).filter(pk=event.workload_id).first() if event.workload_id else None
    application = (
        Application.objects.visible_to(user).filter(pk=event.application_id).first() if event.application_id else None
    )
    context = {
        "event": event,
        "image": image,
        "workload": workload,
        "application": application,
        "address": sources.address_of(event.ref, event),
        "detail": list(facts(event.detail)),
        "story": queries.story_of(event, user),
        "neighbours": queries.neighbours(event, user),
        "days": _days_left(event),
        "parts": list(parts_of(event, user, timezone.now())),
    }
    return render(request, "events/detail.html", context)


def facts(detail: Mapping[str, Any]) -> Iterable[tuple[str, str, bool]]:
    """(name, value, whether it has lines) of what a source told, in its order."""
    for name, value in detail.items():
        if isinstance(value, Mapping):
            text = "\n".join(f"{k}: {_plain(v)}" for k, v in value.items())
        elif isinstance(value, list):
            text = "\n".join(_plain(v) for v in value)
        else:
            text = _plain(value)
        yield name.replace("_", " "), text, "\n" in text


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _days_left(event: Event) -> int:
    """For how many days it is still there."""
    return max(0, days_kept()[Kind(event.kind)] - (timezone.now().date() - event.day).days)


# --- how much comes ---


@require_safe
@login_required
def event_series(request: HttpRequest) -> HttpResponseBase:
    """How much came each hour or day, what is normal, and what lies outside of that."""
    user = person_of(request)
    asked = request.GET.get("days", "7")
    step, days, words = SPANS.get(asked, SPANS["7"])
    rows, now = queries.stories(user), timezone.now()
    filters = NarrowFilter(request.GET, rows, request=request)
    found = queries.series(filters.qs if filters.is_valid() else rows.none(), now - timedelta(days=days), now, step)
    narrowed = [(name, request.GET[name]) for name in NarrowFilter.base_filters if request.GET.get(name)]
    urls = [_rows_url(narrowed, point, step) for point in found.points]
    kind = request.GET.get("format", "")
    if kind in FORMATS and filters.is_valid():
        return _exported(kind, found, series_document(found, urls, dict(narrowed)), words, now)
    outside = [(point, _rows_url(narrowed, point, step)) for point in reversed(found.outside)]
    context = {
        **_around(request, "series"),
        "spans": [(name, label) for name, (_, _, label) in SPANS.items()],
        "span": asked if asked in SPANS else "7",
        "words": words,
        "formats": FORMATS,
        "step": step.value,
        "filters": filters,
        "narrowed": narrowed,
        "outside": outside,
        "is_learned": any(point.band for point in found.points),
        "chart": series_chart(found, urls),
    }
    return render(request, "events/series.html", context, status=200 if filters.is_valid() else 422)


def _exported(kind: str, found: Series, document: dict[str, Any], words: str, now: datetime) -> HttpResponseBase:
    """The series as a file; the figures are those of the page."""
    answer: HttpResponseBase
    if kind == "csv":
        lines = spreadsheet.lines(CSV_HEADER, series_rows(document))
        answer = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    elif kind == "json":
        answer = HttpResponse(json.dumps(document, ensure_ascii=False, indent=1), content_type="application/json")
    else:
        made_at = f"{now:%Y-%m-%d %H:%M} UTC"
        answer = HttpResponse(series_png(found, document, words, made_at), content_type="image/png")
    answer["Content-Disposition"] = f'attachment; filename="secguard-events-{now:%Y-%m-%d}.{kind}"'
    answer["Cache-Control"] = "private, no-store"
    return answer


def _rows_url(narrowed: Sequence[tuple[str, str]], point: Point, step: Step) -> str:
    """The stories of one step."""
    period = [("from", point.at.isoformat()), ("to", (point.at + step.length).isoformat())]
    return f"{reverse('events:list')}?{urlencode([*narrowed, *period])}"


# --- what it takes ---


@require_safe
@login_required
def event_storage(request: HttpRequest) -> HttpResponse:
    """Rows and bytes by kind, what comes each day, and what it will be."""
    require(person_of(request), Permission.EVENT_READ)
    day = queries.measured()
    costs = queries.costs(day) if day else []
    expected = [cost.expected for cost in costs if cost.expected]
    bound = None if partitions.is_partitioned() else settings.MAX_EVENT_ROWS
    total = sum(cost.rows for cost in costs)
    context = {
        **_around(request, "storage"),
        "measured": day,
        "costs": costs,
        "total": {
            "rows": total,
            "bytes": sum(cost.bytes for cost in costs),
            "per_day": sum(cost.per_day or 0 for cost in costs) if expected else None,
            "bytes_per_day": sum(cost.bytes_per_day or 0 for cost in costs) if expected else None,
            "expected_rows": sum(e.rows for e in expected) if expected else None,
            "expected_bytes": sum(e.bytes for e in expected) if expected else None,
        },
        "chart": storage_chart(queries.history(day, STORED_DAYS)) if day else None,
        "bound": bound,
        "is_bounded_soon": bool(bound and expected and sum(e.rows for e in expected) > bound),
        "bounded": Position.objects.filter(source=BOUNDED).first(),
        "tally_days": keeping.TALLY_DAYS,
    }
    return render(request, "events/storage.html", context)
