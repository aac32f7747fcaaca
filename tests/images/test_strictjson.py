"""One meaning for each document: what the quick way takes, the way that asks for each object takes alike."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid, TooLarge
from secguard.images.strictjson import MAX_DEPTH, loads

NAMES = st.sampled_from(["a", "b", 'a"', 'a":', "a\\", ":", '\\":', "", " :", "ä"])
TEXTS = st.one_of(NAMES, st.sampled_from(['{"a":1,"a":2}', '":', '" :', "x"]))


def _written(draw: Any, depth: int) -> str:
    kind = draw(st.sampled_from(["text", "number", "object", "list"] if depth else ["text", "number"]))
    if kind == "text":
        return json.dumps(draw(TEXTS), ensure_ascii=draw(st.booleans()))
    if kind == "number":
        return draw(st.sampled_from(["1", "-0.5", "true", "null", "1e3"]))
    inner = [_written(draw, depth - 1) for _ in range(draw(st.integers(0, 3)))]
    if kind == "list":
        return f"[{','.join(inner)}]"
    spaces = st.sampled_from(["", "", "", " ", "\n", "\t\r", "  "])
    members = (f"{json.dumps(draw(NAMES))}{draw(spaces)}:{draw(spaces)}{one}" for one in inner)
    return f"{{{','.join(members)}}}"


@st.composite
def documents(draw: Any) -> str:
    """Objects written by hand: names may stand twice, with space before the colon, and texts may look like names."""
    return _written(draw, 4)


def stands_twice(text: str) -> bool:
    seen: list[bool] = []

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen.append(len({name for name, _ in pairs}) != len(pairs))
        return dict(pairs)

    json.loads(text, object_pairs_hook=look)
    return any(seen)


@given(documents())
@settings(max_examples=400, deadline=None)
def test_a_document_is_refused_exactly_where_a_name_stands_twice(text: str) -> None:
    if stands_twice(text):
        with pytest.raises(Invalid, match="stands twice in one object"):
            loads(text.encode(), what="It", max_bytes=10**6)
    else:
        assert loads(text.encode(), what="It", max_bytes=10**6) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a" :1,"a":2}',
        '{"a"  :1,"a":2}',
        '{"a"\n:1,"a"\t:2}',
        '{"a\\\\":1,"a\\\\":2}',
        '{"b":":x","a":1,"a":2}',
        '{"x":{"a":1,"\\u0061":2}}',
    ],
)
def test_a_name_that_stands_twice_is_found_however_it_is_written(text: str) -> None:
    with pytest.raises(Invalid, match="stands twice in one object"):
        loads(text.encode(), what="It", max_bytes=1000)


@given(documents(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_written_by_a_program_it_means_the_same(text: str, is_ascii: bool) -> None:
    value = json.loads(text)
    raw = json.dumps(value, ensure_ascii=is_ascii, separators=(",", ":")).encode() + b"\n"
    assert loads(raw, what="It", max_bytes=10**6) == value


@pytest.mark.parametrize("inner", ["1", '"x"', '"]]]]}}}}"', '"\\"]"', "[]", '{"a":{}}'])
@pytest.mark.parametrize(
    ("opens", "closes"), [("[", "]"), ('{"a":', "}"), ('{"[":[', "]}"), ('{"}}":', "}"), ('[["]}",', "]]")]
)
def test_no_text_hides_how_deep_a_document_lies(inner: str, opens: str, closes: str) -> None:
    levels = 1 + (closes in ("]}", "]]"))
    own = {"[]": 1, '{"a":{}}': 2}.get(inner, 0)
    fits = (MAX_DEPTH - own) // levels
    text = opens * fits + inner + closes * fits
    assert loads(text.encode(), what="It", max_bytes=10**6) == json.loads(text)
    deeper = opens * (fits + 2) + inner + closes * (fits + 2)
    with pytest.raises(TooLarge, match="more than 32 levels"):
        loads(deeper.encode(), what="It", max_bytes=10**6)


@pytest.mark.parametrize(
    "text", ["[1.0]", "[1e2]", "[1E400]", "[-0]", "[12345678901234567890123]", '["\\u00e4"]', "[ 1]"]
)
def test_numbers_and_texts_mean_what_they_did(text: str) -> None:
    found = loads(text.encode(), what="It", max_bytes=1000)
    assert (found, repr(found)) == (json.loads(text), repr(json.loads(text)))


@pytest.mark.parametrize(
    "raw", [b'["\xff"]', b'["\xed\xa0\x80"]', b"[NaN]", b"\xef\xbb\xbf[]", b'["a\nb"]', b"[1]x", b"", b"["]
)
def test_bytes_that_are_no_json_are_refused(raw: bytes) -> None:
    with pytest.raises(Invalid, match="cannot be used"):
        loads(raw, what="It", max_bytes=1000)


def test_texts_that_look_like_names_are_texts() -> None:
    kept = {"last-applied": '{"a":1,"a":2}', "image": ":x", 'n":': '":'}
    assert loads(json.dumps(kept).encode(), what="It", max_bytes=1000) == kept


@pytest.mark.parametrize("opens", ["[", '{"a":'])
def test_as_many_levels_as_are_read_and_none_more(opens: str) -> None:
    closes = {"[": "]", '{"a":': "}"}[opens]
    assert loads((opens * MAX_DEPTH + "1" + closes * MAX_DEPTH).encode(), what="It", max_bytes=1000)
    with pytest.raises(TooLarge, match="levels deep"):
        loads((opens * (MAX_DEPTH + 1) + "1" + closes * (MAX_DEPTH + 1)).encode(), what="It", max_bytes=1000)


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}', "", "{", '{"a":1}x', "'a'"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match=r"not (a )?JSON"):
        loads(text.encode(), what="It", max_bytes=1000)
