"""The files of an image archive by their path in it, read where they lie: a folder, or a tar that can be sought in."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from secguard.errors import Invalid, NotFound
from secguard.images.adapters.decompression import Limits, Unpacked
from secguard.images.adapters.tarheader import Kind
from secguard.images.adapters.tarreader import Entry, TarReader, normalised

_MAX_LINKS = 8


class Members(Protocol):
    """The files of an archive by their path in it."""

    def open(self, path: str) -> BinaryIO:
        """The file's content. Raises ``NotFound`` where there is none, ``Invalid`` where it is no plain file."""
        ...

    def has(self, path: str) -> bool: ...

    def close(self) -> None: ...


def open_members(path: Path, scratch: Path, limits: Limits) -> Members:
    """The files in a folder or a tar, the latter plain or compressed with gzip or zstd (then it is unpacked, within
    limits, into a temporary file in ``scratch``)."""
    return FolderMembers(path) if path.is_dir() else _tar_members(path, scratch, limits)


class FolderMembers:
    """A folder. Links in it are not followed: they could lead out of it."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)

    def has(self, path: str) -> bool:
        try:
            self.open(path).close()
        except (NotFound, Invalid):
            return False
        return True

    def open(self, path: str) -> BinaryIO:
        with ExitStack() as stack:
            folder = self._root
            *parents, name = path.split("/")
            try:
                for parent in parents:
                    folder = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                    stack.callback(os.close, folder)
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            except FileNotFoundError:
                raise missing(path) from None
            except OSError as error:
                raise Invalid(f"{path} in the archive cannot be read: {error.strerror}.", code="bad-archive") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Invalid(f"{path} in the archive is no plain file.", code="bad-archive")
        return os.fdopen(descriptor, "rb")

    def close(self) -> None:
        os.close(self._root)


class TarMembers:
    """A tar that can be sought in: where each member lies. Links between members are followed inside it."""

    def __init__(self, file: BinaryIO, limits: Limits) -> None:
        self._file = file
        self._places: dict[str, tuple[int, int]] = {}
        self._links: dict[str, str] = {}
        self._twice: set[str] = set()
        source = _SeekableSource(file)
        for entry in TarReader(source, limits):
            self._note(entry, source.at)

    def _note(self, entry: Entry, at: int) -> None:
        if entry.path in self._places or entry.path in self._links:
            self._twice.add(entry.path)
        self._places.pop(entry.path, None)
        self._links.pop(entry.path, None)
        if entry.kind is Kind.FILE and entry.stored == entry.size and not entry.escapes:
            self._places[entry.path] = (at, entry.size)
        elif entry.kind is Kind.SYMLINK and not entry.escapes:
            folder = "" if entry.link.startswith("/") else entry.path.rpartition("/")[0]
            self._links[entry.path] = normalised(f"{folder}/{entry.link}")[0]
        elif entry.kind is Kind.HARDLINK and not entry.escapes:
            self._links[entry.path] = entry.link

    def has(self, path: str) -> bool:
        return path in self._places or path in self._links

    def open(self, path: str) -> BinaryIO:
        at = path
        for _ in range(_MAX_LINKS):
            if at in self._twice and at.endswith(".json"):
                raise Invalid(f"{at} stands twice in the archive: which one holds is not clear.", code="bad-archive")
            if at in self._places:
                return cast(BinaryIO, _Slice(self._file, *self._places[at]))
            if at not in self._links:
                raise missing(path)
            at = self._links[at]
        raise Invalid(f"{path} in the archive is a link in a circle.", code="bad-archive")

    def close(self) -> None:
        self._file.close()


class _SeekableSource:
    """A file as the source of a tar reader, which need not read what it skips."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._end = file.seek(0, os.SEEK_END)
        self.at = file.seek(0)

    def at_most(self, size: int) -> bytes:
        data = self._file.read(size)
        self.at += len(data)
        return data

    def exactly(self, size: int) -> bytes:
        data = self.at_most(size)
        if len(data) < size:
            raise _cut_off()
        return data

    def skip(self, size: int) -> None:
        if self.at + size > self._end:
            raise _cut_off()
        self.at = self._file.seek(self.at + size)

    def rest(self) -> None:
        return


class _Slice:
    """One member of a tar, read in place; the file may have other readers in between."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file = file
        self._at = start
        self._end = start + size

    def __enter__(self) -> _Slice:
        return self

    def __exit__(self, *failure: object) -> None:
        return None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_CUR:
            raise ValueError("a member is only sought in forwards")
        self._at = min(self._at + offset, self._end)
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = self._end - self._at
        self._file.seek(self._at)
        data = self._file.read(left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def close(self) -> None:
        return None


def _tar_members(path: Path, scratch: Path, limits: Limits) -> TarMembers:
    file: BinaryIO = path.open("rb")
    try:
        first = file.read(512)
        file.seek(0)
        if first[257:262] != b"ustar" and first.strip(b"\0"):
            packed, file = file, _decompressed(file, scratch, limits)
            packed.close()
        return TarMembers(file, limits)
    except BaseException:
        file.close()
        raise


def _decompressed(file: BinaryIO, scratch: Path, limits: Limits) -> BinaryIO:
    unpacked = Unpacked(file, limits, what="The archive")
    plain = cast(BinaryIO, tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115 - the reader closes it
    try:
        while block := unpacked.read_block():
            plain.write(block)
    except BaseException:
        plain.close()
        raise
    return plain


def missing(path: str) -> NotFound:
    return NotFound(f"The archive has no {path[:200]}: it was cut off, or not all of it was written.", code="not-there")


def _cut_off() -> Invalid:
    return Invalid("The archive ends in the middle of a file: it was cut off. Write it again.", code="bad-archive")
