"""Incidents on pages: what repeats as one line, every incident, and one of them with what may be done about it."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlencode

import django_filters
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.authentication import person_of
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.findings.severity import Severity
from secguard.incidents import queries
from secguard.incidents.forms import SCOPES
from secguard.incidents.lifecycle import UNSETTLED, Act, Means, Status, Step, acts_of
from secguard.incidents.models import Containment, Incident
from secguard.incidents.services.acting import may
from secguard.incidents.services.containing import WORDS as MEANS
from secguard.incidents.services.handling import DEFAULT_DAYS, MOST_DAYS
from secguard.network.queries import workload_standing
from secguard.planning.measured import MeasuredFilter
from secguard.web import keyset
from secguard.web.charts import Chart, Series
from secguard.web.filters import ChipFilter, YesNoFilter, days_ago
from secguard.web.listing import Column, Listing
from secguard.web.pagination import flipped

WORDS: Final = {
    Status.OPEN: "Open",
    Status.ACKNOWLEDGED: "Acknowledged",
    Status.EXPECTED: "Expected",
    Status.ATTACK: "Attack: being contained",
    Status.CONTAINED: "Contained",
    Status.CLOSED: "Closed",
}
TONES: Final = {
    Status.OPEN: "bad",
    Status.ACKNOWLEDGED: "warn",
    Status.EXPECTED: "muted",
    Status.ATTACK: "bad",
    Status.CONTAINED: "good",
    Status.CLOSED: "muted",
}
STEP_WORDS: Final = {
    Step.PROPOSED: "Waits for a yes",
    Step.APPROVED: "Approved, to be applied",
    Step.REFUSED: "Refused",
    Step.DONE: "Done",
    Step.FAILED: "Failed",
}
STEP_TONES: Final = {
    Step.PROPOSED: "warn",
    Step.APPROVED: "accent",
    Step.REFUSED: "muted",
    Step.DONE: "good",
    Step.FAILED: "bad",
}
ALL: Final = "all"
NOBODY: Final = "nobody"
WEIGHTY: Final = 10
"""Points from which on a reason is told in a list."""
WORST_FIRST: Final = [(s.value, s.label.capitalize()) for s in sorted(Severity, reverse=True)]


def waiting(request: HttpRequest) -> int:
    """The number beside the navigation's item: what is severe and nobody has looked at."""
    return queries.waiting(person_of(request))


