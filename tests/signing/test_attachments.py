"""The manifests that signatures lie in."""

from __future__ import annotations

import hashlib
import json

import pytest

from secguard.errors import Invalid
from secguard.images import cosigntags, manifest, referrers
from secguard.images.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from secguard.images.referrers import Referrer
from secguard.signing import attachments, bundle, dsse, simplesigning


def described(raw: bytes, kind: str) -> Descriptor:
    return Descriptor(kind, f"sha256:{hashlib.sha256(raw).hexdigest()}", len(raw))


IMAGE = described(b"an image's manifest", OCI_MANIFEST)
PAYLOAD = described(b"payload", simplesigning.MEDIA_TYPE)
BUNDLE = described(b"bundle", bundle.MEDIA_TYPE)


def test_tags_are_those_of_the_specifications():
    assert attachments.signature_tag("sha256:" + "a" * 64) == f"sha256-{'a' * 64}.sig"
    assert attachments.attestation_tag("sha256:" + "a" * 64) == f"sha256-{'a' * 64}.att"


def test_signatures_under_a_tag_are_read_as_they_were_written():
    layers = [attachments.signature_layer(PAYLOAD, b"one"), attachments.signature_layer(PAYLOAD, b"two")]
    raw = cosigntags.manifest_of(described(cosigntags.config_of(layers), cosigntags.CONFIG_TYPE), layers)
    assert [(s.layer.digest, s.signature) for s in attachments.signed_payloads(raw, OCI_MANIFEST)] == [
        (PAYLOAD.digest, b"one"),
        (PAYLOAD.digest, b"two"),
    ]
    assert json.loads(cosigntags.config_of(layers))["rootfs"]["diff_ids"] == [PAYLOAD.digest] * 2


def test_a_layer_of_another_type_is_left_out_and_a_broken_signature_stays_to_be_told():
    other = Descriptor("text/plain", PAYLOAD.digest, 1)
    broken = Descriptor(simplesigning.MEDIA_TYPE, PAYLOAD.digest, 1, annotations={simplesigning.SIGNATURE: "!"})
    raw = cosigntags.manifest_of(described(b"{}", cosigntags.CONFIG_TYPE), [other, broken])
    assert [s.signature for s in attachments.signed_payloads(raw, OCI_MANIFEST)] == [b""]


def test_a_tag_with_too_many_signatures_or_an_index_is_refused():
    layers = [attachments.signature_layer(PAYLOAD, b"x")] * (cosigntags.MAX_LAYERS + 1)
    with pytest.raises(Invalid, match="at most 200"):
        attachments.signed_payloads(cosigntags.manifest_of(PAYLOAD, layers), OCI_MANIFEST)
    with pytest.raises(Invalid, match="holds an index"):
        attachments.signed_payloads(referrers.encode([Referrer(IMAGE)]), OCI_INDEX)


def test_envelopes_under_a_tag():
    envelope = described(b"envelope", dsse.MEDIA_TYPE)
    layer = attachments.attestation_layer(envelope, "https://example.org/t")
    raw = cosigntags.manifest_of(described(b"{}", cosigntags.CONFIG_TYPE), [layer])
    assert [d.digest for d in attachments.envelopes(raw, OCI_MANIFEST)] == [envelope.digest]


def test_a_bundle_s_manifest_refers_to_its_image():
    raw = attachments.referrer_manifest(IMAGE, BUNDLE, {attachments.CONTENT: "dsse-envelope"})
    read = manifest.parse(raw, OCI_MANIFEST)
    assert isinstance(read, manifest.ImageManifest)
    assert read.artifact_type == bundle.MEDIA_TYPE
    assert referrers.subject_of(raw) == IMAGE.digest
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
    assert attachments.bundle_layer(referrers.encode([Referrer(IMAGE)]), OCI_INDEX, IMAGE.digest) is None
