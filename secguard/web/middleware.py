"""What every request passes: its id, its headers, the bound on its body.

Order in settings: RequestId, SecurityHeaders, BodyBound, Webhooks, Django's SecurityMiddleware, WhiteNoise, sessions
..., ``problems.Problems`` last.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Final

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.common import CommonMiddleware
from django.urls import Resolver404, resolve

from secguard.web import metrics
from secguard.web.problems import Problem, from_exception, is_program, respond

Next = Callable[[HttpRequest], HttpResponse]

SANE_ID = re.compile(r"[A-Za-z0-9._:-]{8,128}")
QUIET_PATHS = ("/static/", "/healthz", "/readyz", "/metrics")

# Everything from this server, nothing inline, nobody frames it (W3C CSP Level 3). data: images are Tabler's own marks.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}

PERSONAL = re.compile(
    r"/(account|settings|sign-in)/|/api/v1/(me|users|memberships|tokens|ci-identities|sessions|second-factors|audit)/"
)
"""What is about people and their ways in: it stays in no cache, the browser's own and its way back among them."""

# Paths whose bodies may be as large as a report; everything else is bounded as a form is.
LARGE_BODIES = re.compile(
    r"/api/v1/(reports|workloads/sync|network/applied|vex|sample|images/[^/]+/(vex|sbom|attestations))/|/hooks/"
)
STREAMED_BODIES = {
    re.compile(r"/(api/v1/scans/archive|scans/upload)/"): "MAX_ARCHIVE_BYTES",
    re.compile(r"/(api/v1/advisories/import|feeds/upload)/"): "MAX_FEED_BYTES",
    re.compile(r"/admission/v1/"): "MAX_REVIEW_BYTES",
}
"""What the views read themselves, with a bound of its own."""
DRAIN_CHUNK = 1 << 16
DRAIN_SECONDS = 10.0

log = structlog.get_logger("secguard.request")


class RequestId:
    """``request.request_id``: the caller's X-Request-ID where it is sane, else a new one; on all logs and answers."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        found = given if SANE_ID.fullmatch(given) else secrets.token_hex(16)
        request.request_id = found  # type: ignore[attr-defined]
        with structlog.contextvars.bound_contextvars(request_id=found):
            started = time.perf_counter()
            response = self.get_response(request)
            _account(request, response, time.perf_counter() - started)
        response["X-Request-ID"] = found
        return response


def _account(request: HttpRequest, response: HttpResponse, seconds: float) -> None:
    """One log line and one measurement for a request; not its query, which may hold what people search."""
    metrics.observe(request, response.status_code, seconds)
    if request.path.startswith(QUIET_PATHS):
        return
    log.info(
        "request",
        method=request.method,
        path=request.path[:500],
        status=response.status_code,
        milliseconds=round(seconds * 1000, 1),
    )


TURNS: Final = re.compile(rb"\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]")
"""U+202A to U+202E and U+2066 to U+2069, in UTF-8: they turn the writing round, so that a text reads as another one."""
SHOWN_AS: Final = "\ufffd".encode()
"""As long in UTF-8 as what it stands for."""


def show_turns(response: HttpResponse) -> None:
    """What turns the writing round is seen on pages, as a mark, and does nothing: no page of ours has any itself."""
    if not response.streaming and response.get("Content-Type", "").startswith("text/html"):
        shown = TURNS.sub(SHOWN_AS, response.content)
        if shown != response.content:
            response.content = shown


class SecurityHeaders:
    """The headers above, where the answer has not set its own; private pages are not kept by caches in between."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        show_turns(response)
        for name, value in HEADERS.items():
            response.setdefault(name, value)
        if settings.SECURE_HSTS_SECONDS and request.is_secure():
            # Django's own stands further in, and is not asked by webhooks, nor where a body is refused.
            response.setdefault("Strict-Transport-Security", f"max-age={settings.SECURE_HSTS_SECONDS}")
        if PERSONAL.match(request.path):
            response["Cache-Control"] = "private, no-store"
        response.setdefault("Cache-Control", "private, no-cache")
        return response


class Slashes(CommonMiddleware):
    """Django's own, but for what would change its method on the way: a client that follows a 301 sends a GET then."""

    def should_redirect_with_slash(self, request: HttpRequest) -> bool:
        safe = request.method in ("GET", "HEAD", "OPTIONS")
        return (safe or not is_program(request)) and bool(super().should_redirect_with_slash(request))


class BodyBound:
    """Refuses a body past its bound before anything reads it into memory (DESIGN rule 11)."""

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        problem = _body_problem(request)
        return respond(request, problem) if problem else self.get_response(request)


class Webhooks:
    """Clusters' questions go straight to their views: no session, form, page or static file has a part in them, and
    what those cost is a tenth of an answer."""

    PATH = "/admission/v1/"

    def __init__(self, get_response: Next) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(self.PATH):
            return self.get_response(request)
        try:
            request.resolver_match = match = resolve(request.path_info)
            response: HttpResponse = match.func(request, *match.args, **match.kwargs)
        except Resolver404:
            return self.get_response(request)
        except Exception as error:
            problem = from_exception(error)
            if problem is None:
                raise  # Django makes a 500 of it
            response = respond(request, problem)
        response["Content-Length"] = str(len(response.content))
        return response


def body_limit(path: str) -> int:
    """Bytes that a request to ``path`` may send."""
    form: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 2 << 20
    setting = _bound_of(path)
    return max(form, int(getattr(settings, setting))) if setting else form


def _bound_of(path: str) -> str:
    """The setting that bounds bodies sent to ``path``; empty where a form's bound holds."""
    return next((setting for pattern, setting in STREAMED_BODIES.items() if pattern.match(path)), "") or (
        "MAX_REPORT_BYTES" if LARGE_BODIES.match(path) else ""
    )


def _body_problem(request: HttpRequest) -> Problem | None:
    if "chunked" in request.META.get("HTTP_TRANSFER_ENCODING", "").lower() and not request.META.get("CONTENT_LENGTH"):
        detail = (
            "The body came in chunks without a Content-Length header. Send the length (with curl: --data-binary @FILE)."
        )
        return Problem(411, "length_required", detail)
    text = request.META.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdigit()):
        return Problem(400, "bad_length", f"Content-Length is {text[:40]!r}; expected a whole number.")
    length, limit = int(text), body_limit(request.path)
    if length <= limit:
        return None
    _drain(request, length)
    detail = f"The body has {length:,} bytes; at most {limit:,} are taken here. Send less in one request" + (
        f", or raise SECGUARD_{setting} on the server." if (setting := _bound_of(request.path)) else "."
    )
    return Problem(413, "too_large", detail, title="Too large", headers={"Connection": "close"})


def _drain(request: HttpRequest, length: int) -> None:
    """Reads and drops the body, within bounds: a client still sending would else see a reset, and not the answer."""
    deadline = time.monotonic() + DRAIN_SECONDS
    left = min(length, 4 * int(settings.MAX_REPORT_BYTES))
    while left > 0 and time.monotonic() < deadline:
        try:
            chunk = request.read(min(DRAIN_CHUNK, left))
        except OSError:
            return
        if not chunk:
            return
        left -= len(chunk)
