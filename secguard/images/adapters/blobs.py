"""Blobs on disk by digest, shared by all scans and processes of this host, within a budget.

    blobs/sha256/<hex>                 whole and verified; read by its time of last use
    partial/sha256-<hex>.<size>        what a transfer has brought so far; counts with the size that it will have
    lock                               held while room is made

A blob comes into being by one rename, so a reader never sees half of one, whoever was killed when. Locks are
``flock``s, which end with the process that holds them: a reader holds a shared one on the blob, a transfer an exclusive
one on its partial file, and eviction takes away only what it can lock alone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from secguard.errors import Invalid, TooLarge, Unavailable
from secguard.images.adapters.verified import VerifiedFile
from secguard.images.manifest import Descriptor
from secguard.images.reference import is_digest

Fetch = Callable[[VerifiedFile], None]
_STALE_SECONDS = 24 * 3600.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_POLL_SECONDS = 0.1


class BlobStore:
    """A folder of blobs of at most ``max_bytes`` in all, those that scans hold included."""

    def __init__(
        self,
        folder: Path,
        max_bytes: int,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock
        self._sleep = sleep
        self._blobs = folder / "blobs"
        self._partial = folder / "partial"
        for path in (self._blobs, self._partial):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def hold(self, descriptor: Descriptor, fetch: Fetch, waiting: Callable[[], None] = lambda: None) -> Iterator[Path]:
        """The blob's file, which stays while the context lasts; ``fetch`` fills it where it is not here.

        One process fetches; the others wait for it and call ``waiting`` ten times a second, which may raise. Raises
        what ``fetch`` raises (what it brought is kept and gone on from), ``TooLarge`` for a blob over the whole budget,
        and ``Unavailable`` where scans hold so much that there is no room, or the disk is full.
        """
        while (lease := self._lease(descriptor.digest)) is None:
            self._bring(descriptor, fetch, waiting)
        try:
            yield self._path(descriptor.digest)
        finally:
            os.close(lease)

    def has(self, digest: str) -> bool:
        """True where the whole blob is here now."""
        return self._path(digest).exists()

    def used_bytes(self) -> int:
        """What is here, and what transfers under way will add."""
        return sum(size for _, size, _ in self._files())

    def trim(self) -> int:
        """Take away what is over the budget and partial files that nobody goes on with; returns the bytes freed."""
        return self._make_room(0)

    # Reading ----------------------------------------------------------------------------------------------------------

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise Invalid(f"{digest[:80]!r} is not a digest.", code="bad-digest")
        algorithm, _, name = digest.partition(":")
        return self._blobs / algorithm / name

    def _lease(self, digest: str) -> int | None:
        """A file descriptor that keeps the blob from eviction, or ``None`` where it is not here."""
        path = self._path(digest)
        try:
            held = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        fcntl.flock(held, fcntl.LOCK_SH)
        if not _is_same(held, path):  # evicted between opening and locking
            os.close(held)
            return None
        os.utime(held, (self._clock(), self._clock()))
        return held

    # Bringing ---------------------------------------------------------------------------------------------------------

    def _bring(self, descriptor: Descriptor, fetch: Fetch, waiting: Callable[[], None]) -> None:
        if descriptor.size > self._max_bytes:
            raise TooLarge(
                f"A layer has {descriptor.size:,} bytes; the store of layers takes {self._max_bytes:,} in all. Give it "
                "more room.",
                code="blob-over-budget",
            )
        path = self._partial / f"{descriptor.digest.replace(':', '-')}.{descriptor.size}"
        with self._disk(), self._alone(path, waiting) as file:
            if self.has(descriptor.digest):  # somebody else was faster
                path.unlink(missing_ok=True)
                return
            self._make_room(descriptor.size, path)
            into = VerifiedFile(file, descriptor)
            fetch(into)
            into.check()
            self._settle(file, path, descriptor.digest)

    def _settle(self, file: BinaryIO, partial: Path, digest: str) -> None:
        target = self._path(digest)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        file.flush()
        os.fsync(file.fileno())  # else a blob could be empty after a power failure, under a name that says what it is
        os.replace(partial, target)

    @contextmanager
    def _alone(self, path: Path, waiting: Callable[[], None]) -> Iterator[BinaryIO]:
        """The partial file, locked for us; waits while another process writes it."""
        while True:
            with path.open("a+b") as file:
                while not _is_locked(file.fileno()):
                    waiting()
                    self._sleep(_POLL_SECONDS)
                if _is_same(file.fileno(), path):  # else it became a blob, or was cleared away, while we waited
                    yield file
                    return

    @contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            freed = self._make_room(self._max_bytes)  # everything that nobody holds
            raise Unavailable(
                f"The disk under the store of layers ({self._folder}) is full; {freed:,} bytes of it were freed. "
                "Give it more room, or a smaller budget to the store. The scan is tried again.",
                retry_after=60,
                code="disk-full",
            ) from None

    # Room -------------------------------------------------------------------------------------------------------------

    def _make_room(self, wanted: int, for_path: Path | None = None) -> int:
        """Evict the longest unused until ``wanted`` bytes fit in; returns the bytes freed."""
        with (self._folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            files = self._files()
            over = sum(size for _, size, path in files if path != for_path) + wanted - self._max_bytes
            freed = 0
            for _, size, path in sorted(files):
                is_stale = path.parent == self._partial and self._clock() - _mtime(path) > _STALE_SECONDS
                if path != for_path and (over > freed or is_stale) and _evict(path):
                    freed += size
        if for_path and over > freed:
            raise Unavailable(
                f"The store of layers ({self._folder}) has no room for {wanted:,} bytes: scans that run now hold what "
                f"is in its {self._max_bytes:,}. Try again when one of them has ended, or give it more room.",
                retry_after=30,
                code="store-full",
            )
        return freed

    def _files(self) -> list[tuple[float, int, Path]]:
        """``(last use, bytes, path)`` of every blob and partial file."""
        found = []
        for folder in (*_folders(self._blobs), self._partial):
            with os.scandir(folder) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError, ValueError):
                        status = entry.stat(follow_symlinks=False)
                        size = status.st_size
                        if folder == self._partial:
                            size = max(size, int(entry.name.rpartition(".")[2]))
                        found.append((status.st_mtime, size, Path(entry.path)))
        return found


def _folders(parent: Path) -> list[Path]:
    return [parent / name for name in ("sha256", "sha512") if (parent / name).is_dir()]


def _mtime(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def _is_same(descriptor: int, path: Path) -> bool:
    """Whether the open file is still what the path names."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _is_locked(descriptor: int) -> bool:
    """True where the exclusive lock could be had at once."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _evict(path: Path) -> bool:
    """Remove the file unless somebody holds it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        if is_free := _is_locked(descriptor):
            path.unlink(missing_ok=True)
        return is_free
    finally:
        os.close(descriptor)
