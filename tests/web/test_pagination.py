"""The API's list document: every row once, bounded counts, and words for what cannot be read."""

from __future__ import annotations

import pytest
from django.contrib.contenttypes.models import ContentType
from django.test import Client
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from rest_framework import serializers, viewsets
from rest_framework.permissions import AllowAny

from secguard.web.pagination import CursorPages

URL = "/api/v1/things/"


class ThingSerializer(serializers.ModelSerializer):
    class Meta:
        model = ContentType
        fields = ("id", "app_label", "model")


class Small(CursorPages):
    count_bound = 12


class Things(viewsets.ReadOnlyModelViewSet):
    queryset = ContentType.objects.filter(app_label__startswith="things")
    serializer_class = ThingSerializer
    permission_classes = (AllowAny,)
    authentication_classes = ()
    ordering_fields = {"label": "app_label", "both": ("app_label", "-model")}
    ordering = "-label"


class Plain(Things):
    ordering_fields = ()
    ordering = None
    pagination_class = Small


urlpatterns = [
    path("api/v1/things/", Things.as_view({"get": "list"})),
    path("api/v1/plain/", Plain.as_view({"get": "list"})),
]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.fixture(autouse=True)
def things() -> list[int]:
    made = [ContentType(app_label=f"things{n % 3}", model=f"m{n:02}") for n in range(20)]
    ContentType.objects.bulk_create(made)
    return list(ContentType.objects.filter(app_label__startswith="things").order_by("pk").values_list("pk", flat=True))


def walk(client: Client, url: str, way: str = "next") -> list[dict]:
    found: list[dict] = []
    while url:
        document = client.get(url).json()
        found = found + document["results"] if way == "next" else document["results"] + found
        url = document[way]
    return found


def test_the_document(client: Client) -> None:
    document = client.get(URL, {"limit": 5}).json()
    assert list(document) == ["results", "next", "previous", "count", "count_is_exact"]
    assert (len(document["results"]), document["count"], document["count_is_exact"]) == (5, 20, True)
    assert document["next"].startswith(f"http://testserver{URL}?")
    assert document["previous"] is None


@pytest.mark.parametrize("limit", [1, 3, 7, 20, 500])
@pytest.mark.parametrize("ordering", ["label", "-label", "both", "-both"])
def test_every_row_comes_once(client: Client, things: list[int], limit: int, ordering: str) -> None:
    found = walk(client, f"{URL}?limit={limit}&ordering={ordering}")
    assert sorted(row["id"] for row in found) == things
    labels = [row["app_label"] for row in found]
    assert labels == sorted(labels, reverse=ordering.startswith("-"))


def test_an_ordering_may_stand_for_several_fields(client: Client) -> None:
    rows = [(row["app_label"], row["model"]) for row in client.get(URL, {"ordering": "both"}).json()["results"]]
    assert rows[:3] == [("things0", "m18"), ("things0", "m15"), ("things0", "m12")]


def test_previous_leads_all_the_way_back(client: Client) -> None:
    last = client.get(client.get(URL, {"limit": 15}).json()["next"]).json()
    back = walk(client, last["previous"], "previous")
    assert back == client.get(URL, {"limit": 15}).json()["results"]


def test_the_views_own_order_holds_unasked(client: Client) -> None:
    assert client.get(URL).json()["results"][0]["app_label"] == "things2"


def test_counting_stops_at_the_bound(client: Client) -> None:
    document = client.get("/api/v1/plain/").json()
    assert (document["count"], document["count_is_exact"]) == (12, False)


def test_a_list_without_an_order_goes_by_the_primary_key(client: Client, things: list[int]) -> None:
    assert [row["id"] for row in walk(client, "/api/v1/plain/?limit=3")] == things


@pytest.mark.parametrize("limit", ["0", "501", "-1", "x", "1.5", "٣", "9" * 40])
def test_a_limit_out_of_range_is_refused_in_words(client: Client, limit: str) -> None:
    response = client.get(URL, {"limit": limit})
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    assert (response.json()["code"], response.json()["where"]) == ("bad_limit", "limit")
    assert "1 to 500" in response.json()["detail"]


@pytest.mark.parametrize("ordering", ["password", "-", "label,both", "--label", "app_label"])
def test_an_ordering_that_is_not_offered_is_refused_with_those_that_are(client: Client, ordering: str) -> None:
    response = client.get(URL, {"ordering": ordering})
    assert (response.status_code, response.json()["code"]) == (400, "bad_ordering")
    assert "both, label" in response.json()["detail"]


@pytest.mark.parametrize("cursor", ["x", "eyJhIjoxfQ", "\x00", "a:b", "." * 5000])
def test_a_broken_cursor_is_a_problem(client: Client, cursor: str) -> None:
    response = client.get(URL, {"cursor": cursor})
    assert (response.status_code, response.json()["code"]) == (400, "broken_cursor")


def test_a_cursor_for_another_ordering_is_a_problem(client: Client) -> None:
    url = client.get(URL, {"limit": 2, "ordering": "label"}).json()["next"].replace("ordering=label", "ordering=both")
    assert client.get(url).json()["code"] == "broken_cursor"


def test_two_queries_whatever_the_number_of_rows(client: Client, django_assert_num_queries) -> None:
    for limit in (2, 20):
        with django_assert_num_queries(2):
            client.get(URL, {"limit": limit})


def test_the_schema_says_what_the_list_takes_and_gives() -> None:
    schema = SchemaGenerator(urlconf=__name__).get_schema(request=None, public=True)
    operation = schema["paths"]["/api/v1/things/"]["get"]
    parameters = {parameter["name"]: parameter for parameter in operation["parameters"]}

    assert set(parameters) == {"cursor", "limit", "ordering"}
    assert parameters["limit"]["schema"]["maximum"] == 500
    assert parameters["ordering"]["schema"]["enum"] == ["both", "-both", "label", "-label"]
    page = schema["components"]["schemas"]["PaginatedThingList"]
    assert page["required"] == ["results", "next", "previous", "count", "count_is_exact"]
