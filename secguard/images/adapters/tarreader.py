"""The entries of a tar, one after the other, with their content. Nothing is ever written.

OCI image-spec 1.1, layer.md, for whiteouts. The archive is hostile: names and links that leave the root are reported
and never followed, every count and size has a limit, and content is handed out in blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from secguard.errors import TooLarge
from secguard.images.adapters import tarheader
from secguard.images.adapters.decompression import Limits
from secguard.images.adapters.tarheader import BLOCK, Extension, Header, Kind, bad

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_XATTR = b"SCHILY.xattr."
_SPARSE_1_0 = (b"1", b"0")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. ``path`` is relative to the root, without ``.`` and ``..``; empty for the root itself.

    Bytes that are no UTF-8 stand in names as ``\\xff``. ``escapes`` says that the name or the link's target leaves the
    root; the path then stands as if the root had no parent. For a hard link ``link`` is such a path too; for a symbolic
    link it is the text as written. ``size`` is in bytes, holes of a sparse file included (``stored`` has none),
    ``mtime`` in seconds since 1970.
    """

    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    link: str = ""
    is_whiteout: bool = False
    is_opaque: bool = False
    escapes: bool = False
    stored: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict)
    content: Content | None = field(default=None, repr=False, compare=False)

    @property
    def hides(self) -> str:
        """The path of lower layers that a whiteout takes away, or the folder whose lower content an opaque one does."""
        folder, _, name = self.path.rpartition("/")
        if self.is_opaque:
            return folder
        if not self.is_whiteout:
            return ""
        return f"{folder}/{name[len(_WHITEOUT) :]}" if folder else name[len(_WHITEOUT) :]

    def read(self, most: int) -> bytes:
        """The first ``most`` bytes of the content, holes as zeros; only until the next entry is asked for."""
        return self.content.read(most) if self.content else b""

    def chunks(self, most: int | None = None) -> Iterator[bytes]:
        """The content in blocks, at most ``most`` bytes of it in all."""
        left = self.size if most is None else min(most, self.size)
        while left > 0 and self.content and (block := self.content.read(min(left, 2**20))):
            left -= len(block)
            yield block


class ByteSource(Protocol):
    """What a tar is read from: exact reads, and skips that need not read."""

    def exactly(self, size: int) -> bytes: ...
    def at_most(self, size: int) -> bytes: ...
    def skip(self, size: int) -> None: ...
    def rest(self) -> None: ...


class Content:
    """The content of one entry while it is the current one; reading on afterwards is a ``ValueError``."""

    __slots__ = ("_at", "_left", "_parts", "_size", "_source", "closed")

    def __init__(self, source: ByteSource, stored: int, size: int, parts: list[tuple[int, int]] | None) -> None:
        self._source = source
        self._left = stored
        self._size = size
        self._at = 0
        self._parts = parts
        self.closed = False

    def read(self, size: int) -> bytes:
        """The next at most ``size`` bytes; empty at the end."""
        if self.closed:
            raise ValueError("the content of an entry is read before the next entry is asked for")
        if self._parts is not None:
            return self._read_sparse(min(size, self._size - self._at))
        data = self._source.exactly(min(size, self._left))
        self._left -= len(data)
        return data

    def _read_sparse(self, size: int) -> bytes:
        out = bytearray()
        parts = self._parts or []
        while len(out) < size:
            while parts and self._at >= parts[0][0] + parts[0][1]:
                parts.pop(0)
            wanted = size - len(out)
            if not parts or self._at < parts[0][0]:
                piece = bytes(min(wanted, (parts[0][0] if parts else self._size) - self._at))
            else:
                piece = self._source.exactly(min(wanted, sum(parts[0]) - self._at))
                self._left -= len(piece)
            out += piece
            self._at += len(piece)
        return bytes(out)

    def close(self, padding: int) -> None:
        """Leave the rest unread, and the padding after it."""
        self.closed = True
        self._source.skip(self._left + padding)


