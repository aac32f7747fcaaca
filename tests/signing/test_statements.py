"""in-toto statements, and bundles that carry them."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
from sigstore_models.bundle.v1 import Bundle as SigstoreBundle

from secguard.errors import Invalid
from secguard.signing import bundle, dsse, ecdsa, statements
from secguard.signing.statements import PolicyRef, Promoted, Statement, Subject, Summary

DIGEST = "sha256:" + "ab" * 32
SUBJECT = Subject(DIGEST, "registry.example/shop/api")
AT = datetime(2026, 11, 25, 14, 30, tzinfo=timezone(timedelta(hours=1)))
KEY = ecdsa.generate()
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | text, lambda v: st.lists(v) | st.dictionaries(text, v)
)


@given(st.dictionaries(text, values, max_size=3), text)
def test_what_is_written_is_read(predicate, name):
    said = Statement((Subject(DIGEST, name), Subject("sha512:" + "0" * 128)), "https://example.org/t", predicate)
    assert statements.decode(statements.encode(said)) == said


def test_a_statement_of_former_form_is_read():
    document = json.loads(statements.encode(statements.signature_of(SUBJECT)))
    document["_type"] = "https://in-toto.io/Statement/v0.1"
    assert statements.decode(json.dumps(document).encode()).is_about(DIGEST)


def test_a_verdict_names_its_policy_and_its_decisions():
    """The members that slsa.dev/spec/v1.0/verification_summary asks for."""
    policy = PolicyRef("https://secguard.example/policy/3/", "cd" * 32)
    summary = Summary("https://secguard.example/", "0.1.0", SUBJECT.name, policy, True, AT, [7, 9], ["GATE_PROMOTE"])
    said = json.loads(statements.encode(statements.verification_summary(SUBJECT, summary)))
    assert said["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert said["subject"] == [{"name": SUBJECT.name, "digest": {"sha256": "ab" * 32}}]
    assert said["predicate"] == {
        "verifier": {"id": "https://secguard.example/", "version": {"secguard": "0.1.0"}},
        "timeVerified": "2026-11-25T13:30:00Z",
        "resourceUri": "registry.example/shop/api",
        "policy": {"uri": "https://secguard.example/policy/3/", "digest": {"sha256": "cd" * 32}},
        "verificationResult": "PASSED",
        "verifiedLevels": ["GATE_PROMOTE"],
        "slsaVersion": "1.0",
        "urn:secguard:attestation:decisions:v1": [7, 9],
    }


def test_a_verdict_that_did_not_pass_says_so():
    summary = Summary("v", "1", "r", PolicyRef("p", "0"), False, AT)
    assert statements.verification_summary(SUBJECT, summary).predicate["verificationResult"] == "FAILED"


def test_a_promotion_is_of_the_statement_s_own_subject():
    promoted = Promoted("production", "a.example/x", "b.example/x", DIGEST, AT.astimezone(UTC), "dora", ["vera"], "12")
    said = statements.promotion(SUBJECT, promoted)
    assert said.predicate["promotedAt"] == "2026-11-25T13:30:00Z"
    assert (said.predicate["askedBy"], said.predicate["approvedBy"]) == ("dora", ["vera"])
    with pytest.raises(Invalid, match="the statement of"):
        statements.promotion(Subject("sha256:" + "0" * 64), promoted)


def test_two_that_differ_in_their_instant_alone_say_the_same():
    def promoted(at: datetime, by: str = "dora") -> bytes:
        return statements.encode(statements.promotion(SUBJECT, Promoted("x", "a", "b", DIGEST, at, by)))

    once, later, other = promoted(AT), promoted(AT + timedelta(days=1)), promoted(AT, "vera")
    assert statements.timeless(once) == statements.timeless(later) != once
    assert statements.timeless(other) != statements.timeless(once)
    bills = [statements.encode(statements.bill(SUBJECT, {"bomFormat": "CycloneDX", "timestamp": t})) for t in "12"]
    assert len(set(map(statements.timeless, bills))) == 2, "that is no instant of a bill of materials"


def test_documents_are_attested_under_their_own_type_alone():
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.6"}
    vex = {"@context": "https://openvex.dev/ns/v0.2.0", "statements": []}
    assert statements.bill(SUBJECT, bom).predicate_type == "https://cyclonedx.org/bom"
    assert statements.vex(SUBJECT, vex).predicate_type == "https://openvex.dev/ns/v0.2.0"
    with pytest.raises(Invalid, match="not CycloneDX"):
        statements.bill(SUBJECT, vex)
    with pytest.raises(Invalid, match="not OpenVEX"):
        statements.vex(SUBJECT, bom)


GOOD = json.loads(statements.encode(statements.signature_of(SUBJECT)))


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("_type", "x", "Statement/v1"),
        ("predicateType", "", "missing"),
        ("subject", [], "at least one"),
        ("subject", [{"name": "x"}], "neither sha256"),
        ("subject", [{"name": "x", "digest": {"sha256": "AB" * 32}}], "neither sha256"),
        ("subject", [{"name": "x", "digest": {"sha256": 1}}], "expected a text"),
        ("subject", [{"digest": {"sha256": "ab" * 32}}] * 101, "at most 100"),
        ("predicate", [], "expected an object"),
    ],
)
def test_what_is_no_statement_is_refused(member, value, words):
    with pytest.raises(Invalid, match=words):
        statements.decode(json.dumps(GOOD | {member: value}).encode())


# Bundles --------------------------------------------------------------------------------------------------------------

ENVELOPE = dsse.signed(dsse.IN_TOTO, statements.encode(statements.signature_of(SUBJECT)), KEY.sign)
BUNDLE = bundle.encode(ENVELOPE, KEY.public)


def test_a_bundle_carries_the_envelope_and_a_hint():
    read = bundle.decode(BUNDLE)
    assert read.envelope == ENVELOPE
    assert read.hint == base64.b64encode(hashlib.sha256(KEY.public.der).digest()).decode()
    assert not read.by_certificate


@given(st.integers(0, len(BUNDLE) * 8 - 1))
def test_a_bundle_with_one_bit_changed_is_refused_or_says_the_same(bit):
    changed = bytearray(BUNDLE)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        read = bundle.decode(bytes(changed)).envelope
    except Invalid:
        return
    if read.signers([KEY.public]):
        assert read.payload == ENVELOPE.payload


@pytest.mark.parametrize(
    ("member", "value", "words"),
    [
        ("mediaType", "application/json", "v0.3"),
        ("dsseEnvelope", None, "missing or not alone"),
        ("messageSignature", {}, "missing or not alone"),
        ("verificationMaterial", None, "missing"),
        ("dsseEnvelope", ENVELOPE.document() | {"signatures": ENVELOPE.document()["signatures"] * 2}, "exactly one"),
    ],
)
def test_what_is_no_bundle_is_refused(member, value, words):
    with pytest.raises(Invalid, match=words):
        bundle.decode(json.dumps(json.loads(BUNDLE) | {member: value}).encode())


def test_a_bundle_of_a_certificate_is_read_and_told():
    material = {"certificate": {"rawBytes": "AAAA"}, "tlogEntries": []}
    raw = json.dumps(json.loads(BUNDLE) | {"verificationMaterial": material}).encode()
    assert bundle.decode(raw).by_certificate


def test_sigstore_s_own_model_reads_our_bundles():
    read = SigstoreBundle.from_json(BUNDLE)
    assert read.media_type == bundle.MEDIA_TYPE
    assert read.dsse_envelope is not None
    assert read.verification_material.public_key.hint == bundle.hint_of(KEY.public)


def test_another_verifier_takes_our_envelopes_and_no_altered_one():
    key = SSlibKey("k", "ecdsa", "ecdsa-sha2-nistp256", {"public": KEY.public.pem})
    signed = dsse.signed(dsse.IN_TOTO, ENVELOPE.payload, KEY.sign, keyid="k").document()
    theirs = TheirEnvelope.from_dict(signed)
    assert list(theirs.verify([key], 1)) == ["k"]
    theirs.payload += b" "
    with pytest.raises(VerificationError):
        theirs.verify([key], 1)
