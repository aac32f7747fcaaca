"""From news to the body that a channel's receiver understands. Pure.

Everything that a tool or a person wrote is made plain first (``digest.plain``), and then written so that the receiver
takes it for text: nobody is mentioned, and nothing links to where we did not say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import msgspec
from msgspec import Struct

from secguard.notifications import digest
from secguard.notifications.digest import Line, headline, plain
from secguard.notifications.kinds import Kind


class Format(StrEnum):
    SECGUARD = "secguard"
    SLACK = "slack"
    TEAMS = "teams"


MAX_LINES = 200
"""Lines in a document of ours; the rest is a number."""

CHAT_LINES = 20
"""Lines that people are shown in a chat."""

SLACK_HEADER, SLACK_SECTION, SLACK_WHOLE = 150, 2_900, 11_000
"""Characters: Slack refuses a header past 150, a section past 3,000, and messages from about 13,000 on."""

TEAMS_BYTES = 20_000
"""Teams refuses messages past 28 KB, and counts what it adds itself."""


@dataclass(frozen=True, slots=True)
class Post:
    """What one message tells: lines of one kind, the most pressing first, about one team's things or everybody's."""

    id: str
    kind: Kind
    lines: Sequence[Line]
    total: int
    created_at: datetime
    team: str = ""
    is_test: bool = False

    @property
    def heading(self) -> str:
        return self.kind.shared or self.kind.heading

    @property
    def subject(self) -> str:
        return digest.subject_of(self.kind, self.lines[0], self.total) if self.lines else self.heading


# --- our own ---


class Thing(Struct, frozen=True):
    """One thing that is told; ``url`` is its page here, empty where it has none."""

    what: str
    where: str
    note: str
    url: str
    severity: str
    known_exploited: bool
    is_running: bool
    is_production: bool


class Data(Struct, frozen=True):
    """``total`` counts also the things that are not in ``lines``; ``team`` is empty for the organisation's things."""

    id: str
    heading: str
    subject: str
    team: str
    url: str
    total: int
    is_test: bool
    lines: list[Thing]


class Document(Struct, frozen=True):
    """What a channel of the format ``secguard`` posts. ``type`` is the kind of news; ``timestamp`` when it came."""

    type: str
    timestamp: datetime
    data: Data
    version: Literal[1] = 1


def schema() -> dict[str, Any]:
    """The JSON Schema of our own format."""
    made: dict[str, Any] = msgspec.json.schema(Document)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "SecGuard notification", **made}


def _document(post: Post, base_url: str) -> bytes:
    link = _linker(base_url)
    things = [
        Thing(
            what=plain(line.what),
            where=plain(line.where),
            note=plain(line.note),
            url=link(line.url),
            severity=plain(line.severity),
            known_exploited=line.known_exploited,
            is_running=line.is_running,
            is_production=line.is_production,
        )
        for line in post.lines[:MAX_LINES]
    ]
    data = Data(
        id=post.id,
        heading=post.heading,
        subject=post.subject,
        team=post.team,
        url=_all_of_it(post, link),
        total=post.total,
        is_test=post.is_test,
        lines=things,
    )
    return msgspec.json.encode(Document(type=post.kind.name, timestamp=post.created_at, data=data))


# --- Slack ---


def _slack(post: Post, base_url: str) -> bytes:
    link = _linker(base_url)
    texts = [_slack_line(line, link) for line in post.lines[:CHAT_LINES]]
    kept = texts[: _fitting(map(len, texts), SLACK_WHOLE)]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": plain(_title(post), SLACK_HEADER), "emoji": False}}
    ]
    blocks += [_slack_text("section", text) for text in _joined(kept, SLACK_SECTION)]
    blocks.append(_slack_context(_rest(post, len(kept)), _all_of_it(post, link)))
    return msgspec.json.encode({"text": _slack_escaped(post.subject), "blocks": blocks})


def _slack_line(line: Line, link: Callable[[str], str]) -> str:
    url, what = link(line.url), _slack_escaped(plain(line.what))
    text = f"• <{_slack_escaped(url)}|{what}>" if url else f"• {what}"
    rest = _slack_escaped(headline(line)[len(plain(line.what)) :])
    return f"{text}{rest}" + (f"\n    {_slack_escaped(plain(line.note))}" if line.note else "")


