"""What every PDF is set with: the fonts that come along, text that says what its bytes say, page numbers. Pure."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfdoc, pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph

_FONTS: Final = Path(__file__).resolve().parent / "fonts"
PLAIN, BOLD = "SecGuardSans", "SecGuardSans-Bold"
INK, QUIET, RULE, TINT = HexColor(0x1B2434), HexColor(0x5B6778), HexColor(0xD5DBE3), HexColor(0xF4F6F9)
GOOD, WARN, BAD = HexColor(0x1E7B45), HexColor(0x9A6200), HexColor(0xB3261E)
WIDTH: Final = A4[0] - 36 * mm - 12
"""Of a line: a frame keeps 6 points free on either side."""


def shown(text: str) -> str:
    """The text with what this font cannot print, or would print wrongly, as its code point: ``⟨U+4E2D⟩``.

    Characters without a glyph, those of scripts that run from right to left or are joined, and invisible ones, which
    could make a line say something else than its bytes.
    """
    return "".join(c if _is_printable(c) else "\n" if c == "\n" else f"⟨U+{ord(c):04X}⟩" for c in text)


@lru_cache(maxsize=8_192)
def _is_printable(character: str) -> bool:
    if unicodedata.category(character)[0] in "CZ" and character != " ":
        return False
    if unicodedata.bidirectional(character) in ("R", "AL", "AN"):
        return False
    register()
    return ord(character) in pdfmetrics.getFont(PLAIN).face.charToGlyph


@lru_cache(maxsize=1)
def register() -> None:
    """Make the fonts known; to be called before a document is built."""
    pdfmetrics.registerFont(TTFont(PLAIN, str(_FONTS / "DejaVuSans.ttf")))
    pdfmetrics.registerFont(TTFont(BOLD, str(_FONTS / "DejaVuSans-Bold.ttf")))


def style(size: float = 8.5, font: str = PLAIN, color: Any = INK, after: float = 0, **more: Any) -> ParagraphStyle:
    return ParagraphStyle(
        f"{font}{size}",
        fontName=font,
        fontSize=size,
        leading=size * 1.4,
        textColor=color,
        spaceAfter=after,
        **{"alignment": TA_LEFT, "splitLongWords": True, **more},
    )


def text(words: str, look: ParagraphStyle) -> Paragraph:
    return Paragraph(escape(shown(words)).replace("\n", "<br/>"), look)


class Numbered(Canvas):  # type: ignore[misc]  # reportlab has no types
    """Keeps its pages until their number is known. A subclass says its ``footer``."""

    footer = ""
    right = A4[0]
    """The page's right edge."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for number, page in enumerate(self._pages, 1):
            self.__dict__.update(page)
            self.setFont(PLAIN, 7.5)
            self.setFillColor(QUIET)
            self.drawString(18 * mm + 6, 11 * mm, shown(self.footer))
            self.drawRightString(self.right - 18 * mm - 6, 11 * mm, f"Page {number} of {len(self._pages)}")
            super().showPage()
        self.attach()
        super().save()

    def attach(self) -> None:
        """Called once, after the last page."""


def attach(canvas: Canvas, called: str, content: bytes) -> None:
    """JSON as an embedded file of the document, called ``passport.json`` (ISO 32000-1, 7.11.4)."""
    doc, stem = canvas._doc, called.partition(".")[0]
    stream = pdfdoc.PDFStream(content=content)
    stream.dictionary["Type"] = "/EmbeddedFile"
    stream.dictionary["Subtype"] = "/application#2Fjson"
    stream.dictionary["Params"] = pdfdoc.PDFDictionary({"Size": len(content)})
    name = pdfdoc.PDFString(called)
    spec = pdfdoc.PDFDictionary(
        {
            "Type": "/Filespec",
            "F": name,
            "UF": name,
            "EF": pdfdoc.PDFDictionary({"F": doc.Reference(stream, f"{stem}-stream")}),
        }
    )
    files = pdfdoc.PDFDictionary({"Names": pdfdoc.PDFArray([name, doc.Reference(spec, f"{stem}-spec")])})
    doc.Catalog.Names = pdfdoc.PDFDictionary({"EmbeddedFiles": files})
