"""Cursor pages for the REST API: ``{"results", "next", "previous", "count", "count_is_exact"}`` (DESIGN section 5).

Query: ``cursor`` (opaque, from ``next`` or ``previous``), ``limit`` (1 to 500), ``ordering`` (one of the view's
``ordering_fields``, ``-`` before it for descending). ``count`` stops at 10,000 and then ``count_is_exact`` is false.

A view says ``ordering_fields = ("created_at", "severity")`` (or a dictionary from the public name to the field
path, or to a tuple of paths) and ``ordering = "-created_at"``; without them the list goes by the primary key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from secguard.web import keyset
from secguard.web.parameters import BadParameter

Paths = str | Sequence[str]


class CursorPages(BasePagination):
    """The API's default pagination class. Two queries (the page, its bounded count) and the prefetches."""

    default_limit = 50
    max_limit = 500
    count_bound = keyset.COUNT_BOUND

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """The rows of the page of a QuerySet asked for. Raises BrokenCursor and BadParameter (both 400)."""
        self.request = request
        self.sort = _ordering(request, view)
        keys = (
            keyset.keys_for(queryset.model, _paths(self.sort, view))
            if self.sort
            else keyset.keys_for(queryset.model, ["pk"])
        )
        text = request.query_params.get("cursor", "")
        cursor = keyset.decode(text, self.sort) if text else None
        self.page = self.fetch(queryset, keys, cursor, self._limit(request))
        self.count, self.count_is_exact = self.counted(queryset)
        return self.page.rows

    def fetch(
        self, queryset: Any, keys: Sequence[keyset.Key], cursor: keyset.Cursor | None, limit: int
    ) -> keyset.Page[Any]:
        """One page of the rows; for a list that finds them in another way than by a query."""
        return keyset.page(queryset, keys, cursor, limit)

    def counted(self, queryset: Any) -> tuple[int, bool]:
        """(rows, whether that is all of them)."""
        return keyset.bounded_count(queryset, self.count_bound)

    def _limit(self, request: Request) -> int:
        text = request.query_params.get("limit", "")
        if not text:
            return self.default_limit
        if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= self.max_limit):
            raise BadParameter(
                f"`limit` is {text[:40]!r}; expected a whole number from 1 to {self.max_limit}.",
                code="bad_limit",
                where="limit",
            )
        return int(text)

    def get_paginated_response(self, data: Any) -> Response:
        """The list document."""
        return Response(
            {
                "results": data,
                "next": self._link(self.page.next),
                "previous": self._link(self.page.previous),
                "count": self.count,
                "count_is_exact": self.count_is_exact,
            }
        )

    def _link(self, cursor: keyset.Cursor | None) -> str | None:
        if cursor is None:
            return None
        here = remove_query_param(self.request.build_absolute_uri(), "cursor")
        return str(replace_query_param(here, "cursor", keyset.encode(cursor, self.sort)))

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The list document in OpenAPI."""
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["results", "next", "previous", "count", "count_is_exact"],
            "properties": {
                "results": schema,
                "next": {**link, "description": "The next page; null on the last."},
                "previous": {**link, "description": "The page before; null on the first."},
                "count": {"type": "integer", "minimum": 0, "maximum": self.count_bound},
                "count_is_exact": {
                    "type": "boolean",
                    "description": f"False: there are more than {self.count_bound:,} rows, and they were not counted.",
                },
            },
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """The query parameters in OpenAPI."""
        parameters = [
            _parameter("cursor", {"type": "string"}, "Opaque; taken from `next` or `previous`."),
            _parameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": self.max_limit, "default": self.default_limit},
                "Rows on a page.",
            ),
        ]
        if names := sorted(_fields(view)):
            both = [sign + name for name in names for sign in ("", "-")]
            parameters.append(
                _parameter("ordering", {"type": "string", "enum": both}, "What to sort by; `-` for descending.")
            )
        return parameters


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


def _fields(view: Any) -> Mapping[str, Paths]:
    fields = getattr(view, "ordering_fields", None) or ()
    return fields if isinstance(fields, Mapping) else {name: name for name in fields}


def _ordering(request: Request, view: Any) -> str:
    """The ordering asked for, or the view's own."""
    asked = request.query_params.get("ordering", "")
    default = getattr(view, "ordering", None) or ""
    if not asked:
        return default if isinstance(default, str) else ",".join(default)
    fields = _fields(view)
    if asked.removeprefix("-") not in fields:
        known = ", ".join(sorted(fields)) or "none: this list has one order"
        raise BadParameter(
            f"`ordering` is {asked[:60]!r}; expected one of: {known} (with `-` before it for descending).",
            code="bad_ordering",
            where="ordering",
        )
    return asked


def _paths(sort: str, view: Any) -> list[str]:
    """Field paths for a sort; the view's own default may name several, split by commas."""
    fields = _fields(view)
    found: list[str] = []
    for part in sort.split(","):
        bare, descending = part.removeprefix("-"), part.startswith("-")
        paths = fields.get(bare, bare)
        found += [flipped(path) if descending else path for path in ([paths] if isinstance(paths, str) else paths)]
    return found


def flipped(path: str) -> str:
    """``name`` to ``-name`` and back."""
    return path.removeprefix("-") if path.startswith("-") else f"-{path}"
