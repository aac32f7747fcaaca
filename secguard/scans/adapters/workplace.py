"""A folder for the length of one piece of work, which does not outlive the process that made it for long.

Each folder is held by a ``flock`` on itself, which ends with its process. Whoever makes the next one takes away those
that nobody holds: what a worker left that was killed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from secguard.errors import Unavailable

_PREFIX = "work-"


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """A new folder below ``parent``, gone afterwards. Raises ``Unavailable`` where the disk takes none."""
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        clear(parent)
        path, lock = _made(parent)
    except OSError as error:
        words = f"No folder could be made in {parent}: {error.strerror or error}. Give the disk more room."
        raise Unavailable(words, retry_after=60, code="no-room") from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def clear(parent: Path) -> int:
    """Take away the folders below ``parent`` whose process is gone; returns how many."""
    gone = 0
    for path in parent.glob(f"{_PREFIX}*"):
        lock = _lock(path)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
            gone += 1
    return gone


def _made(parent: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = _lock(path)
        if lock is not None and path.exists():  # else somebody cleared it away before we held it
            return path, lock
        if lock is not None:
            os.close(lock)


def _lock(path: Path) -> int | None:
    """A file descriptor that holds the folder for us alone, or ``None`` where somebody holds it or it is gone."""
    with suppress(FileNotFoundError, NotADirectoryError):
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            return None
        return held
    return None
