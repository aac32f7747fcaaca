"""Frameworks on pages: all of them, one with its controls, one control with its applications; now or on a past day."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

import django_filters
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from msgspec import Struct

from secguard.accounts.authentication import person_of
from secguard.accounts.models import Application, Team, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.compliance import documents, queries, services, showing
from secguard.compliance.forms import FrameworkForm
from secguard.compliance.framework import Control, FrameworkError, load, shipped
from secguard.compliance.models import FrameworkVersion
from secguard.compliance.queries import Moment, Scope
from secguard.compliance.standing import BY_WORD, Counts, State
from secguard.planning.checks import CHECKS
from secguard.web import htmx
from secguard.web.charts import Chart, Series
from secguard.web.filters import ChipFilter
from secguard.web.listing import Column, Listing
from secguard.yamlsource import Problem

PERIOD: Final = timedelta(days=30)
"""What a framework is compared with: how it stood so long before."""
EXAMPLE: Final = """\
name: our-rules
title: What we ask of every application
version: "1"
source: https://intranet.example.org/container-rules
description: Our own rules, beside those that come with SecGuard.
sections:
  - id: "1"
    title: Images
    controls:
      - id: "1.1"
        title: Know what is inside
        about: Every image is scanned, and its contents are known.
        checks: [images-scanned, sbom-known]
      - id: "1.2"
        title: Train who builds
        about: Everybody who builds images is trained once a year.
        unmeasured: Nobody tells SecGuard who was trained.
