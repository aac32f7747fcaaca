"""Signed tokens of others: only asymmetric signatures by the key that is named, and only within their time."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from secguard.accounts.assertion import FAMILIES, BadAssertion, UnknownKey, once, read, read_keys, verified
from secguard.errors import Invalid
from tests.accounts.issuing import PRIVATE, Issuer, jwk

ISSUER = Issuer()
ISSUER.url = "https://issuer.example"
KEYS = read_keys({"keys": ISSUER.keys})


def now() -> datetime:
    return datetime.now(UTC)


def claims_of(token: str, keys: list[dict[str, Any]] = KEYS) -> dict[str, Any]:
    return verified(read(token), keys, now())


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("algorithm", "key_id"), [("RS256", "one"), ("ES256", "two"), ("EdDSA", "three"), ("ES384", "four")]
)
def test_a_token_by_a_key_of_the_issuer_holds(algorithm: str, key_id: str) -> None:
    assert claims_of(ISSUER.token(algorithm, key_id))["repository"] == "acme/shop"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "HS384", "RSA-OAEP", "", None, 7, []])
def test_no_other_algorithm_counts(algorithm: Any) -> None:
    body = {"iss": ISSUER.url, "exp": time.time() + 60, "iat": time.time()}
    with pytest.raises(BadAssertion):
        claims_of(f"{part({'alg': algorithm, 'kid': 'one'})}.{part(body)}.")


def test_a_public_key_is_no_shared_secret() -> None:
    """RFC 8725, section 2.1: HS256 with the public key's bytes as the secret."""
    public = PRIVATE["RS256"].public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signing_input = ISSUER.token().split(".")[1]
    head = part({"alg": "HS256", "kid": "one", "typ": "JWT"})
    import hashlib
    import hmac

    mac = hmac.new(pem, f"{head}.{signing_input}".encode(), hashlib.sha256).digest()
    forged = f"{head}.{signing_input}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    with pytest.raises(BadAssertion) as refused:
        claims_of(forged)
    assert refused.value.code == "algorithm-not-allowed"


def test_a_key_signs_by_its_own_algorithm_alone() -> None:
    with pytest.raises(BadAssertion) as refused:
        claims_of(ISSUER.token("PS256", "one"))  # the key says RS256
    assert refused.value.code == "algorithm-not-allowed"
    with pytest.raises(BadAssertion):
        claims_of(ISSUER.token("RS256", "two"))  # the key is an elliptic one
    any_rsa = [{name: value for name, value in jwk("RS256", "one").items() if name != "alg"}]
    assert claims_of(ISSUER.token("PS256", "one"), any_rsa)


def test_another_key_under_the_same_name_does_not_hold() -> None:
    with pytest.raises(BadAssertion) as refused:
        claims_of(ISSUER.token(private=rsa.generate_private_key(65537, 2048)))
    assert refused.value.code == "bad-signature"
    with pytest.raises(UnknownKey):
        claims_of(ISSUER.token(key_id="nobody's"))


@pytest.mark.parametrize(
    "changes",
    [
        lambda now: {"exp": now - 60},
        lambda now: {"exp": None},
        lambda now: {"iat": None},
        lambda now: {"nbf": now + 900},
        lambda now: {"iat": now + 900, "nbf": None, "exp": now + 1200},
        lambda now: {"exp": now + 3 * 86_400},
        lambda now: {"exp": 2**70},
        lambda now: {"iat": 1.0e300},
        lambda now: {"exp": -5},
    ],
)
def test_a_token_counts_within_its_time_alone(changes: Callable[[int], dict[str, Any]]) -> None:
    with pytest.raises(BadAssertion):
        claims_of(ISSUER.token(**changes(int(time.time()))))


@pytest.mark.parametrize("changes", [{"exp": "soon"}, {"iat": True}, {"nbf": "x"}, {"exp": [1]}])
def test_a_time_that_is_none_is_refused(changes: dict[str, Any]) -> None:
    base = {"iss": ISSUER.url, "iat": int(time.time()), "exp": int(time.time()) + 60} | changes
    # PyJWT itself refuses to write some of these.
    head, body = part({"alg": "ES256", "kid": "two"}), part(base)
    signature = jwt.get_algorithm_by_name("ES256").sign(f"{head}.{body}".encode(), PRIVATE["ES256"])
    raw = f"{head}.{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    with pytest.raises(BadAssertion):
        claims_of(raw)


def test_clocks_may_differ_a_little() -> None:
    at = int(time.time())
    assert claims_of(ISSUER.token(exp=at - 5))
    assert claims_of(ISSUER.token(iat=at + 10, nbf=at + 10))


