"""The manifests that signatures lie in."""

from __future__ import annotations

import hashlib
import json

import pytest

from secguard.errors import Invalid
from secguard.images import manifest
from secguard.images.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from secguard.signing import attachments, bundle, dsse, simplesigning
from secguard.signing.attachments import Referrer


def described(raw: bytes, kind: str) -> Descriptor:
    return Descriptor(kind, f"sha256:{hashlib.sha256(raw).hexdigest()}", len(raw))


IMAGE = described(b"an image's manifest", OCI_MANIFEST)
PAYLOAD = described(b"payload", simplesigning.MEDIA_TYPE)
BUNDLE = described(b"bundle", bundle.MEDIA_TYPE)


def test_tags_are_those_of_the_specifications():
    assert attachments.signature_tag("sha256:" + "a" * 64) == f"sha256-{'a' * 64}.sig"
    assert attachments.attestation_tag("sha256:" + "a" * 64) == f"sha256-{'a' * 64}.att"
    assert attachments.fallback_tag("sha512:" + "b" * 128) == f"sha512-{'b' * 64}"


def test_the_empty_blob_is_the_specification_s():
    assert described(attachments.EMPTY, "").digest == attachments.EMPTY_DIGEST


def test_signatures_under_a_tag_are_read_as_they_were_written():
    layers = [attachments.signature_layer(PAYLOAD, b"one"), attachments.signature_layer(PAYLOAD, b"two")]
    raw = attachments.tag_manifest(described(attachments.config_of(layers), attachments.CONFIG_TYPE), layers)
    assert [(s.layer.digest, s.signature) for s in attachments.signed_payloads(raw, OCI_MANIFEST)] == [
        (PAYLOAD.digest, b"one"),
        (PAYLOAD.digest, b"two"),
    ]
    assert json.loads(attachments.config_of(layers))["rootfs"]["diff_ids"] == [PAYLOAD.digest] * 2


def test_a_layer_of_another_type_is_left_out_and_a_broken_signature_stays_to_be_told():
    other = Descriptor("text/plain", PAYLOAD.digest, 1)
    broken = Descriptor(simplesigning.MEDIA_TYPE, PAYLOAD.digest, 1, annotations={simplesigning.SIGNATURE: "!"})
    raw = attachments.tag_manifest(described(b"{}", attachments.CONFIG_TYPE), [other, broken])
    assert [s.signature for s in attachments.signed_payloads(raw, OCI_MANIFEST)] == [b""]


def test_a_tag_with_too_many_signatures_or_an_index_is_refused():
    layers = [attachments.signature_layer(PAYLOAD, b"x")] * (attachments.MAX_SIGNATURES + 1)
    with pytest.raises(Invalid, match="at most 200"):
        attachments.signed_payloads(attachments.tag_manifest(PAYLOAD, layers), OCI_MANIFEST)
    with pytest.raises(Invalid, match="holds an index"):
        attachments.signed_payloads(attachments.fallback_index([], Referrer(IMAGE)), OCI_INDEX)


def test_envelopes_under_a_tag():
    envelope = described(b"envelope", dsse.MEDIA_TYPE)
    layer = attachments.attestation_layer(envelope, "https://example.org/t")
    raw = attachments.tag_manifest(described(b"{}", attachments.CONFIG_TYPE), [layer])
    assert [d.digest for d in attachments.envelopes(raw, OCI_MANIFEST)] == [envelope.digest]


def test_a_bundle_s_manifest_refers_to_its_image():
    raw = attachments.referrer_manifest(IMAGE, BUNDLE, {attachments.CONTENT: "dsse-envelope"})
    read = manifest.parse(raw, OCI_MANIFEST)
    assert isinstance(read, manifest.ImageManifest)
    assert read.artifact_type == bundle.MEDIA_TYPE
    assert attachments.subject_of(raw) == IMAGE.digest
    found = attachments.bundle_layer(raw, OCI_MANIFEST, IMAGE.digest)
    assert found is not None
    assert found.digest == BUNDLE.digest


def test_a_bundle_that_refers_to_another_image_is_refused():
    raw = attachments.referrer_manifest(IMAGE, BUNDLE, {})
    with pytest.raises(Invalid, match="refers to"):
        attachments.bundle_layer(raw, OCI_MANIFEST, PAYLOAD.digest)


def test_another_artifact_is_no_bundle():
    raw = attachments.referrer_manifest(IMAGE, described(b"x", "text/plain"), {})
    assert attachments.bundle_layer(raw, OCI_MANIFEST, IMAGE.digest) is None
    assert attachments.bundle_layer(attachments.fallback_index([], Referrer(IMAGE)), OCI_INDEX, IMAGE.digest) is None


def test_the_fallback_index_grows_and_lists_each_once():
    first = Referrer(Descriptor(OCI_MANIFEST, PAYLOAD.digest, 7, annotations={"k": "v"}), "a/b")
    second = Referrer(BUNDLE, bundle.MEDIA_TYPE)
    raw = attachments.fallback_index([first], second)
    assert attachments.referrers(raw, what="It") == [first, second]
    assert attachments.referrers(attachments.fallback_index([first, second], second), what="It") == [first, second]


def test_the_empty_type_in_a_list_tells_nothing():
    raw = attachments.fallback_index([], Referrer(PAYLOAD, attachments.EMPTY_TYPE))
    assert attachments.referrers(raw, what="It")[0].artifact_type == ""


def test_a_list_that_is_a_manifest_is_refused():
    with pytest.raises(Invalid):
        attachments.referrers(attachments.referrer_manifest(IMAGE, BUNDLE, {}), what="The list of referrers")
