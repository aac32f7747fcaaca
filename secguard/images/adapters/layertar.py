"""A layer as registries keep it: decompressed, read entry by entry, and its diff id proven at the end.

layer = LayerReader(file, diff_id=diff_id)
for entry in layer:
    if entry.kind is Kind.FILE:
        content = entry.read(most=1_000_000)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

from secguard.errors import Invalid
from secguard.images.adapters.decompression import Limits, Unpacked
from secguard.images.adapters.tarheader import Kind, bad
from secguard.images.adapters.tarreader import Content, Entry, TarReader

__all__ = ["Content", "Entry", "Kind", "LayerReader", "Limits"]


class LayerReader:
    """A layer as it lies in registries: decompressed, its entries, and its diff id proven at the end.

    ``diff_id`` is what the image's configuration says; where the content has another digest the iteration ends with
    ``Invalid``, so that nothing is kept under a name that is not its own. It may be left out where none is known.
    """

    def __init__(
        self,
        file: BinaryIO,
        *,
        diff_id: str = "",
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits or Limits()
        self._unpacked = Unpacked(file, self._limits, algorithm=diff_id.partition(":")[0] or "sha256", clock=clock)
        self._expected = diff_id

    def __iter__(self) -> Iterator[Entry]:
        yield from TarReader(_Buffered(self._unpacked), self._limits)
        if self._expected and self.diff_id != self._expected:
            raise Invalid(
                f"The layer's content has the digest {self.diff_id}; the image's configuration names "
                f"{self._expected}. It was cut off or altered: push the image again.",
                code="wrong-diff-id",
            )

    @property
    def diff_id(self) -> str:
        """The digest of the uncompressed bytes read so far: of the layer once the iteration has ended."""
        return self._unpacked.digest

    @property
    def unpacked_bytes(self) -> int:
        """How many bytes came out so far."""
        return self._unpacked.produced


class _Buffered:
    """Exact reads and skips over blocks of a stream, with as little copying as possible."""

    __slots__ = ("_at", "_block", "_next")

    def __init__(self, unpacked: Unpacked) -> None:
        self._next = unpacked.read_block
        self._block = b""
        self._at = 0

    def at_most(self, size: int) -> bytes:
        end = self._at + size
        if end <= len(self._block):
            data = self._block[self._at : end]
            self._at = end
            return data
        pieces, missing = [self._block[self._at :]], end - len(self._block)
        self._block, self._at = b"", 0
        while missing > 0 and (block := self._next()):
            pieces.append(block[:missing])
            if len(block) > missing:
                self._block, self._at = block, missing
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def exactly(self, size: int) -> bytes:
        data = self.at_most(size)
        if len(data) < size:
            raise bad("it ends in the middle of an entry")
        return data

    def skip(self, size: int) -> None:
        left = size - (len(self._block) - self._at)
        if left <= 0:
            self._at += size
            return
        while left > 0:
            block = self._next()
            if not block:
                raise bad("it ends in the middle of an entry")
            self._block, self._at = block, min(left, len(block))
            left -= len(block)

    def rest(self) -> None:
        """To the end, so that the digest is of everything."""
        while self._next():
            pass
