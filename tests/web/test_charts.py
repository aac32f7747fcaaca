"""Charts say the same to the script and to the table."""

from __future__ import annotations

import pytest

from secguard.web.charts import Chart, Series


def chart(**changes) -> Chart:
    given = {"name": "c", "title": "T", "kind": "bar", "labels": ["a", "b"], "series": [Series("s", [1, None], "high")]}
    return Chart(**{**given, **changes})


def test_a_series_that_does_not_fit_its_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="'s' has 1 values for 2 labels"):
        chart(series=[Series("s", [1])])


def test_a_url_for_each_label_holds_for_every_series() -> None:
    made = chart(series=[Series("s", [1, 2]), Series("t", [3, 4])], urls=["/a", "/b"])
    assert made.rows() == [("a", [(1, "/a"), (3, "/a")]), ("b", [(2, "/b"), (4, "/b")])]
    assert [series["urls"] for series in made.data()["series"]] == [["/a", "/b"], ["/a", "/b"]]


def test_a_url_for_each_series_and_label() -> None:
    made = chart(series=[Series("s", [1, 2]), Series("t", [3, 4])], urls=[["/a", "/b"], ["/c"]])
    assert made.rows() == [("a", [(1, "/a"), (3, "/c")]), ("b", [(2, "/b"), (4, "")])]


def test_without_urls_nothing_is_linked() -> None:
    assert chart().rows() == [("a", [(1, "")]), ("b", [(None, "")])]


def test_a_chart_of_nothing_knows_it() -> None:
    assert chart(series=[Series("s", [0, None])]).is_empty
    assert chart(labels=[], series=[]).is_empty
    assert not chart().is_empty
