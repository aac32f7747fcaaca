"""Verdicts as text for people and machines: one module a format, one function ``render(verdict) -> str`` each. Pure."""

from __future__ import annotations

from collections.abc import Callable

from secguard.client.formats import junit, markdown, plain_json, sarif, table
from secguard.client.verdict import Verdict

FORMATS: dict[str, Callable[[Verdict], str]] = {
    "table": table.render,
    "json": plain_json.render,
    "sarif": sarif.render,
    "junit": junit.render,
    "markdown": markdown.render,
}
