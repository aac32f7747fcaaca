"""Lists of what refers to an image."""

from __future__ import annotations

import hashlib

import pytest

from secguard.errors import Invalid
from secguard.images import referrers
from secguard.images.manifest import OCI_MANIFEST, Descriptor
from secguard.images.referrers import Referrer


def one(name: str, artifact_type: str = "a/b", **columns) -> Referrer:
    digest = f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"
    return Referrer(Descriptor(OCI_MANIFEST, digest, 7, **columns), artifact_type)


def test_the_fallback_tag_is_cut_off_as_the_specification_says():
    assert referrers.fallback_tag("sha256:" + "a" * 64) == f"sha256-{'a' * 64}"
    assert referrers.fallback_tag("sha512:" + "b" * 128) == f"sha512-{'b' * 64}"


def test_the_empty_blob_is_the_specification_s():
    assert f"sha256:{hashlib.sha256(referrers.EMPTY).hexdigest()}" == referrers.EMPTY_DIGEST


def test_a_list_is_read_as_it_was_written_and_has_each_once():
    first, second = one("first", annotations={"k": "v"}), one("second", "")
    assert referrers.decode(referrers.encode([first, second, first])) == [first, second]
    assert referrers.decode(referrers.encode([])) == []


def test_the_empty_type_in_a_list_tells_nothing():
    raw = referrers.encode([one("x", referrers.EMPTY_TYPE)])
    assert referrers.decode(raw)[0].artifact_type == ""


def test_a_manifest_names_its_subject_or_nobody():
    subject = one("subject").descriptor.digest
    assert referrers.subject_of(referrers.to_json({"subject": {"digest": subject}})) == subject
    assert referrers.subject_of(b"{}") == ""


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b'{"schemaVersion":2,"config":{"digest":"x"}}', b'{"schemaVersion":2,"manifests":{}}']
)
def test_what_is_no_list_is_refused(raw):
    with pytest.raises(Invalid):
        referrers.decode(raw)
