"""Pages of the laboratory: try a draft, see how far it is, and what it would turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

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
from secguard.decisions.appetite import AppetiteError
from secguard.decisions.services.appetite import active_appetite
from secguard.errors import Conflict
from secguard.laboratory import queries, services
from secguard.laboratory.forms import SimulationForm
from secguard.laboratory.lifecycle import Change, Origin, Status
from secguard.laboratory.models import Simulation
from secguard.policies.language import PolicyError
from secguard.policies.services import active_version
from secguard.web import htmx
from secguard.web.listing import Column, Listing

TONES = {Change.BLOCKED: "bad", Change.UNBLOCKED: "good", Change.WARNED: "warn", Change.CLEARED: "good"}
ORIGINS = {
    Origin.ESTATE: ("Images as they are", "image"),
    Origin.GATE: ("Gates of the period", "image"),
    Origin.PROMOTION: ("Promotions of the period", "promotion"),
    Origin.ADMISSION: ("Admissions of the period", "answer"),
}
TITLES = {
    "team": "By team",
    "repository": "By repository",
    "stage": "By gate",
    "environment": "By environment of a promotion",
    "workload": "By workload that runs now",
    "where": "By workload that asked then",
}


class SimulationListing(Listing):
    name, noun = "simulations", "simulation"
    caption = "Simulations that you may see"
    columns = (
        Column("name", "Draft", sort="name"),
        Column("status", "State", sort="status", css="fit-word"),
        Column("period", "Period", value="since", css="fit-word"),
        Column("by", "Asked by", value="asked_by.username", css="fit-word"),
        Column("asked", "Asked", sort="id", first="-", value="asked_at", css="fit-date"),
        Column("expires", "Kept until", value="expires_at", css="fit-date wide-only"),
    )
    default_sort = "-asked"
    search_fields = ("name__icontains", "asked_by__username__istartswith")
    search_hint = "Draft or person"


@require_safe
@login_required
def simulation_list(request: HttpRequest) -> HttpResponseBase:
    rows = Simulation.objects.visible_to(person_of(request)).select_related("asked_by").defer("source", "totals")
    return SimulationListing(request, rows).respond("laboratory/list.html", "laboratory/_list.html")


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def simulation_new(request: HttpRequest) -> HttpResponse:
    """Try a draft: typed here, or sent by the editor of the policy."""
    actor = person_of(request)
    require(actor, Permission.POLICY_READ, anywhere=True)
    form = SimulationForm(request.POST or None, initial=_initial(request.GET.get("kind", "")))
    problems: list[Any] = []
    if request.method == "POST" and form.is_valid():
        try:
            begun = services.ask(form.draft(timezone.now()), actor=actor)
        except (PolicyError, AppetiteError) as error:
            problems = error.problems
        except Conflict as error:
            form.add_error(None, error.detail)
        else:
            return htmx.redirect(request, reverse("laboratory:detail", args=[begun.pk]))
    context = {"form": form, "problems": problems}
    return render(request, "laboratory/new.html", context, status=422 if problems or form.errors else 200)


def _initial(kind: str) -> dict[str, str]:
    """What is in force, to be changed."""
    if kind == "appetite":
        return {"kind": kind, "source": active_appetite()[0].source}
    return {"kind": "policy", "source": active_version().source}


@dataclass(frozen=True, slots=True)
class Cell:
    """A number and where its rows are."""

    number: int
    url: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """One of the kinds of things that were judged again: its heading and what is counted of it."""

    heading: str
    noun: str
    cells: list[tuple[Change, Cell]]


@require_safe
@login_required
def simulation_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """A simulation: while it is open how far it is, then its numbers, each leading to its rows."""
    user = person_of(request)
    simulation = queries.simulation_for(user, pk)
    is_open = simulation.status == Status.WAITING
    numbers, tables = ({}, []) if is_open else queries.figures(user, simulation)
    edits_all = user.teams_with(Permission.POLICY_EDIT) is None
    is_done = simulation.status == Status.DONE
    origins = [o for o in ORIGINS if o is Origin.ESTATE or simulation.since is not None]
    found = queries.decided(user, simulation) if is_done else None
    context = {
        "simulation": simulation,
        "is_open": is_open,
        "job": queries.job_of(simulation) if is_open else None,
        "may_cancel": is_open and (simulation.asked_by_id == user.pk or edits_all),
        "totals": queries.totals_for(user, simulation),
        "groups": [_group(simulation, origin, numbers) for origin in origins],
        "decided": found,
        "decided_lines": _decided(found) if found is not None else [],
        "tables": [_table(simulation, table, origins) for table in tables if table.lines],
    }
    return htmx.render(request, "laboratory/detail.html", "laboratory/_simulation.html", context)


def _decided(found: queries.Decided) -> list[tuple[str, str, int]]:
    """(what leads to the rows, words, number)."""
    return [
        ("needs=more", "would need more approvals", found.needs["more"]),
        ("needs=fewer", "would need fewer approvals", found.needs["fewer"]),
        ("needs=other", "would need approvals of other roles", found.needs["other"]),
        ("is_short=true", "in force, with votes that would not be enough", found.short),
        ("votes=lost", "in force, by people who no longer hold the roles", found.votes["lost"]),
        ("votes=enough", "waiting, with votes that would be enough", found.votes["enough"]),
        ("reach=nobody", "could be approved by nobody", found.reach["nobody"]),
        ("reach=away", "could be approved only by people who are away", found.reach["away"]),
        ("ends=refused", "waiting, and could not be asked for with that end", found.ends["refused"]),
        ("ends=sooner", "in force, and would end sooner", found.ends["sooner"]),
        ("ends=over", "in force, and would have ended by now", found.ends["over"]),
    ]


def _group(simulation: Simulation, origin: Origin, numbers: dict[str, dict[str, int]]) -> Group:
    heading, noun = ORIGINS[origin]
    counted = numbers.get(origin.value, {})
    return Group(heading, noun, [(c, _cell(simulation, counted.get(c.value, 0), origin, c, {})) for c in Change])


def _cell(simulation: Simulation, number: int, origin: Origin, change: Change, query: dict[str, str]) -> Cell:
    asked = urlencode({"origin": origin.value, "change": change.value, **query})
    return Cell(number, f"{reverse('laboratory:rows', args=[simulation.pk])}?{asked}", TONES[change] if number else "")


def _table(simulation: Simulation, table: queries.Table, origins: list[Origin]) -> dict[str, Any]:
    """One table as the page shows it: blocked and unblocked of each kind that it has numbers of."""
    shown = [origin for origin in origins if any(line.numbers.get(origin.value) for line in table.lines)]
    columns = [(origin, change) for origin in shown for change in (Change.BLOCKED, Change.UNBLOCKED)]
    return {
        "by": table.by,
        "title": TITLES[table.by],
        "more": table.more,
        "origins": [ORIGINS[origin][0] for origin in shown],
        "lines": [(line.label, [_of_line(simulation, line, o, c) for o, c in columns]) for line in table.lines],
    }


def _of_line(simulation: Simulation, line: queries.Line, origin: Origin, change: Change) -> tuple[str, Cell]:
    """(what a narrow screen says before the number, the number)."""
    label = f"{ORIGINS[origin][0]}, {change.value}:"
    return label, _cell(simulation, line.number(origin, change), origin, change, line.query)


class RowListing(Listing):
    name, noun = "turned", "verdict"
    caption = "Verdicts that the draft would turn, as far as you may see them"
    columns = (
        Column("image", "Image", value="image.digest"),
        Column("change", "Would be", sort="change", css="fit-word"),
        Column("stage", "Gate", sort="stage", css="fit-word"),
        Column("reason", "Why", value=lambda row: "; ".join(reason["message"] for reason in row.reasons)),
        Column("at", "Judged", sort="at", first="-", css="fit-date"),
        Column("times", "Times", sort="times", first="-", numeric=True, css="fit-number"),
        Column("repository", "Repository", value="repository.name", hidden=True),
        Column("verdicts", "From and to", value=lambda row: f"{row.was} to {row.would}", hidden=True),
        Column("where", "Asked by", value="where", hidden=True),
        Column("origin", "Of", value="origin", hidden=True),
        Column("environment", "Environment", value="environment", hidden=True),
    )
    default_sort = "-at"
    filterset = queries.RowFilter
    search_fields = ("image__digest__startswith", "repository__name__icontains", "where__icontains")
    search_hint = "Repository, digest, workload"

    def prepare(self, rows: list[Any]) -> None:
        for row in rows:
            row.tone = TONES[Change(row.change)]


@require_safe
@login_required
def simulation_rows(request: HttpRequest, pk: int) -> HttpResponseBase:
    user = person_of(request)
    simulation = queries.simulation_for(user, pk)
    listing = RowListing(request, queries.rows_of(user, simulation))
    return listing.respond("laboratory/rows.html", "laboratory/_rows.html", {"simulation": simulation})


@require_POST
@login_required
def simulation_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    services.cancel(pk, actor=person_of(request))
    messages.success(request, f"Simulation {pk} is called off.")
    return htmx.redirect(request, reverse("laboratory:detail", args=[pk]))


class RedecidedListing(Listing):
    name, noun = "redecided", "decision"
    caption = "Decisions that the draft makes something else of, as far as you may see them"
    columns = (
        Column("decision", "Decision", value="decision_id"),
        Column("needs", "Approvals", sort="needs", value=lambda row: _people(row.approvers_would)),
        Column("ends", "End", sort="ends"),
        Column("latest", "Ends at the latest", sort="latest_end", value="latest_end", css="fit-date"),
        Column("row", "Row", value="row_would"),
        Column("risk", "Risk", value="decision.risk.name", hidden=True),
        Column("scope", "Scope", value="decision.scope_label", hidden=True),
        Column("was", "Approvals asked for", value=lambda row: _people(row.approvers_was), hidden=True),
        Column("short", "Too few votes", value="is_short", hidden=True),
        Column("votes", "Votes", value="votes", hidden=True),
        Column("reach", "Who could approve", value="reach", hidden=True),
        Column("missing", "Seats empty", value=lambda row: _people(row.missing), hidden=True),
    )
    default_sort = "latest"
    filterset = queries.RedecidedFilter
    search_fields = ("decision__risk__vulnerability__name__icontains", "decision__scope_label__icontains")
    search_hint = "CVE or scope"

    def prepare(self, rows: list[Any]) -> None:
        for row in rows:
            row.people_was, row.people_would = _people(row.approvers_was), _people(row.approvers_would)
            row.people_missing = _people(row.missing)


def _people(approvers: dict[str, int]) -> str:
    return " and ".join(f"{number} {role}" for role, number in sorted(approvers.items()))


@require_safe
@login_required
def simulation_decisions(request: HttpRequest, pk: int) -> HttpResponseBase:
    user = person_of(request)
    simulation = queries.simulation_for(user, pk)
    listing = RedecidedListing(request, queries.redecided_of(user, simulation))
    return listing.respond("laboratory/decisions.html", "laboratory/_decisions.html", {"simulation": simulation})
