"""A report as received: what is no JSON is named, what is broken is placed, and nothing costs more than its size."""

from __future__ import annotations

import json
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from secguard.errors import Invalid
from secguard.scans.document import Document, decode


class Item(Struct):
    id: int


class Holder(Struct):
    items: list[Item]


def refusal(raw: bytes) -> Invalid:
    with pytest.raises(Invalid) as caught:
        Document.parse(raw)
    return caught.value


@pytest.mark.parametrize(
    ("raw", "code", "where", "says"),
    [
        (b"", "empty", "byte 0", "wrote nothing"),
        (b"\xef\xbb\xbf \r\n\t", "empty", "byte 0", "wrote nothing"),
        (b"null", "empty", "byte 0", "neither an object nor an array"),
        (b"42", "empty", "byte 0", "neither an object nor an array"),
        (b'{"a": [1, 2', "not-json", "the end", "cut off"),
        (b'{"a": nul}', "not-json", "byte 7", "invalid character"),
        (b'{"a": 1} done', "not-json", "byte 10", "trailing characters"),
        (b'{"a": 1}\n{"a": 2}\n', "several-documents", "byte 9", "one report at a time"),
        (b'{"a": "\xff"}', "wrong-encoding", "byte 7", "not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "wrong-encoding", "byte 0", "iconv -f UTF-16 "),
        ('{"a": 1}'.encode("utf-16-le"), "wrong-encoding", "byte 0", "UTF-16LE"),
        ('[{"a": 1}]'.encode("utf-16-be"), "wrong-encoding", "byte 0", "UTF-16BE"),
        ('{"a": 1}'.encode("utf-32"), "wrong-encoding", "byte 0", "UTF-32"),
        (b"\x1f\x8b\x08\x00", "not-json", "byte 0", "gzip"),
        (b"BZh91AY&SY", "not-json", "byte 0", "bzip2"),
        (b"PK\x03\x04\x14\x00", "not-json", "byte 0", "ZIP"),
        (b"%PDF-1.7", "not-json", "byte 0", "PDF"),
        (b"a" * 257 + b"ustar\x00", "not-json", "byte 0", "tar archive"),
        (
            b'<?xml version="1.0"?>\n<bom xmlns="http://cyclonedx.org/schema/bom/1.4"/>',
            "not-json",
            "byte 0",
            "CycloneDX",
        ),
        (b"<html><body>502 Bad Gateway", "not-json", "byte 0", "an HTML page"),
        (b"<!DOCTYPE html><p>Sign in", "not-json", "byte 0", "an HTML page"),
        (b'<?xml version="1.0"?><results/>', "not-json", "byte 0", "XML"),
        (b"SPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0\n", "not-json", "byte 0", "SPDX 2.3 JSON"),
        (b"---\napiVersion: v1\nkind: Pod\n", "not-json", "byte 0", "YAML"),
        (b"# by hand\nfindings:\n- id: 1\n", "not-json", "byte 0", "YAML"),
        (b"Id,Severity,Package,Version\nCVE-1,High,a,1\n", "not-json", "byte 0", "CSV"),
        (b"2026-01-01 INFO scanning", "not-json", "byte 0", "begins with '2026-01-01"),
    ],
)
def test_what_cannot_be_taken_is_named_and_placed(raw, code, where, says):
    found = refusal(raw)
    assert (found.code, found.where) == (code, where)
    assert says in found.detail


@pytest.mark.parametrize(
    "raw", [b"[" * 1_000_000, b'{"a":' * 300_000, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"]
)
def test_deep_nesting_is_refused_and_not_followed(raw):
    assert refusal(raw).code == "too-deep"


def test_a_byte_order_mark_and_space_around_are_no_fault():
    document = Document.parse(b'\xef\xbb\xbf\n {"name": "x"} \r\n')
    assert document.text("name") == "x"


def test_an_array_has_items_and_an_object_has_keys():
    array, mapping = Document.parse(b"[1, {}]"), Document.parse(b'{"a": 1, "b": []}')
    assert (len(array.items or ()), array.keys) == (2, None)
    assert (list(mapping.keys or ()), mapping.items) == (["a", "b"], None)
    assert mapping.has("a", "b")
    assert not mapping.has("a", "c")
    assert not array.has("a")


def test_text_is_empty_for_what_is_no_text():
    document = Document.parse(b'{"number": 3, "null": null, "text": "x"}')
    assert [document.text(n) for n in ("number", "null", "missing", "text")] == ["", "", "", "x"]


def test_the_last_of_two_equal_keys_counts_in_every_way_of_looking():
    class Named(Struct):
        name: str

    document = Document.parse(b'{"name": "first", "name": "last"}')
    assert document.text("name") == "last"
    assert document.decode(Named).name == "last"


def test_nul_characters_pass_through():
    assert Document.parse(b'{"name": "a\\u0000b"}').text("name") == "a\0b"


def test_half_a_character_is_refused_with_its_place():
    with pytest.raises(Invalid) as caught:
        Document.parse(b'{"name": "\\ud800"}').text("name")
    assert caught.value.code in ("not-json", "wrong-encoding")


def test_a_wrong_type_is_refused_with_its_path():
    with pytest.raises(Invalid) as caught:
        Document.parse(b'{"items": [{"id": 1}, {"id": {}}]}').decode(Holder)
    assert (caught.value.code, caught.value.where) == ("wrong-shape", "$.items[1].id")
    with pytest.raises(Invalid) as caught:
        decode(b'[{"id": []}]', list[Item], "$.items")
    assert caught.value.where == "$.items[0].id"


@pytest.mark.parametrize("before", [0, 1, 2**20 - 3, 2**20 - 2, 2**20 - 1, 2**20, 2**20 + 5])
def test_the_first_byte_that_is_no_utf8_is_named_wherever_it_stands(before):
    whole = '{"a": "' + "x" * before + "\U0001f600" * 3
    with pytest.raises(Invalid) as caught:
        Document.parse(whole.encode() + b'\xff"}')
    assert caught.value.where == f"byte {len(whole.encode())}"
    assert Document.parse((whole + '"}').encode()).has("a")


def test_looking_for_what_is_no_utf8_makes_no_text_of_the_whole():
    raw = ('{"a": "' + "\U0001f600" * 2**21 + '"}').encode()
    tracemalloc.start()
    Document.parse(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(raw)


def test_a_million_entries_cost_no_tree():
    raw = b'{"items": [' + b",".join(b'{"id": %d}' % i for i in range(1_000_000)) + b"]}"
    tracemalloc.start()
    document = Document.parse(raw)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert document.has("items")
    assert peak < 2 * len(raw)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(raw):
    found = None
    with suppress(Invalid):
        found = Document.parse(raw)
    assert found is None or (found.keys is None) != (found.items is None)


@given(
    st.dictionaries(st.text(max_size=5), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5))
)
def test_every_json_object_is_taken(value):
    document = Document.parse(json.dumps(value).encode())
    assert {k: document.value(k) for k in document.keys or ()} == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"2024-01-01T00:00:00Z\tFATAL\tFatal error\timage scan error: x", "a tool's log"),
        (b'<?xml version="1.0"?>\n<bom xmlns="http://cyclonedx.org/schema/bom/1.4">', "cyclonedx convert"),
        (b"SPDXVersion: SPDX-2.3\n", "pyspdxtools"),
    ],
)
def test_what_is_no_json_is_named_with_the_way_out(raw, words):
    with pytest.raises(Invalid, match=words) as caught:
        Document.parse(raw)
    assert (caught.value.code, caught.value.where) == ("not-json", "byte 0")
