"""A report as received, looked at only as deep as telling its format needs.

The top level is split into raw pieces; a reader decodes just the fields it wants, so a 60 MB report with long
descriptions never exists as a tree of Python objects.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from secguard.errors import Invalid

T = TypeVar("T")

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])
_BOMS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
    # Without a byte order mark: an ASCII character beside NUL bytes can be no JSON in UTF-8 (RFC 8259 section 7).
    (b"{\0\0\0", "UTF-32LE"),
    (b"[\0\0\0", "UTF-32LE"),
    (b"{\0", "UTF-16LE"),
    (b"[\0", "UTF-16LE"),
    (b"\0{", "UTF-16BE"),
    (b"\0[", "UTF-16BE"),
)
_PIECE = 2**20
_BINARY = (
    (b"\x1f\x8b", "compressed with gzip"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"%PDF-", "a PDF document"),
)
_CYCLONEDX = (
    "CycloneDX JSON, or convert it (cyclonedx convert --input-file bom.xml --output-file bom.json --output-format json)"
)
_SPDX = "SPDX 2.3 JSON, or convert it (pyspdxtools --infile bom.spdx --outfile bom.spdx.json)"
_TEXT = (
    (re.compile(rb"<\?xml[^>]*>\s*(?:<!--.*?-->\s*)*<(?:\w+:)?bom\b", re.S), "CycloneDX XML", _CYCLONEDX),
    (re.compile(rb"<!doctype html|<html", re.I), "an HTML page", "JSON"),
    (re.compile(rb"<"), "XML", "JSON"),
    (re.compile(rb"(?:#[^\n]*\n|\s)*SPDXVersion:"), "SPDX tag-value", _SPDX),
    (re.compile(rb"%YAML|---(?:\s|$)|(?:#[^\n]*\n)*[A-Za-z_][\w.-]*:(?:[ \r\n]|$)"), "YAML", "JSON"),
    (re.compile(rb"\d{4}-\d\d-\d\d[T ]\S+\s+(?:FATAL|ERROR|WARN|INFO|DEBUG)\b"), "a tool's log", "JSON to a file"),
    (re.compile(rb"[^\n]*([,;\t])[^\n]*\1[^\n]*\1[^\n]*(?:\n|$)"), "a table (CSV)", "JSON"),
)
"""What is sent in place of JSON, by how it begins: pattern, its name, what to post instead."""


class Document:
    """``keys`` of the top-level object, or ``items`` of the top-level array; the other is ``None``."""

    __slots__ = ("items", "keys", "raw")

    def __init__(self, raw: bytes, keys: dict[str, msgspec.Raw] | None, items: list[msgspec.Raw] | None) -> None:
        self.raw = raw
        self.keys = keys
        self.items = items

    @classmethod
    def parse(cls, raw: bytes) -> Document:
        """Split ``raw``; raises ``Invalid`` naming what was found when it is not one JSON object or array."""
        raw = _as_utf8(raw)
        head = raw[:1]
        if head == b"{":
            return cls(raw, _decode(_OBJECT, raw), None)
        if head == b"[":
            return cls(raw, None, _decode(_ARRAY, raw))
        raise _not_json(raw)

    def has(self, *names: str) -> bool:
        """True where the top level is an object that has every one of ``names``."""
        return self.keys is not None and all(n in self.keys for n in names)

    def text(self, name: str) -> str:
        """The top-level string under ``name``, or ``""`` (also where it is something else)."""
        value = self.value(name)
        return value if isinstance(value, str) else ""

    def value(self, name: str) -> Any:
        """The top-level value under ``name`` as plain Python, or ``None``. For small parts only."""
        if self.keys is None or name not in self.keys:
            return None
        return decode(self.keys[name], Any, f"$.{name}")

    def decode(self, type_: type[T]) -> T:
        """The whole document as ``type_``; raises ``Invalid`` with the JSON path of the first thing that differs."""
        whole: T = decode(self.raw, type_, "$")
        return whole

    def describe(self) -> str:
        """For messages: what the top level looks like."""
        if self.keys is not None:
            names = ", ".join(repr(k[:40]) for k in list(self.keys)[:8]) or "nothing"
            return f"a JSON object with {names}"
        return f"a JSON array of {len(self.items or ())} items"


@lru_cache(maxsize=256)
def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    # Lax: tools write numbers as strings and the other way round; what the text means is not in doubt.
    return msgspec.json.Decoder(type_, strict=False)


def decode(raw: bytes | msgspec.Raw, type_: Any, where: str) -> Any:
    """``raw`` as ``type_``; raises ``Invalid`` with the place, relative to ``where``."""
    return _decode(_decoder(type_), raw, where)


def _decode(decoder: msgspec.json.Decoder[T], raw: bytes | msgspec.Raw, where: str = "$") -> T:
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as e:
        message, _, path = str(e).partition(" - at `")
        place = where + path.rstrip("`").removeprefix("$")
        raise Invalid(f"{message} at {place}.", code="wrong-shape", where=place) from e
    except msgspec.DecodeError as e:
        raise _broken(bytes(raw), str(e)) from e
    except UnicodeDecodeError as e:
        # The bytes are UTF-8, but an escape names half a character.
        raise Invalid(f"A text in the report is no Unicode: {e.reason}.", code="wrong-encoding", where=where) from e
    except RecursionError as e:
        raise Invalid("The report is nested too deeply.", code="too-deep", where="$") from e


def _broken(raw: bytes, message: str) -> Invalid:
    """Why JSON that began well is none: several documents in one, or an end or a character in the wrong place."""
    place = _byte_of(message)
    at = place.removeprefix("byte ")
    # msgspec counts the byte after the one that it could not read.
    if "trailing" in message and at.isdigit() and raw[int(at) - 1 : int(at)] in (b"{", b"["):
        return Invalid(
            f"The report is several JSON documents one after another; the second begins at byte {int(at) - 1}. Post "
            "one report at a time, and no JSON Lines.",
            code="several-documents",
            where=f"byte {int(at) - 1}",
        )
    return Invalid(
        f"The report is not whole JSON: {message}. It was probably cut off or mixed with other output.",
        code="not-json",
        where=place,
    )


def _byte_of(message: str) -> str:
    _, found, rest = message.partition("(byte ")
    return f"byte {rest.rstrip(')')}" if found else "the end"


def _as_utf8(raw: bytes) -> bytes:
    for start, name in _BINARY:
        if raw.startswith(start):
            raise Invalid(
                f"The report is {name}. Unpack it, or let the scanner write JSON, and post that.",
                code="not-json",
                where="byte 0",
            )
    if raw[257:262] == b"ustar":
        raise Invalid(
            "The report is a tar archive. Post the scanner's JSON output, not an image or an archive.",
            code="not-json",
            where="byte 0",
        )
    for bom, name in _BOMS:
        if raw.startswith(bom):
            raise Invalid(
                f"The report is encoded in {name}; JSON is UTF-8 (RFC 8259 section 8.1). Convert it, for example "
                f"with: iconv -f {name} -t UTF-8.",
                code="wrong-encoding",
                where="byte 0",
            )
    raw = raw.removeprefix(codecs.BOM_UTF8).strip(b" \t\r\n")
    if not raw:
        raise Invalid("The report is empty: the scanner wrote nothing.", code="empty", where="byte 0")
    _check_utf8(raw)
    return raw


def _check_utf8(raw: bytes) -> None:
    """Raises ``Invalid`` with the first byte that is not UTF-8. Piece by piece: one emoji makes a text four times as
    large as its bytes."""
    if raw.isascii():
        return
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(raw), _PIECE):
        kept = len(decoder.getstate()[0])  # the first bytes of a character that the piece before began
        try:
            decoder.decode(raw[start : start + _PIECE], final=start + _PIECE >= len(raw))
        except UnicodeDecodeError as e:
            place = start - kept + e.start
            raise Invalid(
                f"The report is not UTF-8: byte {place} is 0x{raw[place]:02x}.",
                code="wrong-encoding",
                where=f"byte {place}",
            ) from e


def _not_json(raw: bytes) -> Invalid:
    """For text that is neither a JSON object nor an array: names the format where it is recognised."""
    head = raw[:4096]
    for pattern, name, instead in _TEXT:
        if pattern.match(head):
            return Invalid(
                f"The report is {name}, which is not read. Let the scanner write {instead}, and post its output "
                "unchanged.",
                code="not-json",
                where="byte 0",
            )
    if _is_json(raw):
        return Invalid(
            f"The report is JSON, but {_shown(raw)} is neither an object nor an array: the scanner reported nothing.",
            code="empty",
            where="byte 0",
        )
    return Invalid(
        f"The report is not JSON: it begins with {_shown(raw)}. Let the scanner write JSON and post its output "
        "unchanged.",
        code="not-json",
        where="byte 0",
    )


def _is_json(raw: bytes) -> bool:
    try:
        msgspec.json.decode(raw, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _shown(raw: bytes) -> str:
    return repr(raw[:24].decode("utf-8", "replace"))
