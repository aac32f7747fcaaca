"""The pages of controls: the list, one of them with its evidence, proposing, checking, confirming, retiring."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.decisions import services
from secguard.decisions.controls import EvidenceKind
from secguard.decisions.controls_forms import EVERYTHING, ControlForm, EvidenceForm, RetireForm
from secguard.decisions.models import Control
from secguard.decisions.queries import controls as queries
from secguard.decisions.queries.controls_filters import ControlFilter
from secguard.decisions.services.controls_watching import OBSERVERS
from secguard.errors import NotFound, SecGuardError
from secguard.web import htmx
from secguard.web.listing import Column, Listing

PEOPLE = 200
"""How many people a form offers as owners."""


def _user(request: HttpRequest) -> User:
    return request.user  # type: ignore[return-value]


class ControlListing(Listing):
    name = "controls"
    caption = "Controls you may see, what needs evidence first"
    noun = "control"
    columns = (
        Column("name", "Control", sort="name"),
        Column("state", "State", value=lambda c: c.state_at(timezone.now()).value, css="fit-fix"),
        Column("leaning", "Decisions", value="leaning_now", numeric=True, css="fit-word"),
        Column("due", "Evidence due", sort="due_now", value="due_now", css="fit-date"),
        Column("alive", "Kept alive by", value="kept_alive_by", css="fit-word wide-only"),
        Column("owner", "Answers for it", value=queries.owner_words, css="fit-word"),
        Column("kind", "Kind", hidden=True),
        Column("covers", "Covers", value="application.slug", hidden=True),
        Column("every_hours", "Every hours", hidden=True),
        Column("last_seen_at", "Last seen", hidden=True),
        Column("id", "No.", hidden=True),
    )
    default_sort = "due"
    filterset = ControlFilter
    search_fields = ("name__icontains", "description__icontains", "application__name__icontains")
    search_hint = "Name, application"


@login_required
@require_safe
def control_list(request: HttpRequest) -> HttpResponseBase:
    now = timezone.now()
    rows = queries.with_leaning(Control.objects.visible_to(_user(request)), now).select_related(*queries.RELATED)
    return ControlListing(request, rows).respond(
        "decisions/controls.html", "decisions/_controls.html", {"now": timezone.now()}
    )


def _visible(pk: int, user: User) -> Control:
    rows = queries.with_leaning(Control.objects.visible_to(user), timezone.now())
    control = rows.filter(pk=pk).select_related(*queries.RELATED).first()
    if control is None:
        raise NotFound(f"There is no control {pk}.")
    return control


def _facts(control: Control, user: User) -> dict[str, Any]:
    now = timezone.now()
    return {
        "control": control,
        "state": control.state_at(now),
        "why": queries.lapse_words(control, now),
        "may": queries.verbs(control, user),
        "is_own": queries.is_own(control, user),
        "owner": queries.owner_words(control),
        "timeline": queries.timeline(control, now),
        "timeline_is_full": queries.TIMELINE,
        "decisions": list(queries.decisions_on(control, user)[:50]),
        "now": now,
    }


@login_required
@require_safe
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    return _page(request, _visible(pk, _user(request)), EvidenceForm(initial={"says": "holds"}))


def _page(request: HttpRequest, control: Control, form: EvidenceForm, status: int = 200) -> HttpResponse:
    context = {**_facts(control, _user(request)), "form": form}
    return render(request, "decisions/control.html", context, status=status)


@login_required
@require_POST
def evidence(request: HttpRequest, pk: int) -> HttpResponse:
    """A person says what they saw."""
    user, form = _user(request), EvidenceForm(request.POST)
    control = _visible(pk, user)
    if form.is_valid():
        seen = services.Evidence(kind=EvidenceKind.CHECK.value, **form.cleaned_data)
        try:
            services.add_evidence(pk, seen, actor=user)
        except SecGuardError as error:
            if error.where not in form.fields:
                raise
            form.add_error(error.where, error.detail)
        else:
            messages.success(request, "Your check is kept.")
            return htmx.redirect(request, reverse("controls:detail", args=[pk]))
    return _page(request, control, form, 422)


@login_required
@require_POST
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    control = services.confirm(pk, actor=_user(request))
    messages.success(request, f"{control.name} is confirmed; decisions may lean on it while there is evidence.")
    return htmx.redirect(request, reverse("controls:detail", args=[pk]))


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def retire(request: HttpRequest, pk: int) -> HttpResponse:
    user, form = _user(request), RetireForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        control = services.retire(pk, reason=form.cleaned_data["reason"], actor=user)
        messages.success(request, f"{control.name} is retired; what leaned on it has ended.")
        return htmx.redirect(request, reverse("controls:detail", args=[pk]))
    context = {**_facts(_visible(pk, user), user), "form": form}
    return render(request, "decisions/control_retire.html", context, status=422 if request.method == "POST" else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Propose a control for one of the person's applications, or for all."""
    user = _user(request)
    require(user, Permission.DECISION_REQUEST, anywhere=True)
    form = _form(request, user)
    if request.method == "POST" and form.is_valid() and (made := _propose(form, user)):
        messages.success(request, f"{made.name} is proposed. Somebody else has to confirm it before it counts.")
        return htmx.redirect(request, reverse("controls:detail", args=[made.pk]))
    examples = [(o.name, o.about, dict(o.example)) for o in OBSERVERS]
    status = 422 if request.method == "POST" else 200
    return render(request, "decisions/control_new.html", {"form": form, "examples": examples}, status=status)


def _form(request: HttpRequest, user: User) -> ControlForm:
    teams = user.teams_with(Permission.DECISION_REQUEST)
    applications = Application.objects.visible_to(user).order_by("name")
    if teams is not None:
        applications = applications.filter(team_id__in=teams)
    people = User.objects.visible_to(user).people().filter(is_active=True).order_by("username")[:PEOPLE]
    return ControlForm(
        request.POST or None,
        applications=list(applications[:500]),
        people=list(people),
        wide=teams is None,
        initial={"kept_alive_by": EvidenceKind.CHECK.value, "every": 30, "unit": "24"},
    )


def _propose(form: ControlForm, user: User) -> Control | None:
    """The control; ``None`` where the service refused it, with its words in the form."""
    data = form.cleaned_data
    application = Application.objects.visible_to(user).filter(slug=data["covers"]).first()
    if data["covers"] != EVERYTHING and application is None:
        raise NotFound(f"There is no application {data['covers']}.")
    wanted = services.NewControl(
        name=data["name"],
        kind=data["kind"],
        kept_alive_by=data["kept_alive_by"],
        every_hours=form.every_hours,
        description=data["description"],
        application=application,
        owner=User.objects.visible_to(user).filter(pk=data["owner"]).first() if data["owner"] else None,
        watch=data["watch"],
    )
    try:
        return services.propose(wanted, actor=user)
    except SecGuardError as error:
        places = {"every_hours": "every"}
        place = places.get(error.where, error.where if error.where in form.fields else None)
        if error.where and place is None:
            raise
        form.add_error(place, error.detail)
        return None
