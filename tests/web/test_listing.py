"""A list page, its fragment and its CSV are one view; its state is the URL; what a stranger types breaks nothing."""

from __future__ import annotations

import csv
import io
import re
from urllib.parse import parse_qs, urlsplit

import django_filters
import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.http import HttpRequest, HttpResponseBase
from django.template import engines
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from secguard.web.listing import Column, Listing

PAGE = engines["django"].from_string(
    '{% extends "base.html" %}{% block title %}Things{% endblock %}{% block heading %}Things{% endblock %}'
    "{% block content %}{% include fragment %}{% endblock %}"
)
FRAGMENT = engines["django"].from_string(
    '{% extends "web/_listing.html" %}{% load secguard_web %}{% block rows %}{% for row in listing.rows %}'
    '<tr><th scope="row">{{ row.name }}</th><td>{{ row.content_type.model }}</td><td>{{ row.codename }}</td></tr>'
    '{% endfor %}{% endblock %}{% block empty %}{% empty "Nothing yet" "Post one." "/begin" "Begin" %}{% endblock %}'
)


class ThingFilter(django_filters.FilterSet):
    kind = django_filters.ChoiceFilter(label="Kind", field_name="codename", choices=[("a", "Alpha"), ("b", "Beta")])
    model = django_filters.ModelChoiceFilter(
        label="Model", field_name="content_type", queryset=ContentType.objects.order_by("pk")
    )

    class Meta:
        model = Permission
        fields: list[str] = []


class ThingListing(Listing):
    name = "things"
    noun = "thing"
    caption = "All things"
    default_sort = "name"
    filterset = ThingFilter
    search_fields = ("name__icontains",)
    page_size = 25
    columns = (
        Column("name", "Name", sort="name"),
        Column("model", "Model", sort="content_type__model", value="content_type.model", first="-"),
        Column("codename", "Code", numeric=True),
        Column("upper", "Loud", value=lambda row: row.name.upper(), hidden=True),
    )


def things(request: HttpRequest) -> HttpResponseBase:
    rows = Permission.objects.filter(codename__in="ab").select_related("content_type")
    return ThingListing(request, rows).respond(PAGE, FRAGMENT, {"fragment": FRAGMENT})


urlpatterns = [path("things/", things)]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.fixture(autouse=True)
def templates(monkeypatch: pytest.MonkeyPatch) -> None:
    """The view above names its templates by object; the product's views name them by path."""
    from secguard.web import htmx

    monkeypatch.setattr(htmx, "render_to_string", render)


def render(template, context=None, request=None) -> str:
    from django.template.loader import get_template

    found = get_template(template) if isinstance(template, str) else template
    return found.render(context, request)


def make(names: list[str], code: str = "a") -> None:
    kinds = list(ContentType.objects.order_by("pk")[:3])
    offset = Permission.objects.count()
    for at, name in enumerate(names):
        model = ContentType.objects.create(app_label="things", model=f"{kinds[at % 3].model}-{offset + at}")
        Permission.objects.create(name=name, codename=code, content_type=model)


def names(response) -> list[str]:
    return re.findall(r'<th scope="row">(.*?)</th>', response.content.decode())


def link(response, rel: str) -> str:
    found = re.search(rf'href="([^"]+)" rel="{rel}"', response.content.decode())
    return found[1].replace("&amp;", "&") if found else ""


def test_the_page_and_its_fragment_have_the_same_rows(client: Client) -> None:
    make(["b", "a"])
    page = client.get("/things/")
    fragment = client.get("/things/", headers={"hx-request": "true"})

    assert names(page) == names(fragment) == ["a", "b"]
    assert "<html" in page.content.decode()
    assert "<html" not in fragment.content.decode()
    assert "HX-Request" in page["Vary"]


def test_a_step_back_in_history_gets_the_whole_page(client: Client) -> None:
    headers = {"hx-request": "true", "hx-history-restore-request": "true"}
    assert "<html" in client.get("/things/", headers=headers).content.decode()


def test_pages_follow_each_other_both_ways(client: Client) -> None:
    make([f"n{n:02}" for n in range(60)])
    first = client.get("/things/")
    second = client.get(link(first, "next"))
    third = client.get(link(second, "next"))

    assert names(first) + names(second) + names(third) == [f"n{n:02}" for n in range(60)]
    assert (link(first, "prev"), link(third, "next")) == ("", "")
    assert names(client.get(link(third, "prev"))) == names(second)
    assert "60 things" in first.content.decode()


def test_search_filter_and_sort_stay_in_every_link(client: Client) -> None:
    make([f"n{n:02}" for n in range(60)])
    page = client.get("/things/?q=n&kind=a&sort=-name")
    query = parse_qs(urlsplit(link(page, "next")).query)

    assert names(page)[0] == "n59"
    assert (query["q"], query["kind"], query["sort"]) == (["n"], ["a"], ["-name"])
    assert 'aria-sort="descending"' in page.content.decode()


