"""An agent takes what its own keys signed for its own token, and nothing older than what it has."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from secguard.admission.snapshot import PAYLOAD_TYPE
from secguard.agent.accepting import accept, keys_of
from secguard.errors import Conflict, Invalid, SecGuardError
from secguard.signing import dsse, ecdsa
from tests.agent.conftest import MADE, NOW, TOKEN, envelope, payload, snapshot


def test_its_own_is_taken(key: ecdsa.PrivateKey) -> None:
    taken = accept(envelope(key), [ecdsa.generate().public, key.public], TOKEN, NOW, have=snapshot(MADE))
    assert (taken.head.made_at, taken.head.cluster, taken.held) == (MADE, "prod", 2)


def refused(raw: bytes, key: ecdsa.PrivateKey, **changed: Any) -> SecGuardError:
    with pytest.raises(SecGuardError) as error:
        accept(raw, [key.public], **({"token": TOKEN, "now": NOW} | changed))
    return error.value


def test_another_keys_is_refused(key: ecdsa.PrivateKey) -> None:
    assert refused(envelope(ecdsa.generate()), key).code == "snapshot-signature"


@pytest.mark.parametrize("part", ["payload", "sig"])
def test_an_altered_one_is_refused(key: ecdsa.PrivateKey, part: str) -> None:
    found = json.loads(envelope(key))
    if part == "payload":
        found["payload"] = base64.b64encode(payload(mode="observe")).decode()
    else:
        found["signatures"] = json.loads(envelope(key, MADE - timedelta(days=1)))["signatures"]
    assert refused(json.dumps(found).encode(), key).code == "snapshot-signature"


def test_what_the_key_signed_as_something_else_is_refused(key: ecdsa.PrivateKey) -> None:
    """A signature over the same bytes as an in-toto statement, and one with the type swapped in the envelope."""
    other = dsse.signed(dsse.IN_TOTO, payload(), key.sign)
    assert refused(other.encode(), key).code == "wrong-payload-type"
    swapped = dsse.Envelope(PAYLOAD_TYPE, other.payload, other.signatures)
    assert refused(swapped.encode(), key).code == "snapshot-signature"


def test_another_clusters_is_refused(key: ecdsa.PrivateKey) -> None:
    found = refused(envelope(key, token="sgk_other", cluster="test"), key)
    assert (found.code, "'test'" in found.detail) == ("snapshot-holder", True)


def test_one_for_nobody_is_refused(key: ecdsa.PrivateKey) -> None:
    raw = payload().replace(json.loads(payload())["cluster"]["holder"].encode(), b"")
    signed = dsse.signed(PAYLOAD_TYPE, raw, key.sign).encode()
    assert refused(signed, key).code == "snapshot-holder"


def test_one_of_the_future_is_refused_with_both_clocks(key: ecdsa.PrivateKey) -> None:
    found = refused(envelope(key, NOW + timedelta(minutes=6)), key)
    assert found.code == "snapshot-future"
    assert "18:06:00 UTC" in found.detail
    assert "18:00:00" in found.detail
    accept(envelope(key, NOW + timedelta(minutes=4)), [key.public], TOKEN, NOW)


def test_an_older_one_is_refused_and_the_same_again_is_not(key: ecdsa.PrivateKey) -> None:
    with pytest.raises(Conflict, match="before the one that is held"):
        accept(envelope(key, MADE - timedelta(seconds=1)), [key.public], TOKEN, NOW, have=snapshot(MADE))
    accept(envelope(key, MADE), [key.public], TOKEN, NOW, have=snapshot(MADE))


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b"null", b"\xff", b'{"payload": "e30=", "payloadType": 1}'])
def test_what_is_no_envelope_is_refused(key: ecdsa.PrivateKey, raw: bytes) -> None:
    assert isinstance(refused(raw, key), Invalid)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[1]", b'{"version": 2}', b"[" * 100_000])
def test_a_signed_something_is_refused(key: ecdsa.PrivateKey, raw: bytes) -> None:
    assert refused(dsse.signed(PAYLOAD_TYPE, raw, key.sign).encode(), key).code == "bad-snapshot"


def test_a_file_may_hold_the_keys_of_an_overlap(key: ecdsa.PrivateKey) -> None:
    other = ecdsa.generate()
    assert keys_of(key.public.pem + "\n" + other.public.pem) == (key.public, other.public)


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_file_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        keys_of(text)


def test_a_private_key_in_the_file_is_refused(key: ecdsa.PrivateKey) -> None:
    with pytest.raises(Invalid):
        keys_of(key.pem)
