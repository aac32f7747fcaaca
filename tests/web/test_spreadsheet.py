"""A CSV is read back as it was, and no cell is a formula."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.web import spreadsheet


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("x")', "＝1+1"])
def test_what_a_spreadsheet_would_run_gets_an_apostrophe(text: str) -> None:
    assert spreadsheet.cell(text) == f"'{text}"


def test_values_keep_their_meaning() -> None:
    moment = datetime(2026, 11, 24, 3, 45, 1, 999, tzinfo=UTC)
    values = (None, True, False, -5, 1.5, moment, ["a", "b"], ["=x"], "plain\x00text")
    cells = ["", "yes", "no", "-5", "1.5", "2026-11-24T03:45:01+00:00", "a, b", "'=x", "plaintext"]
    assert [spreadsheet.cell(value) for value in values] == cells


ROW = st.tuples(st.text(max_size=20), st.text(max_size=20))


@given(rows=st.lists(ROW, max_size=5))
def test_a_reader_gets_every_cell_back(rows: list[tuple[str, str]]) -> None:
    text = "".join(spreadsheet.lines(["Name", "=Value"], rows)).removeprefix(spreadsheet.BYTE_ORDER_MARK)
    header, *found = csv.reader(io.StringIO(text, newline=""))
    assert header == ["Name", "'=Value"]
    assert found == [[spreadsheet.cell(value) for value in row] for row in rows]


@given(text=st.text(max_size=30))
def test_no_text_begins_as_a_formula(text: str) -> None:
    assert not spreadsheet.cell(text).startswith(spreadsheet.FORMULA_STARTS)
