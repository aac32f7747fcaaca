"""Planning on pages: applications by how their checklists stand, one checklist with its forms, and the templates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django_filters
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import Application, Team, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.approvals.quorum import Choice
from secguard.errors import NotFound
from secguard.planning import documents, queries, services, showing
from secguard.planning.checks import CHECKS
from secguard.planning.forms import AnswerForm, ChooseForm, TemplateForm, VoteForm, WaiverForm
from secguard.planning.models import Checklist, PlanningTemplate
from secguard.planning.template import DEFAULT_DAYS, MOST_DAYS, SHIPPED, Stage, TemplateError, shipped
from secguard.web import htmx
from secguard.web.filters import ChipFilter, YesNoFilter
from secguard.web.listing import Column, Listing

MOST_CHOICES = 500
"""So many applications are offered in a list to choose from; each has the same choice on its own page."""


# --- the list ---


def _waiting(request: HttpRequest | None) -> list[dict[str, Any]]:
    """What waits for this person's vote; read once a request."""
    user, kept = person_of(request), request.__dict__
    if "waivers_waiting" not in kept:
        kept["waivers_waiting"] = documents.waiting_for(user, timezone.now())
    found: list[dict[str, Any]] = kept["waivers_waiting"]
    return found


class PlanningFilter(django_filters.FilterSet):
    team = django_filters.ModelChoiceFilter(
        label="Team",
        field_name="team",
        queryset=lambda request: Team.objects.visible_to(person_of(request)).order_by("name"),  # type: ignore[arg-type]
        to_field_name="slug",
        empty_label="Any",
    )
    stage = django_filters.ChoiceFilter(label="Stage", choices=showing.STAGES, method="by_state", empty_label="Any")
    state = django_filters.ChoiceFilter(label="State", choices=showing.STANDINGS, method="by_state", empty_label="Any")
    template = ChipFilter(label="Template", field_name="checklist__template__name")
    waiting = YesNoFilter(label="Waiting for me", method="by_waiting")

    class Meta:
        model = Application
        fields: list[str] = []

    def by_state(self, rows: QuerySet[Application], name: str, value: str) -> QuerySet[Application]:
        """Stage and state are one question: a stage alone asks for what is not kept there. Asking twice narrows no
        further."""
        asked = self.form.cleaned_data
        return queries.standing_so(rows, asked["stage"], asked["state"])

    def by_waiting(self, rows: QuerySet[Application], name: str, value: bool) -> QuerySet[Application]:
        found = Q(slug__in=[waiver["application"] for waiver in _waiting(self.request)])
        return rows.filter(found if value else ~found)


def _stage_column(stage: Stage) -> Column:
    return Column(
        stage.value, stage.value.capitalize(), value=lambda row: showing.in_words(row, stage), css="fit-stage"
    )


class PlanningListing(Listing):
    name, noun = "planning", "application"
    caption = "Applications that you may see, and how they stand at each stage"
    columns = (
        Column("application", "Application", sort="name", value="name"),
        Column("standing", "Not kept", sort=("not_kept",), first="-", value=showing.standing_in_words, css="fit-word"),
        *(_stage_column(stage) for stage in Stage),
        Column("team", "Team", value="team.name", hidden=True),
        Column("template", "Template", value="asked", hidden=True),
        Column("unkept", "Which", value="unkept", hidden=True),
    )  # fmt: skip
    default_sort = "application"
    filterset = PlanningFilter
    search_fields = ("name__icontains", "team__name__icontains")
    search_hint = "Application or team"

    def prepare(self, rows: list[Any]) -> None:
        user = person_of(self.request)
        for row in rows:
            row.has_checklist = hasattr(row, "checklist")
            row.asked = str(row.checklist.template) if row.has_checklist else ""
            row.unkept = " ".join(row.checklist.unkept) if row.has_checklist else ""
            row.stages = showing.stages_of(row.checklist) if row.has_checklist else []
            row.may_begin = not row.has_checklist and user.can(Permission.DECISION_REQUEST, row.team_id)


@require_safe
@login_required
def planning_list(request: HttpRequest) -> HttpResponseBase:
    services.ensure_shipped()
    listing = PlanningListing(request, queries.planned(person_of(request)))
    waiting = _waiting(request) if not listing.is_narrowed or request.GET.get("waiting") == "true" else []
    context = {"waiting": waiting, "templates": documents.newest_templates()}
    return listing.respond("planning/list.html", "planning/_list.html", context)


