"""A passport as PDF: the same content as the JSON, for people. Pure: the document and its envelope in, bytes out.

The envelope itself lies in the file as an attachment, so that the paper can be tied to what was signed: the printed
SHA-256 is that of the envelope's payload, and ``secguard passport verify`` reads the attachment.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.platypus import (
    Flowable,
    HRFlowable,
    KeepTogether,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from secguard.web.paper import BAD, BOLD, GOOD, QUIET, RULE, TINT, WARN, WIDTH, Numbered, attach, register, style
from secguard.web.paper import text as paragraph

ATTACHED: Final = "passport.json"
_TONES: Final = {"pass": GOOD, "warn": WARN, "block": BAD}
_LABEL_WIDTH: Final = 33 * mm
_SECTIONS: Final = (
    ("image", "The image"),
    ("verdicts", "Verdicts"),
    ("findings", "Findings"),
    ("decisions", "Decisions"),
    ("places", "Where it lies"),
    ("tags", "Tags"),
    ("sbom", "Bill of materials"),
    ("scans", "Scans"),
    ("signatures", "Signatures"),
    ("attestations", "Statements"),
    ("promotions", "Promotions"),
    ("admissions", "What clusters were answered"),
    ("recalls", "Recalls"),
    ("audit", "The audit log then"),
    ("issued_by", "Issued by"),
    ("issued_to", "Issued to"),
    ("signed_by", "Signed by"),
    ("left_out", "Lists that had more rows"),
)
_HEADS: Final = {
    "verdicts": "{stage}",
    "decisions": "{id}: {kind} {risk}",
    "places": "{repository}",
    "scans": "{id}: {scanner}",
    "promotions": "{id}: to {environment}",
    "signatures": "{what} by {key}",
    "attestations": "{predicate_type}",
    "recalls": "{recalled_at}",
}


def document(passport: Mapping[str, Any], payload: bytes, envelope: bytes, signatures: Sequence[str]) -> bytes:
    """The PDF of ``passport``, whose canonical JSON is ``payload`` and which ``envelope`` holds, signed as told.

    The same in gives the same bytes.
    """
    register()
    out = io.BytesIO()
    digest = str(passport["image"]["digest"])
    made = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=18 * mm,
        rightMargin=18 * mm,
        topMargin=18 * mm,
        bottomMargin=20 * mm,
        title=f"Passport of {digest}",
        author="SecGuard",
        invariant=1,
    )
    footer = f"Passport of {digest[:19]}… · issued {passport['issued_at']}"
    made.build(list(_story(passport, payload, signatures)), canvasmaker=_canvas_of(footer, envelope))
    return out.getvalue()


def leaves(value: Any, label: str = "") -> Iterator[tuple[str, str]]:
    """Each value of the document with its name, as it is printed: (``decisions id``, ``12``)."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{label} {name}".strip())
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from leaves(inner, label)
    else:
        yield label, words(value)


