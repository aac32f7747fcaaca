"""The four homes, each narrowed by its URL; their exports; a person's own views and the letters about them."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import Application, Team, User
from secguard.dashboards import homes, picture, report, services
from secguard.dashboards.forms import LettersForm, ViewForm
from secguard.dashboards.homes import DAYS, Audience, Home
from secguard.dashboards.models import SavedView
from secguard.dashboards.queries.homes import audiences_of, home_of
from secguard.dashboards.report import Form
from secguard.dashboards.slices import PERIODS, Slice, read
from secguard.dashboards.weekly import DAYS as WEEKDAYS
from secguard.errors import NotFound
from secguard.notifications.queries import mail_is_on
from secguard.promotion.models import Environment
from secguard.web import htmx, spreadsheet

MOST_CHOICES = 500
"""Applications that are offered to choose from; any other by its own page."""
FORMS = [(Form.HTML.value, "In the letter"), (Form.PDF.value, "As a PDF")]


def audience_of(name: str) -> Audience:
    """Raises ``NotFound`` for a name of none."""
    try:
        return Audience(name)
    except ValueError:
        raise NotFound(f"There is no home {name[:40]!r}; there are {', '.join(Audience)}.", code="no-home") from None


@require_safe
@login_required
def home_detail(request: HttpRequest, audience: str) -> HttpResponseBase:
    user, chosen, now = person_of(request), audience_of(audience), timezone.now()
    home = home_of(chosen, read(request.GET.dict(), DAYS[chosen]), user, now)
    kind = request.GET.get("format", "")
    if kind in _EXPORTS:
        return _EXPORTS[kind](home)
    context = {
        "home": home,
        "tabs": tabs(user, chosen, home.slice.query if home.slice.narrows else ""),
        "choices": _choices(user, home.slice),
        "share": f"{settings.PUBLIC_URL}{address(chosen, home.slice)}",
    }
    return render(request, "homes/detail.html", context)


def address(audience: str, of: Slice) -> str:
    return f"{reverse('homes:detail', args=[audience])}?{of.query}"


def tabs(user: User, current: Audience | None, query: str = "") -> list[dict[str, Any]]:
    """The homes that ``user`` may see; narrowed as this one is."""
    tail = f"?{query}" if query else ""
    return [
        {
            "label": audience.value.capitalize(),
            "url": f"{reverse('homes:detail', args=[audience.value])}{tail}",
            "current": audience is current,
        }
        for audience in audiences_of(user)
    ]


class Choice(NamedTuple):
    """A select of the form that narrows."""

    name: str
    label: str
    every: str
    options: list[tuple[str, str]]
    chosen: str


def _choices(user: User, of: Slice) -> list[Choice]:
    """What one may narrow by; three queries. What the URL names and one may not see stands there as it was written."""
    teams = list(Team.objects.visible_to(user).order_by("name").values_list("slug", "name")[:MOST_CHOICES])
    rows = Application.objects.visible_to(user).order_by("name")
    rows = rows.filter(team__slug=of.team) if of.team else rows
    applications = list(rows.values_list("slug", "name")[:MOST_CHOICES])
    places = [(name, name) for name in Environment.objects.order_by("position").values_list("name", flat=True)]
    periods = [(str(days), "Last day" if days == 1 else f"Last {days} days") for days in PERIODS]
    return [
        Choice("team", "Team", "All teams", _with(teams, of.team), of.team),
        Choice("application", "Application", "All applications", _with(applications, of.application), of.application),
        Choice("environment", "Environment", "All environments", _with(places, of.environment), of.environment),
        Choice("days", "Period", "", periods, str(of.days)),
    ]


def _with(options: list[tuple[str, str]], chosen: str) -> list[tuple[str, str]]:
    return options if not chosen or chosen in dict(options) else [*options, (chosen, chosen)]


# --- exports ---


def _named(answer: HttpResponseBase, home: Home, kind: str) -> HttpResponseBase:
    name = f"secguard-{home.audience.value}-{home.made_at:%Y-%m-%d}.{kind}"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    answer["Cache-Control"] = "private, no-store"
    return answer


def _as_csv(home: Home) -> HttpResponseBase:
    lines = spreadsheet.lines(homes.CSV_HEADER, homes.as_rows(home))
    return _named(StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8"), home, "csv")


def _as_json(home: Home) -> HttpResponseBase:
    body = json.dumps(homes.as_document(home), ensure_ascii=False, indent=1)
    return _named(HttpResponse(body, content_type="application/json"), home, "json")


def _as_pdf(home: Home) -> HttpResponseBase:
    return _named(HttpResponse(report.as_pdf(home), content_type="application/pdf"), home, "pdf")


def _as_png(home: Home) -> HttpResponseBase:
    return _named(HttpResponse(picture.as_png(home), content_type="image/png"), home, "png")


_EXPORTS = {"csv": _as_csv, "json": _as_json, "pdf": _as_pdf, "png": _as_png}


# --- one's own views ---


@require_safe
@login_required
def view_list(request: HttpRequest) -> HttpResponse:
    return _views(request)


def _views(request: HttpRequest, form: Any = None) -> HttpResponse:
    rows: list[Any] = list(SavedView.objects.filter(user=person_of(request)).select_related("subscription"))
    for view in rows:
        of = services.slice_of(view)
        view.url, view.words = address(view.audience, of), of.words
        view.share = f"{settings.PUBLIC_URL}{view.url}"
        view.hour = view.subscription.hour if hasattr(view, "subscription") else FIRST_HOUR
    context = {
        "views": rows,
        "form": form,
        "days": WEEKDAYS,
        "hours": range(24),
        "forms": FORMS,
        "mail_is_on": mail_is_on(),
    }
    return render(request, "homes/views.html", context, status=422 if form is not None else 200)


FIRST_HOUR = 8


@require_POST
@login_required
def view_new(request: HttpRequest) -> HttpResponse:
    """Keep what the URL narrows under the name that was entered."""
    form = ViewForm(request.POST)
    user = person_of(request)

    def save(entered: dict[str, Any]) -> SavedView:
        audience = Audience(entered["audience"])
        return services.save_view(entered["name"], audience, read(request.GET.dict(), DAYS[audience]), actor=user)

    made = form.run(save)
    if made is None:
        return _views(request, form)
    messages.success(request, f"The view {made.name} is kept.")
    return htmx.redirect(request, reverse("homes:views"))


@require_POST
@login_required
def view_delete(request: HttpRequest, pk: int) -> HttpResponse:
    gone = services.delete_view(pk, actor=person_of(request))
    messages.success(request, f"The view {gone.name} is deleted, and its letters with it.")
    return htmx.redirect(request, reverse("homes:views"))


@require_POST
@login_required
def letters(request: HttpRequest, pk: int) -> HttpResponse:
    """Have the view written to oneself each week."""
    form, user = LettersForm(request.POST), person_of(request)

    def subscribe(entered: dict[str, Any]) -> object:
        form_ = Form(entered["form"])
        now = timezone.now()
        return services.subscribe(pk, int(entered["weekday"]), int(entered["hour"]), form_, actor=user, now=now)

    if form.run(subscribe) is None:
        return _views(request, form)
    messages.success(request, "It will be written to you each week.")
    return htmx.redirect(request, reverse("homes:views"))


@require_POST
@login_required
def letters_end(request: HttpRequest, pk: int) -> HttpResponse:
    services.unsubscribe(pk, actor=person_of(request))
    messages.success(request, "It is written to you no more.")
    return htmx.redirect(request, reverse("homes:views"))


@csrf_exempt  # RFC 8058: a mail program posts without a cookie; the signed key is what it shows
@require_http_methods(["GET", "HEAD", "POST"])
def unsubscribe(request: HttpRequest, key: str) -> HttpResponse:
    """End the letters from one of them, signed in or not. Looking ends nothing: mail scanners follow links."""
    found = services.find_by_key(key)
    if request.method == "POST":
        services.unsubscribe_by_key(key)
        found = None
    return render(request, "homes/unsubscribe.html", {"ended": found is None})
