"""Applications: what the teams own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django_filters
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from secguard.accounts import queries, services
from secguard.accounts.authentication import person_of
from secguard.accounts.forms import ApplicationForm, ImpactForm
from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.errors import NotFound
from secguard.web.listing import Column, Listing

DETAIL_PARTS: list[Callable[[Application, User], dict[str, Any]]] = []
"""What upper apps know of an application: each adds names to the context of ``accounts/application.html``."""


class ApplicationFilter(django_filters.FilterSet):
    team = django_filters.CharFilter(field_name="team__slug", label="Team")
    is_exposed = django_filters.BooleanFilter(label="Exposed")
    is_production = django_filters.BooleanFilter(label="In production")

    class Meta:
        model = Application
        fields: list[str] = []


class ApplicationListing(Listing):
    name, noun = "applications", "application"
    caption = "Applications you may see"
    columns = (
        Column("name", "Application", sort="name"),
        Column("team", "Team", sort="team__name", value="team.name"),
        Column("is_exposed", "Exposed", sort="is_exposed", first="-"),
        Column("is_production", "In production", sort="is_production", first="-"),
        Column("created_at", "Since", sort="created_at", first="-"),
        Column("slug", "Slug", hidden=True),
    )
    default_sort = "name"
    filterset = ApplicationFilter
    search_fields = ("name__icontains", "description__icontains", "team__name__icontains")
    search_hint = "Search by name, description or team"


@require_safe
@login_required
def application_list(request: HttpRequest) -> HttpResponseBase:
    user = person_of(request)
    listing = ApplicationListing(request, queries.applications(user))
    context = {"may_add": user.can(Permission.APPLICATION_EDIT)}
    return listing.respond("accounts/applications.html", "accounts/_applications.html", context)


@require_safe
@login_required
def application_detail(request: HttpRequest, slug: str) -> HttpResponse:
    user, application = person_of(request), _application(request, slug)
    teams = user.teams_with(Permission.APPLICATION_EDIT)
    context: dict[str, Any] = {
        "application": application,
        "may_edit": teams is None or application.team_id in teams,
        "impact_form": _impact_form(user, application),
    }
    for part in DETAIL_PARTS:
        context |= part(application, user)
    return render(request, "accounts/application.html", context)


@login_required
def application_new(request: HttpRequest) -> HttpResponse:
    actor = person_of(request)
    services.require(actor, Permission.APPLICATION_EDIT, anywhere=True)
    form = ApplicationForm(request.POST or None, actor=actor)
    if request.method == "POST":
        made = form.run(lambda entered: services.create_application(actor=actor, **entered))
        if made is not None:
            messages.success(request, f"{made.name} is made.")
            return redirect("applications:detail", slug=made.slug)
    return render(request, "accounts/application_form.html", {"form": form}, status=422 if form.errors else 200)


@login_required
def application_edit(request: HttpRequest, slug: str) -> HttpResponse:
    actor, application = person_of(request), _application(request, slug)
    services.require(actor, Permission.APPLICATION_EDIT, team_id=application.team_id)
    form = ApplicationForm(request.POST or None, actor=actor, application=application)
    if request.method == "POST":
        changed = form.run(lambda entered: services.edit_application(application.pk, actor=actor, **entered))
        if changed is not None:
            messages.success(request, "Saved.")
            return redirect("applications:detail", slug=slug)
    context = {"form": form, "application": application}
    return render(request, "accounts/application_form.html", context, status=422 if form.errors else 200)


@require_POST
@login_required
def application_impact(request: HttpRequest, slug: str) -> HttpResponse:
    """Say what it means to the mission."""
    application = _application(request, slug)
    services.say_impact(application.pk, request.POST.get("impact", ""), actor=person_of(request))
    messages.success(request, "Saved. Deadlines were counted anew.")
    return redirect("applications:detail", slug=slug)


def _impact_form(user: User, application: Application) -> ImpactForm | None:
    teams = user.teams_with(Permission.APPLICATION_IMPACT)
    may = teams is None or application.team_id in teams
    return ImpactForm(initial={"impact": application.impact}) if may else None


def _application(request: HttpRequest, slug: str) -> Application:
    found = queries.applications(person_of(request)).filter(slug=slug).first()
    if found is None:
        raise NotFound("There is no such application that you may see.")
    return found
