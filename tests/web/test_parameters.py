"""Query parameters: what is not taken is refused, with what is."""

from __future__ import annotations

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.web.middleware import Slashes

pytestmark = pytest.mark.django_db
HERE = "/api/v1/things/"


class Things(APIView):
    permission_classes = (AllowAny,)
    authentication_classes = ()

    def get(self, request):
        return Response({})

    def post(self, request):
        return Response({}, 201)


def plain(_request):
    return HttpResponse("plain")


urlpatterns = [path("api/v1/things/", Things.as_view()), path("api/v1/plain/", plain), path("page/", plain)]
handler404 = "secguard.web.problems.page_not_found"


@pytest.fixture
def asks(settings):
    settings.ROOT_URLCONF = __name__
    return Client()


@pytest.mark.parametrize("method", ["get", "post", "head"])
def test_a_parameter_that_the_document_does_not_name_is_refused(asks, method):
    answer = getattr(asks, method)(f"{HERE}?serch=x", content_type="application/json")
    assert answer.status_code == 400
    if method != "head":
        problem = answer.json()
        assert (problem["code"], problem["where"]) == ("unknown_parameter", "serch")
        assert problem["detail"] == "There is no query parameter 'serch'; none is taken here."


@pytest.mark.parametrize("target", [HERE, f"{HERE}?", "/api/v1/plain/?x=1", "/page/?x=1"])
def test_what_is_no_parameter_of_the_api_goes_on(asks, target):
    assert asks.get(target).status_code == 200


@pytest.mark.parametrize("method", ["delete", "options", "purge"])
def test_a_method_that_the_view_lacks_is_the_views_own_affair(asks, method):
    assert asks.generic(method.upper(), f"{HERE}?x=1").status_code in (200, 405)


def test_a_near_miss_is_told_in_the_real_api(administrator):
    problem = administrator.api.get("/api/v1/findings/?severty=high").json()
    assert "(did you mean `severity`?)" in problem["detail"]
    assert "known" not in administrator.api.get("/api/v1/findings/?severity=high").json()


@pytest.mark.parametrize(
    ("query", "where"),
    [("decisions/?kind=nope", "kind"), ("decisions/?risk=x", "risk"), ("users/?is_active=perhaps", "is_active")],
)
def test_a_filters_bad_value_is_a_bad_parameter_everywhere(administrator, query, where):
    answer = administrator.api.get(f"/api/v1/{query}")
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["where"]) == (400, "bad_parameter", where)
    assert problem["errors"][0]["where"] == where


def test_a_missing_slash_moves_what_only_reads_and_is_named_otherwise(asks):
    moved = asks.get("/api/v1/things")
    assert (moved.status_code, moved["Location"]) == (301, HERE)
    refused = asks.post("/api/v1/things", {}, content_type="application/json")
    assert refused.status_code == 404
    assert refused.json()["detail"].endswith(f"ends with a slash: {HERE}")
    assert asks.post("/page").status_code == 301
    assert Slashes.__mro__[1].__name__ == "CommonMiddleware"


@pytest.mark.parametrize("name", ["team", "user"])
def test_filters_have_the_names_of_the_field_and_not_of_a_column(administrator, name):
    listed = {"team": "applications", "user": "tokens"}[name]
    assert administrator.api.get(f"/api/v1/{listed}/?{name}=nobody").json()["count"] == 0


def test_revoked_tokens_are_found_as_revoked(administrator):
    made = administrator.api.post("/api/v1/tokens/", {"name": "t", "role": "administrator"}).json()
    administrator.api.delete(f"/api/v1/tokens/{made['id']}/")
    found = {word: administrator.api.get(f"/api/v1/tokens/?revoked={word}").json() for word in ("true", "false")}
    assert [row["id"] for row in found["true"]["results"]] == [made["id"]]
    assert made["id"] not in [row["id"] for row in found["false"]["results"]]


def test_words_of_the_framework_are_followed_by_what_to_do(client, administrator):
    assert "Authorization: Bearer" in client.get("/api/v1/images/").json()["detail"]
    assert (
        "Send application/json."
        in administrator.api.post("/api/v1/teams/", "x", format=None, content_type="text/x").json()["detail"]
    )
