"""JSON that others wrote, read without surprises: bounded in size and depth, one meaning for each document.

RFC 8259 leaves open what a repeated name means (section 4); image tools have been attacked through that, so it is
refused here. So are NaN and Infinity, and text that no database keeps (U+0000, lone surrogates).
"""

from __future__ import annotations

import json
from datetime import datetime
from itertools import chain
from typing import Any, NoReturn, TypeVar

import msgspec

from secguard.errors import Invalid, TooLarge

MAX_DEPTH = 32
_HOLD = frozenset((dict, list))
_SPACE = (b" ", b"\n", b"\r", b"\t")
"""RFC 8259, section 2."""
_T = TypeVar("_T")


def loads(raw: bytes, *, what: str, max_bytes: int) -> Any:
    """The value that ``raw`` (UTF-8) holds; ``what`` names the document in the refusals.

    Raises ``TooLarge`` over ``max_bytes`` bytes or ``MAX_DEPTH`` levels, and ``Invalid`` for everything else.
    """
    if len(raw) > max_bytes:
        raise TooLarge(f"{what} has {len(raw):,} bytes; at most {max_bytes:,} are read.", code="document-too-large")
    try:
        value = _as_written(raw, what)
        if value is _UNSURE:
            text = raw.decode("utf-8")
            value = _PLAIN.decode(text)
            if _names_in(value, what) != _names_written(raw):
                value = _STRICT.decode(text)  # a name stands twice, or a text holds what looks like one
    except RecursionError:
        raise _too_deep(what) from None
    except UnicodeDecodeError as error:
        raise refused(what, f"it is not UTF-8 (byte {error.start})") from None
    except ValueError as error:
        if not isinstance(error, json.JSONDecodeError) and "integer string conversion" in str(error):
            raise refused(what, "a number in it has more digits than are read") from None
        raise refused(what, f"it is not JSON: {str(error)[:200]}") from None
    # Only an escape (RFC 8259, section 7) brings what is no character of UTF-8, or NUL, into a text.
    if b"\\" in raw and b"\\u" in raw:
        _inspect_texts(value, what)
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


_UNSURE: Any = object()
_ALIKE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))


def _as_written(raw: bytes, what: str) -> Any:
    """The value of a document that was written as programs write: without spaces, each number in its shortest form.

    Written again it is the same bytes: so it has one meaning, and no name stood twice. ``_UNSURE`` where that cannot be
    told. Takes a third of the time of the long way. Raises ``TooLarge`` past ``MAX_DEPTH`` levels.
    """
    try:
        value = _READER.decode(raw)
        if _WRITER.encode(value) != raw.rstrip():
            return _UNSURE
    except (ValueError, RecursionError):
        return _UNSURE
    if not _is_flat(raw):
        _names_in(value, what)  # looks at each level
    return value


def _is_flat(raw: bytes) -> bool:
    """True where brackets alone tell that a document lies at most ``MAX_DEPTH`` levels deep."""
    if b"\\" in raw:  # a quote in a text may be meant
        return False
    # What stands between texts, of that the brackets; with each round the innermost of them go.
    rest = b"".join(raw.split(b'"')[::2]).translate(_ALIKE, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not rest:
            break
        rest = rest.replace(b"[]", b"")
    return not rest


_READER = msgspec.json.Decoder()
_WRITER = msgspec.json.Encoder()
_PLAIN = json.JSONDecoder(parse_constant=_constant)
_STRICT = json.JSONDecoder(parse_constant=_constant, object_pairs_hook=_once)


def _names_written(raw: bytes) -> int:
    """How many names stand in the document at most: each ends with a quote before a colon, as a text may too; -1 where
    space stands before a colon."""
    # One byte is looked for many times faster than two.
    return -1 if any(space in raw and space + b":" in raw for space in _SPACE) else raw.count(b'":')


def _names_in(value: Any, what: str) -> int:
    """How many names the value has. Raises ``TooLarge`` past ``MAX_DEPTH`` levels.

    As many as were written: then none stood twice. Asked for each object, as ``_once`` does, it takes twice the time.
    """
    names, level = 0, [value]
    for _ in range(MAX_DEPTH + 1):
        inner = [one for one in level if type(one) in _HOLD]
        if not inner:
            return names
        objects = [one for one in inner if type(one) is dict]
        names += sum(map(len, objects))
        level = [*chain.from_iterable(map(dict.values, objects))]
        if len(objects) < len(inner):
            level += chain.from_iterable(one for one in inner if type(one) is list)
    if level:  # what is in them lies deeper still
        raise _too_deep(what)
    return names


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
