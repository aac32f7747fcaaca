"""A layer's bytes as they were before compression: gzip and zstd (also several one after the other) and plain.

What counts is what the bytes are, not what the media type says: container runtimes look at the first bytes too.
Memory stays bounded by the window of the format (zstd: 128 MiB) and one block.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, NoReturn, cast

import zstandard

from secguard.errors import Invalid, TooLarge

_READ = 256 * 1024
_BLOCK = 1024 * 1024
_MAX_WINDOW = 2**27
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_FOREIGN = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "a zip archive",
    b"hsqs": "a squashfs",
    b"7z\xbc\xaf": "a 7z archive",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of one layer is read, at most.

    ``ratio`` is of uncompressed to compressed bytes and counts only once ``ratio_from`` bytes came out: small layers
    of zeros are common. ``seconds`` is for the whole layer, the time that its reader takes included.
    """

    entries: int = 500_000
    total_bytes: int = 32 * 2**30
    file_bytes: int = 16 * 2**30
    ratio: int = 200
    ratio_from: int = 2**30
    path_bytes: int = 4096
    path_parts: int = 256
    header_bytes: int = 2**20
    seconds: float = 1800.0


class Unpacked:
    """The uncompressed stream of ``source``, block by block; ``digest`` is the diff id once all of it was read.

    ``read_block`` raises ``Invalid`` for broken or unknown compression and ``TooLarge`` for a bomb or past a limit.
    """

    def __init__(
        self,
        source: BinaryIO,
        limits: Limits,
        *,
        algorithm: str = "sha256",
        what: str = "The layer",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._limits = limits
        self._clock = clock
        self._what = what
        self._ends_at = clock() + limits.seconds
        self._hash = hashlib.new(algorithm)
        self._algorithm = algorithm
        self._taken = 0
        self.produced = 0
        self._produce = self._begin()

    @property
    def digest(self) -> str:
        """Of all bytes that came out so far."""
        return f"{self._algorithm}:{self._hash.hexdigest()}"

    def read_block(self) -> bytes:
        """The next bytes, at most 1 MiB of them; empty at the end."""
        try:
            block = self._produce()
        except (zlib.error, zstandard.ZstdError) as error:
            raise Invalid(
                f"{self._what} has broken compression after {self.produced:,} bytes: {error}. Write or push it again.",
                code="bad-compression",
            ) from None
        self.produced += len(block)
        self._hash.update(block)
        self._check()
        return block

    def _check(self) -> None:
        limits = self._limits
        if self.produced > limits.total_bytes:
            raise TooLarge(f"{self._what} unpacks to more than {limits.total_bytes:,} bytes.", code="layer-too-large")
        if self.produced > limits.ratio_from and self.produced > limits.ratio * max(self._taken, 1):
            raise TooLarge(
                f"{self._what} unpacks to more than {limits.ratio} times its size ({self._taken:,} bytes gave "
                f"{self.produced:,}): it is refused as a decompression bomb.",
                code="decompression-bomb",
            )
        if self._clock() > self._ends_at:
            raise TooLarge(f"{self._what} took more than {limits.seconds:,.0f} seconds to read.", code="layer-too-slow")

    def _begin(self) -> Callable[[], bytes]:
        first = self._take(_READ)
        if first[:2] == _GZIP:
            return _Gzip(first, self._take).read
        if first[:4] == _ZSTD or (first[1:4] == b"\x2a\x4d\x18" and first[0] & 0xF0 == 0x50):
            return _zstd(first, self._take)
        self._refuse_foreign(first)
        return _Plain(first, self._take).read

    def _refuse_foreign(self, first: bytes) -> None:
        foreign = next((name for magic, name in _FOREIGN.items() if first.startswith(magic)), "")
        if first[32:41] == b"SIF_MAGIC":
            foreign = "a Singularity image (SIF)"
        if foreign:
            raise Invalid(
                f"{self._what} is {foreign}; expected a tar, plain or compressed with gzip or zstd.", code="not-a-layer"
            )

    def _take(self, size: int) -> bytes:
        data = self._source.read(size)
        self._taken += len(data)
        return data


class _Plain:
    def __init__(self, first: bytes, take: Callable[[int], bytes]) -> None:
        self._first = first
        self._take = take

    def read(self) -> bytes:
        first, self._first = self._first, b""
        return first or self._take(_BLOCK)


class _Gzip:
    """RFC 1952: members may follow each other; zeros after the last one are padding."""

    def __init__(self, first: bytes, take: Callable[[int], bytes]) -> None:
        self._waiting = first
        self._take = take
        self._member: Any = zlib.decompressobj(wbits=31)
        self._is_fresh = False

    def read(self) -> bytes:
        while True:
            if self._member.eof and not self._next_member():
                return b""
            if not self._waiting:
                self._waiting = self._take(_READ)
                if not self._waiting:
                    self._cut_off()
            block: bytes = self._member.decompress(self._waiting, _BLOCK)
            self._waiting = self._member.unused_data if self._member.eof else self._member.unconsumed_tail
            if block:
                return block

    def _next_member(self) -> bool:
        self._waiting = (self._waiting or self._take(_READ)).lstrip(b"\0")
        while not self._waiting:
            more = self._take(_READ)
            if not more:
                return False
            self._waiting = more.lstrip(b"\0")
        self._member = zlib.decompressobj(wbits=31)
        return True

    def _cut_off(self) -> NoReturn:
        raise zlib.error("the data ends in the middle")


def _zstd(first: bytes, take: Callable[[int], bytes]) -> Callable[[], bytes]:
    """RFC 8878: frames may follow each other, skippable ones between them (zstd:chunked has its index there)."""
    source = cast(BinaryIO, _Joined(first, take))
    reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(source, read_across_frames=True)
    return lambda: reader.read(_BLOCK)


class _Joined:
    """What was read already, and then the rest."""

    def __init__(self, first: bytes, take: Callable[[int], bytes]) -> None:
        self._first = first
        self._take = take

    def read(self, size: int = -1) -> bytes:
        first, self._first = self._first, b""
        return first or self._take(size if size > 0 else _READ)
