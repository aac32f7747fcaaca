"""The policy's page: what gates now, its versions, and the next one."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import Conflict, Invalid, NotFound, SecGuardError
from secguard.policies import queries, services
from secguard.policies.facts import Gate
from secguard.policies.forms import PolicyForm
from secguard.policies.language import PolicyError, parse_policy
from secguard.policies.library import library
from secguard.policies.models import PolicyVersion
from secguard.policies.policytests import Outcome
from secguard.policies.staging import Mode, check_modes
from secguard.web import htmx
from secguard.web.listing import Column, Listing

MODE_WORDS = [
    (Mode.ENFORCE.value, "enforce"),
    (Mode.WARN.value, "warn: its blocks are warnings"),
    (Mode.OBSERVE.value, "observe: what was in force goes on to decide"),
]


@require_safe
@login_required
def detail(request: HttpRequest) -> HttpResponse:
    version = services.active_version()
    return render(request, "policies/detail.html", _context(request, version))


@require_safe
@login_required
def version_detail(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "policies/detail.html", _context(request, _version(pk)))


def _version(pk: int) -> PolicyVersion:
    version = PolicyVersion.objects.select_related("policy", "author").filter(pk=pk).first()
    if version is None:
        raise NotFound(f"There is no policy version {pk}.")
    return version


def _context(request: HttpRequest, version: PolicyVersion) -> dict[str, Any]:
    active = services.active_version()
    rules = services.rules_of(version.sha256, version.source)
    is_tried_now = version.pk == active.pk and bool(active.staging)
    return {
        "modes": version.modes,
        "mode_words": MODE_WORDS,
        "is_tried": bool(version.staging),
        "observed": queries.observed(person_of(request), active, timezone.now()) if is_tried_now else [],
        "outcomes": _outcomes(version.source, version.tests) if version.tests else (),
        "version": version,
        "active": active,
        "rules": rules,
        "versions": PolicyVersion.objects.select_related("policy", "author").order_by("-id")[:50],
    }


@lru_cache(maxsize=32)
def _outcomes(source: str, tests: str) -> tuple[Outcome, ...]:
    """What becomes of a kept version's tests; none is told where they take too long to be run for a page."""
    try:
        return tuple(services.run_tests(parse_policy(source), tests))
    except Invalid:
        return ()


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def edit(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    require(user, Permission.POLICY_EDIT)
    active = services.active_version()
    form = PolicyForm(request.POST or None, initial={"source": active.source, "tests": active.tests})
    problems: list[Any] = []
    if request.method == "POST" and form.is_valid():
        words = form.cleaned_data
        try:
            version = services.create_version(
                active.policy.name,
                words["source"],
                comment=words["comment"],
                actor=user,
                activate=words["activate"],
                tests=words["tests"],
                draft=words["draft"],
            )
        except PolicyError as error:
            problems = error.problems
        except (Invalid, Conflict) as error:
            _explain(form, error)
        else:
            messages.success(request, f"Version {version.number} is saved{' and gates' if words['activate'] else ''}.")
            return htmx.redirect(request, reverse("policies:version", args=[version.pk]))
    context = {"form": form, "problems": problems, "active": active, "library": library()}
    return render(request, "policies/edit.html", context, status=422 if problems or form.errors else 200)


def _explain(form: PolicyForm, error: SecGuardError) -> None:
    """What is wrong with the tests beside them, one line for each; anything else above the form."""
    listed: Any = error.extra.get("errors", ())
    told = [e.get("detail") or f"line {e['line']}: {e['message']}" for e in listed]
    if error.code in ("policy-tests", "policy-tests-unreadable"):
        for words in told[:20]:
            form.add_error("tests", words)
    else:
        form.add_error(None, error.detail)


@require_POST
@login_required
def activate(request: HttpRequest, pk: int) -> HttpResponse:
    user: Any = request.user
    given = {gate: request.POST[f"mode-{gate}"] for gate in Gate if f"mode-{gate}" in request.POST}
    version = services.activate_version(pk, actor=user, modes=check_modes(given) if given else None)
    messages.success(request, f"{version.policy.name} version {version.number} gates from now on.")
    return htmx.redirect(request, reverse("policies:detail"))


class ObservedListing(Listing):
    name, noun = "observed", "image"
    caption = "Images at gates where the policy that is tried would answer otherwise"
    columns = (
        Column("image", "Image", value="image.digest"),
        Column("stage", "Gate", sort="stage", css="fit-word"),
        Column("holds", "What holds", value="verdict", css="fit-word"),
        Column("would", "What it would say", value="evaluation.observed", css="fit-word"),
        Column("why", "Why", value=lambda row: "; ".join(r["message"] for r in row.why)),
        Column("at", "Judged", sort="evaluated_at", first="-", value="evaluated_at", css="fit-date"),
    )
    default_sort = "-at"
    filterset = queries.ObservedFilter

    def prepare(self, rows: list[Any]) -> None:
        for row in rows:
            row.why = row.evaluation.kept_document["observed"]["reasons"][:3]


@require_safe
@login_required
def observed(request: HttpRequest) -> HttpResponseBase:
    """Where the version in force observes and would answer otherwise, as far as this person sees."""
    rows = queries.observing(person_of(request), services.active_version(), timezone.now())
    return ObservedListing(request, rows).respond("policies/observed.html", "policies/_observed.html")


def asking_of_checklists() -> list[tuple[str, str]]:
    """``planning.views.ASKED_BY``: the rules in force that read an application's checklist, each with its page."""
    version = services.active_version()
    page = reverse("policies:detail")
    rules = services.rules_of(version.sha256, version.source).rules
    return [
        (f"{rule.id} ({rule.effect.value} at {', '.join(stage.value for stage in rule.stages)})", f"{page}#{rule.id}")
        for rule in rules
        if "image.planning_" in rule.when
    ]