@require_POST
@login_required
def choose(request: HttpRequest) -> HttpResponse:
    """Have a template asked of an application: its first, or another one."""
    user, form = person_of(request), ChooseForm(request.POST)
    application = queries.application_of(request.POST.get("application", "").replace("\0", "")[:100], user)
    done = form.run(lambda entered: services.choose_template(application.pk, entered["template"], actor=user))
    if done is None:
        messages.error(request, " ".join(str(text) for texts in form.errors.values() for text in texts))
    else:
        messages.success(request, f"{done.template} is asked of {application.name}; everything is measured.")
    return htmx.redirect(request, reverse("planning:checklist", args=[application.slug]))


# --- a checklist ---


@require_safe
@login_required
def checklist_detail(request: HttpRequest, slug: str) -> HttpResponse:
    """An application's checklist, or how to begin one."""
    return _page(request, slug)


def _page(request: HttpRequest, slug: str, fault: dict[str, Any] | None = None) -> HttpResponse:
    user, now = person_of(request), timezone.now()
    application = queries.application_of(slug, user)
    context: dict[str, Any] = {"application": application, "may": documents.may_of(application, user)}
    checklist = queries.checklist_of(application)
    if checklist is None or "choose" in context["may"]:
        services.ensure_shipped()
        context["templates"] = documents.newest_templates()
    if checklist is None:
        return render(request, "planning/begin.html", context)
    document = documents.checklist_document(checklist, user, now)
    showing.add_history(document["items"], documents.earlier_of(checklist, user, now))
    for item in document["items"]:
        item["last_day"] = (now + timedelta(days=item["answer_days"])).date()
    context |= showing.page_of(document, request.GET.get("stage", ""), request.GET.get("state", ""))
    context |= {
        "checklist": checklist,
        "document": document,
        "fault": fault,
        "people": queries.answering(application, user),
        "asked_by": [line for part in ASKED_BY for line in part()],
        "tomorrow": (now + timedelta(days=1)).date(),
        "last_day": (now + timedelta(days=MOST_DAYS)).date(),
    }
    return render(request, "planning/checklist.html", context, status=422 if fault else 200)


ASKED_BY: list[Callable[[], list[tuple[str, str]]]] = []
"""What upper apps ask of checklists: each gives (words, page) of the rules that stand on one."""


@require_POST
@login_required
def measure(request: HttpRequest, slug: str) -> HttpResponse:
    """Measure everything anew, now."""
    user = person_of(request)
    services.measure_now(queries.application_of(slug, user).pk, actor=user)
    messages.success(request, "Measured at this moment.")
    return htmx.redirect(request, reverse("planning:checklist", args=[slug]))


@require_POST
@login_required
def answer(request: HttpRequest, slug: str) -> HttpResponse:
    """Say how the application does with one requirement."""
    user, form = person_of(request), AnswerForm(request.POST)
    application = queries.application_of(slug, user)
    days = _days(application, str(form["requirement"].value()))

    def act(entered: dict[str, Any]) -> object:
        return services.answer(application.pk, entered["requirement"], form.said(days), actor=user)

    return _done(request, slug, "answer", form, act, "Your answer is kept.")


def _days(application: Application, requirement: str) -> int:
    """How long an answer to it may hold; the service says what is not asked at all."""
    checklist = queries.checklist_of(application)
    found = checklist.template.parsed.requirement(requirement) if checklist else None
    return found.answer_days if found else DEFAULT_DAYS