@given(
    st.one_of(
        st.text(max_size=200),
        st.binary(max_size=80).map(lambda raw: raw.hex()),
        st.from_regex(r"[\w-]*\.[\w-]*\.[\w-]*"),
    )
)
def test_anything_else_is_refused_in_words(raw: str) -> None:
    with pytest.raises(BadAssertion) as refused:
        read(raw)
    assert refused.value.detail
    assert refused.value.extra["error"] == "invalid_grant"


def test_a_token_of_any_size_or_depth_is_refused() -> None:
    with pytest.raises(BadAssertion):
        read("a." * 2 + "x" * 20_000)
    deep = base64.urlsafe_b64encode(b"[" * 5_000).rstrip(b"=").decode()
    with pytest.raises(BadAssertion):
        read(f"{part({'alg': 'RS256', 'kid': 'one'})}.{deep}.x")


@pytest.mark.parametrize("header", [{"kid": None}, {"kid": ""}, {"kid": 5}, {"crit": ["b64"], "b64": True}])
def test_a_header_that_is_odd_is_refused(header: dict[str, Any]) -> None:
    head = {name: v for name, v in ({"alg": "RS256", "kid": "one"} | header).items() if v is not None}
    with pytest.raises(BadAssertion):
        claims_of(f"{part(head)}.{part({'iss': ISSUER.url})}.eA")


@pytest.mark.parametrize("issuer", ["https://a\0b", "https://a\ud800b", "https://a\nb"])
def test_an_issuer_that_no_database_can_be_asked_for_is_refused(issuer: str) -> None:
    with pytest.raises(BadAssertion, match="does not say who issued it"):
        read(f"{part({'alg': 'RS256', 'kid': 'one'})}.{part({'iss': issuer})}.eA")


def test_keys_inside_of_the_token_are_not_looked_at() -> None:
    mine = rsa.generate_private_key(65537, 2048)
    claims = jwt.decode(ISSUER.token(), options={"verify_signature": False})
    forged = jwt.encode(claims, mine, "RS256", headers={"kid": "one", "jwk": jwk("RS256", "one", mine)})
    with pytest.raises(BadAssertion):
        claims_of(forged)


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"keys": []},
        {"keys": "x"},
        {"keys": [{}] * 51},
        {"keys": [1]},
        {"keys": [{"kty": "RSA", "kid": "x"}]},
    ],
)
def test_what_is_no_set_of_keys_is_refused(document: Any) -> None:
    with pytest.raises(Invalid):
        read_keys(document)


def test_weak_foreign_and_unnamed_keys_are_left_out() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    other_curve = ec.generate_private_key(ec.SECP256K1())
    left_out = [
        jwk("RS256", "weak", weak),
        jwk("RS256", "for-encryption") | {"use": "enc"},
        {name: v for name, v in jwk("RS256", "x").items() if name != "kid"},
        jwt.get_algorithm_by_name("ES256K").to_jwk(other_curve.public_key(), as_dict=True) | {"kid": "k1"},
    ]
    kept = read_keys({"keys": [*left_out, jwk("ES256", "two")]})
    assert [key["kid"] for key in kept] == ["two"]
    with pytest.raises(Invalid):
        read_keys({"keys": left_out})


@pytest.mark.parametrize("private", [{"d": "AQAB"}, {"k": "c2VjcmV0"}])
def test_a_private_key_that_was_pasted_is_told(private: dict[str, str]) -> None:
    with pytest.raises(Invalid) as refused:
        read_keys({"keys": [jwk("RS256", "one") | private]})
    assert refused.value.code == "private-key"


def test_the_same_token_is_known_again_by_its_id_or_itself() -> None:
    first, second = ISSUER.token(jti="a"), ISSUER.token(jti="a", exp=int(time.time()) + 200)
    assert once(read(first), claims_of(first)) == once(read(second), claims_of(second))
    bare, other = ISSUER.token(jti=None), ISSUER.token(jti=None, run_id="18")
    assert once(read(bare), claims_of(bare)) != once(read(other), claims_of(other))


@given(
    st.dictionaries(
        st.sampled_from(["kty", "kid", "use", "alg", "n", "e", "crv", "x", "y"]),
        st.one_of(
            st.none(),
            st.integers(),
            st.text(max_size=9),
            st.lists(st.text()),
            st.sampled_from(["RSA", "EC", "OKP", "P-256"]),
        ),
    )
)
def test_keys_of_any_shape_are_taken_or_refused(key: dict[str, Any]) -> None:
    try:
        kept = read_keys({"keys": [key]})
    except Invalid:
        return
    assert kept == [key]


def test_every_algorithm_is_an_asymmetric_one() -> None:
    assert not [name for name in FAMILIES if name.startswith("HS") or name == "none"]
