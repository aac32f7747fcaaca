"""Every refusal as an answer: an RFC 9457 problem for programs, a calm page for people, a message for HTMX.

A problem document: ``{"type", "title", "status", "detail", "instance", "code", "where", "errors", "request_id"}``.
``type`` is ``about:blank`` and ``title`` then the status's own phrase (RFC 9457 section 4.2.1); programs tell problems
apart by ``code``. ``where`` and ``errors`` (``[{"where", "detail"}]``) are there where they say something.

400: the request itself cannot be read (syntax, a broken cursor). 422: it can, and what it says cannot be taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import structlog
from django.contrib.auth.views import redirect_to_login
from django.core import exceptions as django_exceptions
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.template.loader import render_to_string, select_template
from django.urls import is_valid_path
from rest_framework import exceptions as api_exceptions
from rest_framework.views import set_rollback

from secguard import errors
from secguard.web import htmx

PROBLEM_TYPE = "application/problem+json"
PROGRAM_PATHS = ("/api/", "/admission/", "/hooks/")
TITLES = {400: "Bad request", 401: "Sign in first", 403: "Not allowed", 404: "Not found", 409: "Conflict"}
# Pages for these stand without the navigation: what made them may break the navigation too.
BARE = frozenset({400, 411, 413, 500, 503})

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Problem:
    """A refusal, ready to be shown."""

    status: int
    code: str
    detail: str
    title: str = ""
    where: str = ""
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def phrase(self) -> str:
        return HTTPStatus(self.status).phrase

    @property
    def heading(self) -> str:
        """The title for people."""
        return self.title or TITLES.get(self.status, self.phrase)

    def document(self, request: HttpRequest) -> dict[str, Any]:
        """The RFC 9457 document. An ``extra`` member never replaces one that the RFC or this module names."""
        optional = {"where": self.where, "errors": list(self.errors)}
        return {
            **self.extra,
            "type": "about:blank",
            "title": self.phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": request.path,
            "code": self.code,
            **{name: value for name, value in optional.items() if value},
            "request_id": request_id(request),
        }


def request_id(request: HttpRequest) -> str:
    return str(getattr(request, "request_id", ""))


def is_program(request: HttpRequest) -> bool:
    """True where a program asks: the API, the webhooks, or a client that accepts JSON and no HTML."""
    if request.path.startswith(PROGRAM_PATHS):
        return True
    accept = request.headers.get("Accept", "")
    return "json" in accept and "html" not in accept


# --- exceptions to problems ---


def from_exception(error: BaseException) -> Problem | None:
    """The problem for an exception; None for one that nobody foresaw (a 500 whose inside stays inside)."""
    for kinds, convert in _CONVERSIONS:
        if isinstance(error, kinds):
            return convert(error)
    return None


def _refusal(error: Any) -> Problem:
    retry = getattr(error, "retry_after", None)
    listed = error.extra.get("errors")
    return Problem(
        status=error.status,
        code=error.code,
        detail=error.detail,
        title=error.title,
        where=error.where,
        errors=listed if isinstance(listed, list) else (),
        headers={"Retry-After": str(math.ceil(retry))} if retry is not None else {},
        extra={name: value for name, value in error.extra.items() if name != "errors"},
    )


def _not_found(error: Exception) -> Problem:
    said = str(error.args[0]) if isinstance(error, Http404) and error.args and isinstance(error.args[0], str) else ""
    # Django's own words name a model; they tell a reader nothing.
    detail = said if said and "matches the given query" not in said else "There is nothing here that you may see."
    return Problem(404, "not_found", detail)


def _not_allowed(error: Exception) -> Problem:
    return Problem(403, "not_allowed", str(error) or "You may not do this. An administrator can give you a role.")


def _too_big(error: Exception) -> Problem:
    return Problem(413, "too_large", f"{error} Send less in one request.", title="Too large")


def _bad_request(error: Exception) -> Problem:
    detail = "The request cannot be read. Check its address, its encoding and its headers."
    return Problem(400, "bad_request", str(error) if isinstance(error, django_exceptions.BadRequest) else detail)


def _cut_off(_error: Exception) -> Problem:
    return Problem(400, "incomplete_body", "The connection ended before the whole body had arrived. Send it again.")


def _unstorable(_error: Exception) -> Problem:
    detail = "A value is outside what can be stored or compared: a number too great, or text with a null character."
    return Problem(422, "unstorable_value", detail)


def _database_away(error: Exception) -> Problem:
    log.error("database did not answer", exc_info=error)
    detail = "The database did not answer. Nothing was changed; try again in a few seconds."
    return Problem(503, "database_unavailable", detail, headers={"Retry-After": "5"})


def _form_invalid(error: Any) -> Problem:
    found = getattr(error, "message_dict", None) or {"": error.messages}
    return _invalid([("" if where == "__all__" else where, text) for where, texts in found.items() for text in texts])


def _api_invalid(error: Any) -> Problem:
    return _invalid(list(flattened(error.detail)))


def _invalid(faults: list[tuple[str, str]]) -> Problem:
    listed = [{"where": where, "detail": text} for where, text in faults]
    detail = "; ".join(f"{where}: {text}" if where else text for where, text in faults[:5])
    if len(faults) > 5:
        detail += f"; and {len(faults) - 5} more, see `errors`"
    where = faults[0][0] if len(faults) == 1 else ""
    return Problem(422, "invalid", detail, title="Invalid input", where=where, errors=listed)


def flattened(detail: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """DRF's nested error detail as (``a.b[0]``, words)."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = where if name == "non_field_errors" else f"{where}.{name}".lstrip(".")
            yield from flattened(inner, own)
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, Mapping | list | tuple)
            yield from flattened(inner, f"{where}[{index}]" if nested else where)
    else:
        yield where, str(detail)


