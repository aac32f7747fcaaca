"""A picture is a PNG of bounded size with its figures within it, whatever it is made of."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from secguard.web import picture
from secguard.web.charts import Chart, Kind, Series

TEXT = st.text(max_size=600)
VALUE = st.none() | st.integers(0, 10**9) | st.floats(0, 1e12)
KINDS: tuple[Kind, ...] = ("line", "area", "bar", "stacked-bar")


@st.composite
def charts(draw: Any) -> Chart:
    labels = draw(st.lists(TEXT, max_size=40))
    values = st.lists(VALUE, min_size=len(labels), max_size=len(labels))
    series = draw(st.lists(st.builds(Series, TEXT, values, st.just(""), st.booleans()), max_size=4))
    return Chart("c", "Chart", draw(st.sampled_from(KINDS)), labels, series, unit=draw(st.sampled_from(["", "%"])))


def opened(data: bytes) -> Any:
    image = Image.open(io.BytesIO(data))
    image.load()  # whole, with every checksum
    return image


@settings(max_examples=25, deadline=None)
@given(charts(), st.lists(st.tuples(TEXT, TEXT, TEXT), max_size=9), TEXT)
def test_whatever_it_is_made_of(chart: Chart, cards: list[tuple[str, str, str]], title: str) -> None:
    blocks = [picture.words(title, 36), *picture.numbers(cards), picture.chart(chart)]
    figures = {"title": title, **chart.document()}
    data = picture.png(title, blocks, figures)
    image = opened(data)
    assert (image.format, image.width) == ("PNG", picture.WIDTH)
    assert json.loads(image.text[picture.FIGURES]) == json.loads(json.dumps(figures))
    assert data == picture.png(title, blocks, figures), "the same in, the same out"


def test_it_is_no_higher_than_a_picture_may_be_and_says_so() -> None:
    rows = [[f"row {n}", "x" * 10_000] for n in range(5_000)]
    table = list(picture.table(["Name", "Words"], rows, [False, False]))
    assert len(table) == picture.MOST_ROWS + 2, "a head, the rows, and how many more there are"
    data = picture.png("Long", table * 20, {})
    assert opened(data).height <= picture.MOST
    assert len(data) < 3_000_000
    assert opened(picture.png("Short", table, {})).height < 2_000


def test_a_line_with_a_gap_is_two_runs() -> None:
    assert list(picture.runs([1, 2, None, None, 3])) == [[(0, 1.0), (1, 2.0)], [(4, 3.0)]]
    assert list(picture.runs([None])) == []
