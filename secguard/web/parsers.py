"""JSON bodies of the API, read by a parser that also answers what is nested too deeply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class BoundedJSONParser(JSONParser):
    """REST framework's own, but for nesting: Python's decoder gives up at its recursion limit, which is no 500."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """The document; raises ``ParseError`` (400) where it is no JSON or nested deeper than can be read."""
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("The body is nested too deeply; no request here needs more than a few levels.") from None
