"""Charts of the event store, as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from secguard.events.models import Stored
from secguard.events.queries.series import Series
from secguard.events.ranges import Step
from secguard.events.record import Kind
from secguard.web.charts import Chart, Tone
from secguard.web.charts import Series as Line

MIB: Final = 2**20
TONES: Final[tuple[Tone, ...]] = ("accent", "low", "medium", "high", "good", "negligible", "critical", "muted")


def series_chart(found: Series, urls: Sequence[str]) -> Chart:
    """How much came, inside and outside the normal range, whose bounds are lines."""
    form = "%d %b %H:%M" if found.step is Step.HOUR else "%d %b"
    bands = [point.band for point in found.points]
    lines = [
        Line("Events", [0 if p.is_outside else p.value for p in found.points], "accent"),
        Line("Outside the normal range", [p.value if p.is_outside else 0 for p in found.points], "bad"),
        Line("Normal at most", [round(b.high, 1) if b else None for b in bands], "muted", as_line=True),
        Line("Normal at least", [round(b.low, 1) if b else None for b in bands], "muted", as_line=True),
    ]
    return Chart(
        "events-series",
        "Events by hour (UTC)" if found.step is Step.HOUR else "Events by day (UTC)",
        "stacked-bar",
        [point.at.strftime(form) for point in found.points],
        lines,
        urls=list(urls),
        height="lg",
        label_heading="From",
    )


def storage_chart(rows: Sequence[Stored]) -> Chart | None:
    """What the store took on each day that it was measured on, by kind; the kinds that took nothing are left out."""
    days = sorted({row.day for row in rows})
    sizes = {(row.day, row.kind): row.bytes for row in rows}
    kinds = [k.value for k in Kind if any(sizes.get((day, k.value)) for day in days)]
    kinds.sort(key=lambda kind: -sizes.get((days[-1], kind), 0))
    if not kinds:
        return None
    series = [
        Line(kind.replace("-", " "), [round(sizes.get((day, kind), 0) / MIB, 1) for day in days], TONES[n % len(TONES)])
        for n, kind in enumerate(kinds)
    ]
    return Chart(
        "events-stored",
        "What is stored, by kind",
        "stacked-bar",
        [f"{day.day} {day:%b}" for day in days],
        series,
        unit=" MiB",
        label_heading="Measured",
    )
