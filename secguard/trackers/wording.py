"""What an issue says, in the markup of whoever shows it. Pure.

Names, titles and paths come from scanners, advisories and images: hostile. So text and markup are kept apart until the
end (``Text``, ``Code``, ``Link``), and each writer escapes at one place: nobody is mentioned, no other issue is
referred to, nothing becomes markup, and no address that is not ours becomes a link.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SHOWN = 20
"""Places that are listed; the page has all of them."""

MAX_TITLE = 200
MAX_WORDS = 500
_BREAK = "\u200b"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&$:])")
_WIKI = re.compile(r"[^\w\s.,;/=%$\"'`]", re.ASCII)
_REFERENCE = re.compile(r"(?i)\b(gh)(?=-\d)")


@dataclass(frozen=True, slots=True)
class Text:
    text: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    text: str


@dataclass(frozen=True, slots=True)
class Link:
    """An address of our own."""

    text: str
    url: str


Span = Text | Code | Link
Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Bullets:
    lines: tuple[Line, ...]


Document = Sequence[Line | Bullets]


@dataclass(frozen=True, slots=True)
class Place:
    """One repository of the team in whose newest image the risk stands."""

    repository: str
    digest: str
    installed: str = ""
    upgrade: str = ""


@dataclass(frozen=True, slots=True)
class Story:
    """What is told of one risk in one team's things; nothing of anybody else's."""

    name: str
    kind: str
    severity: str
    where: str
    title: str
    url: str
    marker: str
    places: tuple[Place, ...] = ()
    total: int = 0
    due: str = ""
    is_exploited: bool = False
    remediation: str = ""


def cleaned(text: str, most: int = MAX_WORDS) -> str:
    """On one line, without what cannot be seen (controls, marks that turn the writing round), cut to ``most``."""
    seen = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return seen if len(seen) <= most else seen[: most - 1].rstrip() + "…"


def headline(story: Story) -> str:
    """The issue's title: no tracker reads markup in it."""
    where = f" in {cleaned(story.where, 100)}" if story.where else ""
    return cleaned(f"{story.severity.capitalize()}: {cleaned(story.name, 80)}{where}", MAX_TITLE)


def body(story: Story) -> Document:
    """What a new issue says."""
    known = ", known to be exploited" if story.is_exploited else ""
    found: list[Line | Bullets] = [
        (Text("What: ", strong=True), Text(f"{story.name} ({story.kind}) in "), Code(story.where or "–")),
        (Text("Severity: ", strong=True), Text(f"{story.severity}{known}")),
    ]
    if story.title:
        found.append((Text("Title: ", strong=True), Text(story.title)))
    if story.due:
        found.append((Text("Fix by: ", strong=True), Text(story.due)))
    found.append((Text("Upgrade: ", strong=True), *_upgrades(story)))
    if story.remediation:
        found.append((Text("What to do: ", strong=True), Text(story.remediation)))
    if story.places:
        found += [(Text("Where it stands:", strong=True),), Bullets(tuple(_place(p) for p in story.places[:SHOWN]))]
    if story.total > SHOWN:
        found.append((Text(f"and {story.total - SHOWN} more."),))
    found.append((Text("In SecGuard: ", strong=True), Link(story.url, story.url)))
    found.append((Text("Reference: "), Code(story.marker)))
    return found


def _upgrades(story: Story) -> Line:
    found = list(dict.fromkeys((p.installed, p.upgrade) for p in story.places if p.upgrade))[:5]
    if not found:
        return (Text("no fixed version is known"),)
    spans: list[Span] = []
    for installed, upgrade in found:
        spans += [Text(", " if spans else ""), Code(installed or "–"), Text(" to "), Code(upgrade)]
    return tuple(spans)


def _place(place: Place) -> Line:
    spans: list[Span] = [Code(place.repository), Text(" at "), Code(place.digest)]
    if place.installed:
        spans += [Text(", has "), Code(place.installed)]
    if place.upgrade:
        spans += [Text(", fixed in "), Code(place.upgrade)]
    return tuple(spans)


_TOLD = {
    "fixed": "SecGuard no longer finds this in the newest image of any of the team's repositories.",
    "accepted": "In SecGuard a decision in force now covers this everywhere it stands in the team's repositories.",
    "open": "SecGuard finds this again, or the decision that covered it no longer counts.",
    "linked": "SecGuard follows this issue now.",
}