"""


class Asked(Struct):
    """What the address of a page asks for; what makes no sense counts as not given, and ``faults`` says so."""

    scope: Scope
    when: Moment
    faults: list[str]
    query: dict[str, str]
    """What of it links carry on."""

    def url(self, name: str, *args: str, **more: str) -> str:
        words = {**self.query, **more}
        path = reverse(f"frameworks:{name}", args=args)
        return f"{path}?{urlencode(words)}" if words else path


def _asked(request: HttpRequest, user: User) -> Asked:
    faults: list[str] = []
    query: dict[str, str] = {}
    day, team, application = _day(request, faults), None, None
    if slug := _word(request, "team"):
        team = Team.objects.visible_to(user).filter(slug=slug).first()
        faults += [] if team else [f"There is no team {slug!r} that you may see; all are shown."]
    if slug := _word(request, "application"):
        application = Application.objects.visible_to(user).filter(slug=slug).first()
        faults += [] if application else [f"There is no application {slug!r} that you may see; all are shown."]
    when = queries.moment(day)
    if when.is_past:
        query["on"] = when.day.isoformat()
    if team:
        query["team"] = team.slug
    if application:
        query["application"] = application.slug
    return Asked(Scope(user=user, team=team, application=application), when, faults, query)


def _word(request: HttpRequest, name: str) -> str:
    return request.GET.get(name, "").replace("\0", "").strip()[:100]


def _day(request: HttpRequest, faults: list[str]) -> date | None:
    text = _word(request, "on")
    if not text:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError:
        faults.append(f"{text!r} is no day such as 2026-01-31; today is shown.")
        return None
    if day > queries.moment().day:
        faults.append(f"{text} is yet to come; today is shown.")
    return day


def _common(asked: Asked) -> dict[str, Any]:
    user = asked.scope.user
    return {
        "asked": asked,
        "teams": Team.objects.visible_to(user).order_by("name"),
        "team": asked.scope.team,
        "application": asked.scope.application,
        "on": asked.when.day if asked.when.is_past else None,
        "today": queries.moment().day,
        "may_edit": _edits(user),
    }


def _edits(user: User) -> bool:
    return user.teams_with(Permission.POLICY_EDIT) is None


def _known(several: list[Counts], when: Moment) -> str:
    """Why nothing is known, in words; empty where something is."""
    if any(sum(counts) > counts[State.UNMEASURED] for counts in several):
        return ""
    if not any(sum(counts) for counts in several):
        return (
            "There was no application on that day, so nothing was measured."
            if when.is_past
            else "There is no application yet."
        )
    first = queries.first_day()
    if when.is_past and (first is None or when.day < first):
        since = f" The first day with measurements is {first}." if first else ""
        return f"Nothing was measured on that day, so nothing passes.{since}"
    return (
        "Nothing is measured yet: the first measurement follows within minutes."
        if not when.is_past
        else ("Nothing was measured on that day, so nothing passes.")
    )


# --- all of them ---


@require_safe
@login_required
def framework_list(request: HttpRequest) -> HttpResponse:
    services.ensure_shipped()
    asked = _asked(request, person_of(request))
    versions = queries.in_force(asked.when.at)
    found = queries.standings(versions, asked.scope, asked.when)
    trend = queries.trend(versions, asked.scope, asked.when.day - PERIOD, asked.when.day)
    rows = [_row(v, found[v.pk].tally, trend.get(v.name, {}), asked) for v in versions]
    context = {
        **_common(asked),
        "rows": rows,
        "nothing": _known([n for v in versions for n in found[v.pk].counts.values()], asked.when) if versions else "",
        "chart": _chart(versions, trend),
        "retired": queries.retired(),
    }
    return render(request, "frameworks/list.html", context)


def _row(version: FrameworkVersion, tally: Counts, days: dict[date, Counts], asked: Asked) -> dict[str, Any]:
    before = days.get(asked.when.day - PERIOD)
    now, then = showing.share(tally), None if before is None else showing.share(before)
    return {
        "version": version,
        "source": version.parsed.version,
        "controls": len(version.parsed.controls),
        "parts": [{**p, "url": asked.url("detail", version.name, state=p["word"])} for p in showing.parts(tally)],
        "words": showing.in_words(tally),
        "share": now,
        "change": None if now is None or then is None else round(now - then, 1),
        "url": asked.url("detail", version.name),
    }


def _chart(versions: list[FrameworkVersion], trend: dict[str, dict[date, Counts]]) -> Chart | None:
    days = sorted({day for several in trend.values() for day in several})
    series = [
        Series(v.title, [showing.share(n) if (n := trend.get(v.name, {}).get(day)) else None for day in days])
        for v in versions
        if v.name in trend
    ]
    if len(days) < 2 or not any(value for one in series for value in one.values):
        return None
    labels = [f"{day.day} {day:%b}" for day in days]
    title = "Controls that pass, in per cent"
    return Chart("frameworks", title, "line", labels, series, unit="%", label_heading="Day")


# --- one ---


@require_safe
@login_required
def framework_detail(request: HttpRequest, name: str) -> HttpResponse:
    """Its sections and controls, and how many applications stand how with each."""
    services.ensure_shipped()
    asked = _asked(request, person_of(request))
    version = queries.find_version(name, asked.when.at)
    standing = queries.standings([version], asked.scope, asked.when)[version.pk]
    state = BY_WORD.get(_word(request, "state"))
    document = documents.standing_document(version, standing, asked.when)
    for section in document["sections"]:
        for control in section["controls"]:
            _show(control, standing.counts[control["id"]], version, asked)
        section["shown"] = [c for c in section["controls"] if state is None or c["state"] == state.word]
    context = {
        **_common(asked),
        "version": version,
        "document": document,
        "sections": [section for section in document["sections"] if section["shown"]],
        "parts": [{**p, "url": asked.url("detail", name, state=p["word"])} for p in showing.parts(standing.tally)],
        "state": showing.of(state) if state is not None else None,
        "nothing": _known(list(standing.counts.values()), asked.when),
        "later": showing.came_later(version.valid_from, asked.when.at),
        "page": asked.url("detail", name),
        "report": f"{reverse('api:framework-report', args=[name])}?{urlencode({**asked.query, 'format': ''})}",
        "all_applications": _without(asked, "application").url("detail", name),
    }
    return render(request, "frameworks/detail.html", context)


def _without(asked: Asked, name: str) -> Asked:
    return Asked(asked.scope, asked.when, [], {key: value for key, value in asked.query.items() if key != name})


def _show(control: dict[str, Any], counts: Counts, version: FrameworkVersion, asked: Asked) -> None:
    control["shown"] = showing.of(BY_WORD[control["state"]])
    control["url"] = asked.url("control", version.name, control["id"])
    control["parts"] = [
        {**p, "url": asked.url("control", version.name, control["id"], state=p["word"])} for p in showing.parts(counts)
    ]
    control["words"] = showing.in_words(counts)


# --- one control ---


class ControlFilter(django_filters.FilterSet):
    """The team, the day and the application narrow the scope before rows are read (``_asked``)."""

    state = django_filters.ChoiceFilter(label="State", choices=showing.STATES, method="by_state", empty_label="Any")
    team = django_filters.ModelChoiceFilter(
        label="Team",
        queryset=lambda request: Team.objects.visible_to(person_of(request)).order_by("name"),  # type: ignore[arg-type]
        to_field_name="slug",
        empty_label="Any",
        method="by_scope",
    )
    on = ChipFilter(label="On", method="by_scope")
    application = ChipFilter(label="Application", method="by_scope")

    class Meta:
        model = Application
        fields: list[str] = []

    def by_state(self, rows: QuerySet[Application], name: str, value: str) -> QuerySet[Application]:
        found: Any = rows  # annotated by ``queries.at_control``
        narrowed: QuerySet[Application] = found.filter(state=int(BY_WORD[value]))
        return narrowed

    def by_scope(self, rows: QuerySet[Application], name: str, value: object) -> QuerySet[Application]:
        return rows


class ControlListing(Listing):
    name, noun = "control", "application"
    caption = "Applications, and how each stands with the control"
    columns = (
        Column("application", "Application", sort="name", value="name", css="fit-application"),
        Column(
            "state", "State", sort=("state", "-name"), first="-", nullable=False, value="shown.word", css="fit-word"
        ),
        Column("measured", "What was measured", value=lambda row: [f"{m['check']}: {m['says']}" for m in row.measures]),
        Column("team", "Team", value="team.slug", hidden=True),
        Column("slug", "Slug", hidden=True),
        Column("measures", "Measures", value=lambda row: [m["id"] for m in row.measures if m["id"]], hidden=True),
        Column("exceptions", "Exceptions", hidden=True, value=lambda row: _exceptions(row.measures)),
    )  # fmt: skip
    default_sort = "-state"
    filterset = ControlFilter
    page_size = 25  # a row is several measurements, each with its evidence
    search_fields = ("name__icontains", "team__name__icontains")
    search_hint = "Application or team"

    def __init__(self, request: HttpRequest, queryset: QuerySet[Any], control: Control, when: Moment) -> None:
        super().__init__(request, queryset)
        self.control, self.when = control, when

    def prepare(self, rows: list[Any]) -> None:
        for row, found in zip(rows, documents.application_documents(rows, self.control, self.when), strict=True):
            row.shown = showing.of(State(row.state))
            row.measures = found["measures"]
            for measure in row.measures:
                measure["shown"] = showing.of(BY_WORD[measure["state"]])
                measure["named"] = _named(measure)
            ranked = sorted(row.measures, key=lambda m: BY_WORD[m["state"]], reverse=True)
            row.worse = [m for m in ranked if BY_WORD[m["state"]] is not State.PASS]
            row.fine = [m for m in ranked if BY_WORD[m["state"]] is State.PASS]


def _named(measure: dict[str, Any]) -> list[tuple[str, list[str], int]]:
    """(words, names, how many there are) of the rows that a measurement names."""
    parts = (("lacking", "Lacks", "lacking"), ("untold", "Not known", "untold"), ("looked_at", "Looked at", "total"))
    named = measure["evidence"]
    return [(words, named[part], measure[n] or 0) for part, words, n in parts if named[part]]


def _exceptions(measures: list[dict[str, Any]]) -> list[str]:
    return [f"{one['kind']} {one['id']}" for measure in measures for one in measure["exceptions"]]


@require_safe
@login_required
def control_detail(request: HttpRequest, name: str, control: str) -> HttpResponseBase:
    """What it asks, what each check measures, and how each application stands, the worst first."""
    asked = _asked(request, person_of(request))
    version = queries.find_version(name, asked.when.at)
    found = queries.find_control(version, control)
    counts = queries.standings([version], asked.scope, asked.when)[version.pk].counts[found.id]
    listing = ControlListing(request, queries.at_control(found, asked.scope, asked.when), found, asked.when)
    document = documents.control_document(found, counts)
    _show(document, counts, version, asked)
    section = next(part for part in version.parsed.sections if found in part.controls)
    context = {
        **_common(asked),
        "version": version,
        "control": document,
        "section": section,
        "nothing": _known([counts], asked.when),
        "later": showing.came_later(version.valid_from, asked.when.at),
        "up": asked.url("detail", name),
    }
    return listing.respond("frameworks/control.html", "frameworks/_applications.html", context)


# --- own ones ---


@require_safe
@login_required
def framework_versions(request: HttpRequest, name: str) -> HttpResponse:
    """Every version there was, and the text of one (``number``; the newest where it is left out)."""
    versions = queries.versions_of(name)
    number = _word(request, "number")
    chosen = next((v for v in versions if str(v.number) == number), versions[0] if versions else None)
    if chosen is None:
        queries.find_version(name, queries.moment().at)  # raises NotFound with what there is
        raise AssertionError
    user = person_of(request)
    context = {
        "name": name,
        "version": chosen,
        "newest": versions[0],
        "versions": versions,
        "may_edit": _edits(user) and name not in shipped(),
    }
    return render(request, "frameworks/versions.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def framework_new(request: HttpRequest) -> HttpResponse:
    """Write a framework, or the next version of one (``from`` of the address is the name to begin with)."""
    user = person_of(request)
    require(user, Permission.POLICY_EDIT)
    before = FrameworkVersion.objects.filter(name=_word(request, "from")).order_by("-number").first()
    form = FrameworkForm(request.POST or None, initial={"source": _beginning(before)})
    problems: list[Problem] = []
    if request.method == "POST":
        problems = _problems(form)
        done = None if problems else form.run(lambda entered: _made(entered["source"], user))
        if done is not None:
            messages.success(request, f"{done} is in force; applications are measured for it within minutes.")
            return htmx.redirect(request, reverse("frameworks:detail", args=[done.name]))
    context = {
        "form": form,
        "problems": problems,
        "before": before,
        "checks": sorted(CHECKS.values(), key=lambda check: check.name),
    }
    return render(request, "frameworks/new.html", context, status=422 if problems or form.errors else 200)


def _problems(form: FrameworkForm) -> list[Problem]:
    """Every fault of what was entered: a form would show the first alone."""
    if not form.is_valid():
        return []
    try:
        load(_plain(form.cleaned_data["source"]), CHECKS)
    except FrameworkError as error:
        return error.problems
    return []


def _made(source: str, user: User) -> FrameworkVersion:
    return services.make_framework(_plain(source), actor=user)


def _plain(source: str) -> str:
    """Browsers send line ends of two characters."""
    return source.replace("\r\n", "\n")


def _beginning(before: FrameworkVersion | None) -> str:
    """The version before; a shipped one under another name, since its own belongs to the product."""
    if before is None:
        return EXAMPLE
    return (
        before.text.replace(f"name: {before.name}\n", f"name: our-{before.name}\n", 1)
        if before.is_shipped
        else (before.text)
    )


@require_POST
@login_required
def framework_retire(request: HttpRequest, name: str) -> HttpResponse:
    """Take an own framework out of force."""
    ended = services.retire_framework(name, actor=person_of(request))
    messages.success(request, f"{ended} is out of force from now on; its past days stay.")
    return htmx.redirect(request, reverse("frameworks:list"))
