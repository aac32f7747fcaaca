"""Every answer has its request id and its headers; no body past its bound is read into memory."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
import structlog
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from structlog.testing import capture_logs

from secguard.web import middleware, problems
from secguard.web.middleware import BodyBound, body_limit


def show(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(structlog.contextvars.get_contextvars().get("request_id")))


def own_policy(request: HttpRequest) -> HttpResponse:
    return HttpResponse("x", headers={"Content-Security-Policy": "default-src 'none'", "Cache-Control": "no-store"})


handler404 = "secguard.web.problems.page_not_found"
urlpatterns = [path("show", show), path("own", own_policy), path("api/v1/reports/", show)]
pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]


@pytest.mark.parametrize("given", ["abcdef12", "4bf92f35-77b3:1.2_3", "x" * 128])
def test_a_sane_request_id_is_kept(client: Client, given: str) -> None:
    response = client.get("/show", headers={"x-request-id": given})
    assert response["X-Request-ID"] == response.content.decode() == given


@pytest.mark.parametrize("given", ["", "short", "x" * 129, "a b c d e f", "<script>alert", "line\nbreaks"])
def test_any_other_is_replaced(client: Client, given: str) -> None:
    response = client.get("/show", headers={"x-request-id": given})
    assert re.fullmatch(r"[0-9a-f]{32}", response["X-Request-ID"])
    assert response.content.decode() == response["X-Request-ID"]


def test_the_id_ends_with_the_request(client: Client) -> None:
    client.get("/show")
    assert "request_id" not in structlog.contextvars.get_contextvars()


def test_the_log_has_the_path_and_not_the_query(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    # A logger that wrote before keeps its processors; one of the test's own can be listened to.
    monkeypatch.setattr(middleware, "log", structlog.get_logger("tests"))
    with capture_logs() as logs:
        client.get("/show?q=private")
        client.get("/healthz")
    lines = [line for line in logs if line["event"] == "request"]
    assert [(line["path"], line["status"]) for line in lines] == [("/show", 200)]
    assert "private" not in str(lines)


@pytest.mark.parametrize("url", ["/show", "/nothing", "/api/v1/reports/"])
def test_every_answer_has_the_headers(client: Client, url: str) -> None:
    response = client.get(url)
    policy = response["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "object-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy, "nothing from elsewhere"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cache-Control"] == "private, no-cache"


def test_a_view_may_be_stricter(client: Client) -> None:
    response = client.get("/own")
    assert response["Content-Security-Policy"] == "default-src 'none'"
    assert response["Cache-Control"] == "no-store"


LARGE = ("/api/v1/reports/", "/api/v1/vex/", "/api/v1/images/sha256:1/vex/", "/hooks/falco/")
SMALL = ("/", "/login", "/api/v1/decisions/", "/api/v1/images/sha256:1/", "/api/v1/reportsx", "/x/hooks/")


def test_only_what_takes_reports_takes_large_bodies(settings: Any) -> None:
    settings.MAX_REPORT_BYTES, settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 5_000, 1_000
    settings.MAX_ARCHIVE_BYTES, settings.MAX_FEED_BYTES = 7_000, 9_000
    assert {body_limit(path) for path in ("/api/v1/scans/archive/", "/scans/upload/")} == {7_000}
    assert {body_limit(path) for path in ("/api/v1/advisories/import/", "/feeds/upload/")} == {9_000}
    assert {body_limit(path) for path in LARGE} == {5_000}
    assert {body_limit(path) for path in SMALL} == {1_000}


class Counted(io.BytesIO):
    largest = 0

    def read(self, size: int | None = -1) -> bytes:
        self.largest = max(self.largest, len(found := super().read(size)))
        return found


def post(path: str, **meta: Any) -> HttpResponse:
    def view(_request: HttpRequest) -> HttpResponse:
        return HttpResponse("taken")

    request = RequestFactory().post(path, b"", content_type="application/json")
    request.META.update(meta)
    if "wsgi.input" in meta:
        request._stream = meta["wsgi.input"]
    return BodyBound(view)(request)


def test_a_body_past_its_bound_is_refused_and_read_only_in_pieces(settings: Any) -> None:
    settings.MAX_REPORT_BYTES = 10_000_000
    body = Counted(b"x" * 12_000_000)
    response = post("/api/v1/reports/", CONTENT_LENGTH="12000000", **{"wsgi.input": body})

    assert response.status_code == 413
    assert response["Content-Type"] == problems.PROBLEM_TYPE
    assert b"12,000,000 bytes; at most 10,000,000" in response.content
    assert b"SECGUARD_MAX_REPORT_BYTES" in response.content
    assert body.largest == middleware.DRAIN_CHUNK
    assert body.tell() == 12_000_000, "the client has sent all of it, and can read the answer"


def test_what_is_drained_is_bounded_too(settings: Any) -> None:
    settings.MAX_REPORT_BYTES = 100_000
    body = Counted(b"x" * 1_000_000)
    assert post("/api/v1/reports/", CONTENT_LENGTH=str(10**15), **{"wsgi.input": body}).status_code == 413
    assert body.tell() <= 400_000


def test_a_client_that_goes_away_while_drained_is_no_error(settings: Any) -> None:
    class Gone(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("reset")

    assert post("/login", CONTENT_LENGTH="99999999", **{"wsgi.input": Gone()}).status_code == 413


@pytest.mark.parametrize(
    ("meta", "status"),
    [
        ({"CONTENT_LENGTH": "x"}, 400),
        ({"CONTENT_LENGTH": "-5"}, 400),
        ({"CONTENT_LENGTH": "", "HTTP_TRANSFER_ENCODING": "chunked"}, 411),
        ({"CONTENT_LENGTH": ""}, 200),
        ({"CONTENT_LENGTH": "100"}, 200),
    ],
)
def test_lengths(meta: dict[str, str], status: int) -> None:
    assert post("/api/v1/reports/", **meta).status_code == status


def test_people_get_a_page_for_a_form_too_large() -> None:
    response = post("/login", CONTENT_LENGTH="99999999")
    assert response.status_code == 413
    assert b"<h1" in response.content
