"""Putting single things beside an image, as somebody else's tools would."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.source import Resolved
from secguard.images.manifest import OCI_MANIFEST, Descriptor
from secguard.signing import ecdsa
from secguard.signing.adapters.attached import New, Putting, Said
from secguard.signing.ecdsa import PublicKey

NOBODY = ecdsa.generate().public
"""For what is no bundle: its key is not named."""


def put_signature(client: PushingClient, path: str, digest: str, payload: bytes, signature: bytes) -> None:
    _put(client, path, digest, New(signatures=[(payload, signature)]))


def put_attestations(client: PushingClient, path: str, digest: str, said: Sequence[Said]) -> None:
    _put(client, path, digest, New(attestations=said))


def put_bundles(
    client: PushingClient, path: str, subject: Resolved, said: Sequence[Said], key: PublicKey, *, at: datetime
) -> None:
    image = Descriptor(subject.media_type, subject.digest, len(subject.raw))
    Putting(path, image, New(bundles=said), key, at=at).attach(client)


def _put(client: PushingClient, path: str, digest: str, new: New) -> None:
    Putting(path, Descriptor(OCI_MANIFEST, digest, 1), new, NOBODY, at=datetime.now(UTC)).attach(client)
