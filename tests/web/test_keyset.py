"""Pages walk a list once, whole, in both directions; cursors cannot be made up."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db.models import IntegerField, Value
from django.db.models.functions import Length, NullIf, Substr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from secguard.accounts.models import Application, Team
from secguard.images.models import Image, Repository
from secguard.web import keyset
from secguard.web.keyset import BrokenCursor, Cursor, Key

MODELS = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.sampled_from("xyz")), max_size=12)
PATHS = st.sampled_from([["shelf"], ["-shelf"], ["app_label", "-shelf"], ["-app_label"], ["-length", "shelf"], ["pk"]])


def rows_with(pairs: list[tuple[str, str]]):
    """Content types as rows: ``shelf`` is nullable (the empty string is NULL)."""
    ContentType.objects.all().delete()
    ContentType.objects.bulk_create(
        ContentType(app_label=label, model=f"{shelf}|{at}") for at, (shelf, label) in enumerate(pairs)
    )
    return ContentType.objects.annotate(
        shelf=NullIf(Substr("model", 1, 1), Value("|")), length=Length("model", output_field=IntegerField())
    )


def walk(queryset, keys, limit: int, *, backwards_from: Cursor | None = None) -> list[list[int]]:
    pages, cursor = [], backwards_from
    while True:
        page = keyset.page(queryset, keys, cursor, limit)
        pages.append([row.pk for row in page.rows])
        cursor = page.previous if backwards_from else page.next
        if cursor is None:
            return pages
        cursor = keyset.decode(keyset.encode(cursor, "sort"), "sort")


class Walks(TestCase):
    @settings(max_examples=40, deadline=None)
    @given(pairs=MODELS, paths=PATHS, limit=st.integers(1, 5))
    def test_pages_forward_are_the_sorted_list(
        self, pairs: list[tuple[str, str]], paths: list[str], limit: int
    ) -> None:
        queryset = rows_with(pairs)
        keys = keyset.keys_for(ContentType, paths)
        whole = [row.pk for row in keyset.sorted_by(queryset, keys)]

        assert [pk for page in walk(queryset, keys, limit) for pk in page] == whole
        assert len(whole) == len(pairs)

    @settings(max_examples=40, deadline=None)
    @given(pairs=MODELS.filter(lambda p: len(p) > 1), paths=PATHS, limit=st.integers(1, 5))
    def test_pages_backward_undo_pages_forward(
        self, pairs: list[tuple[str, str]], paths: list[str], limit: int
    ) -> None:
        queryset = rows_with(pairs)
        keys = keyset.keys_for(ContentType, paths)
        last = keyset.page(queryset, keys, None, len(pairs) - 1)
        tail = keyset.page(queryset, keys, last.next, limit)

        back = walk(queryset, keys, limit, backwards_from=tail.previous)

        assert [pk for page in reversed(back) for pk in page] == [row.pk for row in last.rows]


@pytest.mark.django_db
def test_rows_without_a_value_come_last_whichever_way_the_list_is_sorted() -> None:
    queryset = rows_with([("", "x"), ("b", "x"), ("a", "x")])
    up = keyset.page(queryset, keyset.keys_for(ContentType, ["shelf"]), None, 9).rows
    down = keyset.page(queryset, keyset.keys_for(ContentType, ["-shelf"]), None, 9).rows

    assert [row.shelf for row in up] == ["a", "b", None]
    assert [row.shelf for row in down] == ["b", "a", None]


@pytest.mark.django_db
def test_a_page_past_rows_that_are_gone_leads_back() -> None:
    queryset = rows_with([("a", "x"), ("b", "x"), ("c", "x")])
    keys = keyset.keys_for(ContentType, ["shelf"])
    first = keyset.page(queryset, keys, None, 2)
    ContentType.objects.filter(model__startswith="c").delete()

    empty = keyset.page(queryset, keys, first.next, 2)

    assert (empty.rows, empty.next) == ([], None)
    assert [row.shelf for row in keyset.page(queryset, keys, empty.previous, 2).rows] == ["a"]


def test_nullability_is_read_from_the_model_along_the_path() -> None:
    def nullable(model, path: str) -> bool:
        return keyset.keys_for(model, [path])[0].nullable

    assert not nullable(Image, "first_seen_at")
    assert nullable(Image, "last_scanned_at")
    assert not nullable(Repository, "registry__host")
    assert nullable(Repository, "application__name")  # the column is not, the way to it is
    assert nullable(Image, "an_annotation")


def test_keys_always_end_in_the_primary_key_in_the_direction_of_the_last_key() -> None:
    assert keyset.keys_for(Image, ["-worst_severity", "-open_findings"])[-1] == Key("pk", True, nullable=False)
    assert keyset.keys_for(Image, ["id"]) == (Key("id", nullable=False),)
    assert keyset.keys_for(Image, []) == (Key("pk", nullable=False),)


@pytest.mark.django_db
def test_a_sort_without_null_values_asks_for_no_null_order() -> None:
    """NULLS LAST would keep PostgreSQL from reading the index backwards."""
    sql = str(keyset.sorted_by(Image.objects.all(), keyset.keys_for(Image, ["-first_seen_at"])).query)
    assert "NULLS" not in sql
    assert sql.endswith('"first_seen_at" DESC, "images_image"."id" DESC')


@pytest.mark.django_db
def test_sorting_by_a_related_field_needs_no_query_for_a_row(django_assert_num_queries) -> None:
    team = Team.objects.create(name="Payments", slug="payments")
    Application.objects.bulk_create(Application(name=f"a{n}", slug=f"a{n}", team=team) for n in range(4))
    keys = keyset.keys_for(Application, ["team__name"])
    with django_assert_num_queries(2):
        page = keyset.page(Application.objects.all(), keys, None, 2)
        assert len(keyset.page(Application.objects.all(), keys, page.next, 2).rows) == 2


@pytest.mark.django_db
def test_value_querysets_page_too() -> None:
    queryset = rows_with([("a", "x"), ("b", "y"), ("c", "z")]).values("id", "app_label")
    keys = keyset.keys_for(ContentType, ["-app_label"])
    first = keyset.page(queryset, keys, None, 2)
    assert [row["app_label"] for row in first.rows] == ["z", "y"]
    assert [row["app_label"] for row in keyset.page(queryset, keys, first.next, 2).rows] == ["x"]


@pytest.mark.django_db
def test_counting_stops_at_the_bound() -> None:
    rows_with([("a", "x")] * 5)
    assert keyset.bounded_count(ContentType.objects.all(), 5) == (5, True)
    assert keyset.bounded_count(ContentType.objects.all(), 4) == (4, False)


VALUES = st.lists(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.datetimes(timezones=st.just(dt.UTC))
    | st.dates()
    | st.uuids()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.timedeltas().map(lambda d: dt.timedelta(seconds=int(d.total_seconds()))),
    max_size=4,
)


@given(values=VALUES, backwards=st.booleans(), sort=st.text(max_size=20))
def test_a_cursor_survives_the_way_through_a_url(values: list[object], backwards: bool, sort: str) -> None:
    cursor = Cursor(tuple(values), backwards)
    text = keyset.encode(cursor, sort)
    if len(text) <= keyset.MAX_CURSOR_LENGTH:
        assert keyset.decode(text, sort) == cursor


def test_values_keep_their_type() -> None:
    moment = dt.datetime(2026, 11, 24, 3, 45, 1, 250, tzinfo=dt.UTC)
    values = (moment, moment.date(), dt.timedelta(days=2), Decimal("1.10"), uuid.UUID(int=5), True, 1)
    found = keyset.decode(keyset.encode(Cursor(values), ""), "").values
    assert [(type(v), str(v)) for v in found] == [(type(v), str(v)) for v in values]


@given(text=st.text(max_size=200))
def test_made_up_text_is_a_broken_cursor(text: str) -> None:
    with pytest.raises(BrokenCursor) as caught:
        keyset.decode(text, "name")
    assert caught.value.status == 400
    assert caught.value.where == "cursor"


@given(at=st.integers(0, 60), letter=st.sampled_from("aZ9_-:."))
def test_no_letter_of_a_cursor_can_be_changed(at: int, letter: str) -> None:
    text = keyset.encode(Cursor(("payments", 4711)), "name")
    changed = text[: at % len(text)] + letter + text[at % len(text) + 1 :]
    if changed == text:
        return
    with pytest.raises(BrokenCursor):
        keyset.decode(changed, "name")


def test_a_cursor_of_another_sort_is_refused_with_both_named() -> None:
    text = keyset.encode(Cursor((1,)), "-severity")
    with pytest.raises(BrokenCursor, match=r"'-severity'.*'name'"):
        keyset.decode(text, "name")


def test_a_cursor_longer_than_any_url_is_refused_unread() -> None:
    with pytest.raises(BrokenCursor, match="longer than"):
        keyset.decode("x" * 5000, "name")


@pytest.mark.django_db
def test_a_cursor_with_too_few_values_is_refused() -> None:
    with pytest.raises(BrokenCursor, match="another sort"):
        keyset.page(ContentType.objects.all(), keyset.keys_for(ContentType, ["model"]), Cursor(("a",)), 5)
