"""The payload of cosign's signatures, byte for byte."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid, TooLarge
from secguard.signing import simplesigning
from secguard.signing.simplesigning import Payload, decode, encode

DIGEST = "sha256:" + "ab" * 32


def test_the_bytes_are_those_that_cosign_writes():
    """As cosign 2.5.0 wrote it into a registry (`cosign sign --key … registry.example/shop/api@sha256:…`)."""
    assert encode(Payload("registry.example/shop/api", DIGEST)) == (
        b'{"critical":{"identity":{"docker-reference":"registry.example/shop/api"},'
        b'"image":{"docker-manifest-digest":"' + DIGEST.encode() + b'"},'
        b'"type":"cosign container image signature"},"optional":null}'
    )


def test_annotations_are_in_order_and_escaped_as_go_does():
    raw = encode(Payload("r", DIGEST, {"z": 1, "a": "<&>\u2028é"}))
    assert raw.endswith('"optional":{"a":"\\u003c\\u0026\\u003e\\u2028é","z":1}}'.encode())


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)


@given(
    st.from_regex(r"[a-z]{1,9}\.example/[a-z0-9]{1,9}", fullmatch=True),
    st.dictionaries(text, text | st.integers(-(2**53), 2**53), max_size=4),
)
def test_what_is_written_is_read_and_has_one_encoding(name, annotations):
    payload = Payload(name, DIGEST, annotations)
    assert decode(encode(payload)) == payload
    assert encode(decode(encode(payload))) == encode(payload)
    assert payload.names(name)


@pytest.mark.parametrize(
    ("written", "is_named"),
    [
        ("reg.example/shop/api", True),
        ("reg.example/shop/api:1.0", True),
        (f"reg.example/shop/api@{DIGEST}", True),
        (f"reg.example/shop/api@sha256:{'cd' * 32}", False),
        ("reg.example/shop/api2", False),
        ("reg.example/shop", False),
        ("other.example/shop/api", False),
        ("", False),
        ("not a reference", False),
    ],
)
def test_which_repository_is_named(written, is_named):
    assert Payload(written, DIGEST).names("reg.example/shop/api") is is_named


def changed(**critical: object) -> bytes:
    document = json.loads(encode(Payload("r.example/a", DIGEST)))
    document["critical"] |= critical
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "not JSON"),
        (b"[]", "expected an object"),
        (b"{}", "expected cosign's simple signing"),
        (changed(type="atomic container signature"), "expected 'cosign container image signature'"),
        (changed(image={"docker-manifest-digest": "sha256:short"}), "64 hex"),
        (changed(image={"Docker-manifest-digest": DIGEST}), "64 hex"),
        (changed(image=None), "expected cosign's simple signing"),
        (encode(Payload("r.example/a", DIGEST)).replace(b'"type"', b'"type":"x","type"'), "stands twice"),
    ],
)
def test_what_is_no_payload_is_refused(raw, words):
    with pytest.raises(Invalid, match=words):
        decode(raw)


def test_a_payload_without_end_is_refused():
    with pytest.raises(TooLarge):
        decode(b" " * (simplesigning.MAX_BYTES + 1))


@pytest.mark.parametrize(
    "payload", [Payload("r", "latest"), Payload("r", DIGEST, {"a": True}), Payload("r", DIGEST, {"a": []})]
)
def test_what_cannot_be_signed_is_refused(payload):
    with pytest.raises(Invalid):
        encode(payload)
