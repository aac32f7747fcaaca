"""What a registry asks for when it answers 401 (no I/O).

RFC 9110 section 11.6.1 for the header; distribution's "Token Authentication Specification" for Bearer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from secguard.images.strictjson import Node, loads, refused

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*,?\s*({_WORD})(?:\s+|$)")
_PARAMETER = re.compile(rf'\s*,?\s*({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_WORD}))')
_BEARER_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,32768}")
_MAX_HEADER = 16_384
_LEAST_SECONDS = 60
"""How long a token holds where the server does not say, and at least ("for compatibility", says the specification)."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in: ``scheme`` in lower case, and its parameters."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token and for how many seconds it holds."""

    value: str = field(repr=False)
    seconds: int


def challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of all ``WWW-Authenticate`` headers; what is malformed is left out."""
    found = []
    for header in headers:
        at, text = 0, header[:_MAX_HEADER]
        while scheme := _SCHEME.match(text, at):
            at, parameters = scheme.end(), {}
            while parameter := _PARAMETER.match(text, at):
                name, quoted, plain = parameter.groups()
                parameters[name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
                at = parameter.end()
            found.append(Challenge(scheme.group(1).lower(), parameters))
    return found


def read_only(scope: str) -> str:
    """A scope with no more than reading in it, whatever the registry asked us to ask for."""
    kept = []
    for item in scope.split()[:16]:
        resource, _, actions = item.rpartition(":")
        wanted = "*" if resource == "registry:catalog" else "pull"
        if resource and wanted in actions.split(","):
            kept.append(f"{resource}:{wanted}")
    return " ".join(kept)


def is_for_writing(scope: str) -> bool:
    """Whether a scope of ours asks for more than reading."""
    return any("push" in item.rpartition(":")[2].split(",") for item in scope.split())


def token(raw: bytes) -> Token:
    """The token of a token server's answer. Raises ``Invalid`` where there is none that fits into a header."""
    what = "The token server's answer"
    node = Node(loads(raw, what=what, max_bytes=2**17), what)
    value = _first_text(node.members, "token", "access_token")
    if not _BEARER_TOKEN.fullmatch(value):
        raise refused(what, "it has no token, or one with characters that no token has", "$.token")
    return Token(value, max(min(node.get("expires_in", int, _LEAST_SECONDS), 86_400), _LEAST_SECONDS))


def _first_text(members: Mapping[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := members.get(name), str) and value), "")


def problem(raw: bytes) -> str:
    """The first error of a registry's answer in words (distribution-spec, "Error Codes"); empty where it has none."""
    what = "The registry's answer"
    errors = Node(loads(raw, what=what, max_bytes=2**17), what).nodes("errors", most=100)
    if not errors:
        return ""
    code, message = errors[0].text("code"), errors[0].text("message")
    return " ".join(f"{code} {message}".split())[:200]
