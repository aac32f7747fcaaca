"""A file that takes a blob as it arrives and knows whether it is the one that was asked for."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from secguard.errors import Invalid
from secguard.images.manifest import Descriptor

_CHUNK = 2**20


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

    def write(self, data: bytes) -> None:
        """Append. Raises ``Invalid`` (and empties the file) where more comes than the blob has."""
        if self.size + len(data) > self.descriptor.size:
            self.restart()
            raise Invalid(
                f"The blob {self.descriptor.digest} is longer than the {self.descriptor.size:,} bytes that the "
                "manifest names. Push the image again, or ask who runs the registry.",
                code="wrong-blob-size",
            )
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def check(self) -> None:
        """Raises ``Invalid`` (and empties the file) where what came is not the blob."""
        name, _, expected = self.descriptor.digest.partition(":")
        size, found = self.size, self._hash.hexdigest()
        if size == self.descriptor.size and found == expected:
            self._file.flush()
            return
        self.restart()
        what = f"{size:,} bytes" if size != self.descriptor.size else f"the digest {name}:{found}"
        raise Invalid(
            f"The blob {self.descriptor.digest} arrived with {what}; expected {self.descriptor.size:,} bytes of "
            "exactly that digest. It is damaged where it lies: push the image again.",
            code="wrong-blob-digest",
        )
