"""What security sees first: what waits, what changed, what is exploited and exposed, and controls that go stale."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.urls import reverse

from secguard.dashboards.homes import Audience, Cell, Home, Number, Panel
from secguard.dashboards.queries.homes.narrowing import Narrowed
from secguard.dashboards.queries.standing import image_rows, named
from secguard.dashboards.queries.turned import turned
from secguard.decisions.models import Decision
from secguard.decisions.queries.controls_filters import needs_evidence
from secguard.decisions.queries.filters import ended_since
from secguard.findings.models import Exposure
from secguard.findings.severity import Severity
from secguard.workloads.models import Workload

ROWS = 10


def security(of: Narrowed) -> Home:
    """Fourteen queries or so, whatever the number of rows."""
    panels = (_waiting(of), _exploited(of), _arrived(of), _ended(of), _turned(of), _controls(of))
    return Home(Audience.SECURITY, of.slice, of.now, _numbers(of), panels)


def running_now() -> Exists:
    """Exposures whose repository's newest image runs."""
    runs = Workload.images.through.objects.filter(
        image=OuterRef("repository__newest_image"), workload__gone_at__isnull=True
    )
    return Exists(runs)


def _numbers(of: Narrowed) -> tuple[Number, ...]:
    waiting = of.decisions().waiting().filter(expires_at__gt=of.now).count()
    open_ones = of.exposures()
    known = open_ones.filter(known_exploited=True).aggregate(
        all=Count("pk"),
        exposed=Count("pk", filter=Q(application__is_exposed=True)),
        fresh=Count("pk", filter=Q(since__gte=of.since)),
    )
    arrived = open_ones.filter(running_now(), since__gte=of.since).count()
    changed = _changed(of).count()
    stale = of.controls().filter(needs_evidence(of.now)).count()
    days, note = str(of.slice.days), of.slice.words.rpartition(", ")[2]
    return (
        Number(
            "waiting", "Waiting decisions", waiting, of.url("decisions:list", environment=False, status="requested"),
            note=of.everywhere,
        ),
        Number(
            "exploited_exposed", "Exploited and exposed", known["exposed"],
            of.url("risks:work", known_exploited="true", exposed="true"), note="reachable from outside", tone="bad",
        ),
        Number("exploited", "Known exploited", known["all"], of.url("risks:work", known_exploited="true"), tone="bad"),
        Number(
            "exploited_new", "New known exploited", known["fresh"],
            of.url("risks:work", known_exploited="true", found=days), note=note, tone="bad",
        ),
        Number(
            "arrived", "New where it runs", arrived, of.url("risks:work", running="true", found=days),
            note=note,
        ),
        Number(
            "ended", "Decisions that ended", _ended_rows(of).count(),
            of.url("decisions:list", environment=False, over=days), note=of.everywhere or note,
        ),
        Number(
            "turned", "Verdicts that turned", changed, of.url("images:list", current="true", turned=days),
            note=note,
        ),
        Number(
            "controls", "Controls without evidence", stale, of.url("controls:list", environment=False, needing="true"),
            note=of.everywhere or "stale, going stale or contradicted", tone="warn",
        ),
    )  # fmt: skip


def _decision(row: Decision) -> Cell:
    return Cell(f"{row.kind.replace('_', ' ')} {row.risk.name}", reverse("decisions:detail", args=[row.pk]))


def _waiting(of: Narrowed) -> Panel:
    rows: Any = of.decisions()
    rows = rows.waiting().filter(expires_at__gt=of.now).select_related("risk__vulnerability", "requested_by")
    cells = [
        (
            _decision(row),
            Cell(row.scope_label),
            Cell(str(row.requested_by)),
            Cell((of.now - row.requested_at).days),
        )
        for row in rows.order_by("requested_at", "pk")[:ROWS]
    ]
    return Panel(
        "waiting", "Waiting decisions", ("Request", "For", "Asked by", "Days"), tuple(cells),
        "No request waits.", of.url("decisions:list", environment=False, status="requested"), of.everywhere,
    )  # fmt: skip


