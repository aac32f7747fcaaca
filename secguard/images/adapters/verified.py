"""What takes a blob as it arrives and knows whether it is the one that was asked for: to keep it, or to hand it on."""

from __future__ import annotations

import hashlib
from typing import BinaryIO, Protocol

from secguard.errors import Invalid
from secguard.images.manifest import Descriptor

_CHUNK = 2**20


class Taker(Protocol):
    """Takes the bytes of one blob in order; ``size`` is how far the transfer is."""

    descriptor: Descriptor
    size: int

    @property
    def is_complete(self) -> bool: ...

    def restart(self) -> None: ...

    def write(self, data: bytes) -> bytes: ...


class VerifiedFile:
    """Takes the bytes of one blob in order, from where a former attempt left off.

    ``file`` is open for reading and writing and may hold the beginning of the blob. No more than the blob's size is
    ever written. ``check`` proves size and digest; where they do not fit, the file is emptied, so that a bad beginning
    is not gone on from.
    """

    def __init__(self, file: BinaryIO, descriptor: Descriptor) -> None:
        self._file = file
        self.descriptor = descriptor
        self.restart_from_what_is_there()

    def restart_from_what_is_there(self) -> None:
        """Hash what the file holds already."""
        self._hash = hashlib.new(self.descriptor.digest.partition(":")[0])
        self._file.seek(0)
        self.size = 0
        while block := self._file.read(_CHUNK):
            self._hash.update(block)
            self.size += len(block)
        if self.size > self.descriptor.size:
            self.restart()

    def restart(self) -> None:
        """Forget what came so far."""
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.new(self.descriptor.digest.partition(":")[0])
        self.size = 0

    @property
    def is_complete(self) -> bool:
        """True when as many bytes are there as the blob has; ``check`` tells whether they are the right ones."""
        return self.size >= self.descriptor.size

    def write(self, data: bytes) -> bytes:
        """Append; returns what was new: all. Raises ``Invalid`` (and empties the file) past the blob's size."""
        if self.size + len(data) > self.descriptor.size:
            self.restart()
            raise _too_long(self.descriptor)
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)
        return data

    def check(self) -> None:
        """Raises ``Invalid`` (and empties the file) where what came is not the blob."""
        size, found = self.size, self._hash.hexdigest()
        if size == self.descriptor.size and found == self.descriptor.digest.partition(":")[2]:
            self._file.flush()
            return
        self.restart()
        raise _another(self.descriptor, size, found)


class VerifiedStream:
    """Takes the bytes of one blob, to be handed on at once and kept nowhere.

    What has been handed on cannot be taken back: after ``restart`` the same bytes may come again, and are not new.
    """

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.size = 0
        self._seen = 0
        self._hash = hashlib.new(descriptor.digest.partition(":")[0])

    def restart(self) -> None:
        """The transfer begins at the first byte again."""
        self.size = 0

    @property
    def is_complete(self) -> bool:
        return self.size >= self.descriptor.size

    def write(self, data: bytes) -> bytes:
        """What is new of ``data``. Raises ``Invalid`` where more comes than the blob has."""
        if self.size + len(data) > self.descriptor.size:
            raise _too_long(self.descriptor)
        new = data[max(0, self._seen - self.size) :]
        self._hash.update(new)
        self.size += len(data)
        self._seen = max(self._seen, self.size)
        return new

    def check(self) -> None:
        """Raises ``Invalid`` where what came is not the blob."""
        found = self._hash.hexdigest()
        if self._seen != self.descriptor.size or found != self.descriptor.digest.partition(":")[2]:
            raise _another(self.descriptor, self._seen, found)


def _too_long(blob: Descriptor) -> Invalid:
    return Invalid(
        f"The blob {blob.digest} is longer than the {blob.size:,} bytes that the manifest names. Push the image again, "
        "or ask who runs the registry.",
        code="wrong-blob-size",
    )


def _another(blob: Descriptor, size: int, found: str) -> Invalid:
    algorithm = blob.digest.partition(":")[0]
    what = f"{size:,} bytes" if size != blob.size else f"the digest {algorithm}:{found}"
    return Invalid(
        f"The blob {blob.digest} arrived with {what}; expected {blob.size:,} bytes of exactly that digest. It is "
        "damaged where it lies: push the image again.",
        code="wrong-blob-digest",
    )
