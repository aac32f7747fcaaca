"""A home on paper and by mail: HTML and plain text for a letter, and PDF. Pure: the home in, text and bytes out."""

from __future__ import annotations

import html
import io
from collections.abc import Iterator
from enum import StrEnum
from typing import Any, Final

from reportlab.graphics.shapes import Drawing, Line, PolyLine, String
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, HRFlowable, KeepTogether, SimpleDocTemplate, Spacer, Table, TableStyle

from secguard.dashboards.homes import Home, Number, Panel
from secguard.web import paper
from secguard.web.charts import Chart
from secguard.web.picture import runs

_WIDTH: Final = landscape(A4)[0] - 36 * mm - 12
_ACROSS: Final = 4
"""Numbers in one row."""
_LINES: Final = (HexColor(0x2A5BD7), HexColor(0xB3261E), HexColor(0x1E7B45))


class Form(StrEnum):
    """How a home is written to somebody: in the letter itself, or as a PDF beside a short one."""

    HTML = "html"
    PDF = "pdf"


def title_of(home: Home) -> str:
    return f"{home.audience.value.capitalize()}: {home.heading.lower()}"


# --- the letter ---


def as_text(home: Home, base_url: str) -> str:
    """Plain text; paths become addresses under ``base_url``."""
    parts = [f"{title_of(home)}\n{home.slice.words}; {home.made_at:%Y-%m-%d %H:%M} UTC"]
    parts.append("\n".join(f"- {n.label}: {n.shown}{f' ({n.note})' if n.note else ''}" for n in home.numbers))
    for panel in home.panels:
        rows = ["  " + " | ".join(cell.shown for cell in row) for row in panel.rows] or [f"  {panel.empty}"]
        parts.append("\n".join([panel.title, *rows]))
    return "\n\n".join(parts) + "\n"


_STYLE: Final = {
    "body": "margin:0;padding:16px;background:#ffffff;color:#1b2434;font:14px/1.45 Arial,sans-serif",
    "h1": "font-size:20px;margin:0 0 4px",
    "h2": "font-size:15px;margin:24px 0 6px",
    "quiet": "color:#5b6778;margin:0 0 16px",
    "table": "border-collapse:collapse;width:100%",
    "th": "text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid #d5dbe3;color:#5b6778;font-weight:normal",
    "td": "text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid #f4f6f9;vertical-align:top",
    "a": "color:#2a5bd7",
}


def as_html(home: Home, base_url: str) -> str:
    """The letter's inside: it needs no other file. Everything that a tool or a person wrote is escaped."""
    parts = [
        f'<h1 style="{_STYLE["h1"]}">{html.escape(title_of(home))}</h1>',
        f'<p style="{_STYLE["quiet"]}">{html.escape(home.slice.words)}; {home.made_at:%Y-%m-%d %H:%M} UTC</p>',
        _html_table(("Figure", "", ""), [(n.label, _linked(n.shown, n.url, base_url), n.note) for n in home.numbers]),
    ]
    for panel in home.panels:
        parts.append(f'<h2 style="{_STYLE["h2"]}">{html.escape(panel.title)}</h2>')
        if panel.rows:
            rows = [tuple(_linked(cell.shown, cell.url, base_url) for cell in row) for row in panel.rows]
            parts.append(_html_table(panel.columns, rows))
        else:
            parts.append(f'<p style="{_STYLE["quiet"]}">{html.escape(panel.empty)}</p>')
    return "\n".join(parts)


class _Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def _linked(text: str, url: str, base_url: str) -> str:
    if not url:
        return text
    return _Markup(f'<a style="{_STYLE["a"]}" href="{html.escape(base_url + url)}">{html.escape(text)}</a>')


def _html_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    head = "".join(f'<th style="{_STYLE["th"]}">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_STYLE["td"]}">{_escaped(cell)}</td>' for cell in row) + "</tr>" for row in rows
    )
    return f'<table style="{_STYLE["table"]}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _escaped(text: str) -> str:
    return text if isinstance(text, _Markup) else html.escape(text)


def page(inside: str) -> str:
    """A whole HTML document for a letter."""
    return f'<!doctype html><html lang="en"><body style="{_STYLE["body"]}">{inside}</body></html>'


# --- the PDF ---


def as_pdf(home: Home) -> bytes:
    """The same figures on A4, lying. The same in gives the same bytes."""
    paper.register()
    out = io.BytesIO()
    margins = {"leftMargin": 18 * mm, "rightMargin": 18 * mm, "topMargin": 16 * mm, "bottomMargin": 20 * mm}
    made = SimpleDocTemplate(
        out, pagesize=landscape(A4), title=title_of(home), author="SecGuard", invariant=1, **margins
    )

    class Pages(paper.Numbered):
        footer = f"SecGuard · {title_of(home)} · {home.slice.words} · {home.made_at:%Y-%m-%d %H:%M} UTC"
        right = landscape(A4)[0]

    made.build(list(_story(home)), canvasmaker=Pages)
    return out.getvalue()


