"""What every operation of the OpenAPI document says beside its own: how it refuses, and under which name.

A problem is the document of ``problems.Problem`` (RFC 9457 section 3.1), so programs can read every refusal by schema.
What the document says of query parameters holds: ``query_parameters`` is where the server looks them up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from django.http import HttpRequest, HttpResponse
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.plumbing import ComponentRegistry

from secguard.web.parameters import BadParameter
from secguard.web.problems import from_exception, respond

API = "/api/v1/"

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "Why a request was refused (RFC 9457). Programs tell problems apart by `code`.",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "`about:blank`: `title` is the status's own phrase."},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What was found, what was expected, and what to do."},
        "instance": {"type": "string", "description": "The path that was asked."},
        "code": {"type": "string"},
        "where": {"type": "string", "description": "The parameter, header or member of the body at fault."},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "Each fault, where there are several."},
        "request_id": {"type": "string", "description": "Under this id the server's log tells more."},
    },
}
WORDS = {
    "400": "The request cannot be read: its syntax, a parameter, or a cursor that this server did not make.",
    "401": "No token and no session, or one that is not valid.",
    "403": "Your roles do not allow this.",
    "404": "It is not there, or you may not see it.",
    "409": "What stands forbids it; the problem names the state that was found.",
    "413": "The body is larger than it may be.",
    "415": "The body is of a type that is not taken here.",
    "422": "The request can be read, and what it says cannot be taken; `where` and `errors` name the faults.",
    "default": "Any other refusal, such as 429, 500 or 503.",
}
_METHODS = ("get", "post", "put", "patch", "delete")


def describe_problems(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A postprocessing hook: the refusals of each operation, by what it takes."""
    result["components"]["schemas"]["Problem"] = PROBLEM
    for path, method, operation in _operations(result):
        responses = operation["responses"]
        for status in _refusals(path, method, operation):
            own = responses.get(status, {})
            responses[status] = {"description": own.get("description") or WORDS[status], "content": _CONTENT}
    return result


_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, method, item[method]


def _refusals(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield from ("400", "401", "403", "404")
    if "requestBody" in operation:
        yield from ("413", "415")
    if method != "get":
        # What changes something may meet another state; without a body too (`activate/`).
        yield from ("409", "422")
    yield "default"


@lru_cache(maxsize=512)
def query_parameters(view: Callable[..., Any], method: str) -> frozenset[str] | None:
    """The query parameters that an API view takes for an HTTP method, as the document says; None for no API view."""
    handlers = getattr(view, "actions", None)
    view_class = getattr(view, "cls", None)
    asked = "get" if method == "HEAD" else method.lower()
    is_known = asked in {name.lower() for name in handlers} if handlers is not None else hasattr(view_class, asked)
    if view_class is None or asked not in _METHODS or not is_known:
        return None
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    with GENERATOR_STATS.silence():
        made = generator.create_view(view, asked.upper())  # type: ignore[no-untyped-call]
        operation = made.schema.get_operation("/", "/", "", asked.upper(), ComponentRegistry())
    return frozenset(p["name"] for p in (operation or {}).get("parameters", []) if p["in"] == "query")


class KnownParameters:
    """Middleware: 400 for a query parameter of the API that the OpenAPI document does not name for this operation.

    A filter's name that is mistyped would else give every row, and a script take them for the few it meant.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable[..., Any], *_: object) -> HttpResponse | None:
        if not request.path.startswith(API) or not request.META.get("QUERY_STRING"):
            return None
        known = query_parameters(view, request.method or "GET")
        unknown = sorted(set(request.GET) - known) if known is not None else []
        problem = from_exception(_unknown(unknown[0], known or frozenset())) if unknown else None
        return respond(request, problem) if problem else None


def _unknown(name: str, known: frozenset[str]) -> BadParameter:
    near = get_close_matches(name[:60], known, n=1)
    hint = f" (did you mean `{near[0]}`?)" if near else ""
    expected = f"expected one of {', '.join(sorted(known))}" if known else "none is taken here"
    return BadParameter(
        f"There is no query parameter {name[:60]!r}{hint}; {expected}.", code="unknown_parameter", where=name[:60]
    )
