"""What was decided to be expected: the list, and its end."""

from __future__ import annotations

from typing import Any

import django_filters
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.incidents import queries
from secguard.incidents.models import Expectation
from secguard.incidents.services import expecting
from secguard.web import htmx
from secguard.web.listing import Column, Listing


class ExpectationFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(
        label="State", choices=[("holds", "Holds"), ("over", "Over")], method="by_state", empty_label="Any"
    )

    class Meta:
        model = Expectation
        fields: list[str] = []

    def by_state(self, rows: QuerySet[Expectation], name: str, value: str) -> QuerySet[Expectation]:
        standing = Expectation.objects.standing(timezone.now())
        return rows.filter(pk__in=standing) if value == "holds" else rows.exclude(pk__in=standing)


class ExpectationListing(Listing):
    name, noun = "expected", "expectation"
    caption = "What makes no incident, because somebody decided that it is expected"
    columns = (
        Column("matter", "What", value=str),
        Column("where", "Where", value=lambda e: e.repository.name if e.repository else e.place),
        Column("count", "Covered", sort="count", first="-", numeric=True, css="fit-number"),
        Column("decided_by", "Decided by", value="decided_by.username", css="fit-word"),
        Column("until", "Until", sort="until", value="until", css="fit-date"),
        Column("number", "Number", sort="id", first="-", value="pk", hidden=True),
        Column("reason", "Why", hidden=True),
        Column("ended_at", "Ended", hidden=True),
    )
    default_sort = "-number"
    filterset = ExpectationFilter
    search_fields = ("rule__icontains", "object__icontains", "reason__icontains", "incident__workload_name__icontains")
    search_hint = "Rule, program or reason"

    def prepare(self, rows: list[Any]) -> None:
        now, user = timezone.now(), person_of(self.request)
        for row in rows:
            row.holds = row.ended_at is None and row.until > now
            team = row.application.team_id if row.application else None
            teams = user.teams_with(Permission.INCIDENT_HANDLE)
            row.may_end = row.holds and (teams is None or team in teams)


@require_safe
@login_required
def expectation_list(request: HttpRequest) -> HttpResponseBase:
    user = person_of(request)
    require(user, Permission.INCIDENT_READ, anywhere=True)
    listing = ExpectationListing(request, queries.expectations(user))
    return listing.respond("incidents/expectations.html", "incidents/_expectations.html")


@require_POST
@login_required
def expectation_end(request: HttpRequest, pk: int) -> HttpResponse:
    """Let it make incidents again."""
    expecting.end(pk, actor=person_of(request))
    messages.success(request, "It makes incidents again from now on.")
    return htmx.redirect(request, reverse("incidents:expectations"))
