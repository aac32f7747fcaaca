"""Charts of the event store, as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from secguard.events.models import Stored
from secguard.events.queries.series import Series
from secguard.events.ranges import Step
from secguard.events.record import Kind
from secguard.web import picture
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


CSV_HEADER: Final = ("from", "events", "outside", "normal at least", "normal at most", "usual", "link")


def series_document(found: Series, urls: Sequence[str], about: dict[str, str]) -> dict[str, Any]:
    """A series as it is exported: ``about`` says what it is narrowed to."""
    points = [
        {
            "from": point.at.isoformat(),
            "events": point.value,
            "outside": point.is_outside,
            "normal_at_least": round(point.band.low, 1) if point.band else None,
            "normal_at_most": round(point.band.high, 1) if point.band else None,
            "usual": round(point.band.median, 1) if point.band else None,
            "url": url,
        }
        for point, url in zip(found.points, urls, strict=True)
    ]
    return {"step": found.step.value, "narrowed": about, "points": points}


def series_rows(document: dict[str, Any]) -> Iterator[list[Any]]:
    """The lines of its CSV, under ``CSV_HEADER``."""
    for point in document["points"]:
        yield list(point.values())


def series_png(found: Series, document: dict[str, Any], words: str, made_at: str) -> bytes:
    """The chart with what lies outside the normal range as a table; the document is within it."""
    chart = series_chart(found, [])
    narrowed = ", ".join([*(f"{name} {value}" for name, value in document["narrowed"].items()), words])
    return picture.png(chart.title, _series_blocks(found, chart, f"{narrowed}; {made_at}"), document)


def _series_blocks(found: Series, chart: Chart, said: str) -> Iterator[picture.Block]:
    yield picture.words(chart.title, 36, bold=True, after=4)
    yield picture.words(said, 18, color=picture.QUIET, after=20)
    yield picture.chart(chart)
    yield picture.heading("Outside the normal range")
    rows = [
        (f"{p.at:%Y-%m-%d %H:%M}", f"{p.value:,}", f"{p.band.low:,.0f} to {p.band.high:,.0f}" if p.band else "–")
        for p in reversed(found.outside)
    ]
    if rows:
        yield from picture.table(("From (UTC)", "Events", "Normal"), rows, (False, True, True))
    else:
        yield picture.words("Nothing lies outside of it.", 17, color=picture.QUIET)


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
