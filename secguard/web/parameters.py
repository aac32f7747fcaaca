"""Query parameters as plain values, bounded. Those that a route does not take: ``openapi.KnownParameters``."""

from __future__ import annotations

from datetime import datetime

from rest_framework.request import Request

from secguard.errors import Invalid

MAX_TEXT = 700


class BadParameter(Invalid):
    """A query parameter that is not what the route takes: the request itself is malformed."""

    status = 400
    title = "Bad query parameter"

    def __init__(self, detail: str, *, code: str = "bad_parameter", where: str = "", **extra: object) -> None:
        super().__init__(detail, code=code, where=where, **extra)


def text_of(request: Request, name: str, default: str = "") -> str:
    """The parameter's text; raises ``BadParameter`` where it is too long or holds NUL, which no name here does."""
    text = request.query_params.get(name, default).strip()
    if len(text) > MAX_TEXT or "\x00" in text:
        raise BadParameter(
            f"`{name}` has {len(text):,} characters or a NUL; expected at most {MAX_TEXT} printable ones.", where=name
        )
    return text


def choice_of(request: Request, name: str, choices: tuple[str, ...], default: str = "") -> str:
    """One of ``choices`` (or ``default`` where it is not given); raises ``BadParameter`` naming them."""
    text = text_of(request, name, default)
    if text and text not in choices:
        raise BadParameter(f"`{name}` is {text[:60]!r}; expected one of {', '.join(choices)}.", where=name)
    return text


def number_of(request: Request, name: str, *, least: int, most: int) -> int | None:
    """A whole number in bounds, ``None`` where it is not given; raises ``BadParameter``."""
    text = text_of(request, name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19 and least <= int(text) <= most):
        raise BadParameter(f"`{name}` is {text[:40]!r}; expected a whole number from {least} to {most}.", where=name)
    return int(text)


def flag_of(request: Request, name: str) -> bool | None:
    """``true`` or ``false``, ``None`` where it is not given; raises ``BadParameter``."""
    text = choice_of(request, name, ("true", "false", "1", "0"))
    return text in ("true", "1") if text else None


def time_of(request: Request, name: str) -> datetime | None:
    """An instant in RFC 3339 with its offset, ``None`` where it is not given; raises ``BadParameter``."""
    text = text_of(request, name)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BadParameter(f"`{name}` is {text[:40]!r}; expected a time such as 2026-01-31T12:00:00Z.", where=name)
    return at
