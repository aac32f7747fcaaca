"""The 512-byte header blocks of tar archives and the records of extended headers, read without any I/O.

POSIX.1-2001 pax, ustar, GNU (long names, base-256 numbers, sparse files of both generations) and V7, with the reading
that container runtimes give them (Go's archive/tar): what a runtime would unpack is what is inspected.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from secguard.errors import Invalid

BLOCK = 512
ZEROS = bytes(BLOCK)
MAX_SPARSE_PARTS = 100_000
_OLD_SPARSE_AT = 386
_OLD_SPARSE_SIZE = 24


class Kind(StrEnum):
    """What an entry makes in the file system."""

    FILE = "file"
    HARDLINK = "hardlink"
    SYMLINK = "symlink"
    DIRECTORY = "directory"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    FIFO = "fifo"
    OTHER = "other"


KINDS: dict[int, Kind] = {
    ord("\0"): Kind.FILE,
    ord("0"): Kind.FILE,
    ord("7"): Kind.FILE,  # contiguous
    ord("S"): Kind.FILE,  # GNU sparse
    ord("1"): Kind.HARDLINK,
    ord("2"): Kind.SYMLINK,
    ord("3"): Kind.CHARACTER_DEVICE,
    ord("4"): Kind.BLOCK_DEVICE,
    ord("5"): Kind.DIRECTORY,
    ord("6"): Kind.FIFO,
}
EXTENDED, GLOBAL, SOLARIS, LONG_NAME, LONG_LINK, SPARSE = map(ord, "xgXLKS")
EXTENSIONS = frozenset({EXTENDED, GLOBAL, SOLARIS, LONG_NAME, LONG_LINK})
# Types that have no content, whatever size their header tells (Go: isHeaderOnlyType).
HEADER_ONLY = frozenset(b"123456")


@dataclass(slots=True)
class Header:
    """One header as written; sizes in bytes, ``mtime`` in seconds since 1970."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    type: int
    link: bytes
    sparse: list[tuple[int, int]] | None = None
    sparse_goes_on: bool = False
    real_size: int = -1


@dataclass(slots=True)
class Extension:
    """What extended headers say of the entry that follows them."""

    records: dict[bytes, bytes] = field(default_factory=dict)
    sparse: list[tuple[int, int]] | None = None
    name: bytes | None = None
    link: bytes | None = None

    def number(self, key: bytes, otherwise: int) -> int:
        """The record as a whole number (times may have fractions)."""
        value = self.records.get(key)
        if value is None:
            return otherwise
        try:
            return int(float(value)) if b"." in value else int(value)
        except (ValueError, OverflowError):
            raise bad(f"the extended header {key.decode(errors='replace')} is {value[:40]!r}, not a number") from None


def bad(why: str) -> Invalid:
    """The refusal of an archive."""
    return Invalid(f"The tar cannot be read: {why}.", code="bad-tar")


def parse(block: bytes) -> Header:
    """Read one header block. Raises ``Invalid`` where its checksum does not fit or a number is none."""
    written = _number(block[148:156])
    blank = sum(block) - sum(block[148:156]) + 8 * 0x20  # as if the checksum were blanks
    if written != blank and written != _signed_sum(block):
        raise bad(f"the checksum of a header is {written}, expected {blank}")
    header = Header(
        name=_text(block, 0, 100),
        mode=_number(block[100:108]) & 0o7777,
        uid=_number(block[108:116]),
        gid=_number(block[116:124]),
        size=_number(block[124:136]),
        mtime=_number(block[136:148]),
        type=block[156],
        link=_text(block, 157, 257),
    )
    magic = block[257:265]
    if magic == b"ustar\x0000" or (magic[:6] == b"ustar\0"):
        prefix = _text(block, 345, 500)
        if prefix:
            header.name = prefix + b"/" + header.name
    elif header.type == SPARSE:
        header.sparse = sparse_parts(block, _OLD_SPARSE_AT, 4)
        header.sparse_goes_on = bool(block[482])
        header.real_size = _number(block[483:495])
    if header.size < 0:
        raise bad(f"an entry's size is {header.size}")
    return header


