"""Where the organisation stands against its own policy and appetite: for managers. Every number leads to its rows."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from secguard.accounts.models import Team, User
from secguard.dashboards import queries
from secguard.dashboards.figures import DEADLINES, Card, Figures
from secguard.dashboards.services import ORGANISATION
from secguard.findings.severity import Severity
from secguard.web.charts import Chart, Series, Tone

WORDS = {
    "overdue": "Overdue",
    "soon": "Due in 7 days",
    "later": "Due later",
    "none": "No deadline",
    "covered": "Covered by a decision",
}
DEADLINE_TONES: dict[str, Tone] = {
    "overdue": "bad",
    "soon": "warn",
    "later": "low",
    "none": "muted",
    "covered": "good",
}
PERIODS = (30, 90, 365)


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    now = timezone.now()
    teams = Team.objects.order_by("name")
    visible = list(teams if user.sees_everything else teams.filter(pk__in=user.team_ids))
    team = next((t for t in visible if t.slug == request.GET.get("team")), None)
    asked = request.GET.get("days", "")
    days = int(asked) if asked in {str(p) for p in PERIODS} else 90
    found = queries.figures(user, now, team_id=team.pk if team else None)
    context = {
        "teams": visible,
        "team": team,
        "days": days,
        "periods": PERIODS,
        "cards": _cards(found, team),
        "chart_open": _open_chart(found, team),
        "chart_verdicts": _verdict_chart(found, team),
        "charts_trend": _trend_charts(user, team, now.date() - timedelta(days=days)),
        "table": _table(found, team),
        "words": [WORDS[w] for w in DEADLINES],
    }
    return render(request, "compliance/home.html", context)


def _url(name: str, team: Team | None, **words: str) -> str:
    if team is not None:
        words["team"] = team.slug
    return f"{reverse(name)}?{urlencode(words)}" if words else reverse(name)


def _cards(found: Figures, team: Team | None) -> list[Card]:
    images = _url("images:list", team, current="true")
    return [
        Card(
            "Applications outside policy",
            found.applications - found.applications_within,
            _url("compliance:applications", team, within="false"),
            f"{found.applications:,} with images",
            _url("compliance:applications", team),
            _share(found.application_share),
        ),
        Card(
            "Newest images blocked",
            found.verdicts.get("block", 0),
            _url("images:list", team, current="true", verdict="block"),
            f"{found.images:,} newest images",
            images,
            _share(found.image_share),
        ),
        Card(
            "Overdue risks",
            found.of_deadline("overdue"),
            _url("risks:work", team, deadline="overdue"),
            f"{found.open_total:,} open",
            _url("risks:work", team),
        ),
        Card(
            "Exceptions in force",
            found.exceptions,
            _url("decisions:list", team, status="approved"),
            f"{found.exceptions_ending:,} end within 30 days",
            _url("decisions:list", team, status="approved", ending="30"),
        ),
    ]


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:g} % within policy"


def _table(found: Figures, team: Team | None) -> list[dict[str, Any]]:
    """Open risks by severity and deadline; every cell a link."""
    return [
        {
            "severity": severity,
            "total": sum(row.values()),
            "url": _url("risks:work", team, severity=_value(severity)),
            "cells": [
                {"n": row[w], "url": _url("risks:work", team, severity=_value(severity), deadline=w)} for w in DEADLINES
            ],
        }
        for severity, row in found.open.items()
    ]


def _value(label: str) -> str:
    return str(int(Severity[label.upper()]))


def _open_chart(found: Figures, team: Team | None) -> Chart:
    labels = list(found.open)
    return Chart(
        name="open-risks",
        title="Open risks by severity and deadline",
        kind="stacked-row",
        labels=[label.capitalize() for label in labels],
        series=[Series(WORDS[w], [found.open[label][w] for label in labels], DEADLINE_TONES[w]) for w in DEADLINES],
        urls=[[_url("risks:work", team, severity=_value(label), deadline=w) for label in labels] for w in DEADLINES],
        label_heading="Severity",
    )


def _verdict_chart(found: Figures, team: Team | None) -> Chart:
    words: list[tuple[str, str, Tone]] = [
        ("pass", "Pass", "good"),
        ("warn", "Warn", "warn"),
        ("block", "Block", "bad"),
        ("unknown", "Not judged", "muted"),
    ]
    return Chart(
        name="verdicts",
        title="May the newest images be promoted",
        kind="donut",
        labels=[label for _, label, _ in words],
        series=[Series("Images", [found.verdicts.get(word, 0) for word, _, _ in words])],
        tones=[tone for _, _, tone in words],
        urls=[_url("images:list", team, current="true", verdict=word) for word, _, _ in words],
        label_heading="Verdict",
    )


def _trend_charts(user: User, team: Team | None, since: date) -> list[Chart]:
    ids = [team.pk] if team else [ORGANISATION] if user.sees_everything else sorted(user.team_ids)
    days = queries.trend(ids, since)
    labels = [f"{day.day} {day:%b}" for day in days]
    severities: list[Tone] = ["critical", "high", "medium", "low"]
    open_risks = [
        Series(s.capitalize(), [sum(row["open"].get(s, 0) for row in rows) for rows in days.values()], s)
        for s in severities
    ]
    overdue = [sum(row.get("overdue", 0) for row in rows) for rows in days.values()]
    exceptions = [sum(row.get("exceptions", 0) for row in rows) for rows in days.values()]
    return [
        Chart("trend-open", "Open risks over time", "area", labels, open_risks, label_heading="Day"),
        Chart(
            "trend-kept",
            "Overdue risks and exceptions over time",
            "line",
            labels,
            [Series("Overdue", overdue, "bad"), Series("Exceptions", exceptions, "accent")],
            label_heading="Day",
        ),
    ]
