"""What is hostile stays text, whoever shows it."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.trackers.wording import Code, Place, Story, Text, adf, body, cleaned, headline, markdown, note, wiki

HOSTILE = (
    "@org/security see #1 and GH-2 <!-- hidden --> --> <img src=x onerror=alert(1)> ![x](https://evil.example/a.png) "
    "[click](javascript:alert(1)) [~admin] {code}x{code} !https://evil.example/x.png! h1. big | *b* ~~s~~ `c` "
    "fixes https://github.com/org/repo/issues/3 www.evil.example \u202e txt\r\n- new line"
)


def story(**changed: Any) -> Story:
    values: dict[str, Any] = {
        "name": "CVE-2026-0001", "kind": "vulnerability", "severity": "critical", "where": "pkg:deb/debian/openssl",
        "title": HOSTILE, "url": "https://secguard.example.org/risks/1/", "marker": "secguard0123", "due": "2026-12-01",
        "places": (Place("reg.example/shop/api", "sha256:" + "a" * 64, "1.1.1n", "1.1.1w"),), "total": 1,
    }  # fmt: skip
    return Story(**values | changed)


def plain(marked: str) -> str:
    """Without code spans, in which nothing is read, and without escapes."""
    return re.sub(r"\\(.)", r"\1", re.sub(r"`[^`\n]*`", "", marked))


def test_an_issue_says_what_to_do_and_leads_back() -> None:
    said = markdown(body(story()))
    for part in (
        "critical",
        "`1.1.1n` to `1.1.1w`",
        "2026\\-12\\-01",
        "<https://secguard.example.org/risks/1/>",
        "`secguard0123`",
    ):
        assert part in said
    assert headline(story()) == "Critical: CVE-2026-0001 in pkg:deb/debian/openssl"


def test_markdown_mentions_nobody_and_refers_to_nothing() -> None:
    said = markdown(body(story(places=())))
    shown = plain(said)
    assert not re.search(r"@\w", shown)
    assert not re.search(r"#\d", shown)
    assert not re.search(r"(?i)\bgh-\d", shown)
    assert re.findall(r"https?://[^\s>]+", shown) == ["https://secguard.example.org/risks/1/"]
    assert "www.evil" not in shown
    assert re.findall(r"(?<!\\)<(?!https://secguard)", said) == []
    assert "\u202e" not in said
    assert "\n- new line" not in said


def test_wiki_markup_has_none_but_ours() -> None:
    said = wiki(body(story()))
    ours = re.sub(r"\{\{[^{}]*\}\}|\[https://secguard\.example\.org/risks/1/\]", "", said)
    assert not re.search(r"[\[\]{}!|~@\\]", ours)
    title = next(line for line in said.splitlines() if line.startswith("*Title&#58;*"))
    assert cleaned(HOSTILE) in html.unescape(title)


def test_atlassians_format_holds_text_nodes_alone() -> None:
    kinds = set()

    def walk(node: Any) -> None:
        kinds.add(node["type"])
        assert node["type"] != "text" or node["text"]
        for mark in node.get("marks", ()):
            assert (
                mark["type"] in ("strong", "code") or mark["attrs"]["href"] == "https://secguard.example.org/risks/1/"
            )
        for inner in node.get("content", ()):
            walk(inner)

    walk(adf(body(story(where="", title="@all"))))
    assert kinds == {"doc", "paragraph", "bulletList", "listItem", "text"}


def test_long_lists_and_texts_are_cut() -> None:
    places = tuple(Place(f"reg.example/shop/{n}", "sha256:" + "b" * 64) for n in range(20))
    said = story(places=places, total=4_000, title="x" * 100_000, name="N" * 5_000)
    for text in (markdown(body(said)), wiki(body(said))):
        assert len(text) < 32_000
        assert "3980 more" in text
    assert len(headline(said)) <= 200


@pytest.mark.parametrize("word", ["fixed", "accepted", "open", "linked"])
def test_a_comment_says_what_happened_and_leads_back(word: str) -> None:
    for said in (markdown(note(word, story())), wiki(note(word, story())), str(adf(note(word, story())))):
        assert "https://secguard.example.org/risks/1/" in said


@given(st.text(max_size=200))
def test_whatever_the_text_its_markup_stays_ours(text: str) -> None:
    said = markdown([(Text(text),), (Code(text),)])
    spans, code = said.rstrip("\n").rsplit("\n\n", 1) if "\n\n" in said else ("", said.strip())
    assert not re.search(r"(?<!\\)[<`*_\[\]@#](?!\u200b)", re.sub(r"\\\\", "", spans))
    assert code.count("`") == 2
    assert not re.search(r"[\[\]{}!|@*]", wiki([(Text(text),)]))
    assert "\n" not in wiki([(Text(text),)])


@given(st.text(max_size=300))
def test_text_is_cleaned_once_and_for_all(text: str) -> None:
    once = cleaned(text)
    assert cleaned(once) == once
    assert once.isprintable()
