from __future__ import annotations

import json

import pytest
from hypothesis import given

from secguard.exports.item import bounded, compact, document, free
from tests.exports.telling import DETAILS, ITEMS, item


@given(ITEMS)
def test_our_own_document_is_one_line_of_ascii_that_says_the_same(told) -> None:
    text = compact(document(told))
    assert text.isascii()
    assert text.isprintable()
    read = json.loads(text)
    assert (read["id"], read["kind"], read["count"]) == (told.id, told.line.kind, told.line.count)
    assert read["severity"] in ("unknown", "negligible", "low", "medium", "high", "critical")


@given(DETAILS)
def test_whatever_a_source_tells_is_json_that_every_reader_knows(detail) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    json.loads(compact({"detail": free(detail)}), parse_constant=refuse)


def test_nesting_ends() -> None:
    deep: object = "bottom"
    for _ in range(500):
        deep = {"in": [deep]}
    assert "…" in json.loads(compact({"detail": free(deep)}))["detail"]["in"][0]["in"][0]["in"][0]["in"][0]


@given(ITEMS)
def test_a_bounded_document_is_whole_json_with_its_number(told) -> None:
    made = document(told) | {"detail": {"much": "x" * 20_000}}
    text = bounded(made, 6_800, in_own_form="detail")
    read = json.loads(text)
    assert len(text.encode()) <= 6_800
    assert read["id"] == told.id
    assert read["detail"] == {"cut": True}
    assert read["at"] == made["at"]
    assert read["received_at"] == made["received_at"]


def test_what_fits_is_left_as_it_is() -> None:
    made = document(item(detail={"process": {"pid": 3}}))
    assert json.loads(bounded(made, 6_800, in_own_form="detail")) == made


def test_what_cannot_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at most 10"):
        bounded(document(item()), 10, in_own_form="detail")


def test_instants_keep_their_last_digits() -> None:
    assert document(item())["at"] == "2026-11-28T12:30:15.123456Z"