class IncidentFilter(MeasuredFilter):
    status = django_filters.ChoiceFilter(
        label="Status",
        choices=[*((s.value, word) for s, word in WORDS.items()), (ALL, "All")],
        method="by_status",
        empty_label="To be done",
    )
    severity = django_filters.ChoiceFilter(label="Severity", choices=WORST_FIRST)
    application = django_filters.CharFilter(label="Application", method="by_application", max_length=100)
    cluster = django_filters.CharFilter(label="Cluster", max_length=100)
    namespace = django_filters.CharFilter(label="Namespace", max_length=253)
    mine = YesNoFilter(label="Mine", method="by_mine")
    assigned = ChipFilter(label="Assigned to", method="by_assignee")
    severe = ChipFilter(label="Severity at least", method="by_weight")
    team = ChipFilter(label="Team", field_name="application__team__slug")
    environment = ChipFilter(label="Environment", method="by_environment")
    decided = ChipFilter(label="Decided within days", method="by_days")
    line = ChipFilter(label="Group", method="by_line")
    technique = ChipFilter(label="Technique")
    workload = ChipFilter(label="Workload", method="by_workload")
    digest = ChipFilter(label="Digest")

    class Meta:
        model = Incident
        fields: list[str] = []

    def by_status(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        return rows if value == ALL else rows.filter(status=value)

    def by_application(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        """A slug that there is names one application; anything else is looked for in their names."""
        exact = rows.filter(application__slug=value)
        return exact if exact.exists() else rows.filter(application__name__icontains=value)

    def by_mine(self, rows: QuerySet[Incident], name: str, value: bool) -> QuerySet[Incident]:
        own = Q(assigned_to=person_of(self.request))
        return rows.filter(own if value else ~own)

    def by_assignee(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        return rows.filter(assigned_to=None) if value == NOBODY else rows.filter(assigned_to__username=value[:150])

    def by_weight(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        """At least as severe as the word says; of no such word none."""
        found = next((s for s in Severity if s.label == value), None)
        return rows.none() if found is None else rows.filter(severity__gte=found)

    def by_environment(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        return rows.filter(queries.in_environment(value))

    def by_days(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        since = days_ago(value, timezone.now())
        return rows.none() if since is None else rows.filter(decided_at__gte=since)

    def by_line(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        return rows.filter(line=value[:32])

    def by_workload(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        is_number = value.isascii() and value.isdecimal() and len(value) < 19
        return rows.filter(workload_id=int(value)) if is_number else rows.none()


class _Incidents(Listing):
    filterset = IncidentFilter
    search_fields = (
        "title__icontains",
        "rule__icontains",
        "technique__icontains",
        "workload_name__icontains",
        "namespace__icontains",
        "host__icontains",
        "digest__startswith",
    )
    search_hint = "Rule, technique or place"


class LineListing(_Incidents):
    """What repeats is one line: the incidents of one technique and rule."""

    name, noun = "incidents", "group"
    caption = "Incidents by technique and rule, what to read first on top"
    columns = (
        Column("severity", "Severity", sort="most_severe", first="-", value="most_severe", css="fit-severity"),
        Column("what", "What", value="rule"),
        Column("first", "To be read first", sort="worst", first="-", value="worst"),
        Column("places", "Workloads", sort="places", first="-", numeric=True, css="fit-number"),
        Column("incidents", "Incidents", sort="incidents", first="-", numeric=True, css="fit-number"),
        Column("events", "Events", sort="events", first="-", numeric=True, css="fit-number"),
        Column("last", "Last", sort="last", first="-", value="last", css="fit-date"),
        Column("technique", "Technique", value="technique", hidden=True),
        Column("began", "First", value="began", hidden=True),
        Column("unseen", "Nobody looked at", value="unseen", hidden=True),
    )
    default_sort = "-first"

    plain: QuerySet[Incident]
    """The incidents that the filters find, once ``queryset`` was asked for."""

    @cached_property
    def queryset(self) -> QuerySet[Any, Any]:
        self.plain = super().queryset
        return queries.lines(self.plain)

    @cached_property
    def keys(self) -> tuple[keyset.Key, ...]:
        """A line has no primary key: its name is what no two have in common."""
        (path,) = self._sortable[self.sort.removeprefix("-")].paths
        asked = flipped(path) if self.sort.startswith("-") else path
        descending = asked.startswith("-")
        own = keyset.Key(path.removeprefix("-"), descending, nullable=False)
        worst = () if own.path == "worst" else (keyset.Key("worst", descending, nullable=False),)
        return (own, *worst, keyset.Key("line", nullable=False))

    @cached_property
    def _counted(self) -> tuple[int, bool]:
        if self.page.next is None and self.page.previous is None:
            return len(self.rows), True
        found = self.queryset.order_by()[: keyset.COUNT_BOUND + 1].count()
        return min(found, keyset.COUNT_BOUND), found <= keyset.COUNT_BOUND

    def prepare(self, rows: list[Any]) -> None:
        first = queries.first_of(self.plain, [row["line"] for row in rows])
        kept = {name: self.request.GET[name] for name in OF_LINES if self.request.GET.get(name)}
        for row in rows:
            incident = first[row["line"]]
            row |= {"top": incident, "rule": incident.rule, "technique": incident.technique}
            row["reasons"] = _why(incident, 2)
            row["url"] = f"{reverse('incidents:all')}?{urlencode(kept | {'line': row['line']})}"


OF_LINES: Final = (
    "status", "severity", "severe", "application", "team", "environment", "cluster", "namespace", "mine", "assigned",
    "decided", "q", "workload", "digest",
)  # fmt: skip
"""What a line leads on with."""


class IncidentListing(_Incidents):
    name, noun = "all-incidents", "incident"
    caption = "Incidents that you may see, what to read first on top"
    columns = (
        Column("severity", "Severity", sort="severity", first="-", value=lambda i: Severity(i.severity).label,
               css="fit-severity"),
        Column("what", "Incident", sort="score", first="-", value="title"),
        Column("where", "Where", value="where"),
        Column("status", "Status", sort="status", css="fit-word"),
        Column("count", "Events", sort="count", first="-", numeric=True, css="fit-number"),
        Column("last", "Last", sort="last_at", first="-", value="last_at", css="fit-date"),
        Column("assigned", "Assigned to", value=lambda i: i.assigned_to.username if i.assigned_to else "", hidden=True),
        Column("technique", "Technique", hidden=True),
        Column("rule", "Rule", hidden=True),
        Column("digest", "Digest", hidden=True),
        Column("application", "Application", value="application.name", hidden=True),
        Column("first", "First", sort="first_at", value="first_at", hidden=True),
        Column("decision", "Decision", hidden=True),
        Column("reason", "Reason", hidden=True),
    )  # fmt: skip
    default_sort = "-what"

    def prepare(self, rows: list[Any]) -> None:
        user = person_of(self.request)
        for row in rows:
            _show(row)
            row.may_handle = row.is_live and may(row, Permission.INCIDENT_HANDLE, user)


def _show(row: Incident) -> None:
    status = Status(row.status)
    row.word, row.tone = WORDS[status], TONES[status]  # type: ignore[attr-defined]
    row.why = _why(row, 3)  # type: ignore[attr-defined]


def _why(row: Incident, most: int) -> list[str]:
    """What weighs beside the severity: the first of the reasons is that."""
    return [words for points, words in row.reasons[1:] if points >= WEIGHTY][:most]


def _rows(request: HttpRequest) -> QuerySet[Incident]:
    """All that the user may see; without a status asked for, those with which something is to be done."""
    user = person_of(request)
    require(user, Permission.INCIDENT_READ, anywhere=True)
    rows = queries.incidents(user)
    return rows if request.GET.get("status") else rows.live()


@require_safe
@login_required
def line_list(request: HttpRequest) -> HttpResponseBase:
    return LineListing(request, _rows(request)).respond("incidents/list.html", "incidents/_lines.html")


@require_safe
@login_required
def incident_list(request: HttpRequest) -> HttpResponseBase:
    listing = IncidentListing(request, _rows(request))
    context = {"scopes": SCOPES, "days": DEFAULT_DAYS, "most_days": MOST_DAYS, "here": request.get_full_path()}
    return listing.respond("incidents/all.html", "incidents/_all.html", context)


# --- one incident ---


@require_safe
@login_required
def incident_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """One incident: what happened, where, what may be done now, and what was."""
    return page(request, pk)


def page(request: HttpRequest, pk: int, fault: dict[str, Any] | None = None) -> HttpResponse:
    """``fault``: the act whose form was refused, of which row, and the form."""
    user, now = person_of(request), timezone.now()
    incident = queries.incident_of(pk, user)
    _show(incident)
    stories = queries.stories_of(incident)
    for story in stories:
        story.url = _events_url(story.story)  # type: ignore[attr-defined]
    acts = acts_of(incident.status) if may(incident, Permission.INCIDENT_HANDLE, user) else frozenset()
    may_contain = may(incident, Permission.INCIDENT_CONTAIN, user)
    workload = queries.workload_of(incident, user)
    standing = workload_standing(workload.pk) if workload else None
    context = {
        "incident": incident,
        "end": standing.ends[0] if standing else None,
        "rank": [f"{words} ({points})" for points, words in incident.reasons],
        "workload": workload,
        "image": queries.image_facts(incident, user, now),
        "stories": stories,
        "chart": _chart(incident, [s.story for s in stories], user),
        "acts": {act.value for act in acts} - ({"expect", "attack"} if Act.EXPECT not in acts else set()),
        "may_handle": may(incident, Permission.INCIDENT_HANDLE, user),
        "may_attack": Act.ATTACK in acts,
        "may_contain": may_contain and incident.status == Status.ATTACK,
        "people": queries.assignable(incident) if acts and incident.is_live else [],
        "scopes": SCOPES if incident.image_id else SCOPES[:1],
        "days": DEFAULT_DAYS,
        "most_days": MOST_DAYS,
        "containments": [_shown(c) for c in incident.containments.select_related("decided_by", "done_by")],
        "history": list(incident.history.select_related("person")[: queries.MOST_HISTORY]),
        "later": list(queries.incidents(user).filter(before=incident)[:5]),
        "expected": list(queries.expectations(user).filter(incident=incident)[:20]),
        "fault": fault,
    }
    return render(request, "incidents/detail.html", context, status=422 if fault else 200)


def _shown(row: Containment) -> Containment:
    step = Step(row.status)
    row.word, row.tone = STEP_WORDS[step], STEP_TONES[step]  # type: ignore[attr-defined]
    row.means = MEANS[Means(row.kind)].capitalize()  # type: ignore[attr-defined]
    row.waits = step in UNSETTLED  # type: ignore[attr-defined]
    return row


def _events_url(story: str) -> str:
    """The events of a story; empty where there is no page of events."""
    try:
        return f"{reverse('events:list')}?{urlencode({'story': story})}"
    except NoReverseMatch:
        return ""


def _chart(incident: Incident, stories: list[str], user: User) -> Chart:
    series = queries.series_of(incident, stories, user)
    by_hour = series.step.total_seconds() < 86_400
    labels = [f"{b:%d %b %H:%M}" if by_hour else f"{b:%d %b}" for b in series.begins]
    title = f"Events by {'hour' if by_hour else 'day'}, UTC"
    # The events' own list knows of one story, not of several: then the stories above lead to their events.
    urls = [_step_url(stories[0], begin, series.step) for begin in series.begins] if len(stories) == 1 else ()
    return Chart("events", title, "bar", labels, [Series("Events", series.counts, "accent")], urls=urls, height="sm",
                 label_heading="Hour" if by_hour else "Day")  # fmt: skip


def _step_url(story: str, begin: datetime, step: timedelta) -> str:
    """What came of a story within one bar of the chart."""
    period = {"from": begin.isoformat(), "to": (begin + step).isoformat()}
    return f"{reverse('events:list')}?{urlencode({'story': story} | period)}"