def _slack_escaped(text: str) -> str:
    """``<!channel>`` would call everybody: what Slack reads as markup is written as text (its "Escaping text")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _slack_text(kind: str, text: str) -> dict[str, Any]:
    # "verbatim": names and addresses in the text are left alone.
    return {"type": kind, "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _slack_context(rest: str, url: str) -> dict[str, Any]:
    words = f"{_slack_escaped(rest)} " if rest else ""
    element = {"type": "mrkdwn", "text": f"{words}<{_slack_escaped(url)}|Open in SecGuard>", "verbatim": True}
    return {"type": "context", "elements": [element]}


def _joined(texts: Sequence[str], most: int) -> Iterator[str]:
    """The texts, one a line, in as few pieces as there may be of ``most`` characters."""
    piece = ""
    for text in texts:
        if piece and len(piece) + 1 + len(text) > most:
            yield piece
            piece = ""
        piece = f"{piece}\n{text}" if piece else text[:most]
    if piece:
        yield piece


# --- Teams ---


def _teams(post: Post, base_url: str) -> bytes:
    """A message with an Adaptive Card. Lines are runs of rich text, in which nothing is read as Markdown."""
    link = _linker(base_url)
    shown = list(post.lines[:CHAT_LINES])
    while True:
        body = msgspec.json.encode(_teams_message(post, shown, link))
        if len(body) <= TEAMS_BYTES or not shown:
            return body
        shown.pop()


def _teams_message(post: Post, lines: Sequence[Line], link: Callable[[str], str]) -> dict[str, Any]:
    body = [_rich([{"type": "TextRun", "text": _title(post), "weight": "Bolder", "size": "Large"}])]
    body += [_rich(list(_teams_runs(line, link))) for line in lines]
    if rest := _rest(post, len(lines)):
        body.append(_rich([{"type": "TextRun", "text": rest, "isSubtle": True}]))
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "actions": [{"type": "Action.OpenUrl", "title": "Open in SecGuard", "url": _all_of_it(post, link)}],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _rich(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": runs}


def _teams_runs(line: Line, link: Callable[[str], str]) -> Iterator[dict[str, Any]]:
    what = plain(line.what)
    first: dict[str, Any] = {"type": "TextRun", "text": what, "weight": "Bolder"}
    if url := link(line.url):
        first["selectAction"] = {"type": "Action.OpenUrl", "url": url}
    yield first
    if rest := headline(line)[len(what) :]:
        yield {"type": "TextRun", "text": rest}
    if line.note:
        yield {"type": "TextRun", "text": f"\n{plain(line.note)}", "isSubtle": True}


# --- all of them ---

_WRITERS: dict[Format, Callable[[Post, str], bytes]] = {
    Format.SECGUARD: _document,
    Format.SLACK: _slack,
    Format.TEAMS: _teams,
}


def body_of(post: Post, format_: Format, *, base_url: str) -> bytes:
    """The JSON that is posted. ``base_url`` is this site's public address without a last slash."""
    return _WRITERS[format_](post, base_url)


def _linker(base_url: str) -> Callable[[str], str]:
    def link(path: str) -> str:
        return f"{base_url}{path}" if digest.is_own_path(path) else ""

    return link


def _title(post: Post) -> str:
    test = "Test: " if post.is_test else ""
    team = f" ({plain(post.team, 60)})" if post.team else ""
    return f"{test}{post.heading}{team}"


def _all_of_it(post: Post, link: Callable[[str], str]) -> str:
    return link(post.kind.url) or link("/notifications/")


def _rest(post: Post, shown: int) -> str:
    more = post.total - shown
    return f"and {more:,} more." if more > 0 else ""


def _fitting(sizes: Iterator[int], most: int) -> int:
    """How many of them fit, from the first on."""
    used = count = 0
    for size in sizes:
        used += size + 1
        if used > most:
            break
        count += 1
    return count
