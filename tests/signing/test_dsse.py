"""Envelopes: what is signed is type and payload together, and every bit of both counts."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.signing import dsse, ecdsa
from secguard.signing.dsse import Envelope, EnvelopeSignature

KEY, OTHER = ecdsa.generate(), ecdsa.generate()
ENVELOPE = dsse.signed(dsse.IN_TOTO, b'{"a":1}', KEY.sign, "hint")
kinds = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30)


def test_the_encoding_is_that_of_the_specification():
    """protocol.md, "Test Vectors"."""
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert dsse.pae("é", b"") == "DSSEv1 2 é 0 ".encode()


@given(kinds, st.binary(max_size=60), kinds, st.binary(max_size=60))
def test_two_envelopes_never_have_one_encoding(kind, payload, other_kind, other_payload):
    same = (kind, payload) == (other_kind, other_payload)
    assert (dsse.pae(kind, payload) == dsse.pae(other_kind, other_payload)) is same


@given(kinds, st.binary(max_size=200))
def test_what_is_signed_is_read_back_and_known_by_its_key(kind, payload):
    made = dsse.signed(kind, payload, KEY.sign)
    assert dsse.decode(made.encode()) == made
    assert made.signers([OTHER.public, KEY.public]) == (KEY.public,)


@given(st.text(max_size=50), st.binary(max_size=200))
def test_the_payload_is_found_in_what_is_signed(kind, payload):
    assert dsse.body(dsse.pae(kind, payload)) == payload


@given(st.integers(0, len(ENVELOPE.payload) * 8 - 1))
def test_a_payload_with_one_bit_changed_has_no_signer(bit):
    changed = bytearray(ENVELOPE.payload)
    changed[bit // 8] ^= 1 << bit % 8
    assert Envelope(ENVELOPE.payload_type, bytes(changed), ENVELOPE.signatures).signers([KEY.public]) == ()


def test_another_type_has_no_signer():
    assert Envelope("text/plain", ENVELOPE.payload, ENVELOPE.signatures).signers([KEY.public]) == ()


@given(st.integers(0, len(ENVELOPE.encode()) * 8 - 1))
def test_a_file_with_one_bit_changed_is_refused_or_says_the_same(bit):
    """A bit of JSON's white space or of the hint changes nothing that was signed; every other one is found."""
    changed = bytearray(ENVELOPE.encode())
    changed[bit // 8] ^= 1 << bit % 8
    try:
        read = dsse.decode(bytes(changed))
    except Invalid:
        return
    if read.signers([KEY.public]):
        assert (read.payload_type, read.payload) == (ENVELOPE.payload_type, ENVELOPE.payload)


def test_a_hint_proves_nothing():
    forged = Envelope(dsse.IN_TOTO, b"{}", (EnvelopeSignature(OTHER.sign(dsse.pae(dsse.IN_TOTO, b"{}")), "hint"),))
    assert forged.signers([KEY.public]) == ()


def test_several_signatures_are_each_their_own():
    one, two = (dsse.signed("t", b"x", key.sign).signatures[0] for key in (KEY, OTHER))
    assert Envelope("t", b"x", (one, two)).signers([KEY.public, OTHER.public]) == (KEY.public, OTHER.public)


def test_the_urlsafe_alphabet_is_read_too():
    document = ENVELOPE.document() | {"payload": base64.urlsafe_b64encode(b"\xfb\xff\xfe").decode()}
    assert dsse.decode(json.dumps(document).encode()).payload == b"\xfb\xff\xfe"


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("payloadType", "", "missing"),
        ("payloadType", 1, "expected a text"),
        ("payload", "no base64!", "not base64"),
        ("payload", None, None),
        ("signatures", [], "at least one"),
        ("signatures", [{"sig": "AA"}], "not base64"),
        ("signatures", [{"sig": "AA=="}] * 17, "at most 16"),
        ("signatures", "x", "expected a list"),
    ],
)
def test_what_is_no_envelope_is_refused(member, value, words):
    document = ENVELOPE.document() | {member: value}
    if words is None:
        del document[member]
    with pytest.raises(Invalid, match=words or "missing"):
        dsse.decode(json.dumps(document).encode())


def test_an_envelope_of_another_kind_of_payload_is_told():
    dsse.require_type(ENVELOPE)
    with pytest.raises(Invalid, match="text/plain"):
        dsse.require_type(Envelope("text/plain", b"", ENVELOPE.signatures))