def note(word: str, story: Story) -> Document:
    """A comment: the finding was ``fixed`` or ``accepted``, is ``open`` again, or the issue was ``linked``."""
    said: list[Line | Bullets] = [(Text(_TOLD[word]),)]
    if word == "linked":
        said.append((Text(f"{story.severity.capitalize()}: {story.name} in "), Code(story.where or "–")))
        said.append((Text("Upgrade: ", strong=True), *_upgrades(story)))
    return [*said, (Text("In SecGuard: "), Link(story.url, story.url))]


# --- GitHub's Markdown ---


def markdown(document: Document) -> str:
    parts = []
    for block in document:
        if isinstance(block, Bullets):
            parts.append("\n".join("- " + _md_line(line) for line in block.lines))
        else:
            parts.append(_md_line(block))
    return "\n\n".join(parts) + "\n"


def _md_line(line: Line) -> str:
    return "".join(_md_span(span) for span in line)


def _md_span(span: Span) -> str:
    if isinstance(span, Link):
        return f"<{span.url}>"
    if isinstance(span, Code):
        return f"`{_spaced(span.text).replace('`', chr(39))}`"
    said = _md_text(span.text)
    return f"**{said.strip()}**" + " " * said.endswith(" ") if span.strong else said


def _md_text(text: str) -> str:
    """Entities do not stop GitHub from finding names and numbers to refer to, it looks at the text that is shown: an
    invisible character between does."""
    said = _REFERENCE.sub(rf"\1{_BREAK}", _spaced(text)).replace("www.", f"www{_BREAK}.")
    said = said.replace("@", f"@{_BREAK}").replace("#", f"#{_BREAK}").replace("://", f":{_BREAK}//")
    return _MARKDOWN.sub(r"\\\1", said)


def _spaced(text: str) -> str:
    """``cleaned``, but a space at an end stays: spans stand beside each other."""
    inner = cleaned(text)
    return " " * text.startswith(" ") + inner + " " * (text.endswith(" ") and bool(inner))


# --- Jira's wiki markup (Data Center, REST API 2) ---


def wiki(document: Document) -> str:
    parts = []
    for block in document:
        if isinstance(block, Bullets):
            parts.append("\n".join("* " + _wiki_line(line) for line in block.lines))
        else:
            parts.append(_wiki_line(block))
    return "\n\n".join(parts)


def _wiki_line(line: Line) -> str:
    return "".join(_wiki_span(span) for span in line)


def _wiki_span(span: Span) -> str:
    if isinstance(span, Link):
        return f"[{span.url}]"
    said = _wiki_text(span.text)
    if isinstance(span, Code):
        return "{{" + said + "}}"
    return f"*{said.strip()}*" + " " * said.endswith(" ") if span.strong else said


def _wiki_text(text: str) -> str:
    """Whatever could be markup as a character reference: a backslash would show where nothing is to be escaped."""
    return _WIKI.sub(lambda found: f"&#{ord(found[0])};", _spaced(text))


# --- Atlassian Document Format (Cloud, REST API 3) ---


def adf(document: Document) -> dict[str, Any]:
    """Text nodes hold text and nothing else: a mention would be a node of its own."""
    return {"version": 1, "type": "doc", "content": [_adf_block(block) for block in document]}


def _adf_block(block: Line | Bullets) -> dict[str, Any]:
    if isinstance(block, Bullets):
        items = [{"type": "listItem", "content": [_adf_paragraph(line)]} for line in block.lines]
        return {"type": "bulletList", "content": items}
    return _adf_paragraph(block)


def _adf_paragraph(line: Line) -> dict[str, Any]:
    return {"type": "paragraph", "content": [node for span in line if (node := _adf_span(span))["text"]]}


def _adf_span(span: Span) -> dict[str, Any]:
    if isinstance(span, Link):
        return {"type": "text", "text": span.url, "marks": [{"type": "link", "attrs": {"href": span.url}}]}
    node: dict[str, Any] = {"type": "text", "text": _spaced(span.text)}
    if isinstance(span, Code):
        node["marks"] = [{"type": "code"}]
    elif span.strong:
        node["marks"] = [{"type": "strong"}]
    return node
