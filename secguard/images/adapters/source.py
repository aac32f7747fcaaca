"""Where an image is read from, whether a registry or an archive: what scans know of both."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from secguard.errors import TooLarge
from secguard.images import configuration, manifest
from secguard.images.adapters.verified import VerifiedFile
from secguard.images.configuration import ImageConfig
from secguard.images.manifest import Descriptor, ImageIndex, ImageManifest

Progress = Callable[[int], None]
"""Called with the bytes of one blob that are here so far; what it raises ends the transfer, which can go on later."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A manifest or an index, byte for byte.

    ``is_digest_asserted`` is False where the source names no manifest digest (``docker save``): ``digest`` is then the
    configuration's, and ``raw`` a manifest made up here from what is in the archive.
    """

    digest: str
    media_type: str
    raw: bytes = field(repr=False)
    is_digest_asserted: bool = True

    def parse(self) -> ImageManifest | ImageIndex:
        """What the bytes say; see ``manifest.parse`` for the refusals."""
        return manifest.parse(self.raw, self.media_type)


class ImageSource(Protocol):
    """A repository of a registry, or an archive.

    Errors: ``NotFound`` (no such thing), ``NotAllowed`` (credentials, addresses), ``Invalid`` and ``TooLarge`` (what
    came is bad), ``Unavailable`` (try again later).
    """

    def resolve(self, reference: str = "") -> Resolved:
        """The manifest or index of a tag or digest; of the only image where none is named."""
        ...

    def blob(self, into: VerifiedFile, progress: Progress | None = None) -> None:
        """Fill ``into`` with the blob of its descriptor, from where it is, and check it."""
        ...

    def references(self) -> list[str]:
        """The tags that can be resolved."""
        ...

    def close(self) -> None:
        """Give back connections and files."""
        ...


def read_config(source: ImageSource, image: ImageManifest) -> tuple[bytes, ImageConfig]:
    """The image's configuration, as it lies there and parsed."""
    raw = read_small(source, image.config, configuration.MAX_BYTES)
    return raw, configuration.parse(raw)


def read_small(source: ImageSource, descriptor: Descriptor, most: int) -> bytes:
    """A blob of at most ``most`` bytes, in memory."""
    if descriptor.size > most:
        raise TooLarge(
            f"The blob {descriptor.digest} has {descriptor.size:,} bytes; at most {most:,} are read.",
            code="document-too-large",
        )
    buffer = io.BytesIO()
    source.blob(VerifiedFile(buffer, descriptor))
    return buffer.getvalue()


def images_of(source: ImageSource, index: ImageIndex) -> tuple[Descriptor, ...]:
    """The images of an index, one for each platform; see ``manifest.images_of``."""
    return manifest.images_of(index, lambda child: source.resolve(child.digest).raw)


def digest_of(raw: bytes, algorithm: str = "sha256") -> str:
    """The digest of bytes, as OCI writes it."""
    return f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}"