@require_POST
@login_required
def waiver_ask(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask that one requirement does not apply."""
    user, form = person_of(request), WaiverForm(request.POST)
    application = queries.application_of(slug, user)

    def act(entered: dict[str, Any]) -> object:
        words = (entered["requirement"], entered["reason"], form.until_end)
        return services.ask_for_waiver(application.pk, *words, actor=user)

    return _done(request, slug, "waiver", form, act, "Asked for. It counts once a security reviewer has approved it.")


@require_POST
@login_required
def waiver_vote(request: HttpRequest, pk: int) -> HttpResponse:
    """Approve or reject that one does not apply."""
    user, form, waiver = person_of(request), VoteForm(request.POST), _waiver(request, pk)

    def act(entered: dict[str, Any]) -> object:
        return services.vote_on_waiver(pk, Choice(entered["choice"]), comment=entered["comment"], actor=user)

    words = "Approved." if form["choice"].value() == Choice.APPROVE else "Rejected."
    return _done(request, waiver["application"], "vote", form, act, words, waiver["requirement"])


@require_POST
@login_required
def waiver_end(request: HttpRequest, pk: int) -> HttpResponse:
    """Take it back, whether it waits or counts."""
    waiver = _waiver(request, pk)
    services.end_waiver(pk, actor=person_of(request))
    messages.success(request, "Taken back: the requirement is asked again.")
    return htmx.redirect(request, _place(waiver["application"], waiver["requirement"]))


def _waiver(request: HttpRequest, pk: int) -> dict[str, str]:
    row = documents.waivers_visible_to(person_of(request)).filter(pk=pk).first()
    if row is None:
        raise NotFound(f"There is no request {pk} that something is not applicable.")
    return {"application": row.checklist.application.slug, "requirement": row.requirement}


def _done(
    request: HttpRequest,
    slug: str,
    what: str,
    form: Any,
    act: Callable[[dict[str, Any]], object],
    words: str,
    requirement: str = "",
) -> HttpResponse:
    """Back to the requirement, or the page with what is wrong beside the field."""
    asked = requirement or str(form["requirement"].value())
    if not form.works(act):
        return _page(request, slug, {"what": what, "requirement": asked, "form": form})
    messages.success(request, words)
    return htmx.redirect(request, _place(slug, asked))


def _place(slug: str, requirement: str) -> str:
    return f"{reverse('planning:checklist', args=[slug])}#{requirement}"


# --- templates ---


@require_safe
@login_required
def template_list(request: HttpRequest) -> HttpResponse:
    services.ensure_shipped()
    user = person_of(request)
    return render(request, "planning/templates.html", {"templates": queries.templates(user), "may_edit": _edits(user)})


@require_safe
@login_required
def template_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One version: what it asks, its text, and of whom it may be asked."""
    user, version = person_of(request), _template(pk)
    versions = list(
        PlanningTemplate.objects.defer("source").filter(name=version.name).select_related("created_by")[:50]
    )
    parsed = version.parsed
    context = {
        "version": version,
        "newest": versions[0],
        "template": parsed,
        "stages": showing.by_stage(parsed.requirements),
        "checks": CHECKS,
        "versions": versions,
        "used": Checklist.objects.visible_to(user).filter(template__name=version.name).count(),
        "may_edit": _edits(user) and version.name != SHIPPED,
        "choices": queries.may_be_asked(user, version.name)[:MOST_CHOICES],
    }
    return render(request, "planning/template.html", context)


def _template(pk: int) -> PlanningTemplate:
    found = PlanningTemplate.objects.filter(pk=pk).first()
    if found is None:
        raise NotFound(f"There is no version {pk} of a template.")
    return found


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def template_new(request: HttpRequest) -> HttpResponse:
    """Write a template, or the next version of one (``from`` of the address is the version to begin with)."""
    user = person_of(request)
    require(user, Permission.POLICY_EDIT)
    origin = request.GET.get("from", "")
    before = _template(int(origin)) if origin.isascii() and origin.isdecimal() and len(origin) < 19 else None
    form = TemplateForm(request.POST or None, initial={"source": _beginning(before)})
    problems: list[Any] = []
    if request.method == "POST":
        try:
            made = form.run(lambda entered: services.make_template(_plain(entered["source"]), actor=user))
        except TemplateError as error:
            made, problems = None, error.problems
        if made is not None:
            messages.success(request, f"{made} is saved.")
            return htmx.redirect(request, reverse("planning:template", args=[made.pk]))
    context = {
        "form": form,
        "problems": problems,
        "before": before,
        "checks": sorted(CHECKS.values(), key=lambda check: check.name),
    }
    return render(request, "planning/template_new.html", context, status=422 if problems or form.errors else 200)


def _plain(source: str) -> str:
    """Browsers send line ends of two characters."""
    return source.replace("\r\n", "\n")


def _beginning(before: PlanningTemplate | None) -> str:
    """The version before, or what is shipped under another name: its own belongs to the product."""
    text = before.source if before else shipped()
    return text.replace(f"name: {SHIPPED}\n", f"name: our-{SHIPPED}\n", 1)


def _edits(user: User) -> bool:
    return user.teams_with(Permission.POLICY_EDIT) is None


# --- on the application's page ---


def of_application(application: Application, user: User) -> dict[str, Any]:
    """How its checklist stands, for ``accounts/application.html``."""
    checklist = queries.checklist_of(application)
    counts = [(state.value, showing.WORDS[state], showing.TONES[state], n) for state, n in showing.counts(checklist)]
    return {"checklist": checklist, "checklist_counts": [c for c in counts if c[-1]]}
