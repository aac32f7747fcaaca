"""Charts as data: a view makes a ``Chart``, the ``chart`` tag shows it, static/js/charts.js draws it, and a
table says the same to whoever cannot see it or has no JavaScript. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["bar", "stacked-bar", "row", "stacked-row", "line", "area", "donut"]
Tone = Literal[
    "critical", "high", "medium", "low", "negligible", "unknown", "good", "warn", "bad", "accent", "muted", ""
]
Number = int | float | None


@dataclass(frozen=True)
class Series:
    """One row of numbers, one for each label of the chart; ``tone`` names its colour, the same on every page.

    ``as_line``: a line over the bars, and no part of their stack.
    """

    name: str
    values: Sequence[Number]
    tone: Tone = ""
    as_line: bool = False


@dataclass(frozen=True)
class Chart:
    """``urls``: for each label, or for each series and label, the list of rows behind the number.

    ``kind``: ``row`` is a bar lying down, for long labels; ``donut`` takes one series and at most six labels, whose
    colours are ``tones``. ``unit`` follows each number (``%``). ``height``: one of the style sheet's sizes.
    """

    name: str
    title: str
    kind: Kind
    labels: Sequence[str]
    series: Sequence[Series]
    tones: Sequence[Tone] = ()
    urls: Sequence[str] | Sequence[Sequence[str]] = ()
    unit: str = ""
    height: Literal["sm", "md", "lg"] = "md"
    label_heading: str = "Group"
    table_shown: bool = field(default=False)

    def __post_init__(self) -> None:
        for series in self.series:
            if len(series.values) != len(self.labels):
                raise ValueError(
                    f"chart {self.name!r}: series {series.name!r} has {len(series.values)} values for "
                    f"{len(self.labels)} labels; give each label one value (None: no value)"
                )

    @property
    def id(self) -> str:
        return f"chart-{self.name}"

    @property
    def data_id(self) -> str:
        return f"{self.id}-data"

    @property
    def is_empty(self) -> bool:
        return not any(value for series in self.series for value in series.values)

    def url(self, series: int, label: int) -> str:
        """Where a number leads; empty where nothing is said."""
        row = self.urls
        if row and not isinstance(row[0], str):
            row = row[series] if series < len(row) else ()
        return str(row[label]) if label < len(row) else ""

    def data(self) -> dict[str, Any]:
        """What the script draws from."""
        return {
            "kind": self.kind,
            "title": self.title,
            "labels": list(self.labels),
            "tones": list(self.tones),
            "unit": self.unit,
            "series": [
                {
                    "name": series.name,
                    "tone": series.tone,
                    "line": series.as_line,
                    "values": list(series.values),
                    "urls": [self.url(index, label) for label in range(len(self.labels))],
                }
                for index, series in enumerate(self.series)
            ],
        }

    def document(self) -> dict[str, Any]:
        """What is exported of it."""
        return {
            "key": self.name,
            "title": self.title,
            "unit": self.unit,
            "labels": list(self.labels),
            "series": [{"name": series.name, "values": list(series.values)} for series in self.series],
        }

    def rows(self) -> list[tuple[str, list[tuple[Number, str]]]]:
        """The table: (label, [(value, url)])."""
        return [
            (label, [(series.values[at], self.url(index, at)) for index, series in enumerate(self.series)])
            for at, label in enumerate(self.labels)
        ]
