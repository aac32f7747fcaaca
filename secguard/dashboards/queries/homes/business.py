"""What the business sees first: share within appetite, trend, deadlines kept, exceptions, and how long things take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any

from django.db.models import Count, Q, Sum
from django.urls import reverse

from secguard.dashboards.figures import Figures
from secguard.dashboards.homes import Audience, Cell, Home, Number, Panel
from secguard.dashboards.models import ApplicationDay, DailyFigure
from secguard.dashboards.pace import Pace, of_row, total
from secguard.dashboards.queries.homes.narrowing import Narrowed
from secguard.dashboards.queries.standing import figures_of
from secguard.web.charts import Chart, Series

ROWS = 10
ORGANISATION = 0
AGES = ((30, "30 days"), (90, "90 days"), (365, "a year"))
"""Exceptions by how long ago they were decided: up to."""


def business(of: Narrowed) -> Home:
    """Twelve queries or so, whatever the number of rows."""
    found = figures_of(of.repositories(), of.exposures(), of.decisions(), of.now)
    paces = _paces(of)
    panels = (_by_application(paces), _by_team(paces), _by_owner(of))
    numbers = _numbers(of, found, total(pace for _, pace in paces))
    return Home(Audience.BUSINESS, of.slice, of.now, numbers, panels, _charts(of))


def _numbers(of: Narrowed, found: Figures, pace: Pace) -> tuple[Number, ...]:
    overdue, period = found.of_deadline("overdue"), of.slice.words.rpartition(", ")[2]
    outside = found.applications - found.applications_within
    kept = f"{pace.kept:,} in time, {pace.missed:,} late, {overdue:,} overdue; {period}"
    return (
        Number(
            "within", "Applications within policy", found.application_share,
            of.url("compliance:applications", within="true"), "%",
            f"{outside:,} of {found.applications:,} are not",
        ),
        Number(
            "passing", "Newest images within policy", found.image_share, of.url("images:list", current="true"), "%",
            f"{found.verdicts.get('block', 0):,} of {found.images:,} are blocked",
        ),
        Number(
            "overdue", "Overdue", overdue, of.url("risks:work", deadline="overdue"),
            note=f"of {found.open_total:,} open", tone="bad",
        ),
        Number("kept", "Deadlines kept", pace.kept_share(overdue), unit="%", note=kept),
        Number(
            "exceptions", "Exceptions in force", found.exceptions,
            of.url("decisions:list", environment=False, status="approved"),
            note=of.everywhere or f"{found.exceptions_ending:,} end within 30 days",
        ),
        Number(
            "days_to_decide", "From finding to decision", pace.days_to_decide, unit="days", note=_mean(pace.decided),
        ),
        Number(
            "days_from_decision", "From decision to fix", pace.days_from_decision_to_fix, unit="days",
            note=_mean(pace.carried_out),
        ),
        Number("days_to_fix", "From finding to fix", pace.days_to_fix, unit="days", note=_mean(pace.fixed)),
    )  # fmt: skip


def _mean(count: int) -> str:
    return f"mean of {count:,}" if count else "nothing was in this period"


Paces = list[tuple[Mapping[str, str], Pace]]


def _paces(of: Narrowed) -> Paces:
    """(application and team, what was done in the period), from the days that are kept. One query."""
    rows: Any = ApplicationDay.objects.visible_to(of.user).filter(of.of_application("application"))
    names = ("application__name", "application__slug", "application__team__name", "application__team__slug")
    sums = {f.name: Sum(f.name) for f in fields(Pace)}
    found = rows.filter(day__gte=of.since.date()).order_by().values(*names).annotate(**sums)
    return [({name: row[name] for name in names}, of_row(row)) for row in found]


_PACE = ("Fixed", "In time", "Late", "Days to decide", "Days from decision to fix", "Days to fix")


def _cells(pace: Pace) -> tuple[Cell, ...]:
    return (
        Cell(pace.fixed),
        Cell(pace.kept),
        Cell(pace.missed),
        Cell(pace.days_to_decide),
        Cell(pace.days_from_decision_to_fix),
        Cell(pace.days_to_fix),
    )


def _by_application(paces: Paces) -> Panel:
    """Where the most was fixed too late first."""
    ordered = sorted(paces, key=lambda row: (-row[1].missed, -row[1].fixed, row[0]["application__name"]))
    rows = tuple(
        (
            Cell(name["application__name"], reverse("applications:detail", args=[name["application__slug"]])),
            Cell(name["application__team__name"]),
            *_cells(pace),
        )
        for name, pace in ordered[:ROWS]
    )
    return Panel(
        "applications", "By application", ("Application", "Team", *_PACE), rows,
        "Nothing was fixed or decided in this period.", note="Counted each hour.",
    )  # fmt: skip


def _by_team(paces: Paces) -> Panel:
    teams: dict[tuple[str, str], list[Pace]] = defaultdict(list)
    for name, pace in paces:
        teams[name["application__team__name"], name["application__team__slug"]].append(pace)
    summed = {name: total(found) for name, found in teams.items()}
    ordered = sorted(summed.items(), key=lambda row: (-row[1].missed, -row[1].fixed, row[0]))
    rows = tuple(
        (Cell(name, f"{reverse('compliance:applications')}?team={slug}"), *_cells(pace))
        for (name, slug), pace in ordered[:ROWS]
    )
    return Panel("teams", "By team", ("Team", *_PACE), rows, "Nothing was fixed or decided in this period.")


def _by_owner(of: Narrowed) -> Panel:
    """Exceptions in force by who asked for them and how long ago they were decided."""
    rows: Any = of.decisions()
    bounds = [of.now - timedelta(days=days) for days, _ in AGES]
    ages = {
        "a0": Q(decided_at__gte=bounds[0]),
        "a1": Q(decided_at__gte=bounds[1], decided_at__lt=bounds[0]),
        "a2": Q(decided_at__gte=bounds[2], decided_at__lt=bounds[1]),
        "a3": Q(decided_at__lt=bounds[2]),
    }
    counted = {name: Count("pk", filter=q) for name, q in ages.items()}
    rows = rows.in_force(of.now).order_by().values("requested_by__username", "requested_by__display_name")
    found = rows.annotate(n=Count("pk"), **counted).order_by("-n", "requested_by__username")[:ROWS]
    cells = tuple(
        (
            Cell(row["requested_by__display_name"] or row["requested_by__username"]),
            Cell(row["n"]),
            *(Cell(row[name]) for name in ages),
        )
        for row in found
    )
    columns = ("Asked by", "In force", *(f"Up to {words}" for _, words in AGES), "Older")
    return Panel(
        "owners", "Exceptions by owner and age", columns, cells, "No exception is in force.",
        of.url("decisions:list", environment=False, status="approved"), of.everywhere,
    )  # fmt: skip


# --- the trend ---


def _charts(of: Narrowed) -> tuple[Chart, ...]:
    """By day: the share within policy and what is open and overdue, as far as days are kept; of one application from
    its own days."""
    if of.slice.application:
        return (_trend_of_application(of),)
    days = _days(of)
    labels = [f"{day.day} {day:%b}" for day in days]
    within = [_share(rows, "applications_within", "applications") for rows in days.values()]
    overdue = [sum(row.get("overdue", 0) for row in rows) for rows in days.values()]
    open_ = [sum(sum(row.get("open", {}).values()) for row in rows) for rows in days.values()]
    return (
        Chart(
            "trend-within", "Applications within policy over time", "line", labels,
            [Series("Within policy", within, "good")], unit="%", label_heading="Day",
        ),
        _open_chart(labels, open_, overdue),
    )  # fmt: skip


def _open_chart(labels: list[str], open_: list[Any], overdue: list[Any]) -> Chart:
    series = [Series("Open", open_, "accent"), Series("Overdue", overdue, "bad")]
    return Chart("trend-open", "Open risks over time", "line", labels, series, label_heading="Day")


def _days(of: Narrowed) -> dict[Any, list[Mapping[str, Any]]]:
    """The organisation's own row for who sees everything; else the sum of one's teams."""
    mine = [ORGANISATION] if of.user.sees_everything else sorted(of.user.team_ids)
    teams = of.team_ids if of.slice.team else mine
    found: dict[Any, list[Mapping[str, Any]]] = defaultdict(list)
    for row in DailyFigure.objects.filter(team_id__in=teams, day__gte=of.since.date()).order_by("day"):
        found[row.day].append(row.figures)
    return found


def _share(rows: list[Mapping[str, Any]], part: str, whole: str) -> float | None:
    all_ = sum(row.get(whole, 0) for row in rows)
    return round(100 * sum(row.get(part, 0) for row in rows) / all_, 1) if all_ else None


def _trend_of_application(of: Narrowed) -> Chart:
    rows: Any = ApplicationDay.objects.visible_to(of.user).filter(of.of_application("application"))
    found = rows.filter(day__gte=of.since.date(), open__isnull=False).order_by("day").values("day", "open", "overdue")
    days = list(found)
    labels = [f"{row['day'].day} {row['day']:%b}" for row in days]
    return _open_chart(labels, [row["open"] for row in days], [row["overdue"] for row in days])
