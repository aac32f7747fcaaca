"""Figures as a PNG: numbers, charts and tables drawn with the font that comes along, and the same figures within it as
JSON, so that whoever has the picture can read them back. Pure: the same in gives the same bytes.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from secguard.web import paper
from secguard.web.charts import Chart, Number, Series, Tone

FIGURES: Final = "secguard:figures"
"""The keyword of the iTXt chunk that holds the figures (PNG, third edition, 11.3.3.4)."""
WIDTH: Final = 1_600
MOST: Final = 8_000
"""Pixels in height; what would stand below that is left out, and said to be."""
MOST_ROWS: Final = 40
"""Of one table."""
_EDGE: Final = 48
_ROOM: Final = WIDTH - 2 * _EDGE
_FONTS: Final = Path(paper.__file__).resolve().parent / "fonts"
QUIET: Final = "#5b6778"
_INK, _RULE, _TINT, _PAPER = "#1b2434", "#d5dbe3", "#f4f6f9", "#ffffff"
_COLORS: Final[dict[Tone, str]] = {
    "critical": "#8c1d40", "high": "#b3261e", "medium": "#9a6200", "low": "#2a5bd7", "negligible": "#5b6778",
    "unknown": "#8a94a3", "good": "#1e7b45", "warn": "#9a6200", "bad": "#b3261e", "accent": "#0f7f7a",
    "muted": "#5b6778",
}  # fmt: skip
_PALETTE: Final = ("#0f7f7a", "#2a5bd7", "#9a6200", "#b3261e", "#1e7b45", "#5b6778")
Draw = ImageDraw.ImageDraw


class Block(NamedTuple):
    """Something that is as wide as the picture: its height, and how it is painted from a line downwards."""

    height: int
    paint: Callable[[Draw, int], None]


def png(title: str, blocks: Iterable[Block], figures: Any) -> bytes:
    """The blocks below each other, as far as a picture may be high."""
    chosen, height = _fitting(blocks)
    image = Image.new("RGB", (WIDTH, height), _PAPER)
    draw, top = ImageDraw.Draw(image), _EDGE
    for block in chosen:
        block.paint(draw, top)
        top += block.height
    about = PngImagePlugin.PngInfo()
    about.add_text("Software", "SecGuard")
    about.add_itxt("Title", title)
    about.add_itxt(FIGURES, json.dumps(figures, ensure_ascii=False, separators=(",", ":")), zip=True)
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=about)
    return out.getvalue()


def _fitting(blocks: Iterable[Block]) -> tuple[list[Block], int]:
    rest = words("There is more of it on its page.", 18, color=QUIET)
    chosen: list[Block] = []
    height = 2 * _EDGE
    for block in blocks:
        if height + block.height + rest.height > MOST:
            return [*chosen, rest], height + rest.height
        chosen.append(block)
        height += block.height
    return chosen, height


# --- text ---


@lru_cache(maxsize=32)
def _font(size: int, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    # The basic engine: whether a machine has another one must not show.
    return ImageFont.truetype(str(_FONTS / name), size, layout_engine=ImageFont.Layout.BASIC)


def _cut(text: str, room: float, font: ImageFont.FreeTypeFont) -> str:
    """The text on one line, as far as there is room, with what the font cannot draw as its code point."""
    said = paper.shown(" ".join(text[:400].split()))
    if font.getlength(said) <= room:
        return said
    low, high = 0, len(said)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if font.getlength(f"{said[:middle]}…") <= room else (low, middle - 1)
    return f"{said[:low].rstrip()}…"


def words(text: str, size: int, *, bold: bool = False, color: str = _INK, after: int = 0) -> Block:
    """One line."""
    font = _font(size, bold)

    def paint(draw: Draw, top: int) -> None:
        draw.text((_EDGE, top), _cut(text, _ROOM, font), font=font, fill=color)

    return Block(round(size * 1.4) + after, paint)


def heading(text: str) -> Block:
    """A line with a rule under it, and room above it."""
    line = words(text, 24, bold=True)

    def paint(draw: Draw, top: int) -> None:
        line.paint(draw, top + 34)
        draw.line((_EDGE, top + 34 + line.height + 4, WIDTH - _EDGE, top + 34 + line.height + 4), fill=_RULE, width=2)

    return Block(line.height + 50, paint)


# --- numbers ---

_ACROSS: Final = 4
_TALL: Final = 124


def numbers(cards: Sequence[tuple[str, str, str]]) -> Iterator[Block]:
    """(label, value, note) as cards, four beside each other."""
    for at in range(0, len(cards), _ACROSS):
        yield _cards(cards[at : at + _ACROSS])


def _cards(row: Sequence[tuple[str, str, str]]) -> Block:
    wide = _ROOM / _ACROSS

    def paint(draw: Draw, top: int) -> None:
        for at, (label, value, note) in enumerate(row):
            left = _EDGE + wide * at
            draw.rectangle((left, top, left + wide - 12, top + _TALL - 12), fill=_TINT, outline=_RULE)
            for text, size, bold, color, down in (
                (label, 17, False, QUIET, 10), (value, 34, True, _INK, 34), (note, 15, False, QUIET, 82),
            ):  # fmt: skip
                font = _font(size, bold)
                draw.text((left + 14, top + down), _cut(text, wide - 40, font), font=font, fill=color)

    return Block(_TALL, paint)


# --- tables ---

_LINE: Final = 32
_GAP: Final = 24


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> Iterator[Block]:
    """A line for the heads and one for each row; a column is as wide as what is in it, as far as there is room."""
    head, body = _font(16, False), _font(17, False)
    shown = rows[:MOST_ROWS]
    widths = _widths(columns, shown, numeric)
    yield _line(columns, widths, numeric, head, QUIET)
    for row in shown:
        yield _line(row, widths, numeric, body, _INK)
    if len(rows) > len(shown):
        yield words(f"and {len(rows) - len(shown):,} more", 16, color=QUIET)


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> list[float]:
    font = _font(17, False)
    wants = [
        max([font.getlength(_cut(text, 700, font)) for text in (name, *(row[at] for row in rows))]) + _GAP
        for at, name in enumerate(columns)
    ]
    spare = _ROOM - sum(wants)
    texts = [at for at, is_number in enumerate(numeric) if not is_number] or list(range(len(wants)))
    if spare >= 0:
        return [want + (spare / len(texts) if at in texts else 0) for at, want in enumerate(wants)]
    fixed = sum(want for at, want in enumerate(wants) if at not in texts)
    share = max(_ROOM - fixed, 0) / sum(wants[at] for at in texts)
    return [want * share if at in texts else want for at, want in enumerate(wants)]


def _line(
    texts: Sequence[str], widths: Sequence[float], numeric: Sequence[bool], font: ImageFont.FreeTypeFont, color: str
) -> Block:
    def paint(draw: Draw, top: int) -> None:
        left = float(_EDGE)
        for text, wide, is_number in zip(texts, widths, numeric, strict=True):
            said = _cut(text, wide - _GAP, font)
            over = wide - _GAP - font.getlength(said) if is_number else 0
            draw.text((left + over, top + 5), said, font=font, fill=color)
            left += wide
        draw.line((_EDGE, top + _LINE - 1, WIDTH - _EDGE, top + _LINE - 1), fill=_RULE)

    return Block(_LINE, paint)


# --- charts ---

_HIGH: Final = 320
_LEFT: Final = 90
_DASHES: Final = (0, 14, 6, 3)
"""Pixels of a dash, by the place of a line: lines differ by more than their colour. 0: unbroken."""


def chart(of: Chart) -> Block:
    """Lines or bars over the labels, with a legend; what has no value is a gap."""
    return Block(_HIGH + 36, lambda draw, top: _Plot(of, draw, top).paint())


class _Plot:
    """One chart, while it is painted."""

    def __init__(self, of: Chart, draw: Draw, top: int) -> None:
        self.of, self.draw, self.top = of, draw, top + 36
        self.left, self.right, self.bottom = _EDGE + _LEFT, WIDTH - _EDGE, top + 36 + _HIGH - 40
        self.lines = [s for s in of.series if s.as_line or of.kind in ("line", "area")]
        self.bars = [s for s in of.series if s not in self.lines]
        self.is_stacked = of.kind.startswith("stacked")
        self.most = _nice(self._greatest())
        self.step = (self.right - self.left) / max(len(of.labels), 1)

    def _greatest(self) -> float:
        single = [float(v) for s in self.of.series for v in s.values if v is not None]
        stacks = [sum(float(v or 0) for v in column) for column in zip(*(s.values for s in self.bars), strict=True)]
        return max([*single, *(stacks if self.is_stacked else [])], default=0.0)

    def paint(self) -> None:
        self._frame()
        self._labels()
        floor = [0.0] * len(self.of.labels)
        for at, series in enumerate(self.bars):
            self._bars(at, series, floor)
        for at, series in enumerate(self.lines):
            self._curve(at, series)
        self._legend()

    def x(self, at: int) -> float:
        return self.left + self.step * (at + 0.5)

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * value / self.most

    def _frame(self) -> None:
        font = _font(15, False)
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            y, label = self.y(self.most * share), f"{self.most * share:,g}{self.of.unit}"
            self.draw.line((self.left, y, self.right, y), fill=_RULE)
            self.draw.text((self.left - 10 - font.getlength(label), y - 9), label, font=font, fill=QUIET)

    def _labels(self) -> None:
        """As many as stand beside each other without touching."""
        font = _font(15, False)
        widest = max((font.getlength(paper.shown(label)) for label in self.of.labels), default=0.0) + 20
        every = max(1, math.ceil(widest / self.step)) if self.of.labels else 1
        for at in range(0, len(self.of.labels), every):
            label = _cut(self.of.labels[at], 300, font)
            self.draw.text((self.x(at) - font.getlength(label) / 2, self.bottom + 8), label, font=font, fill=QUIET)

    def _bars(self, at: int, series: Series, floor: list[float]) -> None:
        beside = 1 if self.is_stacked else len(self.bars)
        wide = min(self.step * 0.8 / beside, 40.0)
        for n, value in enumerate(series.values):
            if not value:
                continue
            low = floor[n] if self.is_stacked else 0.0
            left = self.x(n) - wide * beside / 2 + (0 if self.is_stacked else wide * at)
            box = (left, self.y(low + value), left + max(wide - 1, 1), self.y(low))
            self.draw.rectangle(box, fill=_color(series, at))
            floor[n] += value

    def _curve(self, at: int, series: Series) -> None:
        color, dash = _color(series, at + len(self.bars)), _DASHES[at % len(_DASHES)]
        for run in runs(series.values):
            points = [(self.x(n), self.y(v)) for n, v in run]
            if len(points) == 1:
                (x, y), r = points[0], 3
                self.draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
            for start, end in pairwise(points):
                _stroke(self.draw, start, end, color, dash)

    def _legend(self) -> None:
        font, left, y = _font(16, False), float(self.left), self.top - 34
        for at, series in enumerate([*self.bars, *self.lines]):
            color = _color(series, at)
            if series in self.bars:
                self.draw.rectangle((left, y + 2, left + 22, y + 16), fill=color)
            else:
                dash = _DASHES[(at - len(self.bars)) % len(_DASHES)]
                _stroke(self.draw, (left, y + 9), (left + 26, y + 9), color, dash)
            name = _cut(series.name, 320, font)
            self.draw.text((left + 34, y), name, font=font, fill=_INK)
            left += 34 + font.getlength(name) + 36


def _color(series: Series, at: int) -> str:
    return _COLORS.get(series.tone) or _PALETTE[at % len(_PALETTE)]


def _stroke(draw: Draw, start: tuple[float, float], end: tuple[float, float], color: str, dash: int) -> None:
    """A line of three pixels, in dashes where ``dash`` is not 0."""
    length = math.dist(start, end)
    if not dash or not length:
        draw.line((*start, *end), fill=color, width=3)
        return
    (x, y), (dx, dy) = start, ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    for at in range(0, math.ceil(length), dash * 2):
        to = min(at + dash, length)
        draw.line((x + dx * at, y + dy * at, x + dx * to, y + dy * to), fill=color, width=3)


def _nice(value: float) -> float:
    """The least of 1, 2, 4, 5, 8 and 10 times a power of ten that is not below ``value``: its quarters are short
    numbers."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)


def runs(values: Sequence[Number]) -> Iterator[list[tuple[int, float]]]:
    """Unbroken runs of (place, value); what is ``None`` is a gap."""
    run: list[tuple[int, float]] = []
    for at, value in enumerate(values):
        if value is None:
            if run:
                yield run
            run = []
        else:
            run.append((at, float(value)))
    if run:
        yield run
