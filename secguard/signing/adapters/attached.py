"""Signatures and attestations beside an image in a registry: found, read, and put there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial

from secguard.errors import Invalid, NotFound
from secguard.images import referrers
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.registry import RegistryClient
from secguard.images.adapters.source import Resolved
from secguard.images.adapters.tagging import join
from secguard.images.manifest import OCI_MANIFEST, Descriptor
from secguard.signing import attachments, bundle, dsse, simplesigning, statements
from secguard.signing.adapters.withdrawing import Withdrawn, withdraw
from secguard.signing.attachments import SignedPayload
from secguard.signing.dsse import Envelope
from secguard.signing.ecdsa import PublicKey
from secguard.signing.verification import Form, Seen

__all__ = ["MAX_REFERRERS", "Withdrawn", "put_attestations", "put_bundles", "put_signature", "read", "withdraw"]

Said = tuple[Envelope, str]
"""An envelope, and the type of the predicate in it."""
MAX_REFERRERS = 500
"""Bundles that are read of one image; past it somebody fills the list, and the image counts as not looked at."""


def read(client: RegistryClient, path: str, digest: str) -> list[Seen]:
    """Every signature and attestation of an image, in all forms, whoever made them; nothing is verified yet.

    One that cannot be read is among them with its problem: a broken one never hides the good ones. Raises
    ``Unavailable`` where the registry falters: half a list is never taken for the whole.
    """
    return [
        *_signatures(client, path, digest),
        *_attestations(client, path, digest),
        *_bundles(client, path, digest),
    ]


def put_signature(client: PushingClient, path: str, digest: str, payload: bytes, signature: bytes) -> None:
    """Add a signature to the ``.sig`` tag, beside those that are there."""
    blob = client.push_bytes(path, payload, simplesigning.MEDIA_TYPE)
    join(client, path, attachments.signature_tag(digest), [attachments.signature_layer(blob, signature)])


def put_attestations(client: PushingClient, path: str, digest: str, said: Sequence[Said]) -> None:
    """Add attestations to the ``.att`` tag, which is changed once for all of them."""
    blobs = client.push_several(path, [(envelope.encode(), dsse.MEDIA_TYPE) for envelope, _ in said])
    layers = [attachments.attestation_layer(blob, kind) for blob, (_, kind) in zip(blobs, said, strict=True)]
    join(client, path, attachments.attestation_tag(digest), layers)


def put_bundles(
    client: PushingClient, path: str, subject: Resolved, said: Sequence[Said], key: PublicKey, *, at: datetime
) -> None:
    """Put bundles beside the image, each as a manifest that refers to it."""
    encoded = [(bundle.encode(envelope, key), bundle.MEDIA_TYPE) for envelope, _ in said]
    _, *blobs = client.push_several(path, [(referrers.EMPTY, referrers.EMPTY_TYPE), *encoded])
    image = Descriptor(subject.media_type, subject.digest, len(subject.raw))
    manifests = [
        attachments.referrer_manifest(image, blob, _told(kind, at)) for blob, (_, kind) in zip(blobs, said, strict=True)
    ]
    client.push_referrers(path, manifests, OCI_MANIFEST, bundle.MEDIA_TYPE)


def _told(predicate_type: str, at: datetime) -> dict[str, str]:
    return {
        attachments.CONTENT: "dsse-envelope",
        attachments.PREDICATE_TYPE: predicate_type,
        attachments.CREATED: statements.rfc3339(at),
    }


# Reading --------------------------------------------------------------------------------------------------------------


def _signatures(client: RegistryClient, path: str, digest: str) -> Iterator[Seen]:
    try:
        found = _tagged(client, path, attachments.signature_tag(digest))
        payloads = attachments.signed_payloads(found.raw, found.media_type) if found else []
    except Invalid as error:
        yield Seen(Form.TAG, attachments.signature_tag(digest), problem=error.detail)
        return
    for one in payloads:
        yield from _guarded(Form.TAG, one.layer.digest, partial(_payload, client, path, one))


def _payload(client: RegistryClient, path: str, one: SignedPayload) -> Seen:
    _bounded(one.layer, simplesigning.MAX_BYTES)
    raw = client.small_blob(path, one.layer)
    told = simplesigning.decode(raw)
    return Seen(Form.TAG, one.layer.digest, raw, one.signature, (told.digest,), told.docker_reference)


def _attestations(client: RegistryClient, path: str, digest: str) -> Iterator[Seen]:
    tag = attachments.attestation_tag(digest)
    try:
        found = _tagged(client, path, tag)
        layers = attachments.envelopes(found.raw, found.media_type) if found else []
    except Invalid as error:
        yield Seen(Form.ATTESTATION_TAG, tag, problem=error.detail)
        return
    for layer in layers:
        yield from _guarded(Form.ATTESTATION_TAG, layer.digest, partial(_attestation, client, path, layer))


def _attestation(client: RegistryClient, path: str, layer: Descriptor) -> Seen:
    _bounded(layer, dsse.MAX_BYTES)
    return _enveloped(Form.ATTESTATION_TAG, layer.digest, dsse.decode(client.small_blob(path, layer)))


def _bundles(client: RegistryClient, path: str, digest: str) -> Iterator[Seen]:
    listed = client.referrers(path, digest)
    if len(listed) > MAX_REFERRERS:
        raise Invalid(
            f"{len(listed):,} manifests refer to {digest}; at most {MAX_REFERRERS} are read. Take those away that "
            "nobody needs.",
            code="too-many-referrers",
        )
    for one in listed:
        if not one.artifact_type or bundle.is_bundle_type(one.artifact_type):
            place = one.descriptor.digest
            yield from _guarded(Form.BUNDLE, place, partial(_bundle, client, path, digest, place))


def _bundle(client: RegistryClient, path: str, digest: str, place: str) -> Seen | None:
    resolved = client.resolve(path, place)
    layer = attachments.bundle_layer(resolved.raw, resolved.media_type, digest)
    if layer is None:
        return None
    _bounded(layer, bundle.MAX_BYTES)
    return _enveloped(Form.BUNDLE, place, bundle.decode(client.small_blob(path, layer)).envelope)


def _enveloped(form: Form, place: str, envelope: Envelope) -> Seen:
    dsse.require_type(envelope)
    said = statements.decode(envelope.payload)
    return Seen(
        form,
        place,
        signed=dsse.pae(envelope.payload_type, envelope.payload),
        signature=envelope.signatures[0].sig,
        claims=tuple(subject.digest for subject in said.subjects),
        docker_reference=said.subjects[0].name,
        predicate_type=said.predicate_type,
    )


def _guarded(form: Form, place: str, once: Callable[[], Seen | None]) -> Iterator[Seen]:
    """What ``once`` reads, or what is wrong with it; that the registry falters is for the caller."""
    try:
        seen = once()
    except (Invalid, NotFound) as error:
        seen = Seen(form, place, problem=error.detail)
    if seen is not None:
        yield seen


def _bounded(blob: Descriptor, most: int) -> None:
    if blob.size > most:
        raise Invalid(f"It has {blob.size:,} bytes; at most {most:,} are read.", code="too-large")


def _tagged(client: RegistryClient, path: str, tag: str) -> Resolved | None:
    try:
        return client.resolve(path, tag)
    except NotFound:
        return None
