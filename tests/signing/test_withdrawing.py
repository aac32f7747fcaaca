"""Our signatures taken away again beside an image, in real registries that allow more and less; others' stay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from secguard.errors import Conflict, NotFound, Unavailable
from secguard.images import cosigntags, referrers
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.source import Resolved
from secguard.images.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from secguard.images.referrers import Referrer
from secguard.signing import attachments, bundle, dsse, ecdsa, simplesigning, statements
from secguard.signing.adapters import attached
from secguard.signing.adapters.attached import Withdrawn, withdraw
from secguard.signing.dsse import Envelope, EnvelopeSignature
from secguard.signing.ecdsa import PrivateKey
from secguard.signing.simplesigning import Payload
from secguard.signing.statements import COSIGN_SIGNATURE, Subject
from secguard.signing.verification import Form
from tests.fixtures_registries import RunningRegistry
from tests.imagebuilding import image_of, sha256, tar_of
from tests.images.test_pushing import Fake
from tests.signing.putting import put_attestations, put_bundles, put_signature

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
NAME = "registry.example/team/api"
PATH = "withdrawn/api"
OURS, OLD, THEIRS = ecdsa.generate(), ecdsa.generate(), ecdsa.generate()
KEYS = [OURS.public, OLD.public]
FORMS = {Form.TAG, Form.ATTESTATION_TAG, Form.BUNDLE}


@pytest.fixture(params=["plain_registry", "secure_registry", "token_registry"])
def running(request: pytest.FixtureRequest) -> RunningRegistry:
    found: RunningRegistry = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def client(running: RunningRegistry) -> Iterator[PushingClient]:
    yield from opened(running)


@pytest.fixture
def plain(plain_registry: RunningRegistry) -> Iterator[PushingClient]:
    yield from opened(plain_registry)


def opened(running: RunningRegistry) -> Iterator[PushingClient]:
    with PushingClient(running.access, sleep=lambda _: None) as made:
        yield made


def pushed(client: PushingClient) -> Resolved:
    """A new image."""
    built = image_of(tar_of({"etc/id": os.urandom(8)}))
    for digest, raw in built.blobs.items():
        client.push_blob(PATH, Descriptor("", digest, len(raw)), lambda raw=raw: [raw])  # type: ignore[misc]
    return client.push_manifest(PATH, built.raw, built.media_type, "latest")


def envelope(digest: str, *keys: PrivateKey) -> Envelope:
    payload = statements.encode(statements.signature_of(Subject(digest, NAME)))
    signed = dsse.pae(dsse.IN_TOTO, payload)
    return Envelope(dsse.IN_TOTO, payload, tuple(EnvelopeSignature(key.sign(signed)) for key in keys))


def sign(client: PushingClient, image: Resolved, key: PrivateKey, about: str = "") -> None:
    """In all three forms; the tags' may be about another digest."""
    named = about or image.digest
    payload = simplesigning.encode(Payload(NAME, named))
    put_signature(client, PATH, image.digest, payload, key.sign(payload))
    put_attestations(client, PATH, image.digest, [(envelope(named, key), COSIGN_SIGNATURE)])
    made = envelope(image.digest, key)
    put_bundles(client, PATH, image, [(made, COSIGN_SIGNATURE)], key.public, at=AT)


def forms_of(client: PushingClient, image: Resolved, key: PrivateKey) -> set[Form]:
    """The forms in which a signature by this key is found."""
    seen = attached.read(client, PATH, image.digest)
    return {one.form for one in seen if key.public.verifies(one.signature, one.signed)}


def test_ours_are_taken_away_by_all_keys_and_others_stay(client: PushingClient) -> None:
    image = pushed(client)
    for key in (THEIRS, OURS, OLD):
        sign(client, image, key)
    assert withdraw(client, PATH, image.digest, KEYS) == Withdrawn(6, 0)
    assert (forms_of(client, image, OURS), forms_of(client, image, OLD)) == (set(), set())
    assert forms_of(client, image, THEIRS) == FORMS
    assert len(attached.read(client, PATH, image.digest)) == 3
    assert withdraw(client, PATH, image.digest, KEYS) == Withdrawn(0, 0)
    assert client.resolve(PATH, image.digest).raw == image.raw


