"""Taking signatures away again from beside an image in a registry: ours alone, and as far as the registry lets us."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from secguard.errors import Invalid, NotAllowed, NotFound
from secguard.images import cosigntags
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.tagging import rewrite
from secguard.images.manifest import Descriptor
from secguard.signing import attachments, bundle, dsse, simplesigning
from secguard.signing.dsse import Envelope
from secguard.signing.ecdsa import PublicKey


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """How many signatures and attestations were taken away, and how many are left: the registry deletes nothing."""

    removed: int
    left: int


def withdraw(client: PushingClient, path: str, digest: str, keys: Sequence[PublicKey]) -> Withdrawn:
    """Take away what ``keys`` signed beside a digest, in all forms, whatever image it was made for. Others' stay.

    What was taken away is counted by reading again, so a registry that only says so is found out. Raises
    ``Unavailable`` where the registry falters, ``Conflict`` where somebody else changes the same tag all the time.
    """
    ours = _Ours(client, path, digest, keys)
    before = ours.count()
    if before:
        ours.take_away()
    left = ours.count() if before else 0
    return Withdrawn(max(0, before - left), left)


class _Ours:
    def __init__(self, client: PushingClient, path: str, digest: str, keys: Sequence[PublicKey]) -> None:
        self._client, self._path, self._digest, self._keys = client, path, digest, keys
        self._tags = (attachments.signature_tag(digest), attachments.attestation_tag(digest))

    def count(self) -> int:
        """How many there are now."""
        return sum(map(self._is_ours, (layer for tag in self._tags for layer in self._layers(tag)))) + len(
            self._bundles()
        )

    def take_away(self) -> None:
        """What the registry does not let us stays."""
        for tag in self._tags:
            with suppress(Invalid, NotAllowed):
                rewrite(self._client, self._path, tag, self._without)
        bundles = self._bundles()
        with suppress(Invalid, NotAllowed):
            self._client.forget_referrers(self._path, self._digest, bundles)
        for place in bundles:
            self._client.delete_manifest(self._path, place)

    # Layers under a tag -----------------------------------------------------------------------------------------------

    def _layers(self, tag: str) -> tuple[Descriptor, ...]:
        try:
            found = self._client.resolve(self._path, tag)
            return cosigntags.all_of(found.raw, found.media_type)
        except (NotFound, Invalid):  # something else lies there: nothing of ours
            return ()

    def _without(self, layers: Sequence[Descriptor]) -> tuple[Descriptor, ...]:
        kept = (self._theirs(layer) if self._is_ours(layer) else layer for layer in layers)
        return tuple(layer for layer in kept if layer is not None)

    def _is_ours(self, layer: Descriptor) -> bool:
        try:
            if layer.media_type == simplesigning.MEDIA_TYPE:
                signature = base64.b64decode(layer.annotations.get(simplesigning.SIGNATURE, ""), validate=True)
                payload = self._read(layer, simplesigning.MAX_BYTES)
                return any(key.verifies(signature, payload) for key in self._keys)
            return layer.media_type == dsse.MEDIA_TYPE and bool(self._envelope(layer).signers(self._keys))
        except (NotFound, Invalid, binascii.Error, ValueError):  # unreadable: no verifier takes it for ours
            return False

    def _theirs(self, layer: Descriptor) -> Descriptor | None:
        """What is left of a layer of ours: an envelope with the signatures that others made over the same."""
        if layer.media_type != dsse.MEDIA_TYPE:
            return None
        envelope = self._envelope(layer)
        kept = tuple(s for s in envelope.signatures if not replace(envelope, signatures=(s,)).signers(self._keys))
        if not kept:
            return None
        blob = self._client.push_bytes(self._path, replace(envelope, signatures=kept).encode(), dsse.MEDIA_TYPE)
        return replace(layer, digest=blob.digest, size=blob.size)

    def _envelope(self, layer: Descriptor) -> Envelope:
        return dsse.decode(self._read(layer, dsse.MAX_BYTES))

    def _read(self, blob: Descriptor, most: int) -> bytes:
        if blob.size > most:
            raise Invalid(f"It has {blob.size:,} bytes; at most {most:,} are read.", code="too-large")
        return self._client.small_blob(self._path, blob)

    # Bundles ----------------------------------------------------------------------------------------------------------

    def _bundles(self) -> list[str]:
        """The digests of the manifests that hold a bundle of ours."""
        listed = self._client.referrers(self._path, self._digest)
        places = [r.descriptor.digest for r in listed if not r.artifact_type or bundle.is_bundle_type(r.artifact_type)]
        return [place for place in places if self._is_our_bundle(place)]

    def _is_our_bundle(self, place: str) -> bool:
        try:
            found = self._client.resolve(self._path, place)
            layer = attachments.bundle_layer(found.raw, found.media_type, self._digest)
            if layer is None:
                return False
            return bool(bundle.decode(self._read(layer, bundle.MAX_BYTES)).envelope.signers(self._keys))
        except (NotFound, Invalid):
            return False
