"""The page that says which pipelines will begin to fail, and when."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.forecast import queries
from secguard.forecast.services.computing import DAYS
from secguard.forecast.wording import because
from secguard.web.listing import Column, Listing


class ForecastListing(Listing):
    name = "forecast"
    caption = "Gates that will begin to block, the soonest first"
    noun, noun_plural = "gate that will block", "gates that will block"
    columns = (
        Column("at", "Blocks from", sort="at"),
        Column("repository", "Repository", sort=("repository__name", "at"), value="repository.name"),
        Column("stage", "Gate", sort=("stage", "at")),
        Column("because", "Because", value=because),
    )
    default_sort = "at"
    filterset = queries.GateFilter
    search_fields = ("repository__name__icontains",)
    search_hint = "Search by repository"

    def prepare(self, rows: list[Any]) -> None:
        known = queries.decisions_of(rows, person_of(self.request))
        for row in rows:
            row.because = because(row)
            row.ending = [(known[pk].kind.replace("_", " "), known[pk]) for pk in row.decision_ids if pk in known]


@require_safe
@login_required
def forecast(request: HttpRequest) -> HttpResponseBase:
    listing = ForecastListing(request, queries.forecast(person_of(request), timezone.now()))
    return listing.respond("forecast/list.html", "forecast/_list.html", {"days": DAYS})