def test_where_only_ours_were_nothing_is_left(client: PushingClient) -> None:
    image = pushed(client)
    sign(client, image, OURS)
    (listed,) = client.referrers(PATH, image.digest)
    assert withdraw(client, PATH, image.digest, KEYS) == Withdrawn(3, 0)
    for gone in (*cosigntags.tags_of(image.digest)[:2], listed.descriptor.digest):
        with pytest.raises(NotFound):
            client.resolve(PATH, gone)
    assert attached.read(client, PATH, image.digest) == []
    sign(client, image, OURS)
    assert forms_of(client, image, OURS) == FORMS, "it can be signed again"


def test_a_registry_that_deletes_nothing_gets_empty_manifests(start_registry: Any) -> None:
    for client in opened(start_registry(storage={"delete": {"enabled": False}})):
        image = pushed(client)
        sign(client, image, OURS)
        assert withdraw(client, PATH, image.digest, KEYS) == Withdrawn(3, 0)
        for tag in cosigntags.tags_of(image.digest)[:2]:
            found = client.resolve(PATH, tag)
            assert cosigntags.read(found.raw, found.media_type) == ()
        assert attached.read(client, PATH, image.digest) == []
        before = client.resolve(PATH, referrers.fallback_tag(image.digest)).raw
        assert referrers.decode(before) == []
        assert withdraw(client, PATH, image.digest, KEYS) == Withdrawn(0, 0)
        sign(client, image, THEIRS)
        assert forms_of(client, image, THEIRS) == FORMS


def test_a_registry_that_is_written_to_no_more_keeps_all_and_that_is_said(start_registry: Any) -> None:
    first = start_registry()
    for client in opened(first):
        image = pushed(client)
        sign(client, image, OURS)
    closed = start_registry(folder=first.folder, storage={"maintenance": {"readonly": {"enabled": True}}})
    for client in opened(closed):
        assert withdraw(client, PATH, image.digest, KEYS) == Withdrawn(0, 3)
        assert forms_of(client, image, OURS) == FORMS


def test_what_we_made_for_another_image_goes_and_what_is_forged_stays(plain: PushingClient) -> None:
    image = pushed(plain)
    sign(plain, image, OURS, about=sha256(b"some other image"))
    payload = simplesigning.encode(Payload(NAME, image.digest))
    put_signature(plain, PATH, image.digest, payload, OURS.sign(b"something else"))
    assert withdraw(plain, PATH, image.digest, KEYS) == Withdrawn(3, 0)
    (forged,) = attached.read(plain, PATH, image.digest)
    assert forged.form == Form.TAG
    assert forged.signed == payload


def test_an_envelope_that_others_signed_too_loses_our_signature_alone(plain: PushingClient) -> None:
    image = pushed(plain)
    both = envelope(image.digest, OURS, THEIRS)
    put_attestations(plain, PATH, image.digest, [(both, COSIGN_SIGNATURE)])
    assert withdraw(plain, PATH, image.digest, KEYS) == Withdrawn(1, 0)
    found = plain.resolve(PATH, attachments.attestation_tag(image.digest))
    (layer,) = attachments.envelopes(found.raw, found.media_type)
    assert layer.annotations == attachments.attestation_layer(layer, COSIGN_SIGNATURE).annotations
    left = dsse.decode(plain.small_blob(PATH, layer))
    assert left == replace(both, signatures=both.signatures[1:])
    assert left.signers([OURS.public, THEIRS.public]) == (THEIRS.public,)


def test_what_somebody_deleted_or_lost_beside_the_image_is_in_nobodys_way(
    plain_registry: RunningRegistry, plain: PushingClient
) -> None:
    image, gone = pushed(plain), b"a payload that is lost"
    for key in (OURS, THEIRS):
        sign(plain, image, key)
    listed = plain.noted_referrers(PATH, image.digest)
    put_signature(plain, PATH, image.digest, gone, OURS.sign(gone))
    plain_registry.blob_file(sha256(gone)).unlink()
    extra = envelope(image.digest, ecdsa.generate())
    put_bundles(plain, PATH, image, [(extra, COSIGN_SIGNATURE)], OLD.public, at=AT)
    assert plain.delete_manifest(PATH, plain.noted_referrers(PATH, image.digest)[-1].descriptor.digest)
    assert len(plain.noted_referrers(PATH, image.digest)) == 3, "the list still names it"
    assert withdraw(plain, PATH, image.digest, KEYS) == Withdrawn(3, 0)
    assert forms_of(plain, image, THEIRS) == FORMS
    assert len(attached.read(plain, PATH, image.digest)) == 3
    assert plain.noted_referrers(PATH, image.digest) == listed[1:]
    sign(plain, image, OURS)
    assert forms_of(plain, image, OURS) == FORMS


