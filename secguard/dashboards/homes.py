"""A home as data: its numbers, tables and charts. Pages, REST, CSV, PDF and mail show one and the same. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from secguard.accounts.roles import Permission, Role
from secguard.dashboards.slices import Slice
from secguard.web.charts import Chart, Tone


class Audience(StrEnum):
    DEVELOPERS = "developers"
    OPERATIONS = "operations"
    SECURITY = "security"
    BUSINESS = "business"


HEADINGS: Final = {
    Audience.DEVELOPERS: "What to fix",
    Audience.OPERATIONS: "What runs, and what was refused",
    Audience.SECURITY: "What waits for a decision",
    Audience.BUSINESS: "Where you stand",
}
DAYS: Final = {Audience.DEVELOPERS: 7, Audience.OPERATIONS: 7, Audience.SECURITY: 1, Audience.BUSINESS: 90}
"""The period of each where none is asked for."""
READS: Final = {
    Audience.DEVELOPERS: Permission.FINDING_READ,
    Audience.OPERATIONS: Permission.WORKLOAD_READ,
    Audience.SECURITY: Permission.DECISION_READ,
    Audience.BUSINESS: Permission.COMPLIANCE_READ,
}
"""What one must be able to read, to see it."""
OF_ROLE: Final = {
    Role.SECURITY_REVIEWER: Audience.SECURITY,
    Role.BUSINESS_APPROVER: Audience.BUSINESS,
    Role.OPERATOR: Audience.OPERATIONS,
    Role.ADMINISTRATOR: Audience.DEVELOPERS,
    Role.DEVELOPER: Audience.DEVELOPERS,
    Role.VIEWER: Audience.BUSINESS,
}
"""Whose home each role is shown first."""

Value = int | float | str | None


@dataclass(frozen=True, slots=True)
class Number:
    """One figure: ``value`` is the count of the rows that ``url`` lists, or a share (``unit`` "%") or a time ("h") made
    of them; ``None`` where nothing was measured. ``note`` says of what."""

    key: str
    label: str
    value: int | float | None
    url: str = ""
    unit: str = ""
    note: str = ""
    tone: Tone = ""

    @property
    def shown(self) -> str:
        return written(self.value) + (f" {self.unit}" if self.unit and self.value is not None else "")


@dataclass(frozen=True, slots=True)
class Cell:
    value: Value
    url: str = ""
    tone: Tone = ""

    @property
    def shown(self) -> str:
        return written(self.value)

    @property
    def is_number(self) -> bool:
        return isinstance(self.value, int | float)


@dataclass(frozen=True, slots=True)
class Panel:
    """A table. ``url`` lists all of its rows, where a list does; ``empty`` says what no row means."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    empty: str
    url: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.key!r}: a row has {len(row)} cells for {len(self.columns)} columns")

    @property
    def headings(self) -> list[tuple[str, bool]]:
        """(column, whether numbers stand in it, and nothing else)."""
        return [
            (name, all(row[at].is_number or row[at].value is None for row in self.rows))
            for at, name in enumerate(self.columns)
        ]

    @property
    def lines(self) -> list[list[tuple[str, bool, Cell]]]:
        """Each row with, of each cell, its column and whether numbers stand there."""
        return [[(*heading, cell) for heading, cell in zip(self.headings, row, strict=True)] for row in self.rows]


@dataclass(frozen=True, slots=True)
class Home:
    audience: Audience
    slice: Slice
    made_at: datetime
    numbers: tuple[Number, ...]
    panels: tuple[Panel, ...] = ()
    charts: tuple[Chart, ...] = ()

    @property
    def heading(self) -> str:
        return HEADINGS[self.audience]

    def value_of(self, key: str) -> int | float | None:
        return next(number.value for number in self.numbers if number.key == key)


def written(value: Value) -> str:
    """``1,234``, ``2.5``, ``–`` for what was not measured."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else f"{value:,}"


def as_document(home: Home) -> dict[str, Any]:
    """The home as JSON holds it."""
    return {
        "audience": home.audience.value,
        "slice": {**{name: getattr(home.slice, name) for name in ("team", "application", "environment", "days")}},
        "made_at": home.made_at.isoformat(timespec="seconds"),
        "numbers": [
            {"key": n.key, "label": n.label, "value": n.value, "unit": n.unit, "note": n.note, "url": n.url}
            for n in home.numbers
        ],
        "tables": [
            {
                "key": p.key,
                "title": p.title,
                "columns": list(p.columns),
                "rows": [[cell.value for cell in row] for row in p.rows],
                "links": [[cell.url for cell in row] for row in p.rows],
                "note": p.note,
                "url": p.url,
            }
            for p in home.panels
        ],
        "charts": [chart.document() for chart in home.charts],
    }


CSV_HEADER: Final = ("block", "row", "column", "value", "unit", "link")


def as_rows(home: Home) -> Iterator[Sequence[Value]]:
    """The home as a CSV holds it: one line a value, under ``CSV_HEADER``."""
    for number in home.numbers:
        yield ("numbers", number.key, number.label, number.value, number.unit, number.url)
    for panel in home.panels:
        for at, row in enumerate(panel.rows, start=1):
            for column, cell in zip(panel.columns, row, strict=True):
                yield (panel.key, at, column, cell.value, "", cell.url)
    for chart in home.charts:
        for series in chart.series:
            for label, value in zip(chart.labels, series.values, strict=True):
                yield (chart.name, label, series.name, value, chart.unit, "")