def words(value: Any) -> str:
    """A value as people read it."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _story(passport: Mapping[str, Any], payload: bytes, signatures: Sequence[str]) -> Iterator[Flowable]:
    yield paragraph("Passport of an image", style(20, BOLD, after=2))
    yield paragraph(str(passport["image"]["digest"]), style(9, color=QUIET, after=8))
    yield _gates(passport["verdicts"])
    yield Spacer(1, 4 * mm)
    yield from _proof(passport, payload, signatures)
    named = {name for name, _ in _SECTIONS}
    rest = [name for name in passport if name not in named | {"format", "issued_at"}]
    for name, title in (*_SECTIONS, *((n, n.replace("_", " ").capitalize()) for n in rest)):
        if name in passport:
            yield from _section(name, title, passport[name])


def _gates(verdicts: Sequence[Mapping[str, Any]]) -> Table:
    """The four gates in one row: the verdict as a word, and whether it holds."""
    cells = []
    for one in verdicts:
        word = str(one.get("verdict") or "not judged")
        tone = _TONES.get(word, QUIET) if one.get("holds") else QUIET
        cells.append(
            [
                paragraph(str(one["stage"]).capitalize(), style(8, color=QUIET)),
                paragraph(word.capitalize(), style(12, BOLD, tone)),
                paragraph("holds" if one.get("holds") else "holds no more", style(7.5, color=QUIET)),
            ]
        )
    table = Table([cells], colWidths=[WIDTH / max(len(cells), 1)] * len(cells))
    table.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), TINT),
                ("BOX", (0, 0), (-1, -1), 0.5, RULE),
                ("INNERGRID", (0, 0), (-1, -1), 0.5, RULE),
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("TOPPADDING", (0, 0), (-1, -1), 6),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
            ]
        )
    )
    return table


def _proof(passport: Mapping[str, Any], payload: bytes, signatures: Sequence[str]) -> Iterator[Flowable]:
    """What ties the paper to the signed document."""
    rows = [
        ("format", passport["format"]),
        ("issued at", passport["issued_at"]),
        ("SHA-256 of the JSON", hashlib.sha256(payload).hexdigest()),
        ("signed by", passport["signed_by"].get("fingerprint") or passport["signed_by"].get("note")),
        *(("signature", one) for one in signatures),
    ]
    yield _table([(label, words(value)) for label, value in rows])
    said = (
        f"The JSON itself, in its signed envelope, is attached to this file as {ATTACHED}. Take it out with `pdfdetach "
        f"-saveall` and check it with `secguard passport verify {ATTACHED} --key KEY.pem`. What is printed here is for "
        "people; what was signed is the JSON. Characters that cannot be printed here are written as their code "
        "points: ⟨U+4E2D⟩."
    )
    yield paragraph(said, style(7.5, color=QUIET, after=4))


def _section(name: str, title: str, value: Any) -> Iterator[Flowable]:
    rows = value if isinstance(value, list) else None
    count = f" ({len(rows)})" if rows is not None and name not in ("verdicts",) else ""
    head = [
        Spacer(1, 4 * mm),
        paragraph(f"{title}{count}", style(11.5, BOLD, after=2)),
        HRFlowable(width="100%", thickness=0.6, color=RULE, spaceAfter=3),
    ]
    if value in (None, [], {}):
        yield KeepTogether([*head, paragraph("None.", style(color=QUIET))])
    elif rows is None:
        yield KeepTogether([*head, _table(list(_pairs(value)))])
    elif all(isinstance(row, str) for row in rows):
        yield KeepTogether([*head, paragraph(str(rows[0]), style())])
        yield from (paragraph(row, style()) for row in rows[1:])
    else:
        for n, row in enumerate(rows):
            yield KeepTogether([*(head if n == 0 else [Spacer(1, 2 * mm)]), *_record(name, row)])


def _record(name: str, row: Mapping[str, Any]) -> list[Flowable]:
    """One row of a list: what it is called, and everything about it."""
    called = _HEADS.get(name, "").format_map({k: words(v) for k, v in row.items()}) if name in _HEADS else ""
    made: list[Flowable] = [paragraph(called[:1].upper() + called[1:], style(9, BOLD))] if called else []
    return [*made, _table(list(_pairs(row)))]


def _pairs(value: Any) -> Iterator[tuple[str, str]]:
    """(label, text) of each member; what lies deeper is written as lines of its own."""
    if not isinstance(value, Mapping):
        yield "", words(value)
        return
    for name, inner in value.items():
        label = name.replace("_", " ")
        if isinstance(inner, Mapping):
            lines = [f"{' '.join(k.split())}: {v}" for k, v in leaves(inner)]
            yield label, "\n".join(lines) or "–"
        elif isinstance(inner, list) and any(isinstance(i, Mapping) for i in inner):
            yield label, "\n".join(", ".join(f"{k}: {v}" for k, v in leaves(i)) for i in inner) or "–"
        elif isinstance(inner, list):
            yield label, ", ".join(words(i) for i in inner) or "–"
        else:
            yield label, words(inner)


def _table(pairs: Sequence[tuple[str, str]]) -> Table:
    rows = [
        [paragraph(label[:1].upper() + label[1:], style(8, color=QUIET)), paragraph(part, style())]
        for label, text in pairs
        for label, part in _parted(label, text)
    ]
    table = Table(rows or [["", ""]], colWidths=[_LABEL_WIDTH, WIDTH - _LABEL_WIDTH])
    table.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 4),
                ("TOPPADDING", (0, 0), (-1, -1), 1.2),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 1.2),
                ("LINEBELOW", (0, 0), (-1, -2), 0.25, TINT),
            ]
        )
    )
    return table


MAX_CELL: Final = 1_500
"""Characters of one cell: a cell is never higher than a page, so long text goes on in the next."""


def _parted(label: str, text: str) -> Iterator[tuple[str, str]]:
    lines: list[str] = []
    size = 0
    for line in text.split("\n"):
        for start in range(0, max(len(line), 1), MAX_CELL):
            piece = line[start : start + MAX_CELL]
            if lines and (size + len(piece) > MAX_CELL or len(lines) >= 30):
                yield label, "\n".join(lines)
                label, lines, size = "", [], 0
            lines.append(piece)
            size += len(piece)
    yield label, "\n".join(lines)


def _canvas_of(words: str, envelope: bytes) -> type[Numbered]:
    class Attaching(Numbered):
        footer = words

        def attach(self) -> None:
            attach(self, ATTACHED, envelope)

    return Attaching
