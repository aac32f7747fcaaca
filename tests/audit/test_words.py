"""What a search means, whatever database looks the words up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from secguard.audit import words
from secguard.audit.words import Kind, Text, answers, tokens_of, wanted_column, wanted_words

NOTHING = Text("system", "", "team:create", "team", "1", "", None, {}, "")
DIGEST = "sha256:9f0c" + "ab" * 30


def finds(query: str, **columns: object) -> bool:
    entry = replace(NOTHING, **columns)  # type: ignore[arg-type]
    return answers(tokens_of(entry), wanted_words(query))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("Payments", "payments"),
        ("pay", "the Payments team"),
        (DIGEST, f"reg.example/app@{DIGEST}"),
        ("sha256:9f0c", DIGEST),
        ("9f0cab", DIGEST),
        ("CVE-2026-1234", "accept CVE-2026-1234, as asked"),
        ("cve-2026-12", "(CVE-2026-1234)"),
        ("2026-1234", "CVE-2026-1234"),
        ("registry.example/shop/web:1.2", "registry.example/shop/web:1.2.3"),
        ("shop/web", "registry.example/shop/web:1.2.3"),
        ("web:1.2.3", "registry.example/shop/web:1.2.3"),
        ("release/2026.1-rc.2", "tag release/2026.1-rc.2"),
        ("'web:1.2'", "web:1.2"),
        ("no_root", "no_root_squash"),
        ("straße", "STRASSE"),
        ("ﬁx", "fix"),
        ("файрвол", "за Файрволом файрвол"),
        ("web accept", "accept it for web"),
        ("x", "x"),
    ],
)
def test_a_search_finds(query: str, text: str) -> None:
    assert finds(query, subject=text)
    assert finds(query, details={"why": [text]})


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("eb", "registry.example/shop/web"),
        ("payments", "pay"),
        ("accept never", "accept it"),
        ("web:1.3", "web:1.2.3"),
        ("6", "python:3.6"),
        ("", "anything"),
        ("?! --", "anything ?! --"),
    ],
)
def test_a_search_does_not_find(query: str, text: str) -> None:
    assert not finds(query, subject=text)


def test_what_is_searched_of_an_entry() -> None:
    columns = {"actor": "alice", "token": "sgt_12345678", "subject_id": "4711", "request_id": "req-77"}
    details = {"role": "viewer", "old": {"ends": None, "share": "0.5"}, "ids": [815, True]}
    for query in ("alice", "sgt_1234", "4711", "req-77", "team:create", "viewer", "0.5", "815"):
        assert finds(query, **columns, details=details), query
    # The names of details are the same for all entries of an action.
    assert not finds("role", **columns, details=details)
    assert not finds("true", **columns, details=details)


def test_words_of_the_subject_alone() -> None:
    tokens = tokens_of(replace(NOTHING, subject="web:1.2", details={"why": "firewall"}))
    assert answers(tokens, wanted_words("web", Kind.SUBJECT))
    assert not answers(tokens, wanted_words("firewall", Kind.SUBJECT))


def test_a_column_is_compared_as_a_whole() -> None:
    tokens = tokens_of(replace(NOTHING, actor="alice two", team_id=7))
    assert answers(tokens, wanted_column(Kind.ACTOR, ["alice two"]))
    assert not answers(tokens, wanted_column(Kind.ACTOR, ["alice"]))
    assert answers(tokens, wanted_column(Kind.TEAM, [3, 7]))
    assert not answers(tokens, wanted_column(Kind.TEAM, []))
    assert not answers(tokens_of(NOTHING), wanted_column(Kind.TEAM, [7]))


TEXT = st.text(max_size=80) | st.from_regex(r"[a-zA-Z]{1,8}([-./:@_ ,()'][a-z0-9]{1,6}){0,6}", fullmatch=True)


@given(TEXT, TEXT)
@example("ŉ", "ﬃ")
@example("İstanbul", "K")
def test_every_word_of_a_text_finds_it(text: str, other: str) -> None:
    assume(words.terms_of(text))
    assert finds(text, subject=f"{other} {text}")
    assert finds(text.upper() if text.isascii() else text, details={"a": other, "b": text})


@given(TEXT)
def test_every_beginning_of_a_word_finds_it(text: str) -> None:
    tokens = tokens_of(replace(NOTHING, subject=text))
    for word in words.words_in(text):
        for end in range(1, len(word) + 1):
            assert answers(tokens, wanted_words(word[:end]))


@given(TEXT)
def test_tokens_are_what_both_databases_keep_as_they_are(text: str) -> None:
    tokens = tokens_of(replace(NOTHING, subject=text, details={"x": text}))
    assert tokens == sorted(set(tokens))
    for token in tokens:
        assert token
        assert len(token) <= words.MAX_LENGTH + 1
        assert token == token.lower() or not token.isascii()
        assert not any(c.isspace() or c in ",;\"'`()[]{}<>|\\\0" for c in token)


@given(st.lists(st.text("ab", min_size=1, max_size=3), max_size=6), st.lists(st.text("ab", min_size=1, max_size=4)))
def test_terms_left_out_change_no_answer(query: list[str], said: list[str]) -> None:
    tokens = tokens_of(replace(NOTHING, subject=" ".join(said)))
    every = all(any(word.startswith(term) for word in said) for term in query)
    assert answers(tokens, wanted_words(" ".join(query), Kind.SUBJECT)) == (every and bool(query))


@given(st.text(max_size=200))
def test_text_is_compared_in_one_form(text: str) -> None:
    assert words.normal(words.normal(text)) == words.normal(text)


def test_an_entry_s_tokens_are_bounded() -> None:
    many = " ".join(f"word{n}" for n in range(9_000))
    tokens = tokens_of(replace(NOTHING, subject="first", details={"x": many}))
    assert len(tokens) < words.MAX_WORDS + 10
    assert answers(tokens, wanted_words("first"))
    long = "x" * 5_000
    assert finds(long, details={"x": long})


def test_epochs_meet_exactly() -> None:
    assert [words.epoch_of(n) for n in (1, words.EPOCH, words.EPOCH + 1)] == [0, 0, 1]
    assert words.span_of(0)[1] + 1 == words.span_of(1)[0]
