"""Each refusal comes out as what its reader can use: a problem document, a message, or a page; and leaks nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django import forms
from django.core import exceptions as django_exceptions
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DataError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.test import Client, RequestFactory
from django.urls import path
from rest_framework import exceptions as api_exceptions
from rest_framework import serializers
from rest_framework.parsers import JSONParser
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard import errors
from secguard.accounts.models import Team
from secguard.web import problems

ERRORS: dict[str, Exception] = {
    "notfound": errors.NotFound("There is no image sha256:12."),
    "notallowed": errors.NotAllowed("Approving needs security-reviewer.", code="role_missing"),
    "conflict": errors.Conflict("The decision is rejected."),
    "invalid": errors.Invalid(
        "Two faults.", where="$.rules", errors=[{"where": "$.rules[0]", "detail": "no"}], status=1, hint="x"
    ),
    "toolarge": errors.TooLarge("Too many findings: 2,000,000."),
    "unavailable": errors.Unavailable("The registry is away.", retry_after=7),
    "http404": Http404("No Team matches the given query."),
    "missing": Team.DoesNotExist("Team matching query does not exist."),
    "denied": PermissionDenied(),
    "validation": ValidationError({"name": ["Too long.", "Odd."], "__all__": ["Both."]}),
    "api_validation": api_exceptions.ValidationError({"scope": {"image": ["Unknown."]}, "rules": [{"id": ["Bad."]}]}),
    "parse": api_exceptions.ParseError("JSON parse error"),
    "media": api_exceptions.UnsupportedMediaType("text/plain"),
    "throttled": api_exceptions.Throttled(wait=12.2),
    "method": api_exceptions.MethodNotAllowed("PUT"),
    "toobig": django_exceptions.RequestDataTooBig("Request body exceeded settings."),
    "fields": django_exceptions.TooManyFieldsSent("Too many fields."),
    "suspicious": django_exceptions.SuspiciousOperation("secret detail"),
    "cut": UnreadablePostError("reset"),
    "data": DataError("integer out of range"),
    "database": OperationalError("could not connect to 10.0.0.3"),
    "unforeseen": RuntimeError("inside"),
}
STATUS = {
    "notfound": 404,
    "notallowed": 403,
    "conflict": 409,
    "invalid": 422,
    "toolarge": 413,
    "unavailable": 503,
    "http404": 404,
    "missing": 404,
    "denied": 403,
    "validation": 422,
    "api_validation": 422,
    "parse": 400,
    "media": 415,
    "throttled": 429,
    "method": 405,
    "toobig": 413,
    "fields": 413,
    "suspicious": 400,
    "cut": 400,
    "data": 422,
    "database": 503,
    "unforeseen": 500,
}


def plain(request: HttpRequest, name: str) -> HttpResponse:
    raise ERRORS[name]


class Api(APIView):
    authentication_classes = ()
    permission_classes = ()
    parser_classes = (JSONParser,)

    def get(self, request: Any, name: str) -> Response:
        raise ERRORS[name]

    def post(self, request: Any, name: str) -> Response:
        class Body(serializers.Serializer):
            count = serializers.IntegerField()

        Body(data=request.data).is_valid(raise_exception=True)
        return Response({})


handler400 = "secguard.web.problems.bad_request"
handler403 = "secguard.web.problems.permission_denied"
handler404 = "secguard.web.problems.page_not_found"
handler500 = "secguard.web.problems.server_error"
urlpatterns = [
    path("api/v1/raise/<name>/", Api.as_view()),
    path("admission/<name>", plain),
    path("hooks/<name>", plain),
    path("page/<name>/", plain),
]

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.fixture
def browser() -> Client:
    return Client(raise_request_exception=False, headers={"accept": "text/html,*/*;q=0.8"})


@pytest.mark.parametrize("where", ["/api/v1/raise/{}/", "/admission/{}", "/hooks/{}"])
@pytest.mark.parametrize("name", ERRORS)
def test_programs_get_a_problem_document(browser: Client, name: str, where: str) -> None:
    url = where.format(name)
    response = browser.get(url)
    document = json.loads(response.content)

    assert response.status_code == document["status"] == STATUS[name]
    assert response["Content-Type"] == "application/problem+json"
    assert document["type"] == "about:blank"
    assert document["instance"] == url
    assert document["request_id"] == response["X-Request-ID"]
    assert document["code"]
    assert len(document["detail"]) > 3
    for secret in ("inside", "10.0.0.3", "secret detail", "RuntimeError"):
        assert secret not in response.content.decode()


@pytest.mark.parametrize("name", ERRORS)
def test_people_get_a_page_that_says_what_to_do(browser: Client, name: str) -> None:
    response = browser.get(f"/page/{name}/")
    text = response.content.decode()

    assert response.status_code == STATUS[name]
    assert response["Content-Type"].startswith("text/html")
    assert "<h1" in text
    assert response["X-Request-ID"] in text
    assert "home page" in text or "Go back" in text
    assert "10.0.0.3" not in text


def test_an_answer_is_there_even_where_pages_cannot_be_made(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> str:
        raise ValueError("There is no static file of that name: a secret detail")

    monkeypatch.setattr("django.contrib.staticfiles.storage.StaticFilesStorage.url", broken)
    response = browser.get("/page/unforeseen/")
    assert (response.status_code, json.loads(response.content)["code"]) == (500, "internal_error")
    assert "secret detail" not in response.content.decode()


def test_htmx_gets_a_message_in_the_flash_area(browser: Client) -> None:
    response = browser.get("/page/conflict/", headers={"hx-request": "true"})
    assert response.status_code == 409
    assert response["HX-Retarget"] == "#flash"
    assert response["HX-Reswap"] == "beforeend"
    assert "The decision is rejected." in response.content.decode()
    assert "<html" not in response.content.decode()


def test_detail_is_escaped_on_pages() -> None:
    request = RequestFactory().get("/x")
    problem = problems.Problem(400, "c", "<script>alert(1)</script>")
    assert b"<script>alert" not in problems.respond(request, problem).content


def test_the_documents_members(browser: Client) -> None:
    found = json.loads(browser.get("/api/v1/raise/invalid/").content)
    assert found["title"] == "Unprocessable Entity"
    assert found["status"] == 422, "an extra member does not replace one of the RFC's"
    assert found["where"] == "$.rules"
    assert found["errors"] == [{"where": "$.rules[0]", "detail": "no"}]
    assert found["hint"] == "x"


def test_codes_are_the_refusals_own(browser: Client) -> None:
    assert json.loads(browser.get("/api/v1/raise/notallowed/").content)["code"] == "role_missing"
    assert json.loads(browser.get("/api/v1/raise/conflict/").content)["code"] == "conflict"


def test_when_to_try_again_is_said(browser: Client) -> None:
    assert browser.get("/api/v1/raise/unavailable/")["Retry-After"] == "7"
    assert browser.get("/api/v1/raise/throttled/")["Retry-After"] == "13"
    assert browser.get("/admission/unavailable")["Retry-After"] == "7"


def test_field_errors_name_their_place(browser: Client) -> None:
    found = json.loads(browser.get("/api/v1/raise/api_validation/").content)
    assert found["errors"] == [
        {"where": "scope.image", "detail": "Unknown."},
        {"where": "rules[0].id", "detail": "Bad."},
    ]
    found = json.loads(browser.get("/api/v1/raise/validation/").content)
    assert found["errors"][-1] == {"where": "", "detail": "Both."}
    assert found["detail"] == "name: Too long.; name: Odd.; Both."


@pytest.mark.parametrize(("body", "status"), [('{"count": "x"}', 422), ("{", 400), ("[1]", 422), ("", 422)])
def test_bodies_that_cannot_be_read_and_bodies_that_cannot_be_taken(browser: Client, body: str, status: int) -> None:
    response = browser.post("/api/v1/raise/x/", body, content_type="application/json")
    assert (response.status_code, json.loads(response.content)["status"]) == (status, status)


def test_an_unknown_address_is_a_problem_for_programs_and_a_page_for_people(browser: Client) -> None:
    assert json.loads(browser.get("/api/v1/nothing").content)["code"] == "not_found"
    assert "<h1" in browser.get("/nothing").content.decode()
    assert browser.get("/nothing", headers={"accept": "application/json"})["Content-Type"] == problems.PROBLEM_TYPE


def test_model_names_are_not_told(browser: Client) -> None:
    for name in ("http404", "missing"):
        assert "Team" not in browser.get(f"/api/v1/raise/{name}/").content.decode()


def test_many_faults_are_summed_up() -> None:
    problem = problems.from_exception(ValidationError({f"f{n}": ["Bad."] for n in range(8)}))
    assert problem is not None
    assert problem.detail.endswith("f4: Bad.; and 3 more, see `errors`")
    assert len(problem.errors) == 8


def test_one_fault_is_also_the_where() -> None:
    problem = problems.from_exception(ValidationError({"name": ["Bad."]}))
    assert problem is not None
    assert problem.where == "name"


def test_a_forged_form_is_refused_in_words() -> None:
    client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    response = client.post("/page/conflict/", {"a": "b"})
    assert response.status_code == 403
    assert "reload the page" in response.content.decode()


def test_form_errors_flatten_like_the_apis() -> None:
    class Form(forms.Form):
        name = forms.CharField()

    form = Form({})
    assert not form.is_valid()
    problem = problems.from_exception(ValidationError(form.errors.as_data()))
    assert problem is not None
    assert problem.errors == [{"where": "name", "detail": "This field is required."}]
