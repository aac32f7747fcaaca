"""Signatures and attestations beside an image in a registry: found, read, and put there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from secguard.errors import Invalid, NotFound
from secguard.images import cosigntags, referrers
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.registry import RegistryClient
from secguard.images.adapters.source import Resolved, digest_of
from secguard.images.adapters.tagging import join
from secguard.images.manifest import OCI_MANIFEST, Descriptor
from secguard.signing import attachments, bundle, dsse, simplesigning, statements
from secguard.signing.adapters.withdrawing import Withdrawn, withdraw
from secguard.signing.attachments import SignedPayload
from secguard.signing.dsse import Envelope
from secguard.signing.ecdsa import PublicKey
from secguard.signing.verification import Form, Seen

__all__ = ["MAX_REFERRERS", "New", "Putting", "Withdrawn", "read", "withdraw"]

Said = tuple[Envelope, str]
"""An envelope, and the type of the predicate in it."""


@dataclass(frozen=True, slots=True)
class New:
    """What is to be put beside an image: (payload, signature) for the ``.sig`` tag, statements for the ``.att`` tag,
    and statements for bundles."""

    signatures: Sequence[tuple[bytes, bytes]] = ()
    attestations: Sequence[Said] = ()
    bundles: Sequence[Said] = ()


_AT_ONCE = 8
"""Of what lies beside one image, read or written at the same time."""
MAX_REFERRERS = 500
"""Bundles that are read of one image; past it somebody fills the list, and the image counts as not looked at."""


def read(client: RegistryClient, path: str, digest: str) -> list[Seen]:
    """Every signature and attestation of an image, in all forms, whoever made them; nothing is verified yet.

    One that cannot be read is among them with its problem: a broken one never hides the good ones. Raises
    ``Unavailable`` where the registry falters: half a list is never taken for the whole.
    """
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        listed = threads.map(lambda list_: list(list_(client, path, digest)), (_signatures, _attestations, _bundles))
        found = threads.map(lambda one: one(), [one for several in listed for one in several])
        return [seen for seen in found if seen is not None]


class Putting:
    """Puts what is new beside an image: first all the blobs, then what lists them, each place by itself at once.

    Blobs that nothing lists are seen by nobody, so they may be sent before the image is there.
    """

    def __init__(self, path: str, image: Descriptor, new: New, key: PublicKey, *, at: datetime) -> None:
        plans = [
            _under(attachments.signature_tag(image.digest), [_signature(*one) for one in new.signatures]),
            _under(attachments.attestation_tag(image.digest), [_attestation_layer(*one) for one in new.attestations]),
            _referring(image, new.bundles, key, at),
        ]
        self._path, self._plans = path, [plan for plan in plans if plan.blobs]
        self._sent: dict[Blob, Descriptor] = {}

    def send(self, client: PushingClient) -> None:
        """The blobs alone; nothing where they were sent."""
        if not self._sent:
            known = {blob: _described(blob) for plan in self._plans for blob in plan.blobs}
            likely = (blob for plan in self._plans for blob in plan.likely([known[b] for b in plan.blobs]))
            client.push_several(self._path, list(dict.fromkeys([*known, *likely])))
            self._sent = known

    def attach(self, client: PushingClient) -> None:
        """What was not sent, and what lists it."""
        self.send(client)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            ends = [
                threads.submit(plan.end, client, self._path, [self._sent[b] for b in plan.blobs])
                for plan in self._plans
            ]
            for end in ends:
                end.result()


Blob = tuple[bytes, str]
"""Its bytes and its media type."""


@dataclass(frozen=True)
class _Plan:
    """Blobs, and what is done once they are there, with what describes them."""

    blobs: list[Blob]
    likely: Callable[[list[Descriptor]], list[Blob]]
    """What is needed besides, where nothing else lies there yet."""
    end: Callable[[PushingClient, str, list[Descriptor]], None]


def _described(blob: Blob) -> Descriptor:
    raw, media_type = blob
    return Descriptor(media_type, digest_of(raw), len(raw))


def _signature(payload: bytes, signature: bytes) -> tuple[Blob, Callable[[Descriptor], Descriptor]]:
    return (payload, simplesigning.MEDIA_TYPE), lambda blob: attachments.signature_layer(blob, signature)


def _attestation_layer(envelope: Envelope, kind: str) -> tuple[Blob, Callable[[Descriptor], Descriptor]]:
    return (envelope.encode(), dsse.MEDIA_TYPE), lambda blob: attachments.attestation_layer(blob, kind)


def _under(tag: str, several: Sequence[tuple[Blob, Callable[[Descriptor], Descriptor]]]) -> _Plan:
    """Behind those that are under the tag, which is changed once for all of them."""

    def layers(blobs: list[Descriptor]) -> list[Descriptor]:
        return [layer(blob) for (_, layer), blob in zip(several, blobs, strict=True)]

    def config(blobs: list[Descriptor]) -> list[Blob]:
        return [(cosigntags.config_of(layers(blobs)), cosigntags.CONFIG_TYPE)]

    def end(client: PushingClient, path: str, blobs: list[Descriptor]) -> None:
        join(client, path, tag, layers(blobs))

    return _Plan([blob for blob, _ in several], config, end)


def _referring(image: Descriptor, said: Sequence[Said], key: PublicKey, at: datetime) -> _Plan:
    """Bundles, each as a manifest that refers to the image."""

    def end(client: PushingClient, path: str, blobs: list[Descriptor]) -> None:
        made = [
            attachments.referrer_manifest(image, blob, _told(kind, at))
            for blob, (_, kind) in zip(blobs[1:], said, strict=True)
        ]
        client.push_referrers(path, made, OCI_MANIFEST, bundle.MEDIA_TYPE)

    encoded = [(bundle.encode(envelope, key), bundle.MEDIA_TYPE) for envelope, _ in said]
    return _Plan([(referrers.EMPTY, referrers.EMPTY_TYPE), *encoded] if said else [], lambda _: [], end)


def _told(predicate_type: str, at: datetime) -> dict[str, str]:
    return {
        attachments.CONTENT: "dsse-envelope",
        attachments.PREDICATE_TYPE: predicate_type,
        attachments.CREATED: statements.rfc3339(at),
    }


# Reading --------------------------------------------------------------------------------------------------------------


Once = Callable[[], Seen | None]
"""Reads one that is listed; nothing where it turns out to be something else."""


def _signatures(client: RegistryClient, path: str, digest: str) -> Iterator[Once]:
    tag = attachments.signature_tag(digest)
    try:
        found = _tagged(client, path, tag)
        payloads = attachments.signed_payloads(found.raw, found.media_type) if found else []
    except Invalid as error:
        yield partial(Seen, Form.TAG, tag, problem=error.detail)
        return
    for one in payloads:
        yield partial(_guarded, Form.TAG, one.layer.digest, partial(_payload, client, path, one))


def _payload(client: RegistryClient, path: str, one: SignedPayload) -> Seen:
    _bounded(one.layer, simplesigning.MAX_BYTES)
    raw = client.small_blob(path, one.layer)
    told = simplesigning.decode(raw)
    return Seen(Form.TAG, one.layer.digest, raw, one.signature, (told.digest,), told.docker_reference)


def _attestations(client: RegistryClient, path: str, digest: str) -> Iterator[Once]:
    tag = attachments.attestation_tag(digest)
    try:
        found = _tagged(client, path, tag)
        layers = attachments.envelopes(found.raw, found.media_type) if found else []
    except Invalid as error:
        yield partial(Seen, Form.ATTESTATION_TAG, tag, problem=error.detail)
        return
    for layer in layers:
        yield partial(_guarded, Form.ATTESTATION_TAG, layer.digest, partial(_attestation, client, path, layer))


def _attestation(client: RegistryClient, path: str, layer: Descriptor) -> Seen:
    _bounded(layer, dsse.MAX_BYTES)
    return _enveloped(Form.ATTESTATION_TAG, layer.digest, dsse.decode(client.small_blob(path, layer)))


def _bundles(client: RegistryClient, path: str, digest: str) -> Iterator[Once]:
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
            yield partial(_guarded, Form.BUNDLE, place, partial(_bundle, client, path, digest, place))


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


def _guarded(form: Form, place: str, once: Once) -> Seen | None:
    """What ``once`` reads, or what is wrong with it; that the registry falters is for the caller."""
    try:
        return once()
    except (Invalid, NotFound) as error:
        return Seen(form, place, problem=error.detail)


def _bounded(blob: Descriptor, most: int) -> None:
    if blob.size > most:
        raise Invalid(f"It has {blob.size:,} bytes; at most {most:,} are read.", code="too-large")


def _tagged(client: RegistryClient, path: str, tag: str) -> Resolved | None:
    try:
        return client.resolve(path, tag)
    except NotFound:
        return None
