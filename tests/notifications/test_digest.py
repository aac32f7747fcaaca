"""One message about everything: its order, its bound, its words, and that nothing in it is anything but text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.notifications import kinds
from secguard.notifications.digest import (
    MAX_LINES,
    MAX_SUBJECT,
    Line,
    News,
    compose,
    headline,
    is_own_path,
    ordered,
    plain,
    subject_of,
    weigh,
)
from secguard.notifications.kinds import Kind

BASE = "https://secguard.example.org"
FLAW = Kind("test-flaw", "New flaws", "New flaw", 0, "/risks/open/")
WAITS = Kind("test-waits", "Requests that wait for you", "Waits for you", 20, "/decisions/queue/")

texts = st.text(max_size=400)
lines = st.builds(
    Line,
    key=texts,
    what=texts,
    where=texts,
    note=texts,
    url=st.one_of(st.just("/images/1/"), texts),
    severity=st.sampled_from(["", "high", "critical"]),
    known_exploited=st.booleans(),
    is_running=st.booleans(),
    is_production=st.booleans(),
    weight=st.integers(0, 1119),
)


def line(key: str, **facts: object) -> Line:
    return Line(key=key, what=f"CVE-{key}", weight=weigh(**facts), is_running=bool(facts.get("is_running")))  # type: ignore[arg-type]


def test_what_runs_comes_before_production_before_known_exploitation_before_severity() -> None:
    wanted = [
        weigh(is_running=True, is_production=True, known_exploited=True, rank=5),
        weigh(is_running=True, rank=4),
        weigh(is_production=True, known_exploited=True, rank=4),
        weigh(is_production=True, rank=5),
        weigh(known_exploited=True, rank=1),
        weigh(rank=5),
        weigh(rank=4),
    ]
    assert wanted == sorted(wanted, reverse=True)


@given(st.lists(lines, max_size=30), st.lists(lines, max_size=30))
def test_each_line_comes_once_and_the_most_pressing_first(some: list[Line], others: list[Line]) -> None:
    groups = ordered([News(FLAW, some, len(some)), News(WAITS, others, len(others)), News(FLAW, some, len(some))])
    for group in groups:
        keys = [li.key for li in group.lines]
        assert len(keys) == len(set(keys))
        weights = [li.weight for li in group.lines]
        assert weights == sorted(weights, reverse=True)
    tops = [group.lines[0].weight for group in groups]
    assert tops == sorted(tops, reverse=True)
    assert {g.kind.name for g in groups} == {k.name for k, li in ((FLAW, some), (WAITS, others)) if li}


@given(st.lists(lines, min_size=1, max_size=40), texts)
def test_a_message_is_text_whatever_is_in_it(some: list[Line], name: str) -> None:
    letter = compose([News(FLAW, some, len(some))], base_url=BASE, name=name)
    assert letter is not None
    assert len(letter.subject) <= MAX_SUBJECT + len("[SecGuard] ")
    assert not re.search(r"[\x00-\x1f\x7f\u2028\u2029\u202e]", letter.subject)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", letter.text)
    letter.text.encode("utf-8")
    seen = Seen()
    seen.feed(letter.html)
    assert seen.tags <= {
        "html",
        "head",
        "meta",
        "title",
        "body",
        "p",
        "h2",
        "ul",
        "li",
        "a",
        "strong",
        "br",
        "span",
        "hr",
    }
    assert all(url.startswith(f"{BASE}/") for url in seen.links)


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert {name for name, _ in attrs} <= {"style", "href", "charset", "name", "content", "lang"}
        self.links += [value or "" for name, value in attrs if name == "href"]


def test_markup_in_a_name_stays_words() -> None:
    evil = Line(key="1", what="<script>alert(1)</script>", where='"><img src=x>', note="a\r\nBcc: eve@example.org")
    letter = compose([News(FLAW, [evil], 1)], base_url=BASE)
    assert letter is not None
    assert "<script" not in letter.html
    assert "<img" not in letter.html
    assert "\r" not in letter.text
    assert "\nBcc:" not in letter.text
    assert "&lt;script&gt;" in letter.html


def test_a_great_many_are_a_number_and_a_link() -> None:
    many = [line(f"{n:04}", rank=4) for n in range(237)]
    letter = compose([News(FLAW, many, 237)], base_url=BASE)
    assert letter is not None
    assert letter.text.count("- CVE-") == MAX_LINES == 25
    assert f"and 212 more: {BASE}/risks/open/" in letter.text
    assert f'<a href="{BASE}/risks/open/">and 212 more</a>' in letter.html
    assert letter.subject == "[SecGuard] New flaw: CVE-0000 and 236 more"


def test_the_subject_says_the_most_important_thing_of_all() -> None:
    running = Line(
        key="2",
        what="CVE-2026-9 in openssl",
        where="prod shop/api",
        severity="critical",
        known_exploited=True,
        is_running=True,
        weight=weigh(is_running=True, known_exploited=True, rank=5),
    )
    letter = compose(
        [News(WAITS, [line("1", known_exploited=True, rank=5)], 1), News(FLAW, [line("3", rank=5), running], 2)],
        base_url=BASE,
        name="Ada",
    )
    assert letter is not None
    sentence = "CVE-2026-9 in openssl (critical, known exploited), running in prod shop/api"
    assert letter.subject == f"[SecGuard] New flaw: {sentence} and 2 more"
    assert letter.text.startswith(f"Hello Ada,\n\nNew flaws (2)\n- {sentence}\n")
    assert letter.text.index("New flaws") < letter.text.index("Requests that wait for you")


def test_the_subject_counts_one_kind_and_is_cut() -> None:
    long = Line(key="1", what="x" * 500)
    subject = subject_of(FLAW, long, 1_234)
    assert subject.endswith("… and 1,233 more")
    assert len(subject) == MAX_SUBJECT


def test_nothing_to_tell_is_no_message() -> None:
    assert compose([], base_url=BASE) is None
    assert compose([News(FLAW, [], 0)], base_url=BASE) is None


@pytest.mark.parametrize(
    "path", ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:x", "", "/a\nb"]
)
def test_a_line_leads_nowhere_but_here(path: str) -> None:
    assert not is_own_path(path)
    letter = compose([News(FLAW, [Line(key="1", what="w", url=path)], 1)], base_url=BASE)
    assert letter is not None
    assert "evil" not in letter.text + letter.html
    assert "javascript" not in letter.html


def test_where_something_runs_is_said() -> None:
    assert headline(Line(key="1", what="CVE-1", where="shop/api")) == "CVE-1, in shop/api"
    assert headline(Line(key="1", what="CVE-1", where="shop/api", is_running=True)) == "CVE-1, running in shop/api"


@given(texts, st.integers(1, 300))
def test_plain_text_is_one_line_within_its_bound(text: str, most: int) -> None:
    made = plain(text, most)
    assert len(made) <= most
    assert "\n" not in made
    assert plain(made, most) == made


def test_a_kind_that_nobody_knows_any_more_is_still_shown() -> None:
    found = kinds.kind_or_plain("gone-kind")
    assert (found.heading, found.lead) == ("Gone kind", "")
