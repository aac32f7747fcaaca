"""The map of who speaks to whom, with a table that says the same, and the list of edges."""

from __future__ import annotations

from typing import Any, Final

import django_filters
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import Application
from secguard.network import queries
from secguard.network.models import Heard, Peer, SegmentRule
from secguard.network.queries import STANDING_WORDS, VERDICT_WORDS, EdgeFilter, EndFilter
from secguard.web.listing import Column, Listing

MAX_ROWS: Final = 300
"""So many rows has the table beside the map; the list of edges has all."""
CARRIED: Final = ("state", "outside", "application", "cluster")


class MapFilter(EndFilter):
    """What the map is narrowed by: choices of what the person may see."""

    cluster = django_filters.ChoiceFilter(label="Cluster", method="by_end", empty_label="Any")
    application = django_filters.ModelChoiceFilter(
        label="Application",
        method="by_one",
        queryset=lambda request: Application.objects.visible_to(person_of(request)).order_by("name"),  # type: ignore[arg-type]
        to_field_name="slug",
        empty_label="Any",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        seen = Peer.objects.visible_to(person_of(self.request)).exclude(cluster="")
        names = seen.order_by("cluster").values_list("cluster", flat=True).distinct()
        self.filters["cluster"].extra["choices"] = [(name, name) for name in names]

    def by_one(self, rows: Any, name: str, value: Application) -> Any:
        return self.by_application(rows, name, value.slug)


@require_safe
@login_required
def network_map(request: HttpRequest) -> HttpResponse:
    """Namespaces and what they say to each other; with ``namespace`` its workloads."""
    user, now = person_of(request), timezone.now()
    filters = MapFilter(request.GET, queries.edges(user), request=request)
    rows: Any = filters.qs if filters.is_valid() else queries.edges(user).none()
    carried = {name: request.GET[name] for name in CARRIED if request.GET.get(name)}
    namespace = request.GET.get("namespace", "").replace("\0", "")[:100]
    cluster = carried.get("cluster", "")
    if namespace:
        found = queries.opened(rows, cluster, namespace, now, {k: v for k, v in carried.items() if k != "cluster"})
    else:
        found = queries.overview(rows, now, carried)
    labels = {node.id: node for node in found.nodes}
    table = [(labels[link.source], labels[link.destination], link) for link in found.links[:MAX_ROWS]]
    context = {
        "map": found,
        "table": table,
        "more": found.link_count - len(table),
        "filters": filters,
        "namespace": namespace,
        "cluster": cluster,
        "is_narrowed": bool(carried or namespace),
        "losses": queries.losses(user, now) if not namespace else [],
        "up": carried,
        "heard": Heard.objects.exists(),
    }
    return render(request, "network/map.html", context)


class EdgeListing(Listing):
    name, noun = "edges", "edge"
    caption = "Who spoke to whom, and what became of it"
    filterset = EdgeFilter
    default_sort = "-first"
    search_hint = "Workload, name or network"
    columns = (
        Column("source", "From", value=lambda e: queries.name_of(e, "source")),
        Column("destination", "To", value=lambda e: queries.name_of(e, "destination")),
        Column("where", "At", sort="port", css="fit-word"),
        Column("verdict", "Verdict", sort="verdict", value=lambda e: VERDICT_WORDS[e.verdict], css="fit-word"),
        Column("standing", "By the rules", value=lambda e: e.standing_word, css="fit-word"),
        Column("count", "Flows", sort="count", first="-", numeric=True, css="fit-number"),
        Column("bytes", "Bytes", sort="bytes", first="-", numeric=True, css="fit-number wide-only"),
        Column("first", "First seen", sort="first_at", first="-", value="first_at", css="fit-date wide-only"),
        Column("last", "Last seen", sort="last_at", first="-", value="last_at", css="fit-date"),
        Column("source_place", "From where", value=lambda e: queries.place_of(e, "source"), hidden=True),
        Column("destination_place", "To where", value=lambda e: queries.place_of(e, "destination"), hidden=True),
        Column("anomaly", "Anomaly", value=lambda e: e.get_anomaly_display(), hidden=True),
    )

    def search(self, queryset: Any, text: str) -> Any:
        return queryset.filter(queries.about(name__icontains=text) | queries.about(namespace__icontains=text))

    def prepare(self, rows: list[Any]) -> None:
        now = timezone.now()
        told = {row.rule_id for row in rows if row.rule_id}
        seen = SegmentRule.objects.visible_to(person_of(self.request)).filter(pk__in=told)
        shown = set(seen.values_list("pk", flat=True))
        for row in rows:
            row.standing_word, row.standing_tone = STANDING_WORDS[queries.standing_of(row, now)]
            row.by = row.rule_id if row.rule_id in shown else None
            row.ends = [
                (queries.name_of(row, side), queries.place_of(row, side), _link(row, side)) for side in queries.SIDES
            ]
            row.is_new = row.new_until is not None and row.new_until > now
            row.word = VERDICT_WORDS[row.verdict]


def _link(row: Any, side: str) -> int | None:
    """The end whose reach a page tells: a named workload's."""
    end = getattr(row, side)
    return end.pk if getattr(row, f"{side}_shown") and end.sort == "workload" and end.name else None


@require_safe
@login_required
def edge_list(request: HttpRequest) -> HttpResponseBase:
    listing = EdgeListing(request, queries.edges(person_of(request)))
    return listing.respond("network/edges.html", "network/_edges.html")