def test_chips_say_what_is_in_force_in_words(client: Client) -> None:
    make(["x"], "a")
    make(["x"], "b")
    page = client.get("/things/?q=x&kind=b").content.decode()
    assert re.search(r'href="/things/\?q=x"><span class="chip-label">Kind</span> Beta', page)
    assert re.search(r'href="/things/\?kind=b"><span class="chip-label">Search</span> x', page)
    assert "1 thing<" in page


def test_nothing_matching_differs_from_nothing_there(client: Client) -> None:
    assert "Post one." in client.get("/things/").content.decode()
    assert "Nothing matches" in client.get("/things/?q=zzz").content.decode()


def test_a_filter_that_cannot_be_read_finds_nothing_and_says_so(client: Client) -> None:
    make(["x"])
    page = client.get("/things/?model=notanumber")
    assert names(page) == []
    assert "Select a valid choice" in page.content.decode()


@pytest.mark.parametrize("query", ["cursor=nonsense", "sort=password", "per=1000000", "sort=-", "q=%00", "page=7"])
def test_what_makes_no_sense_counts_as_not_given(client: Client, query: str) -> None:
    make(["a", "b"])
    assert names(client.get(f"/things/?{query}")) == ["a", "b"]


def test_a_cursor_of_another_sort_starts_at_the_first_page(client: Client) -> None:
    make([f"n{n:02}" for n in range(30)])
    cursor = parse_qs(urlsplit(link(client.get("/things/"), "next")).query)["cursor"][0]
    assert names(client.get("/things/", {"cursor": cursor, "sort": "-name"}))[0] == "n29"


def test_markup_in_a_row_or_in_the_url_stays_text(client: Client) -> None:
    make(["<script>alert(1)</script>"])
    page = client.get("/things/?q=<script>&kind=%22%3E%3Cimg").content.decode()
    assert "<script>alert" not in page + client.get("/things/").content.decode()
    assert "<img" not in page


def rows_of(response) -> list[list[str]]:
    text = b"".join(response.streaming_content).decode().removeprefix("\ufeff")
    return list(csv.reader(io.StringIO(text)))


def test_the_csv_has_everything_that_the_filters_find(client: Client) -> None:
    make([f"n{n:02}" for n in range(60)])
    make(["=cmd|x", "other"], "b")
    response = client.get("/things/?format=csv&kind=b&sort=-name")

    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="things-\d{8}-\d{4}\.csv"', response["Content-Disposition"])
    found = rows_of(response)
    assert found[0] == ["Name", "Model", "Code", "Loud"]
    assert [row[0] for row in found[1:]] == ["other", "'=cmd|x"]
    assert found[2][3] == "'=CMD|X"
    assert len(rows_of(client.get("/things/?format=csv"))) == 63


def test_the_csv_is_bounded(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("secguard.web.listing.CSV_ROWS", 3)
    make(list("abcdef"))
    assert [row[0] for row in rows_of(client.get("/things/?format=csv"))] == ["Name", "a", "b", "c"]


@pytest.mark.parametrize("query", ["", "q=n&sort=-model", "kind=a"])
def test_the_number_of_queries_does_not_grow_with_the_rows(client: Client, query: str) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            client.get(f"/things/?{query}&per=100")
        return len(caught)

    make([f"n{n}" for n in range(3)])
    few = queries()
    make([f"n{n}" for n in range(3, 40)])
    assert queries() == few


def test_the_page_works_without_javascript(client: Client) -> None:
    make([f"n{n:02}" for n in range(30)])
    page = client.get("/things/?sort=-name").content.decode()
    assert 'method="get"' in page
    assert '<input type="hidden" name="sort" value="-name" form="listing-things-form">' in page
    assert re.search(r'<button class="btn no-js-only" type="submit">', page)


class AnyQuery(TestCase):
    @settings(max_examples=40, deadline=None)
    @given(
        query=st.dictionaries(st.sampled_from(["q", "sort", "cursor", "per", "kind", "model"]), st.text(max_size=30))
    )
    def test_no_query_breaks_the_list(self, query: dict[str, str]) -> None:
        request = HttpRequest()
        request.path = "/things/"
        request.GET = request.GET.copy()
        for name, value in query.items():
            request.GET[name] = value
        listing = ThingListing(request, Permission.objects.all())
        assert len(listing.rows) <= 200
        assert listing.count >= 0
        assert [heading.column.label for heading in listing.headings] == ["Name", "Model", "Code"]
        assert listing.url().startswith("/things/")
