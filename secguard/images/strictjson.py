"""JSON that others wrote, read without surprises: bounded in size and depth, one meaning for each document.

RFC 8259 leaves open what a repeated name means (section 4); image tools have been attacked through that, so it is
refused here. So are NaN and Infinity, and text that no database keeps (U+0000, lone surrogates).
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, NoReturn, TypeVar

from secguard.errors import Invalid, TooLarge

MAX_DEPTH = 32
_T = TypeVar("_T")


def loads(raw: bytes, *, what: str, max_bytes: int) -> Any:
    """The value that ``raw`` (UTF-8) holds; ``what`` names the document in the refusals.

    Raises ``TooLarge`` over ``max_bytes`` bytes or ``MAX_DEPTH`` levels, and ``Invalid`` for everything else.
    """
    if len(raw) > max_bytes:
        raise TooLarge(f"{what} has {len(raw):,} bytes; at most {max_bytes:,} are read.", code="document-too-large")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_once, parse_constant=_constant)
    except RecursionError:
        raise _too_deep(what) from None
    except UnicodeDecodeError as error:
        raise refused(what, f"it is not UTF-8 (byte {error.start})") from None
    except ValueError as error:
        raise refused(what, f"it is not JSON: {str(error)[:200]}") from None
    # Only an escape (RFC 8259, section 7) brings what is no character of UTF-8, or NUL, into a text.
    _inspect(value, what, has_escapes=b"\\u" in raw)
    return value


def refused(what: str, why: str, where: str = "") -> Invalid:
    """The refusal of a document, with the place of the fault."""
    return Invalid(f"{what} cannot be used: {why}.", code="bad-document", where=where)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)[:80]!r} stands twice in one object")
    return members


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a JSON number")


def _too_deep(what: str) -> TooLarge:
    return TooLarge(f"{what} is nested more than {MAX_DEPTH} levels deep.", code="document-too-deep")


def _inspect(value: Any, what: str, *, has_escapes: bool) -> None:
    """The depth of every document; its texts one by one only where one of them may hold what no database keeps."""
    level = [value]
    for _ in range(MAX_DEPTH):
        following: list[Any] = []
        for outer in level:
            if type(outer) is dict:
                following += [inner for inner in outer.values() if type(inner) is dict or type(inner) is list]
            elif type(outer) is list:
                following += [inner for inner in outer if type(inner) is dict or type(inner) is list]
        level = following
        if not level:
            break
    if any(level):  # what is in them lies deeper still
        raise _too_deep(what)
    if has_escapes:
        _inspect_texts(value, what)


def _inspect_texts(value: Any, what: str) -> None:
    rest = [value]
    while rest:
        item = rest.pop()
        if isinstance(item, str):
            _text_is_storable(item, what)
        elif isinstance(item, list):
            rest += item
        elif isinstance(item, dict):
            rest += item.keys()
            rest += item.values()


def _text_is_storable(text: str, what: str) -> None:
    if text.isascii():
        if "\0" in text:
            raise refused(what, f"the text {text[:40]!r} holds a NUL character")
        return
    if "\0" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise refused(what, f"the text {text[:40]!a} holds a NUL character or half of a surrogate pair")


class Node:
    """One object of a document with its place, so that a refusal can name the member at fault."""

    def __init__(self, members: Any, what: str, where: str = "$") -> None:
        if not isinstance(members, dict):
            raise refused(what, f"{where} is {named(members)}; expected an object", where)
        self.members: dict[str, Any] = members
        self.what = what
        self.where = where

    def get(self, name: str, kind: type[_T], default: _T) -> _T:
        """The member, or ``default`` where it is missing or null; a boolean is no integer here."""
        value = self.members.get(name)
        if value is None:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise self.wrong(name, f"is {named(value)}; expected {_KINDS.get(kind, kind.__name__)}")
        return value

    def text(self, name: str, *, most: int = 65_536) -> str:
        """A text of at most ``most`` characters; empty where it is missing."""
        value = self.get(name, str, "")
        if len(value) > most:
            raise self.wrong(name, f"has {len(value):,} characters; at most {most:,} are read")
        return value

    def node(self, name: str) -> Node | None:
        """The object of that name, or ``None``."""
        value = self.members.get(name)
        return None if value is None else Node(value, self.what, f"{self.where}.{name}")

    def nodes(self, name: str, *, most: int) -> list[Node]:
        """The objects of a list of at most ``most``; none where it is missing."""
        values = self._list(name, most)
        return [Node(value, self.what, f"{self.where}.{name}[{i}]") for i, value in enumerate(values)]

    def texts(self, name: str, *, most: int = 10_000) -> tuple[str, ...]:
        """A list of texts; one text alone counts as a list of one (images from before Docker 1.3)."""
        if isinstance(self.members.get(name), str):
            return (self.text(name),)
        values = self._list(name, most)
        for i, value in enumerate(values):
            if not isinstance(value, str):
                raise self.wrong(f"{name}[{i}]", f"is {named(value)}; expected a text")
        return tuple(values)

    def text_map(self, name: str, *, most: int = 10_000) -> dict[str, str]:
        """An object whose values are texts; a null or missing one is empty."""
        members = self.get(name, dict, {})
        if len(members) > most:
            raise self.wrong(name, f"has {len(members):,} members; at most {most:,} are read")
        for key, value in members.items():
            if not isinstance(value, str):
                raise self.wrong(name, f"has for {key[:80]!r} {named(value)}; expected a text")
        return dict(members)

    def instant(self, name: str) -> datetime | None:
        """An RFC 3339 date-time as an aware datetime; ``None`` where it is missing, empty or no such thing."""
        return _instant(self.text(name, most=64))

    def wrong(self, name: str, why: str) -> Invalid:
        """A refusal that names the member."""
        return refused(self.what, f"{self.where}.{name} {why}", f"{self.where}.{name}")

    def _list(self, name: str, most: int) -> list[Any]:
        values = self.get(name, list, [])
        if len(values) > most:
            raise self.wrong(name, f"has {len(values):,} entries; at most {most:,} are read")
        return values


_KINDS: dict[Any, str] = {str: "a text", int: "an integer", list: "a list", dict: "an object", bool: "true or false"}
_NAMES: tuple[tuple[Any, str], ...] = (
    (bool, "a boolean"),
    (int, "a number"),
    (float, "a number"),
    (str, "a text"),
    (list, "a list"),
    (dict, "an object"),
)


def named(value: Any) -> str:
    """What kind of JSON value it is, as a person says it."""
    return next((word for kind, word in _NAMES if isinstance(value, kind)), "null")


def _instant(text: str) -> datetime | None:
    head, dot, rest = text.partition(".")
    if dot:  # Go writes nanoseconds, and trims zeros at their end; datetime takes microseconds
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        text = f"{head}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Year 1 is Go's "no time was set"; near the ends of the calendar a change of zone overflows.
    return at if at.tzinfo is not None and 1 < at.year < 9999 else None
