"""From news to one message for one person: what is in it, in which order, and its words. Pure.

The most pressing comes first: what runs, then what is in production, then what is known to be exploited, then the
severity. Everything that a tool or a person wrote is cleaned for the subject and escaped for HTML.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from msgspec import Struct

from secguard.notifications.kinds import Kind

MAX_SUBJECT = 160
"""Characters of a message's subject; what is longer is cut, and many readers show fewer."""

MAX_LINES = 25
"""Lines of one kind in one message; the rest is a number and a link."""

MAX_TEXT = 300
"""Characters of one part of a line."""


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is told: ``what`` it is, ``where``, and what else there is to say (``note``).

    ``key`` is the thing's identity within its kind: the same is told to the same person once. ``url`` is a path on
    this site. ``weight`` is that of ``weigh``.
    """

    key: str
    what: str
    where: str = ""
    note: str = ""
    url: str = ""
    severity: str = ""
    known_exploited: bool = False
    is_running: bool = False
    is_production: bool = False
    weight: int = 0


def weigh(
    *, is_running: bool = False, is_production: bool = False, known_exploited: bool = False, rank: int = 0
) -> int:
    """How pressing something is: running before production before known exploitation before severity.

    ``rank`` is the severity's place on its scale, 0 to 9.
    """
    return 1000 * is_running + 100 * is_production + 10 * known_exploited + min(max(rank, 0), 9)


@dataclass(frozen=True, slots=True)
class News:
    """The lines of one kind that a person is told together; ``total`` counts also those that are not in ``lines``."""

    kind: Kind
    lines: Sequence[Line]
    total: int


@dataclass(frozen=True, slots=True)
class Attachment:
    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Letter:
    """A message in words: subject, plain text and HTML; and the files beside it."""

    subject: str
    text: str
    html: str
    attachments: tuple[Attachment, ...] = ()


def plain(text: str, most: int = MAX_TEXT) -> str:
    """``text`` on one line, without characters that control or hide (line breaks, NUL, changes of direction)."""
    kept = "".join(" " if unicodedata.category(c) in _UNSEEN else c for c in text[: 4 * most])
    line = " ".join(kept.split())
    return line if len(line) <= most else f"{line[: most - 1].rstrip()}…"


# Control, format (among them what turns the direction of writing), surrogate, private, unassigned; separators.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def headline(line: Line) -> str:
    """``CVE-2026-1 in openssl (critical, known exploited), running in shop/api``."""
    marks = [m for m in (line.severity, "known exploited" if line.known_exploited else "") if m]
    what = plain(line.what) + (f" ({', '.join(map(plain, marks))})" if marks else "")
    return f"{what}, {_place(line)}" if line.where else what


def _place(line: Line) -> str:
    if line.is_running:
        return f"running in {plain(line.where)}"
    return f"in {plain(line.where)}"


def subject_of(kind: Kind, top: Line, total: int) -> str:
    """News in one sentence: the most pressing line, which is of ``kind``, and how many more there are."""
    more = f" and {total - 1:,} more" if total > 1 else ""
    lead = f"{kind.lead}: " if kind.lead else ""
    return plain(f"{lead}{headline(top)}", MAX_SUBJECT - len(more)) + more


def ordered(news: Iterable[News]) -> list[News]:
    """One entry a kind, each with its lines, the most pressing first in both; a line comes once, lines may be none."""
    found: dict[str, News] = {}
    for one in news:
        had = found.get(one.kind.name)
        lines = {line.key: line for line in (*(had.lines if had else ()), *one.lines)}
        total = one.total + (had.total if had else 0)
        ranked = sorted(lines.values(), key=lambda li: (-li.weight, li.what, li.where, li.key))
        found[one.kind.name] = News(one.kind, ranked, max(total, len(ranked)))
    shown = [one for one in found.values() if one.lines]
    return sorted(shown, key=lambda n: (-n.lines[0].weight, n.kind.order, n.kind.name))


def compose(news: Iterable[News], *, base_url: str, name: str = "") -> Letter | None:
    """The one message about all of ``news``; ``None`` where there is nothing to tell.

    ``base_url`` is this site's public address without a last slash, ``name`` whom it greets.
    """
    groups = ordered(news)
    if not groups:
        return None
    total = sum(g.total for g in groups)
    subject = subject_of(groups[0].kind, groups[0].lines[0], total)  # of all kinds: the message is about all of it
    link = _linker(base_url)
    return Letter(f"[SecGuard] {subject}", _text(groups, link, name), _html(groups, link, name, subject))


Link = Callable[[str], str]


def _linker(base_url: str) -> Link:
    def link(path: str) -> str:
        """Absolute; nothing where ``path`` is not one of this site."""
        return f"{base_url}{path}" if is_own_path(path) else ""

    return link


def is_own_path(path: str) -> bool:
    """Whether ``path`` stays on this site: one slash at its beginning (two name another host), nothing unseen."""
    return path.startswith("/") and not path.startswith(("//", "/\\")) and plain(path, 2_000) == path


def _greeting(name: str) -> str:
    return f"Hello {plain(name, 100)}," if name.strip() else "Hello,"


_WHY = "You get this because you work in the team that owns these, or because you asked or are asked to decide."


def _text(groups: Sequence[News], link: Link, name: str) -> str:
    parts = [_greeting(name)]
    for group in groups:
        parts.append("\n".join((f"{group.kind.heading} ({group.total:,})", *_text_lines(group, link))))
    parts.append(f"All of it: {link('/notifications/')}")
    parts.append(f"-- \n{_WHY}\nHow and when you are told: {link('/notifications/settings/')}")
    return "\n\n".join(parts) + "\n"


def _text_lines(group: News, link: Link) -> Iterable[str]:
    for line in group.lines[:MAX_LINES]:
        yield f"- {headline(line)}"
        if line.note:
            yield f"  {plain(line.note)}"
        if url := link(line.url):
            yield f"  {url}"
    if more := group.total - min(len(group.lines), MAX_LINES):
        where = link(group.kind.url) or link("/notifications/")
        yield f"  and {more:,} more: {where}"


_STYLE = (
    "font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-size:15px;line-height:1.5;"
    "max-width:44rem;margin:0 auto;padding:1rem"
)


def _html(groups: Sequence[News], link: Link, name: str, subject: str) -> str:
    body = "".join(_html_group(group, link) for group in groups)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f'<title>{_safe(subject)}</title></head><body style="{_STYLE}"><p>{_safe(_greeting(name))}</p>{body}'
        f"<p>{_anchor(link('/notifications/'), 'All of it')}</p>"
        f'<hr><p style="font-size:13px">{_safe(_WHY)} '
        f"{_anchor(link('/notifications/settings/'), 'How and when you are told')}</p></body></html>"
    )


def _html_group(group: News, link: Link) -> str:
    lines = "".join(_html_line(line, link) for line in group.lines[:MAX_LINES])
    more = group.total - min(len(group.lines), MAX_LINES)
    rest = f"<p>{_anchor(link(group.kind.url) or link('/notifications/'), f'and {more:,} more')}</p>" if more else ""
    return (
        f'<h2 style="font-size:17px;margin:1.5rem 0 .5rem">{_safe(group.kind.heading)} ({group.total:,})</h2>'
        f'<ul style="padding-left:1.2rem;margin:0">{lines}</ul>{rest}'
    )


def _html_line(line: Line, link: Link) -> str:
    marks = [m for m in (line.severity, "known exploited" if line.known_exploited else "") if m]
    words = _anchor(link(line.url), line.what)
    if marks:
        words += f" <strong>({_safe(', '.join(marks))})</strong>"
    if line.where:
        words += f", {'<strong>running</strong> ' if line.is_running else ''}in {_safe(line.where)}"
    note = f'<br><span style="font-size:13px">{_safe(line.note)}</span>' if line.note else ""
    return f'<li style="margin:.35rem 0">{words}{note}</li>'


def _anchor(url: str, words: str) -> str:
    return f'<a href="{html.escape(url)}">{_safe(words)}</a>' if url else _safe(words)


def _safe(text: str) -> str:
    return html.escape(plain(text))
