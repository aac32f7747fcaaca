"""Risks: what stands over all images, where, and by when it must be done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import django_filters
from django.contrib.auth.decorators import login_required
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import Application
from secguard.dashboards import queries
from secguard.dashboards.views.images import WORST_FIRST
from secguard.decisions.queries.deadlines import give_deadlines
from secguard.errors import NotFound
from secguard.findings.identity import FindingKind
from secguard.findings.models import Exposure, Risk
from secguard.findings.queries import search_risks
from secguard.findings.severity import Severity
from secguard.images.models import Repository
from secguard.trackers.queries import card
from secguard.web import htmx
from secguard.web.filters import ChipFilter, YesNoFilter, days_ago
from secguard.web.listing import Column, Listing

KINDS = [(k.value, k.value.capitalize()) for k in FindingKind]
SOON = timedelta(days=7)
DEADLINES = [
    ("overdue", "Overdue"),
    ("soon", "Due within 7 days"),
    ("later", "Due later"),
    ("none", "No deadline"),
    ("covered", "Covered by a decision"),
]


class RiskFilter(django_filters.FilterSet):
    severity = django_filters.ChoiceFilter(label="Severity", choices=WORST_FIRST)
    kind = django_filters.ChoiceFilter(label="Kind", choices=KINDS)
    known_exploited = YesNoFilter(label="Exploited")
    fix_available = YesNoFilter(label="Fix")
    present = YesNoFilter(label="In a newest image", method="by_presence")

    class Meta:
        model = Risk
        fields: list[str] = []

    def by_presence(self, rows: QuerySet[Risk], name: str, value: bool) -> QuerySet[Risk]:
        here = Exists(Exposure.objects.visible_to(person_of(self.request)).present().filter(risk=OuterRef("pk")))
        return rows.filter(here if value else ~here)


class RiskListing(Listing):
    name = "risks"
    noun = "risk"
    caption = "Risks in images that you may see"
    default_sort = "-worst"
    search_hint = "CVE, rule, package, title"
    filterset = RiskFilter
    columns = (
        Column(
            "worst",
            "Severity",
            sort=("known_exploited", "severity"),
            first="-",
            value=lambda r: Severity(r.severity).label,
            css="fit-severity",
        ),
        Column("name", "Risk", value="name"),
        Column("where", "Package or target", value="where"),
        Column("images", "Open in", numeric=True, css="fit-number"),
        Column("fix", "Fix", value=lambda r: "yes" if r.fix_available else "no", css="fit-fix"),
        Column("epss", "EPSS", sort="epss", first="-", numeric=True, value="epss", css="fit-number"),
        Column("created", "Known since", sort="created_at", first="-", value="created_at", css="fit-date"),
        Column("known_exploited", "Known exploited", hidden=True),
    )

    def prepare(self, rows: list[Any]) -> None:
        counts = queries.open_images_of([r.pk for r in rows], person_of(self.request))
        for risk in rows:
            risk.images = counts.get(risk.pk, 0)

    def search(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        return search_risks(queryset, text)


@require_safe
@login_required
def risk_list(request: HttpRequest) -> HttpResponseBase:
    user: Any = request.user
    listing = RiskListing(request, queries.risk_rows(user))
    return listing.respond("risks/list.html", "risks/_list.html")


@require_safe
@login_required
def risk_detail(request: HttpRequest, pk: int) -> HttpResponse:
    user: Any = request.user
    risk = Risk.objects.visible_to(user).select_related("vulnerability").filter(pk=pk).first()
    if risk is None:
        raise NotFound(f"There is no risk {pk} in images that you may see.")
    exposures = list(queries.exposures_of(risk, user)[:100])
    give_deadlines(exposures)
    flaw = risk.vulnerability
    context = {
        "risk": risk,
        "aliases": list(flaw.aliases.exclude(name=flaw.name).values_list("name", flat=True)) if flaw else [],
        "exposures": exposures,
        "present": sum(1 for e in exposures if e.resolved_at is None),
        "images": queries.open_images(risk, user, limit=12),
        "open_images": queries.open_images_of([risk.pk], user).get(risk.pk, 0),
        "decisions": queries.decisions_on([risk.pk], user)[:20],
        "now": timezone.now(),
        **card(risk, user),
    }
    return htmx.render(request, "risks/detail.html", "risks/detail.html", context)


class WorkFilter(django_filters.FilterSet):
    severity = django_filters.ChoiceFilter(label="Severity", choices=WORST_FIRST)
    deadline = django_filters.ChoiceFilter(label="Deadline", choices=DEADLINES, method="by_deadline")
    kind = django_filters.ChoiceFilter(label="Kind", choices=KINDS)
    known_exploited = YesNoFilter(label="Exploited")
    fix_available = YesNoFilter(label="Fix")
    application = ChipFilter(label="Application", method="of_application")
    repository = ChipFilter(label="Repository", field_name="repository__name")
    team = ChipFilter(label="Team", field_name="application__team__slug")
    decided = ChipFilter(label="Decided", method="by_decision")
    environment = ChipFilter(label="Environment", method="by_environment")
    exposed = ChipFilter(label="Reachable from outside", method="by_exposure")
    running = ChipFilter(label="Runs", method="by_running")
    found = ChipFilter(label="Found within days", method="by_days")

    class Meta:
        model = Exposure
        fields: list[str] = []

    def by_deadline(self, rows: QuerySet[Exposure], name: str, value: str) -> QuerySet[Exposure]:
        now = timezone.now()
        return rows.filter(queries.by_deadline(now, now + SOON)[value])

    def by_decision(self, rows: QuerySet[Exposure], name: str, value: str) -> QuerySet[Exposure]:
        """``true``: what a decision in force covers; ``false``: the rest."""
        covered = queries.by_deadline(timezone.now(), timezone.now())["covered"]
        return rows.filter(covered) if value == "true" else rows.exclude(covered)

    def by_environment(self, rows: QuerySet[Exposure], name: str, value: str) -> QuerySet[Exposure]:
        return rows.filter(repository__in=Repository.objects.filter(queries.in_environment(value)))

    def by_exposure(self, rows: QuerySet[Exposure], name: str, value: str) -> QuerySet[Exposure]:
        asked = Q(application__is_exposed=True)
        return rows.filter(asked if value == "true" else ~asked)

    def by_running(self, rows: QuerySet[Exposure], name: str, value: str) -> QuerySet[Exposure]:
        return rows.filter(queries.running_now() if value == "true" else ~queries.running_now())

    def by_days(self, rows: QuerySet[Exposure], name: str, value: str) -> QuerySet[Exposure]:
        """``7``: found first within so many days, 1 to 365; anything else finds nothing."""
        since = days_ago(value, timezone.now())
        return rows.none() if since is None else rows.filter(since__gte=since)

    def of_application(self, rows: QuerySet[Exposure], name: str, value: str) -> QuerySet[Exposure]:
        return rows.filter(application__in=Application.objects.visible_to(person_of(self.request)).filter(slug=value))


class WorkListing(Listing):
    name = "open-risks"
    noun = "open risk"
    caption = "Risks in the newest image of each repository"
    default_sort = "due"
    search_hint = "CVE, rule, package or repository"
    filterset = WorkFilter
    columns = (
        Column(
            "severity",
            "Severity",
            sort="severity",
            first="-",
            value=lambda e: Severity(e.severity).label,
            css="fit-severity",
        ),
        Column("name", "Risk", value="risk.name"),
        Column("where", "Package or target", value="risk.where"),
        Column("repository", "Repository", value="repository.name"),
        Column(
            "application", "Application", value=lambda e: e.application.name if e.application else "", css="fit-word"
        ),
        Column("due", "Fix by", sort="due_at", value="due_at", css="fit-word"),
        Column("since", "Since", sort="since", value="since", css="fit-date wide-only"),
        Column("decided_until", "Covered until", hidden=True),
        Column("deadline", "Deadline by", value=lambda e: e.deadline.words if e.deadline else "", hidden=True),
    )

    def prepare(self, rows: list[Any]) -> None:
        give_deadlines(rows)

    def search(self, queryset: QuerySet[Any], text: str) -> QuerySet[Any]:
        risks = search_risks(Risk.objects.filter(pk=OuterRef("risk_id")), text)
        return queryset.filter(Exists(risks)) | queryset.filter(repository__name__icontains=text)


@require_safe
@login_required
def work_list(request: HttpRequest) -> HttpResponseBase:
    listing = WorkListing(request, queries.open_work(person_of(request)))
    return listing.respond("risks/work.html", "risks/_work.html", {"now": timezone.now()})
