"""What every operation of the OpenAPI document says beside its own: how it refuses, and under which name.

A problem is the document of ``problems.Problem`` (RFC 9457 section 3.1), so programs can read every refusal by schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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
    for path, operation in _operations(result):
        responses = operation["responses"]
        for status in _refusals(path, operation):
            own = responses.get(status, {})
            responses[status] = {"description": own.get("description") or WORDS[status], "content": _CONTENT}
    return result


_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                yield path, item[method]


def _refusals(path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield from ("400", "401", "403", "404")
    if "requestBody" in operation:
        yield from ("413", "415")
    # What changes something may meet another state; without a body too (`activate/`).
    if "requestBody" in operation or "204" in operation["responses"] or "get" not in operation["operationId"]:
        yield "409"
    yield from ("422", "default")
