"""What developers see first: their repositories, what to fix and with which upgrade, what blocks and what is coming."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.urls import reverse

from secguard.dashboards.homes import Audience, Cell, Home, Number, Panel
from secguard.dashboards.queries.homes.narrowing import Narrowed
from secguard.dashboards.queries.standing import WEEK, blocked_rows, by_deadline, named, with_upgrades
from secguard.findings.models import Exposure
from secguard.findings.severity import Severity
from secguard.forecast.services.computing import DAYS
from secguard.forecast.wording import because
from secguard.policies.facts import Gate
from secguard.policies.models import Verdict

ROWS = 10
VERDICT_TONES: dict[str, Any] = {"pass": "good", "warn": "warn", "block": "bad", "": "muted"}


def developers(of: Narrowed) -> Home:
    """Twelve queries or so, whatever the number of rows."""
    return Home(
        Audience.DEVELOPERS, of.slice, of.now, _numbers(of), (_repositories(of), _upgrades(of), _due(of), _coming(of))
    )


def _numbers(of: Narrowed) -> tuple[Number, ...]:
    words = by_deadline(of.now, of.now + WEEK)
    counts: Any = of.exposures().aggregate(
        overdue=Count("pk", filter=words["overdue"]),
        soon=Count("pk", filter=words["soon"]),
        fixable=Count(
            "pk", filter=Q(fix_available=True) & ~words["covered"] | Q(fix_available=True, decided_until=None)
        ),
    )
    blocked = of.repositories().filter(_is_blocked()).values("newest_image_id").distinct().count()
    turning = of.turns().count()
    return (
        Number("overdue", "Overdue", counts["overdue"], of.url("risks:work", deadline="overdue"), tone="bad"),
        Number("due_soon", "Due this week", counts["soon"], of.url("risks:work", deadline="soon")),
        Number(
            "fixable", "A fix is there", counts["fixable"],
            of.url("risks:work", fix_available="true", decided="false"), note="and no decision covers it",
        ),
        Number(
            "blocked", "Blocked", blocked, of.url("images:list", current="true", verdict="block"),
            note="newest images", tone="bad",
        ),
        Number(
            "turning", "Will begin to fail", turning, of.url("forecast:list", environment=False),
            note=of.everywhere or f"gates, within {DAYS} days",
        ),
    )  # fmt: skip


def _is_blocked() -> Exists:
    return Exists(Verdict.objects.filter(image=OuterRef("newest_image_id"), stage=Gate.PROMOTE, verdict="block"))


def _repositories(of: Narrowed) -> Panel:
    """What is blocked first, then what has the most that is overdue."""
    here = Exposure.objects.present().filter(repository=OuterRef("pk")).order_by().values("repository")

    def count(rows: QuerySet[Exposure, Any]) -> Any:
        return Coalesce(Subquery(rows.annotate(n=Count("pk")).values("n"), output_field=IntegerField()), 0)

    stored = Verdict.objects.filter(image=OuterRef("newest_image_id"), stage=Gate.PROMOTE).values("verdict")[:1]
    rows = of.repositories().select_related("newest_image", "application")
    rows = rows.annotate(
        word=Coalesce(Subquery(stored), Value("")),
        critical=count(here.filter(severity=Severity.CRITICAL)),
        high=count(here.filter(severity=Severity.HIGH)),
        overdue=count(here.filter(by_deadline(of.now, of.now)["overdue"])),
    ).annotate(place=Case(When(word="block", then=0), When(word="warn", then=2), default=1))
    cells = []
    for row in rows.order_by("place", "-overdue", "name")[:ROWS]:
        image: Any = row.newest_image
        found: Any = row
        url = f"{reverse('risks:work')}?repository={row.name}"
        cells.append(
            (
                Cell(row.name, reverse("repositories:detail", args=[row.pk])),
                Cell(
                    found.word or "not judged", reverse("images:detail", args=[image.digest]), VERDICT_TONES[found.word]
                ),
                Cell(found.critical, f"{url}&severity={Severity.CRITICAL.value}"),
                Cell(found.high, f"{url}&severity={Severity.HIGH.value}"),
                Cell(found.overdue, f"{url}&deadline=overdue"),
            )
        )
    return Panel(
        "repositories", "Repositories", ("Repository", "May be promoted", "Critical", "High", "Overdue"), tuple(cells),
        "No repository has an image here. Post a report of one, or have it scanned.", of.url("repositories:list"),
    )  # fmt: skip


def _upgrades(of: Narrowed) -> Panel:
    """The upgrades that the stored verdicts name as the way out of what blocks."""
    newest = of.repositories().values("newest_image_id")
    found: list[Any] = with_upgrades(named(blocked_rows(of.user, newest)[:ROWS]))
    cells = [
        (
            Cell(image.name, reverse("images:detail", args=[image.digest])),
            Cell(up["name"]),
            Cell(up["from"]),
            Cell(up["to"]),
        )
        for image in found
        for up in image.upgrades
    ]
    return Panel(
        "upgrades", "Upgrades that unblock", ("Image", "Upgrade", "From", "To"), tuple(cells[: 2 * ROWS]),
        "Nothing that blocks is mended by an upgrade.", of.url("images:list", current="true", verdict="block"),
    )  # fmt: skip


def _due(of: Narrowed) -> Panel:
    """The first to be due that no decision covers."""
    covered = by_deadline(of.now, of.now)["covered"]
    rows = of.exposures().exclude(due_at=None).exclude(covered & Q(decided_until__isnull=False))
    rows = rows.select_related("risk__vulnerability", "repository").defer(
        "risk__description", "risk__vulnerability__description", "risk__vulnerability__references"
    )
    cells = []
    for row in rows.order_by("due_at", "-severity", "id")[:ROWS]:
        is_late = row.due_at is not None and row.due_at <= of.now
        cells.append(
            (
                Cell(row.risk.name, reverse("risks:detail", args=[row.risk_id])),
                Cell(Severity(row.severity).label),
                Cell(row.repository.name, reverse("repositories:detail", args=[row.repository_id])),
                Cell(f"{row.due_at:%Y-%m-%d}", tone="bad" if is_late else ""),
                Cell("yes" if row.fix_available else "no"),
            )
        )
    return Panel(
        "due", "Fix first", ("Risk", "Severity", "Repository", "Fix by", "A fix is there"), tuple(cells),
        "Nothing has a date to be fixed by.", of.url("risks:work"),
    )  # fmt: skip


def _coming(of: Narrowed) -> Panel:
    turns = of.turns().select_related("repository", "image")
    cells = [
        (
            Cell(f"{turn.at:%Y-%m-%d}"),
            Cell(turn.repository.name, reverse("repositories:detail", args=[turn.repository_id])),
            Cell(turn.stage, reverse("images:detail", args=[turn.image.digest])),
            Cell(because(turn)),
        )
        for turn in turns.order_by(F("at").asc(), "pk")[:ROWS]
    ]
    return Panel(
        "coming", "Gates that will begin to block", ("From", "Repository", "Gate", "Because"), tuple(cells),
        f"No gate will begin to block within {DAYS} days.", of.url("forecast:list", environment=False), of.everywhere,
    )  # fmt: skip
