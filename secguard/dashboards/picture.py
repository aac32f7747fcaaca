"""A home as one PNG, with its figures within it. Pure: the home in, bytes out."""

from __future__ import annotations

from collections.abc import Iterator

from secguard.dashboards.homes import Home, Panel, as_document
from secguard.dashboards.report import title_of
from secguard.web import picture
from secguard.web.picture import QUIET, Block


def as_png(home: Home) -> bytes:
    """The same figures as everywhere else. The picture is as high as its tables are long, up to ``picture.MOST``."""
    return picture.png(title_of(home), _blocks(home), as_document(home))


def _blocks(home: Home) -> Iterator[Block]:
    yield picture.words(title_of(home), 36, bold=True, after=4)
    said = f"{home.slice.words}; {home.made_at:%Y-%m-%d %H:%M} UTC"
    yield picture.words(said, 18, color=QUIET, after=20)
    yield from picture.numbers([(n.label, n.shown, n.note) for n in home.numbers])
    for chart in home.charts:
        if not chart.is_empty:
            yield picture.heading(chart.title)
            yield picture.chart(chart)
    for panel in home.panels:
        yield from _panel(panel)


def _panel(panel: Panel) -> Iterator[Block]:
    yield picture.heading(panel.title)
    if not panel.rows:
        yield picture.words(panel.empty, 17, color=QUIET)
        return
    numeric = [is_number for _, is_number in panel.headings]
    yield from picture.table(panel.columns, [[cell.shown for cell in row] for row in panel.rows], numeric)
    if panel.note:
        yield picture.words(panel.note, 15, color=QUIET)
