"""JSON that sensors send: taken apart without trust, and within bounds."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid, TooLarge
from secguard.images import jsonlines
from secguard.images.jsonlines import Entry, Members, address, entries, instant, load, mended


def places(raw: bytes) -> list[str]:
    return [entry.where for entry in entries(raw, what="They")]


def test_one_a_list_or_lines():
    assert entries(b' {"a": 1}\n', what="They") == [Entry("$", b'{"a": 1}')]
    assert entries(b"\xef\xbb\xbf[]", what="They") == []
    assert places(b'[{"a": 1}, 2]') == ["$[0]", "$[1]"]
    assert places(b'{"a": 1}\r\n\n{"b": 2}\n') == ["line 1", "line 3"]
    assert places(b'{\n"a": 1\n}') == ["$"]
    assert places(b'{"cut\n{"b": 2}') == ["line 1", "line 2"]


def test_a_list_of_very_many_is_taken_apart_the_same_way(monkeypatch):
    raw = b'[ {"a": "]\\u0000"} ,[1,2], "x" ]'
    expected = [Entry(e.where, mended(e.raw)) for e in entries(raw, what="They")]
    monkeypatch.setattr(jsonlines, "_MANY", -1)
    assert entries(raw, what="They") == expected
    assert entries(b"[ ]", what="They") == []


@pytest.mark.parametrize(
    "raw", [b"[1,2,", b"[1,2,x]", b"[,,", b"[1,,2]", b"[1 2]", b"[1, 2", b"[1, 2}", b"[1,]", b"[", b"[1[2]", b"[1]]"]
)
def test_a_broken_list_is_refused_long_or_short(raw, monkeypatch):
    with pytest.raises(Invalid, match="not whole JSON"):
        entries(raw, what="They")
    monkeypatch.setattr(jsonlines, "_MANY", -1)
    with pytest.raises(Invalid, match="not whole JSON"):
        entries(raw, what="They")


@pytest.mark.parametrize("piece", [b"1,", b"{},", b"[],", b'"",'])
def test_a_list_of_millions_is_refused_in_little_memory(piece):
    raw = b"[" + piece * (6_000_000 // len(piece)) + b"1]"
    tracemalloc.start()
    with pytest.raises(TooLarge):
        entries(raw, what="They", most=1000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * len(raw)


def test_empty_lines_cost_nothing():
    raw = b'{"a": 1}' + b"\n" * 200_000 + b'{"a": 1}'
    tracemalloc.start()
    assert places(raw) == ["line 1", "line 200001"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * len(raw)


@given(st.binary(max_size=80))
def test_whatever_is_mended_is_text_that_a_database_keeps(raw):
    text = mended(raw).decode()
    assert "\\u0000" not in text.replace("\\\\", "")


@given(st.text(), st.sampled_from(["\0", "\ud800", "\udfff", "\U0001f600", "\\u0000"]))
def test_an_event_is_loaded_whatever_text_it_holds(text, odd):
    text = "".join(c for c in text if not "\ud800" <= c <= "\udfff").replace("\0", "") + odd
    value = load(json.dumps({"a": text}).encode(), what="It")["a"]
    assert value == text.translate({0: 0xFFFD, 0xD800: 0xFFFD, 0xDFFF: 0xFFFD})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-05-28T20:26:40Z", datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)),
        ("2026-05-28T20:26:40.123456789Z", datetime(2026, 5, 28, 20, 26, 40, 123456, tzinfo=UTC)),
        ("2026-05-28T22:26:40.5+0200", datetime(2026, 5, 28, 20, 26, 40, 500000, tzinfo=UTC)),
        (1780000000, datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)),
        ("1780000000", datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)),
        (1780000000500, datetime(2026, 5, 28, 20, 26, 40, 500000, tzinfo=UTC)),
        (1780000000000000000, datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("9999-12-31T23:59:59-12:00", None),
        (1e308, None),
        (True, None),
        ([], None),
        ("yesterday", None),
    ],
)
def test_times(value, expected):
    at, why = instant(value)
    assert at == expected
    assert (at is None) == bool(why)


def test_a_time_without_its_zone_is_taken_as_utc_and_that_is_said():
    at, why = instant("2026-05-28T20:26:40")
    assert at == datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)
    assert "no time zone" in why


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_no_value_breaks_the_reading_of_a_member(value):
    members = Members({"a": value})
    at = members.instant("a")
    assert at is None or at.tzinfo is not None
    number, port = members.whole("a"), members.port("a")
    assert number is None or 0 <= number < 2**63
    assert port is None or port < 65_536
    text = members.text("a", most=5)
    assert text is None or len(text) <= 5
    assert all(isinstance(one, str) for one in members.texts("a"))
    assert members.address("a") is None or address(members.text("a") or "")
    assert all(isinstance(one.members, dict) for one in (members.node("a"), *members.nodes("a")))
    assert all(isinstance(why, str) and why for why in members.unread)