def parse_first(block: bytes) -> Header:
    """The first header: what is none there is no tar at all."""
    try:
        return parse(block)
    except Invalid:
        raise bad(f"it does not begin like one, with {block[:16]!r}") from None


def sparse_parts(block: bytes, at: int, count: int) -> list[tuple[int, int]]:
    """``(offset, bytes)`` pairs of GNU's old sparse format, of which empty ones end the list."""
    parts = []
    for start in range(at, at + count * _OLD_SPARSE_SIZE, _OLD_SPARSE_SIZE):
        offset, length = _number(block[start : start + 12]), _number(block[start + 12 : start + 24])
        if block[start] == 0:
            break
        parts.append((offset, length))
    return parts


def records(data: bytes, extension: Extension) -> None:
    """Add the records of an extended header (``"<length> <key>=<value>\\n"``) to what is known of the next entry."""
    at = 0
    while at < len(data) and data[at] != 0:
        space = data.find(b" ", at, at + 20)
        try:
            length = int(data[at:space]) if space > 0 else 0
        except ValueError:
            length = 0
        end = at + length
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if length < 5 or end > len(data) or data[end - 1] != 0x0A or not equals or not key:
            raise bad(f"an extended header has a record that is none: {data[at : at + 40]!r}")
        _take(key, value, extension)
        at = end


def _take(key: bytes, value: bytes, extension: Extension) -> None:
    if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):  # version 0.0 repeats them for each part
        known = extension.records.get(b"GNU.sparse.map", b"")
        if len(known) > 40 * MAX_SPARSE_PARTS:
            raise bad(f"a sparse file has more than {MAX_SPARSE_PARTS:,} parts")
        extension.records[b"GNU.sparse.map"] = known + b"," + value if known else value
    elif key in (b"path", b"linkpath") and b"\0" in value:
        raise bad(f"the name {value[:80]!r} holds a NUL character")
    elif value:
        extension.records[key] = value
    else:  # an empty value takes back what was said (POSIX.1-2001)
        extension.records.pop(key, None)


def sparse_map(value: bytes) -> list[tuple[int, int]]:
    """The parts of a sparse file as versions 0.0 and 0.1 write them: ``offset,bytes,offset,bytes…``."""
    try:
        numbers = [int(n) for n in value.split(b",")] if value else []
    except ValueError:
        raise bad(f"the map of a sparse file is {value[:40]!r}") from None
    if len(numbers) % 2 or len(numbers) > 2 * MAX_SPARSE_PARTS:
        raise bad(f"the map of a sparse file has {len(numbers):,} numbers")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def check_sparse(parts: list[tuple[int, int]], stored: int, real: int) -> None:
    """Raises ``Invalid`` where the parts overlap, leave the file or do not add up to what is stored."""
    at = total = 0
    for offset, length in parts:
        if offset < at or length < 0 or offset + length > real:
            raise bad(f"a sparse file has a part of {length} bytes at {offset} that overlaps or leaves the file")
        at, total = offset + length, total + length
    if total > stored:
        raise bad(f"a sparse file's parts have {total} bytes, {stored} are stored")


def _text(block: bytes, start: int, end: int) -> bytes:
    cut = block.find(0, start, end)
    return block[start : end if cut < 0 else cut]


@lru_cache(maxsize=4096)  # modes, owners and times are the same few, in entry after entry
def _number(written: bytes) -> int:
    """Octal digits, or GNU's base-256 with the highest bit set."""
    first = written[0]
    if first == 0xFF:
        return int.from_bytes(written, "big", signed=True)
    if first & 0x80:
        return int.from_bytes(bytes([first & 0x7F]) + written[1:], "big")
    digits = written.partition(b"\0")[0].strip(b" ")
    try:
        return int(digits, 8) if digits else 0
    except ValueError:
        raise bad(f"a header has {digits!r} where a number belongs") from None


def _signed_sum(block: bytes) -> int:
    """Old Sun tars added up signed characters."""
    return sum(b - 256 if b > 127 else b for b in block[:148] + block[156:]) + 256
