"""Files of advisories, however they are packed: each document in them as a stream, bounded, nothing ever written.

zip, tar, gzip, zstd and plain files, told apart by how they begin. An archive inside an archive is not opened. What a
document unpacks to is bounded, and so is how much more it may be than it was (a bomb), and all of them together.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import zstandard

from secguard.errors import Invalid, TooLarge

MAX_MEMBERS = 3_000_000
MAX_RATIO = 250
"""How many times as large as packed a document may be; advisories come to 5 to 40."""
SMALL = 2**20
"""Bytes: a member of a zip that says it has no more is unpacked in one step."""
FREE_OF_RATIO = 32 * 2**20
"""A document below this may be packed as well as it likes."""
_NAME = 300

UNREADABLE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, zstandard.ZstdError)
"""What a broken archive raises while it is read, beside ``OSError``."""


class Document(NamedTuple):
    name: str
    """Its path in the archive, or the file's own name."""
    stream: IO[bytes]


class Budget:
    """How much all documents of one file may unpack to."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.left = most

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise TooLarge(
                f"The file unpacks to more than {self.most:,} bytes, which is what one may "
                "(SECGUARD_MAX_FEED_UNPACKED_BYTES). Import it in parts.",
                code="feed-too-large",
            )


class _Bounded(io.RawIOBase):
    """A stream that counts against the budget, and stops where it unpacks beyond reason."""

    def __init__(self, inner: IO[bytes], budget: Budget, packed: int) -> None:
        super().__init__()
        self._inner, self._budget, self._packed, self._read = inner, budget, max(packed, 1), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._inner.read(len(buffer))
        buffer[: len(part)] = part
        self._read += len(part)
        self._budget.take(len(part))
        if self._read > FREE_OF_RATIO and self._read > MAX_RATIO * self._packed:
            raise TooLarge(
                f"A document unpacks to more than {MAX_RATIO} times its packed size ({self._packed:,} bytes): it is "
                "not read.",
                code="feed-bomb",
            )
        return len(part)


def documents(path: Path, name: str, budget: Budget) -> Iterator[Document]:
    """Each document of the file at ``path``; each is to be read before the next one is asked for.

    Raises ``Invalid`` where the file is empty or its packing cannot be read, ``TooLarge`` past a bound; while a
    document is read, ``OSError`` or one of ``UNREADABLE`` where it is broken.
    """
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(0)
        if not head:
            raise Invalid(f"{name[:_NAME]} is empty.", code="feed-empty")
        if head.startswith(b"PK\x03\x04"):
            yield from _zip(file, name, budget)
            return
        packed = path.stat().st_size
        plain = io.BufferedReader(_Bounded(_unpacked(file, head), budget, packed), 2**18)
        try:
            begins = plain.peek(512)
        except (*UNREADABLE, OSError) as error:
            raise _broken(name, error) from error
        if begins[257:262] == b"ustar":
            yield from _tar(plain, name, budget)
        else:
            yield Document(_unpacked_name(name), plain)


def _unpacked(file: IO[bytes], head: bytes) -> Any:
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=file)  # every member of it (RFC 1952 section 2.2)
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        return _Frames(file)
    return file


class _Frames(io.RawIOBase):
    """Every frame of a zstd file (RFC 8878), whole.

    The library's own reader ends without a word where a file was cut off; half a feed would then pass for all of it,
    and what the other half says for withdrawn.
    """

    # So little is taken in at once, because it comes out whole: at most some 40 MiB of it (blocks of 128 KiB, RLE).
    STEP = 2**10

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._frame: Any = None
        self._packed = b""
        self._plain = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._plain:
            self._packed = self._packed or self._file.read(self.STEP)
            if not self._packed:
                if self._frame is not None:
                    raise zstandard.ZstdError("it ends in the middle: the file was cut off")
                return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
            self._plain = memoryview(self._frame.decompress(self._packed))
            self._packed = b""
            if self._frame.eof:
                self._packed, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._plain))
        buffer[:count], self._plain = self._plain[:count], self._plain[count:]
        return count


def _unpacked_name(name: str) -> str:
    for ending in (".gz", ".zst"):
        name = name.removesuffix(ending)
    return name


def _zip(file: IO[bytes], name: str, budget: Budget) -> Iterator[Document]:
    try:
        archive = zipfile.ZipFile(file)
        members = archive.infolist()
    except (*UNREADABLE, ValueError, NotImplementedError, OSError) as error:
        raise _broken(name, error) from error
    with archive:
        _count(len(members), name)
        for member in members:
            if member.is_dir():
                continue
            if member.flag_bits & 0x1:
                raise Invalid(f"{name[:_NAME]} is encrypted; expected a plain zip.", code="feed-encrypted")
            try:
                inner = archive.open(member)
            except (*UNREADABLE, ValueError, NotImplementedError, OSError) as error:
                raise _broken(f"{member.filename} in {name}", error) from error
            with inner:
                if member.file_size <= SMALL:  # which is all that is read of it, whatever is packed
                    yield Document(member.filename, _Small(inner, budget))
                    continue
                bounded = _Bounded(inner, budget, member.compress_size)
                yield Document(member.filename, io.BufferedReader(bounded, 2**16))


def _tar(stream: IO[bytes], name: str, budget: Budget) -> Iterator[Document]:
    try:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for number, member in enumerate(archive, start=1):
                _count(number, name)
                inner = archive.extractfile(member) if member.isfile() else None
                if inner is not None:
                    yield Document(member.name, io.BufferedReader(_Plain(inner), 2**16))
    except (*UNREADABLE, ValueError) as error:
        raise _broken(name, error) from error


class _Small(io.BytesIO):
    """A small member, unpacked at the first read: a broken one breaks there."""

    def __init__(self, inner: IO[bytes], budget: Budget) -> None:
        super().__init__()
        self._inner: IO[bytes] | None = inner
        self._budget = budget

    def read(self, size: int | None = -1) -> bytes:
        if self._inner is not None:
            inner, self._inner = self._inner, None
            raw = inner.read()
            self._budget.take(len(raw))
            self.write(raw)
            self.seek(0)
        return super().read(size)


class _Plain(io.RawIOBase):
    """A tar member as a raw stream; the archive around it counts."""

    def __init__(self, inner: IO[bytes]) -> None:
        super().__init__()
        self._inner = inner

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._inner.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


def _count(number: int, name: str) -> None:
    if number > MAX_MEMBERS:
        raise TooLarge(f"{name[:_NAME]} holds more than {MAX_MEMBERS:,} files.", code="feed-too-large")


def _broken(name: str, error: BaseException) -> Invalid:
    return Invalid(
        f"{name[:_NAME]} is broken and cannot be unpacked: {error}. Was it fetched to its end?", code="feed-broken"
    )