def _story(home: Home) -> Iterator[Flowable]:
    yield paper.text(title_of(home), paper.style(18, paper.BOLD, after=2))
    yield paper.text(
        f"{home.slice.words}; {home.made_at:%Y-%m-%d %H:%M} UTC", paper.style(9, color=paper.QUIET, after=8)
    )
    yield _numbers(home.numbers)
    for chart in home.charts:
        if not chart.is_empty:
            yield KeepTogether([*_head(chart.title), _drawing(chart)])
    for panel in home.panels:
        yield from _panel(panel)


def _head(title: str) -> list[Flowable]:
    return [
        Spacer(1, 5 * mm),
        paper.text(title, paper.style(11.5, paper.BOLD, after=2)),
        HRFlowable(width="100%", thickness=0.6, color=paper.RULE, spaceAfter=3),
    ]


def _numbers(numbers: tuple[Number, ...]) -> Table:
    cells = [
        [
            paper.text(n.label, paper.style(8, color=paper.QUIET)),
            paper.text(n.shown, paper.style(14, paper.BOLD)),
            paper.text(n.note, paper.style(7.5, color=paper.QUIET)),
        ]
        for n in numbers
    ]
    rows: list[list[Any]] = [cells[at : at + _ACROSS] for at in range(0, len(cells), _ACROSS)]
    rows = [row + [""] * (_ACROSS - len(row)) for row in rows] or [[""] * _ACROSS]
    table = Table(rows, colWidths=[_WIDTH / _ACROSS] * _ACROSS)
    table.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), paper.TINT),
                ("INNERGRID", (0, 0), (-1, -1), 0.5, paper.RULE),
                ("BOX", (0, 0), (-1, -1), 0.5, paper.RULE),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ]
        )
    )
    return table


_LONGEST: Final = 300
"""Characters of one cell: the page and the JSON have all of it."""


def _panel(panel: Panel) -> Iterator[Flowable]:
    head = _head(panel.title)
    if not panel.rows:
        yield KeepTogether([*head, paper.text(panel.empty, paper.style(color=paper.QUIET))])
        return
    numeric = [is_number for _, is_number in panel.headings]
    rows = [_row(panel.columns, numeric, color=paper.QUIET)]
    rows += [_row(tuple(cell.shown[:_LONGEST] for cell in row), numeric) for row in panel.rows]
    weights = [1.0 if is_number else 2.2 for is_number in numeric]
    table = Table(rows, colWidths=[_WIDTH * weight / sum(weights) for weight in weights], repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 6),
                ("LINEBELOW", (0, 0), (-1, -2), 0.25, paper.RULE),
            ]
        )
    )
    yield KeepTogether([*head, table])


def _row(texts: tuple[str, ...], numeric: list[bool], **look: HexColor) -> list[Flowable]:
    right = {"alignment": TA_RIGHT}
    return [
        paper.text(text, paper.style(8, **look, **(right if is_number else {})))
        for text, is_number in zip(texts, numeric, strict=True)
    ]


_HEIGHT: Final = 44 * mm
_LEFT, _BOTTOM = 36, 14


def _drawing(chart: Chart) -> Drawing:
    """Lines over the days, with the greatest and the least value; a day without a value is a gap."""
    drawing = Drawing(_WIDTH, _HEIGHT)
    top = max([float(v) for s in chart.series for v in s.values if v is not None], default=0.0) or 1.0
    wide, high = _WIDTH - _LEFT - 4, _HEIGHT - _BOTTOM - 18
    for share in (0.0, 0.5, 1.0):
        y = _BOTTOM + high * share
        drawing.add(Line(_LEFT, y, _LEFT + wide, y, strokeColor=paper.RULE, strokeWidth=0.4))
        label = f"{top * share:,.0f}{chart.unit}"
        drawing.add(String(_LEFT - 4, y - 2.5, label, fontName=paper.PLAIN, fontSize=7, textAnchor="end"))
    step = wide / max(len(chart.labels) - 1, 1)
    for at, series in enumerate(chart.series):
        color = _LINES[at % len(_LINES)]
        for run in runs(series.values):
            points = [xy for i, v in run for xy in (_LEFT + step * i, _BOTTOM + high * v / top)]
            if len(run) == 1:
                points = [points[0] - 1, points[1], points[0] + 1, points[1]]
            drawing.add(PolyLine(points, strokeColor=color, strokeWidth=1.4))
        place = _LEFT + 110 * at
        drawing.add(Line(place, _HEIGHT - 7, place + 12, _HEIGHT - 7, strokeColor=color, strokeWidth=2))
        drawing.add(String(place + 16, _HEIGHT - 10, paper.shown(series.name), fontName=paper.PLAIN, fontSize=7.5))
    for at in sorted({0, len(chart.labels) - 1}):
        anchor = "start" if at == 0 else "end"
        x, label = _LEFT + step * at, chart.labels[at]
        drawing.add(String(x, 2, label, fontName=paper.PLAIN, fontSize=7, textAnchor=anchor))
    return drawing