def _exposures(rows: QuerySet[Exposure]) -> tuple[tuple[Cell, ...], ...]:
    found = rows.select_related("risk__vulnerability", "repository", "application").defer(
        "risk__description", "risk__vulnerability__description", "risk__vulnerability__references"
    )
    return tuple(
        (
            Cell(row.risk.name, reverse("risks:detail", args=[row.risk_id])),
            Cell(Severity(row.severity).label),
            Cell(row.repository.name, reverse("repositories:detail", args=[row.repository_id])),
            Cell("yes" if row.application and row.application.is_exposed else "no"),
            Cell(f"{row.since:%Y-%m-%d}"),
        )
        for row in found[:ROWS]
    )


_COLUMNS = ("Risk", "Severity", "Repository", "Exposed", "Since")


def _exploited(of: Narrowed) -> Panel:
    """What is reachable from outside first."""
    rows = of.exposures().filter(known_exploited=True)
    ordered = rows.order_by("-application__is_exposed", "-severity", "due_at", "pk")
    return Panel(
        "exploited", "Known exploited, exposed first", _COLUMNS, _exposures(ordered),
        "Nothing that is known to be exploited stands in a newest image.",
        of.url("risks:work", known_exploited="true"),
    )  # fmt: skip


def _arrived(of: Narrowed) -> Panel:
    rows = of.exposures().filter(running_now(), since__gte=of.since)
    ordered = rows.order_by("-known_exploited", "-severity", "-since", "pk")
    return Panel(
        "arrived", "New findings where it runs", _COLUMNS, _exposures(ordered),
        f"Nothing new in what runs: {of.slice.words}.",
        of.url("risks:work", running="true", found=str(of.slice.days)),
    )  # fmt: skip


def _ended_rows(of: Narrowed) -> QuerySet[Decision]:
    return of.decisions().filter(ended_since(of.since, of.now))


def _ended(of: Narrowed) -> Panel:
    rows = _ended_rows(of).select_related("risk__vulnerability").order_by("-pk")
    cells = [
        (
            _decision(row),
            Cell(row.scope_label),
            Cell(f"{row.ended_at or row.counts_until:%Y-%m-%d}"),
            Cell(row.end_reason),
        )
        for row in rows[:ROWS]
    ]
    return Panel(
        "ended", "Decisions that ended", ("Decision", "For", "Ended", "Why"), tuple(cells),
        f"No decision ended: {of.slice.words}.", of.url("decisions:list", environment=False, over=str(of.slice.days)),
        of.everywhere,
    )  # fmt: skip


def _changed(of: Narrowed) -> QuerySet[Any]:
    return turned(of.since).filter(image__in=of.repositories().values("newest_image_id"))


def _turned(of: Narrowed) -> Panel:
    found: dict[int, Any] = {
        row.image_id: row for row in _changed(of).order_by("verdict", "-evaluated_at", "pk")[:ROWS]
    }
    images: list[Any] = named(image_rows(of.user).filter(pk__in=list(found)))
    names = {image.pk: image for image in images}
    cells = [
        (
            Cell(names[pk].name, reverse("images:detail", args=[names[pk].digest])),
            Cell(row.was),
            Cell(row.verdict, tone="bad" if row.verdict == "block" else ""),
            Cell(f"{row.evaluated_at:%Y-%m-%d %H:%M}"),
        )
        for pk, row in found.items()
        if pk in names
    ]
    return Panel(
        "turned", "Verdicts that turned", ("Image", "Was", "Is", "Judged"), tuple(cells),
        f"Every newest image is judged as it was: {of.slice.words}.",
        of.url("images:list", current="true", turned=str(of.slice.days)),
    )  # fmt: skip


def _controls(of: Narrowed) -> Panel:
    rows = of.controls().filter(needs_evidence(of.now)).select_related("owner", "application").order_by("due_at", "pk")
    cells = [
        (
            Cell(row.name, reverse("controls:detail", args=[row.pk])),
            Cell(row.state_at(of.now).value.replace("-", " ")),
            Cell(row.application.name if row.application else "all"),
            Cell(str(row.owner) if row.owner else "the team"),
            Cell(f"{row.due_at:%Y-%m-%d}" if row.due_at else None),
        )
        for row in rows[:ROWS]
    ]
    return Panel(
        "controls", "Controls without evidence", ("Control", "State", "Application", "Owner", "Evidence due"),
        tuple(cells), "Every control has its evidence.",
        of.url("controls:list", environment=False, needing="true"), of.everywhere,
    )  # fmt: skip
