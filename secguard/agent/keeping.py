"""What the agent keeps in its folder: the last snapshot, and what it answered while SecGuard was away.

Both survive the agent: a snapshot is replaced as a whole, and an answer is on the disk before it is given.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from secguard.client.rest import CouldNotTell

MAX_LEDGER_BYTES = 64 * 2**20
"""Some 100,000 answers. What comes after that is answered, and not told to the server."""
BATCH = 200
Send = Callable[[Sequence[Mapping[str, Any]]], None]


def open_folder(folder: Path) -> None:
    """Makes the folder, for the agent alone; ``CouldNotTell`` where it cannot be used."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch(mode=0o600)
        probe.unlink()
    except OSError as error:
        raise CouldNotTell(
            f"The state folder {folder} cannot be used ({error.strerror}); name one with --state that the agent may "
            "write to, and that survives it."
        ) from error


def write_whole(path: Path, raw: bytes) -> None:
    """Replaces the file: after a crash at any point it holds the old bytes or the new ones."""
    draft = path.with_name(f".{path.name}.draft")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Ledger:
    """Answers given while the server was away: JSON lines, on the disk before they are given; sent when it is back.

    ``answers.jsonl`` takes them; ``sending.jsonl`` is what is on its way. A crash in between sends some again: the
    server tells them apart by their reviews' uids.
    """

    def __init__(self, folder: Path, *, most: int = MAX_LEDGER_BYTES) -> None:
        self._open, self._sending = folder / "answers.jsonl", folder / "sending.jsonl"
        self._most = most
        self._lock = threading.Lock()
        self.left_out = 0

    def add(self, answer: Mapping[str, Any]) -> bool:
        """Keeps one answer; False where there is no room for it. Raises ``OSError`` where the disk takes nothing."""
        line = json.dumps(answer, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            descriptor = os.open(self._open, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                at = os.fstat(descriptor).st_size
                if at + len(line) > self._most:
                    self.left_out += 1
                    return False
                self._append(descriptor, line, at)
                if not at:
                    _sync_folder(self._open.parent)
            finally:
                os.close(descriptor)
        return True

    @staticmethod
    def _append(descriptor: int, line: bytes, at: int) -> None:
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError("only a part of the answer could be written")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, at)  # half a line would spoil the next one
            raise

    @property
    def waits(self) -> bool:
        """Whether something is to be sent."""
        return any(path.exists() and path.stat().st_size for path in (self._sending, self._open))

    def deliver(self, send: Send) -> int:
        """Sends what waits, in batches; returns how many answers. What ``send`` raises leaves the rest for later."""
        sent = 0
        for _ in range(2):  # what was on its way first, then what came since
            with self._lock:
                if not self._sending.exists() and self._open.exists():
                    self._open.replace(self._sending)
            for batch in self._batches():
                send(batch)
                sent += len(batch)
            self._sending.unlink(missing_ok=True)
        return sent

    def set_aside(self) -> Path:
        """Moves what is on its way out of the way; returns where it lies. What lay there before is gone."""
        aside = self._sending.with_name("refused.jsonl")
        self._sending.replace(aside)
        return aside

    def _batches(self) -> Iterator[list[Mapping[str, Any]]]:
        if not self._sending.exists():
            return
        batch: list[Mapping[str, Any]] = []
        with self._sending.open("rb") as lines:
            for line in lines:
                if (answer := _read(line)) is not None:
                    batch.append(answer)
                if len(batch) == BATCH:
                    yield batch
                    batch = []
        if batch:
            yield batch


def _read(line: bytes) -> Mapping[str, Any] | None:
    """The answer; ``None`` for the torn last line of a disk that lost power."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
