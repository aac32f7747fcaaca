"""JSON that sensors send: one object, a list of objects, or one object a line. Pure.

What one sender tells is many small documents, each with its own place, so that a broken one is refused by itself and
the others are taken. A text that no database keeps (U+0000, half a surrogate pair, bytes that are no UTF-8) is mended
and not refused: whoever attacks a container chooses the names in it, and must not choose what is heard of.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from io import BytesIO
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

import msgspec

from secguard.errors import Invalid, TooLarge
from secguard.images import strictjson

MAX_BYTES: Final = 16 * 2**20
MAX_ENTRIES: Final = 20_000
MAX_ENTRY_BYTES: Final = 2 * 2**20
MAX_NAME: Final = 512
MAX_TEXT: Final = 8_192
MAX_UNREAD: Final = 32
_TRIED: Final = 10
"""So many lines are looked at to tell JSON lines from one broken document; the first may have been cut off."""

_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_DECODER: Final = json.JSONDecoder()
_OPEN: Final = re.compile(r"\[\s*+")
_NEXT: Final = re.compile(r"\s*+([,\]])\s*+")
_MANY: Final = 500_000
_ANY: Final = msgspec.json.Decoder(msgspec.Raw)
_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([0-9a-fA-F]{4})|.)", re.DOTALL)


class Entry(NamedTuple):
    """One document of what was sent; ``where`` is its place for people: ``$``, ``$[3]``, ``line 7``."""

    where: str
    raw: bytes


def entries(raw: bytes, *, what: str, most: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> list[Entry]:
    """The single documents, none of them looked into yet; none for an empty list.

    Raises ``TooLarge`` past ``max_bytes`` or ``most`` documents, ``Invalid`` where it is neither an object nor a list.
    """
    if len(raw) > max_bytes:
        raise TooLarge(f"{what} have {len(raw):,} bytes; at most {max_bytes:,} are read at once.", code="too-large")
    raw = raw.removeprefix(b"\xef\xbb\xbf").strip()
    if not raw:
        raise Invalid(f"{what}: the body is empty; expected JSON.", code="empty", where="byte 0")
    found = _split(raw, what, most)
    if len(found) > most:
        raise TooLarge(f"{what}: {len(found):,} of them; at most {most:,} are read at once.", code="too-many")
    return found


def _split(raw: bytes, what: str, most: int) -> list[Entry]:
    if raw[:1] not in b"{[":
        guess = " It looks like YAML." if _YAML.match(raw[:4096]) else ""
        raise Invalid(
            f"{what}: the body begins with {raw[:24].decode('utf-8', 'replace')!r}.{guess} Expected a JSON object, a "
            "list of objects, or one object a line.",
            code="not-json",
            where="byte 0",
        )
    try:
        if raw[:1] == b"[":
            return _listed(raw, most)
        _ANY.decode(raw)
    except RecursionError:
        raise TooLarge(f"{what} are nested too deep.", code="document-too-deep", where="$") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        lines = _lines(raw, most)
        # Broken bytes in a text are mended later; broken JSON in one piece is told of now.
        if len(lines) > 1 and any(line.raw[:1] == b"{" and _is_whole(line.raw) for line in lines[:_TRIED]):
            return lines
        if _is_whole(mended(raw)):
            return [Entry("$", raw)] if raw[:1] == b"{" else _split(mended(raw), what, most)
        raise _broken(raw, what, error) from None
    return [Entry("$", raw)]


def is_dense(raw: bytes) -> bool:
    """True for a body of so many commas that a list of all between them would fill the memory."""
    return raw.count(b",") > _MANY


def _listed(raw: bytes, most: int) -> list[Entry]:
    """The entries of a list, one more than ``most`` of them at most."""
    if not is_dense(raw):
        return [Entry(f"$[{i}]", bytes(one)) for i, one in enumerate(_LIST.decode(raw))]
    text = mended(raw).decode()
    found: list[Entry] = []
    at = _OPEN.match(text).end()  # type: ignore[union-attr]
    while len(found) <= most:
        try:
            _, end = _DECODER.raw_decode(text, at)
        except ValueError:
            if found or text[at:] != "]":
                raise msgspec.DecodeError(f"JSON is malformed (byte {at})") from None
            return found
        found.append(Entry(f"$[{len(found)}]", text[at:end].encode()))
        after = _NEXT.match(text, end)
        if after is None or (after[1] == "]" and after.end() < len(text)):
            raise msgspec.DecodeError(f"JSON is malformed (byte {end})")
        if after[1] == "]":
            break
        at = after.end()
    return found


def _lines(raw: bytes, most: int) -> list[Entry]:
    found = (Entry(f"line {i}", line) for i, one in enumerate(BytesIO(raw), 1) if (line := one.strip()))
    return [entry for entry, _ in zip(found, range(most + 1), strict=False)]


def _is_whole(raw: bytes) -> bool:
    try:
        _ANY.decode(mended(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _broken(raw: bytes, what: str, error: Exception) -> Invalid:
    _, _, place = str(error).partition("(byte ")
    return Invalid(
        f"{what}: the body is not whole JSON: {str(error)[:200]}. Send one object, a list, or one object a line.",
        code="not-json",
        where=f"byte {place.rstrip(')')}" if place else f"byte {len(raw)}",
    )


def mended(raw: bytes) -> bytes:
    """``raw`` with U+FFFD in the place of what no database keeps as text."""
    if not raw.isascii():
        raw = raw.decode("utf-8", "replace").encode()
    if b"\\u0000" in raw or b"\\ud" in raw or b"\\uD" in raw:
        raw = _ESCAPE.sub(_storable, raw)
    return raw


def _storable(found: re.Match[bytes]) -> bytes:
    code = found[1]
    return b"\\ufffd" if code and (code == b"0000" or code[:2].lower() in _HALVES) else found[0]


_YAML: Final = re.compile(rb"(?:#[^\n]*+\n|\s)*+(?:---\s|-\s|[A-Za-z_][\w.-]*+:(?:\s|$))")
_HALVES: Final = frozenset(bytes(f"d{c}", "ascii") for c in "89abcdef")


def load(raw: bytes, *, what: str) -> Any:
    """The value of one entry.

    Raises ``TooLarge`` past ``MAX_ENTRY_BYTES`` or ``strictjson.MAX_DEPTH`` levels, ``Invalid`` for no JSON or a name
    that stands twice.
    """
    return strictjson.loads(mended(raw), what=what, max_bytes=MAX_ENTRY_BYTES)


class Members:
    """An object of a document, read without trust: what is of another kind than expected is ``None`` and is noted.

    ``unread`` is shared by an object and all within it: the places that could not be read, with the reason.
    """

    __slots__ = ("members", "unread", "where")

    def __init__(self, members: Any, where: str = "", unread: list[str] | None = None) -> None:
        self.unread: list[str] = [] if unread is None else unread
        self.where = where
        self.members: dict[str, Any] = members if isinstance(members, dict) else {}
        if members is not None and not isinstance(members, dict):
            self.note("", f"is {strictjson.named(members)}; expected an object")

    def __contains__(self, name: str) -> bool:
        return self.members.get(name) is not None

    def note(self, name: str, why: str) -> None:
        """Note that a place could not be read."""
        place = ".".join(part for part in (self.where, name) if part) or "$"
        if len(self.unread) < MAX_UNREAD:
            self.unread.append(f"{place[:120]} {why}")

    def node(self, name: str) -> Members:
        """The object of that name; one without members where it is missing."""
        value = self.members.get(name)
        return _inner(self, value, name)

    def nodes(self, name: str, *, most: int = 100) -> Iterator[Members]:
        """The objects of a list, at most ``most`` of them."""
        for i, value in enumerate(self.values(name, most=most)):
            yield _inner(self, value, f"{name}[{i}]")

    def values(self, name: str, *, most: int = 100) -> Sequence[Any]:
        value = self.members.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.note(name, f"is {strictjson.named(value)}; expected a list")
            return ()
        if len(value) > most:
            self.note(name, f"has {len(value):,} entries; {most:,} are read")
        return value[:most]

    def text(self, name: str, *more: str, most: int = MAX_NAME) -> str | None:
        """The first of these members that tells something, as a text of at most ``most`` characters."""
        value = self._text(name, most)
        for other in more:
            if value is not None:
                break
            value = self._text(other, most)
        return value

    def _text(self, name: str, most: int) -> str | None:
        value = self.members.get(name)
        if type(value) is str:
            if len(value) <= most:
                return value if value != "<NA>" and value else None
            self.note(name, f"has {len(value):,} characters; {most:,} are kept")
            return value[:most]
        if value is None:
            return None
        if isinstance(value, bool | dict | list) or value in (math.inf, -math.inf):
            self.note(name, f"is {strictjson.named(value)}; expected a text")
            return None
        return str(value)[:most]

    def texts(self, name: str, *, most: int = 64, each: int = MAX_NAME) -> tuple[str, ...]:
        """A list of texts; one text alone counts as a list of one."""
        if isinstance(self.members.get(name), str):
            one = self.text(name, most=each)
            return (one,) if one else ()
        found = []
        for i, value in enumerate(self.values(name, most=most)):
            if isinstance(value, str):
                found.append(value[:each])
            else:
                self.note(f"{name}[{i}]", f"is {strictjson.named(value)}; expected a text")
        return tuple(found)

    def whole(self, name: str, *, most: int = 2**63 - 1, least: int = 0) -> int | None:
        """An integer within bounds, also where it is written as a text (protobuf writes 64-bit integers so)."""
        value = self.members.get(name)
        if value is None or value in ("", "-", "<NA>"):
            return None
        if isinstance(value, str) and len(value) < 20 and value.isascii() and value.lstrip("-").isdigit():
            value = int(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            self.note(name, f"is {strictjson.named(value)}; expected an integer")
        elif not least <= value <= most:
            self.note(name, f"is out of its range, {least:,} to {most:,}")
        else:
            return value
        return None

    def port(self, name: str) -> int | None:
        return self.whole(name, most=65_535)

    def address(self, name: str, *more: str) -> str | None:
        """The first of these members that tells something, where it is an IP address."""
        for each in (name, *more):
            if (text := self._text(each, MAX_NAME)) is not None:
                if (found := address(text)) is None:
                    self.note(each, f"is {text[:40]!r}, which is no IP address")
                return found
        return None

    def instant(self, *names: str) -> datetime | None:
        """The first of these members that is a time."""
        for name in names:
            value = self.members.get(name)
            if value is not None and value != "":
                at, why = instant(value)
                if why:
                    self.note(name, why)
                if at is not None:
                    return at
        return None


def _inner(outer: Members, value: Any, name: str) -> Members:
    place = f"{outer.where}.{name}" if outer.where else name
    return Members(value, place, outer.unread)


@lru_cache(maxsize=65_536)
def address(text: str) -> str | None:
    """An IP address in its shortest form, without a zone; ``None`` for what is none. Few stand in very many flows."""
    try:
        return str(ip_address(text.partition("%")[0])) if len(text) <= _LONGEST_ADDRESS else None
    except ValueError:
        return None


_LONGEST_ADDRESS: Final = 64
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
_UNITS: Final = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (0.0, 1.0))
"""From which size on a number of seconds since 1970 is one of nanoseconds, microseconds, milliseconds."""


def instant(value: Any) -> tuple[datetime | None, str]:
    """A time as tools write it, and what is wrong with it: RFC 3339 in any precision, or a number since 1970."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and 8 <= len(value) <= 19:
        value = int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _since_1970(value)
    if not isinstance(value, str):
        return None, f"is {strictjson.named(value)}; expected a time"
    if len(value) > 64:
        return None, f"has {len(value):,} characters, which is no time"
    try:
        at = datetime.fromisoformat(value)  # cuts a fraction past six digits
    except ValueError:
        return None, f"is {value[:40]!r}, which is no RFC 3339 time"
    why = "" if at.tzinfo else "names no time zone; it is taken as UTC"
    return _within(at if at.tzinfo else at.replace(tzinfo=UTC), why)


def _since_1970(value: float) -> tuple[datetime | None, str]:
    for size, unit in _UNITS:
        if abs(value) >= size:
            try:
                return _within(datetime.fromtimestamp(value / unit, UTC), "")
            except (ValueError, OverflowError, OSError):
                break
    return None, "is out of the range of times"


def _within(at: datetime, why: str) -> tuple[datetime | None, str]:
    try:
        at = at.astimezone(UTC)
    except (OverflowError, ValueError):
        return None, "is out of the range of times"
    return (at, why) if _EARLIEST <= at < _LATEST else (None, "is out of the range of times, 1970 to 2200")