def test_a_tag_that_somebody_filled_keeps_nothing_of_ours(plain: PushingClient) -> None:
    image = pushed(plain)
    tag = attachments.signature_tag(image.digest)
    payload = simplesigning.encode(Payload(NAME, image.digest))
    blob = plain.push_bytes(PATH, payload, simplesigning.MEDIA_TYPE)
    many = [attachments.signature_layer(blob, b"%d" % n) for n in range(cosigntags.MAX_LAYERS + 5)]
    layers = [*many, attachments.signature_layer(blob, OURS.sign(payload))]
    config = plain.push_bytes(PATH, cosigntags.config_of(layers), cosigntags.CONFIG_TYPE)
    plain.push_manifest(PATH, cosigntags.manifest_of(config, layers), OCI_MANIFEST, tag)
    assert withdraw(plain, PATH, image.digest, KEYS) == Withdrawn(1, 0)
    found = plain.resolve(PATH, tag)
    assert list(cosigntags.all_of(found.raw, found.media_type)) == many


def test_where_nothing_of_ours_is_nothing_is_written(plain: PushingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pushed(plain)
    sign(plain, image, THEIRS)
    raw = referrers.encode([])
    other = pushed(plain)
    plain.push_manifest(PATH, raw, OCI_INDEX, attachments.signature_tag(other.digest))  # no manifest of layers at all
    monkeypatch.setattr(plain._exchange, "write", lambda *a, **k: pytest.fail("it writes"))
    for one in (image, other):
        assert withdraw(plain, PATH, one.digest, KEYS) == Withdrawn(0, 0)
    with pytest.raises(NotFound):
        plain.resolve(PATH, sha256(b"never there"))
    assert withdraw(plain, PATH, sha256(b"never there"), KEYS) == Withdrawn(0, 0)


def test_who_signs_at_the_same_time_is_not_lost(plain: PushingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    image, before, left = pushed(plain), PushingClient.push_manifest, [1, 2]
    tag = attachments.signature_tag(image.digest)
    for key in (OURS, THEIRS):
        sign(plain, image, key)
    late = ecdsa.generate()

    def push(self: PushingClient, path: str, raw: bytes, media_type: str, reference: str = "") -> Resolved:
        if reference == tag and left:
            left.clear()
            payload = simplesigning.encode(Payload(NAME, image.digest))
            put_signature(self, path, image.digest, payload, late.sign(payload))
            raise Conflict("moved")
        return before(self, path, raw, media_type, reference)

    monkeypatch.setattr(PushingClient, "push_manifest", push)
    assert withdraw(plain, PATH, image.digest, KEYS) == Withdrawn(3, 0)
    assert forms_of(plain, image, late) == {Form.TAG}
    assert forms_of(plain, image, THEIRS) == FORMS


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.mark.parametrize("deleting", [(405, {}, b""), (202, {}, b"")], ids=["refuses", "lies"])
def test_a_registry_with_a_list_of_its_own_that_keeps_the_bundle_is_told_of(fake: Fake, deleting: Any) -> None:
    digest = sha256(b"an image")
    raw_bundle = bundle.encode(envelope(digest, OURS), OURS.public)
    layer = Descriptor(bundle.MEDIA_TYPE, sha256(raw_bundle), len(raw_bundle))
    raw = attachments.referrer_manifest(Descriptor(OCI_MANIFEST, digest, 8), layer, {})
    place = Descriptor(OCI_MANIFEST, sha256(raw), len(raw))
    listed = referrers.encode([Referrer(place, bundle.MEDIA_TYPE)])
    fake.answers[f"GET /v2/a/referrers/{digest}"] = (200, {"Content-Type": OCI_INDEX}, listed)
    fake.answers[f"GET /v2/a/manifests/{place.digest}"] = (200, {"Content-Type": OCI_MANIFEST}, raw)
    fake.answers[f"GET /v2/a/blobs/{layer.digest}"] = (200, {}, raw_bundle)
    fake.answers[f"DELETE /v2/a/manifests/{place.digest}"] = deleting
    with fake.client as client:
        assert withdraw(client, "a", digest, KEYS) == Withdrawn(0, 1)
        assert f"DELETE /v2/a/manifests/{place.digest}" in fake.asked
        fake.answers[f"DELETE /v2/a/manifests/{place.digest}"] = (503, {}, b"")
        with pytest.raises(Unavailable):
            withdraw(client, "a", digest, KEYS)
