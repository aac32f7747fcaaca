"""A report as PDF, for an auditor: the same as the JSON, which lies in the file as an attachment. Pure.

What is printed is bounded: the worst measurements first, and how many more the attachment has.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, HRFlowable, KeepTogether, SimpleDocTemplate, Spacer, Table, TableStyle

from secguard.compliance.report import canonical, evidence, exception
from secguard.compliance.showing import TONES, WORDS, came_later
from secguard.compliance.standing import BY_WORD, State
from secguard.web.paper import BAD, BOLD, GOOD, QUIET, RULE, TINT, WARN, WIDTH, Numbered, attach, register, style, text

ATTACHED: Final = "report.json"
PRINTED: Final = 600
"""So many measurements are printed."""
MAX_CELL: Final = 1_500
_COLORS: Final = {"good": GOOD, "warn": WARN, "bad": BAD, "muted": QUIET}
_LABEL: Final = 33 * mm


def document(report: Mapping[str, Any]) -> bytes:
    """The PDF of a report as ``services.make_report`` gives it. The same in gives the same bytes."""
    register()
    content, out = report["content"], io.BytesIO()
    framework = content["framework"]
    made = SimpleDocTemplate(
        out,
        pagesize=A4,
        leftMargin=18 * mm,
        rightMargin=18 * mm,
        topMargin=18 * mm,
        bottomMargin=20 * mm,
        title=f"{framework['title']}, {content['day']}",
        author="SecGuard",
        invariant=1,
    )
    footer = f"{framework['name']} {framework['number']} · {content['day']} · SHA-256 {report['sha256'][:16]}…"
    made.build(list(_story(report)), canvasmaker=_canvas_of(footer, canonical(report)))
    return out.getvalue()


def _canvas_of(words: str, attachment: bytes) -> type[Numbered]:
    class Attaching(Numbered):
        footer = words

        def attach(self) -> None:
            attach(self, ATTACHED, attachment)

    return Attaching


def _story(report: Mapping[str, Any]) -> Iterator[Flowable]:
    content = report["content"]
    framework = content["framework"]
    yield text(framework["title"], style(18, BOLD, after=2))
    yield text(f"How it stood on {content['day']}", style(10, color=QUIET, after=8))
    if later := came_later(*map(datetime.fromisoformat, (framework["valid_from"], content["at"]))):
        yield text(later, style(9, after=6))
    yield _tiles(content["standing"])
    yield Spacer(1, 4 * mm)
    yield _facts(report)
    said = (
        f"The JSON of this report is attached to this file as {ATTACHED}; the SHA-256 is of its `content`, with sorted "
        "keys and no blanks. A control passes only where it passes for every application of the scope. What is not "
        "measured, and what an approved decision covers, never counts as pass. Characters that cannot be printed here "
        "are written as their code points: ⟨U+4E2D⟩."
    )
    yield text(said, style(7.5, color=QUIET, after=4))
    yield from _head(f"Controls ({len(content['controls'])})")
    for control in content["controls"]:
        yield _control(control)
    yield from _exceptions(content["measures"])
    yield from _measures(content["measures"], content["measures_total"])


def _tiles(standing: Mapping[str, int]) -> Table:
    """Controls by state, each as a word and a number."""
    cells = []
    for state in State:
        color = _COLORS[TONES[state]]
        number = f"{standing[state.word.replace('-', '_')]:,}"
        cells.append([text(WORDS[state], style(8, color=QUIET)), text(number, style(14, BOLD, color))])
    table = Table([cells], colWidths=[WIDTH / len(cells)] * len(cells))
    looks = [
        ("BACKGROUND", (0, 0), (-1, -1), TINT),
        ("BOX", (0, 0), (-1, -1), 0.5, RULE),
        ("INNERGRID", (0, 0), (-1, -1), 0.5, RULE),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
    table.setStyle(TableStyle(looks))
    return table


def _facts(report: Mapping[str, Any]) -> Table:
    content = report["content"]
    framework, scope = content["framework"], content["scope"]
    of = [f"{what} {scope[what]}" for what in ("team", "application") if scope[what]]
    whole = "every application" if scope["is_whole"] else "every application that the reader may see"
    return _pairs(
        [
            ("Framework", f"{framework['name']}, version {framework['number']} ({framework['version']})"),
            ("Source", framework["source"]),
            ("Digest of its text", framework["digest"]),
            ("As of", content["at"]),
            ("Scope", ", ".join(of) or whole),
            ("SHA-256 of the content", report["sha256"]),
            ("Made", f"{report['made_at']} for {report['made_for']}"),
        ]
    )


def _head(words: str) -> list[Flowable]:
    return [
        Spacer(1, 4 * mm),
        text(words, style(11.5, BOLD, after=2)),
        HRFlowable(width="100%", thickness=0.6, color=RULE, spaceAfter=3),
    ]


def _control(control: Mapping[str, Any]) -> Flowable:
    state, counts = BY_WORD[control["state"]], control["counts"]
    said = ", ".join(f"{counts[s.word.replace('-', '_')]:,} {WORDS[s].lower()}" for s in State)
    measured = (
        "Checks: " + ", ".join(control["checks"]) if control["checks"] else f"Not measured: {control['unmeasured']}"
    )
    left = [text(f"{control['id']}  {control['title']}", style(9, BOLD)), *_cut(measured, style(7.5, color=QUIET))]
    right = [text(WORDS[state], style(9, BOLD, _COLORS[TONES[state]])), text(said, style(7.5, color=QUIET))]
    table = Table([[left, right]], colWidths=[WIDTH * 0.68, WIDTH * 0.32])
    table.setStyle(TableStyle([*_PLAIN, ("LINEBELOW", (0, 0), (-1, -1), 0.25, RULE)]))
    return KeepTogether([table])


def _exceptions(measures: Sequence[Mapping[str, Any]]) -> Iterator[Flowable]:
    """Every decision and waiver once, with where it covers something."""
    where: dict[str, list[str]] = {}
    for measure in measures:
        for one in measure["exceptions"]:
            where.setdefault(exception(one), []).append(f"{measure['check']} of {measure['application']}")
    yield from _head(f"Exceptions and who decided ({len(where)})")
    if not where:
        yield text("None.", style(color=QUIET))
    for said, places in list(where.items())[:PRINTED]:
        more = f" and {len(places) - 20:,} more" if len(places) > 20 else ""
        yield text(said[:1].upper() + said[1:], style(8.5, BOLD))
        yield text(f"{', '.join(places[:20])}{more}", style(7.5, color=QUIET, after=3))


def _measures(measures: Sequence[Mapping[str, Any]], total: int) -> Iterator[Flowable]:
    yield from _head(f"Evidence ({total:,} measurements)")
    for one in measures[:PRINTED]:
        state = BY_WORD[one["state"]]
        yield KeepTogether(
            [
                text(f"{one['check']} of {one['application']}: {WORDS[state].lower()}", style(8.5, BOLD)),
                *_cut(f"{one['says']} Measurement {one['id']}, the same since {one['since']}.", style(8)),
                *(part for said in evidence(one) for part in _cut(said, style(7, color=QUIET))),
                *(text(exception(e), style(7.5, color=WARN)) for e in one["exceptions"]),
                Spacer(1, 1.5 * mm),
            ]
        )
    if total > PRINTED:
        yield text(
            f"{total - PRINTED:,} more are not printed; the attachment has {len(measures):,}.", style(color=QUIET)
        )


_PLAIN: Final = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 4),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
]


def _pairs(rows: Sequence[tuple[str, str]]) -> Table:
    cells = [[text(label, style(8, color=QUIET)), text(words[:MAX_CELL], style())] for label, words in rows]
    table = Table(cells, colWidths=[_LABEL, WIDTH - _LABEL])
    table.setStyle(TableStyle([*_PLAIN, ("LINEBELOW", (0, 0), (-1, -2), 0.25, TINT)]))
    return table


def _cut(words: str, look: Any) -> list[Flowable]:
    """A long text in pieces: a paragraph is never higher than a page."""
    return [text(words[start : start + MAX_CELL], look) for start in range(0, len(words), MAX_CELL)] or []