class TarReader:
    """The entries of a tar, in its order, duplicates included; ends at two blocks of zeros as runtimes do.

    Raises ``Invalid`` (broken) and ``TooLarge`` (past a limit) while iterating.
    """

    def __init__(self, source: ByteSource, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._count = 0

    def __iter__(self) -> Iterator[Entry]:
        extension, parse = Extension(), tarheader.parse_first
        while (block := self._header_block()) is not None:
            header, parse = parse(block), tarheader.parse
            if header.type in tarheader.EXTENSIONS:
                self._extend(header, extension)
                continue
            self._count += 1
            if self._count > self._limits.entries:
                raise TooLarge(f"The tar has more than {self._limits.entries:,} entries.", code="too-many-entries")
            entry, content, padding = self._entry(header, extension)
            yield entry
            content.close(padding)
            extension = Extension()
        self._source.rest()

    def _header_block(self) -> bytes | None:
        block = self._source.at_most(BLOCK)
        if not block:
            return None
        if len(block) < BLOCK:
            raise bad("it ends in the middle of a header")
        if block != tarheader.ZEROS:
            return block
        following = self._source.at_most(BLOCK)
        if following and following != tarheader.ZEROS[: len(following)]:
            raise bad("a single block of zeros stands between entries")
        return None

    def _extend(self, header: Header, extension: Extension) -> None:
        if header.size > self._limits.header_bytes:
            raise TooLarge(
                f"The tar has an extended header of {header.size:,} bytes; at most {self._limits.header_bytes:,} "
                "are read.",
                code="header-too-large",
            )
        data = self._source.exactly(header.size)
        self._source.skip(-header.size % BLOCK)
        if header.type == tarheader.LONG_NAME:
            extension.name = data.partition(b"\0")[0]
        elif header.type == tarheader.LONG_LINK:
            extension.link = data.partition(b"\0")[0]
        elif header.type != tarheader.GLOBAL:  # runtimes leave global headers out; so what they say holds for nothing
            tarheader.records(data, extension)
        if len(extension.records) > 10_000:
            raise TooLarge("The tar has an entry with more than 10,000 extended records.", code="header-too-large")

    def _entry(self, header: Header, extension: Extension) -> tuple[Entry, Content, int]:
        stored = 0 if header.type in tarheader.HEADER_ONLY else extension.number(b"size", header.size)
        if stored < 0:
            raise bad(f"an entry's size is {stored}")
        if stored > self._limits.file_bytes:
            raise TooLarge(
                f"The tar has a file of {stored:,} bytes; at most {self._limits.file_bytes:,} are read.",
                code="file-too-large",
            )
        padding = -stored % BLOCK
        name, parts, size, stored = self._sparse(header, extension, stored)
        content = Content(self._source, stored, size, parts)
        return self._named(header, extension, name, size, stored, content), content, padding

    def _sparse(
        self, header: Header, extension: Extension, stored: int
    ) -> tuple[bytes, list[tuple[int, int]] | None, int, int]:
        records = extension.records
        name = records.get(b"path") or extension.name or header.name
        size, parts = stored, header.sparse
        if parts is not None:
            while header.sparse_goes_on:
                block = self._source.exactly(BLOCK)
                parts += tarheader.sparse_parts(block, 0, 21)
                header.sparse_goes_on = bool(block[504])
                if len(parts) > tarheader.MAX_SPARSE_PARTS:
                    raise bad(f"a sparse file has more than {tarheader.MAX_SPARSE_PARTS:,} parts")
            size = header.real_size
        elif (records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")) == _SPARSE_1_0:
            parts, used = self._sparse_map(stored)
            stored -= used
        elif b"GNU.sparse.map" in records:
            parts = tarheader.sparse_map(records[b"GNU.sparse.map"])
        if parts is not None:
            name = records.get(b"GNU.sparse.name", name)
            size = extension.number(b"GNU.sparse.realsize", extension.number(b"GNU.sparse.size", size))
            tarheader.check_sparse(parts, stored, size)
        return name, parts, size, stored

    def _sparse_map(self, stored: int) -> tuple[list[tuple[int, int]], int]:
        """The map that version 1.0 writes before the data: lines of numbers, filled up to a block."""
        text, used, wanted = b"", 0, 1
        while text.count(b"\n") < wanted:
            if used + BLOCK > stored:
                raise bad("the map of a sparse file is longer than the file")
            text += self._source.exactly(BLOCK)
            used += BLOCK
            if wanted == 1 and b"\n" in text:
                wanted = self._sparse_lines(text)
        return tarheader.sparse_map(b",".join(text.split(b"\n")[1:wanted])), used

    def _sparse_lines(self, text: bytes) -> int:
        count = text.partition(b"\n")[0]
        if not count.isdigit() or len(count) > 7 or int(count) > tarheader.MAX_SPARSE_PARTS:
            raise bad(f"a sparse file has {count[:20]!r} parts; at most {tarheader.MAX_SPARSE_PARTS:,} are read")
        return 2 * int(count) + 1

    def _named(
        self, header: Header, extension: Extension, raw: bytes, size: int, stored: int, content: Content
    ) -> Entry:
        kind = tarheader.KINDS.get(header.type, Kind.OTHER)
        if kind is Kind.FILE and raw.endswith(b"/"):
            kind = Kind.DIRECTORY
        path, escapes = self._path(raw)
        link = ""
        if kind is Kind.HARDLINK or kind is Kind.SYMLINK:
            link, leaves = self._link(extension.records.get(b"linkpath") or extension.link or header.link, kind, path)
            escapes = escapes or leaves
        is_whiteout, is_opaque, is_odd = _whiteout(path)
        records = extension.records
        return Entry(
            path=path,
            kind=kind,
            mode=header.mode,
            uid=extension.number(b"uid", header.uid) if records else header.uid,
            gid=extension.number(b"gid", header.gid) if records else header.gid,
            size=size,
            mtime=extension.number(b"mtime", header.mtime) if records else header.mtime,
            link=link,
            is_whiteout=is_whiteout,
            is_opaque=is_opaque,
            escapes=escapes or is_odd,
            stored=stored,
            xattrs=_xattrs(records) if records else {},
            content=content if kind is Kind.FILE else None,
        )

    def _path(self, raw: bytes) -> tuple[str, bool]:
        limits = self._limits
        if len(raw) > limits.path_bytes:
            raise TooLarge(
                f"The tar has a name of {len(raw):,} bytes; at most {limits.path_bytes:,} are read.",
                code="name-too-long",
            )
        text = decoded(raw)
        if b"//" not in raw and b"/." not in raw and raw[:1] not in b"./" and raw[-1:] != b"/" and raw:
            path, escapes = text, False  # what nearly every name looks like
        else:
            path, escapes = normalised(text)
        if path.count("/") >= limits.path_parts:
            raise TooLarge(f"The tar has a path of more than {limits.path_parts} folders.", code="name-too-long")
        return path, escapes

    def _link(self, raw: bytes, kind: Kind, path: str) -> tuple[str, bool]:
        if len(raw) > self._limits.path_bytes:
            raise TooLarge(
                f"The tar has a link to a name of {len(raw):,} bytes; at most {self._limits.path_bytes:,} are read.",
                code="name-too-long",
            )
        text = decoded(raw)
        if kind is Kind.HARDLINK:
            return normalised(text)
        folder = "" if text.startswith("/") else path.rpartition("/")[0]
        return text, normalised(f"{folder}/{text}")[1]


def decoded(raw: bytes) -> str:
    """A name as text that can be stored and shown: bytes that are no UTF-8 as ``\\xff``."""
    return raw.decode("utf-8", "backslashreplace")


def normalised(text: str) -> tuple[str, bool]:
    """The path below the root, and whether it went above the root on its way."""
    parts: list[str] = []
    escapes = False
    for part in text.split("/"):
        if part == "..":
            escapes = escapes or not parts
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts), escapes


def _whiteout(path: str) -> tuple[bool, bool, bool]:
    """Whether it is a whiteout, an opaque one, or one that would hide the folder it lies in, or a parent."""
    name = path.rpartition("/")[2]
    if not name.startswith(_WHITEOUT):
        return False, False, False
    if name == _OPAQUE:
        return False, True, False
    hidden = name[len(_WHITEOUT) :]
    if hidden.startswith(_WHITEOUT):  # what AUFS kept for itself; runtimes leave it out
        return False, False, False
    is_odd = hidden in ("", ".", "..")
    return not is_odd, False, is_odd


def _xattrs(records: dict[bytes, bytes]) -> dict[str, bytes]:
    return {decoded(key[len(_XATTR) :]): value for key, value in records.items() if key.startswith(_XATTR)}