def _api_error(error: Any) -> Problem:
    headers: dict[str, str] = {}
    if getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = error.auth_header
    if getattr(error, "wait", None) is not None:
        headers["Retry-After"] = str(math.ceil(error.wait))
    codes = error.get_codes()
    code = codes if isinstance(codes, str) else str(error.default_code)
    detail = "; ".join(text for _, text in flattened(error.detail))
    return Problem(error.status_code, code, f"{detail}{_WAYS.get(code, '')}", headers=headers)


# What REST framework's own words leave out: what to do.
_WAYS = {
    "not_authenticated": " Send a token as 'Authorization: Bearer …' (make one under Settings, Tokens), or sign in.",
    "method_not_allowed": " The Allow header names those that are.",
    "unsupported_media_type": " Send application/json.",
    "not_acceptable": " Accept application/json.",
}


_CONVERSIONS: tuple[tuple[tuple[type[BaseException], ...], Callable[[Any], Problem]], ...] = (
    ((errors.SecGuardError,), _refusal),
    ((Http404, django_exceptions.ObjectDoesNotExist), _not_found),
    ((django_exceptions.PermissionDenied,), _not_allowed),
    ((django_exceptions.RequestDataTooBig, django_exceptions.TooManyFieldsSent), _too_big),
    ((django_exceptions.TooManyFilesSent,), _too_big),
    ((django_exceptions.BadRequest, django_exceptions.SuspiciousOperation, MultiPartParserError), _bad_request),
    ((UnreadablePostError,), _cut_off),
    ((django_exceptions.ValidationError,), _form_invalid),
    ((api_exceptions.ValidationError,), _api_invalid),
    ((api_exceptions.APIException,), _api_error),
    ((DataError,), _unstorable),
    ((OperationalError, InterfaceError), _database_away),
)


# --- problems to responses ---


def respond(request: HttpRequest, problem: Problem) -> HttpResponse:
    """The problem as a document, as a message for HTMX, or as a page."""
    if is_program(request):
        response: HttpResponse = JsonResponse(problem.document(request), content_type=PROBLEM_TYPE)
    elif htmx.wants_fragment(request):
        response = _message(request, problem)
    else:
        response = _page(request, problem)
    response.status_code = problem.status
    for name, value in problem.headers.items():
        response[name] = value
    return response


def _message(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Into the page's flash area, wherever the answer was to go; what the person was looking at stays."""
    body = render_to_string("web/_problem.html", {"problem": problem, "request_id": request_id(request)}, request)
    return HttpResponse(body, headers={"HX-Retarget": "#flash", "HX-Reswap": "beforeend", "HX-Push-Url": "false"})


def _page(request: HttpRequest, problem: Problem) -> HttpResponse:
    bare = problem.status in BARE
    template = select_template([f"{problem.status}.html", "web/problem_bare.html" if bare else "web/problem.html"])
    context = {"problem": problem, "request_id": request_id(request)}
    # No request: no context processor, no session, no database.
    return HttpResponse(template.render(context, None if bare else request))


def handler(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's EXCEPTION_HANDLER. None lets an unforeseen exception go on to ``server_error``."""
    problem = from_exception(error)
    if problem is None:
        return None
    set_rollback()
    return respond(context["request"]._request, problem)


class Problems:
    """Middleware, the innermost: refusals raised by plain views and webhooks."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        problem = from_exception(error)
        if problem is None:
            return None
        if problem.status == 401 and not is_program(request):
            return redirect_to_login(request.get_full_path())
        return respond(request, problem)


# --- what Django calls when no view was reached: handler400 … handler500 in urls.py, CSRF_FAILURE_VIEW ---


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return respond(request, from_exception(exception) or _bad_request(exception))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return respond(request, _not_allowed(exception))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    detail = "There is nothing at this address, or nothing that you may see."
    if not request.path.endswith("/") and is_valid_path(f"{request.path_info}/"):
        detail = f"There is nothing at this address; the one that is there ends with a slash: {request.path}/"
    return respond(request, Problem(404, "not_found", detail))


def server_error(request: HttpRequest) -> HttpResponse:
    """500 for what nobody foresaw. Django has logged it already, with the same request id."""
    detail = (
        "SecGuard made a mistake and did not finish this request. It is in the server's log under the request id; "
        "try again, and report it with that id if it stays."
    )
    problem = Problem(500, "internal_error", detail, title="Something went wrong here")
    try:
        return respond(request, problem)
    except Exception:  # noqa: BLE001 - the page may be what is broken, and an answer there must be
        return JsonResponse(problem.document(request), content_type=PROBLEM_TYPE, status=500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    detail = (
        f"The form was not accepted: {reason or 'its security token is missing or old.'} "
        "Go back, reload the page and send it again; cookies must be allowed."
    )
    return respond(request, Problem(403, "csrf_failed", detail, title="Form expired"))
