"""Applications against policy and deadlines: the list for managers, and what an application's own page shows of it."""

from __future__ import annotations

from typing import Any

import django_filters
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import Application, User
from secguard.dashboards import queries
from secguard.dashboards.figures import Card
from secguard.web.filters import ChipFilter, YesNoFilter
from secguard.web.listing import Column, Listing

ROWS = 12


class StandingFilter(django_filters.FilterSet):
    within = YesNoFilter(label="Within policy", method="by_policy")
    team = ChipFilter(label="Team", field_name="team__slug")

    class Meta:
        model = Application
        fields: list[str] = []

    def by_policy(self, rows: QuerySet[Application], name: str, value: bool) -> QuerySet[Application]:
        measured: Any = rows  # annotated by ``queries.measured_applications``
        found: QuerySet[Application] = measured.filter(outside=not value)
        return found


class StandingListing(Listing):
    name, noun = "application-standing", "application"
    caption = "Applications with images, and where each stands"
    default_sort = "-standing"
    search_hint = "Application or team"
    search_fields = ("name__icontains", "team__name__icontains")
    filterset = StandingFilter
    columns = (
        Column("name", "Application", sort="name"),
        Column("team", "Team", sort="team__name", value="team.name", css="fit-word"),
        Column(
            "standing",
            "Within policy",
            sort=("outside", "-name"),
            first="-",
            nullable=False,
            value=lambda a: "no" if a.outside else "yes",
            css="fit-word",
        ),
        Column("images", "Newest images", numeric=True, css="fit-number"),
        Column("blocked", "Blocked", numeric=True, css="fit-number"),
        Column("overdue", "Overdue", numeric=True, css="fit-number"),
        Column("open", "Open risks", numeric=True, css="fit-number"),
        Column("slug", "Slug", hidden=True),
    )

    def prepare(self, rows: list[Any]) -> None:
        found = queries.open_by_application([a.pk for a in rows], person_of(self.request), timezone.now())
        for application in rows:
            counts = found.get(application.pk, {})
            application.open, application.overdue = counts.get("open", 0), counts.get("overdue", 0)


@require_safe
@login_required
def application_standing(request: HttpRequest) -> HttpResponseBase:
    listing = StandingListing(request, queries.measured_applications(person_of(request)))
    return listing.respond("compliance/applications.html", "compliance/_applications.html")


def application_figures(application: Application, user: User) -> dict[str, Any]:
    """For ``accounts/application.html``: four numbers, each with the list of its rows, the newest
    images, and the clusters where it runs."""
    standing: Any = queries.measured_applications(user).filter(pk=application.pk).first()
    risks = queries.open_by_application([application.pk], user, timezone.now()).get(application.pk, {})
    images = f"{reverse('images:list')}?application={application.slug}&current=true"
    work = f"{reverse('risks:work')}?application={application.slug}"
    newest = queries.newest_images(user).filter(application=application).values("newest_image_id")
    rows = queries.image_rows(user).filter(pk__in=newest).order_by("-worst_severity", "-open_findings", "-id")
    return {
        "cards": [
            Card("Newest images", standing.images if standing else 0, images, "one of each repository"),
            Card("Blocked", standing.blocked if standing else 0, f"{images}&verdict=block", "may not be promoted"),
            Card("Overdue", risks.get("overdue", 0), f"{work}&deadline=overdue", "past the date to fix by"),
            Card("Open risks", risks.get("open", 0), work, "in the newest images"),
        ],
        "newest": queries.named(rows[:ROWS]),
        "images_url": images,
        "standing": standing,
        "clusters": queries.clusters_of(application, user),
    }
