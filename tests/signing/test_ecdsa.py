"""Keys and signatures: what verifies, and that nothing else does."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.signing import ecdsa

KEY = ecdsa.generate()
OTHER = ecdsa.generate()
DATA = b"what was signed"
SIGNATURE = KEY.sign(DATA)


def private_pem(key, password: bytes = b"", form=serialization.PrivateFormat.PKCS8) -> str:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, how).decode()


def public_pem(key) -> str:
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(encoding, form).decode()


def test_openssl_takes_our_signatures_and_we_take_its(tmp_path: Path):
    for name, raw in (
        ("k.pem", KEY.pem.encode()),
        ("p.pem", KEY.public.pem.encode()),
        ("data", DATA),
        ("s", SIGNATURE),
    ):
        (tmp_path / name).write_bytes(raw)
    told = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", "p.pem", "-signature", "s", "data"], cwd=tmp_path, capture_output=True
    )
    assert b"Verified OK" in told.stdout, told.stderr
    theirs = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", "k.pem", "data"], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    assert KEY.public.verifies(theirs, DATA)


@given(st.binary(max_size=200))
def test_a_key_verifies_its_own_signatures_and_no_other_key_does(data):
    signature = KEY.sign(data)
    assert KEY.public.verifies(signature, data)
    assert not OTHER.public.verifies(signature, data)


@given(st.integers(0, len(SIGNATURE) * 8 - 1))
def test_a_signature_with_one_bit_changed_is_refused(bit):
    changed = bytearray(SIGNATURE)
    changed[bit // 8] ^= 1 << bit % 8
    assert not KEY.public.verifies(bytes(changed), DATA)


@given(st.integers(0, len(DATA) * 8 - 1))
def test_data_with_one_bit_changed_is_refused(bit):
    changed = bytearray(DATA)
    changed[bit // 8] ^= 1 << bit % 8
    assert not KEY.public.verifies(SIGNATURE, bytes(changed))


@given(st.binary(max_size=100))
def test_any_bytes_are_answered_and_are_no_signature(noise):
    assert not KEY.public.verifies(noise, DATA)


R, S = decode_dss_signature(SIGNATURE)
N = ecdsa.ORDER


@pytest.mark.parametrize(
    ("r", "s"),
    [(0, 0), (0, S), (R, 0), (N, S), (R, N), (N, N), (R + N, S), (R, S + N), (1, 0)],
    ids=["0,0", "0,s", "r,0", "n,s", "r,n", "n,n", "r+n,s", "r,s+n", "1,0"],
)
def test_degenerate_numbers_are_refused_before_any_library_sees_them(r, s):
    assert not ecdsa.is_wellformed(encode_dss_signature(r, s))
    assert not KEY.public.verifies(encode_dss_signature(r, s), DATA)


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        SIGNATURE + b"\0",
        SIGNATURE[:-1],
        SIGNATURE * 2,
        b"\x30\x81" + SIGNATURE[1:],  # the length in two bytes: BER, and not DER
        R.to_bytes(32, "big") + S.to_bytes(32, "big"),
        b"\x30\x80" + SIGNATURE[2:] + b"\0\0",
        b"\x31" + SIGNATURE[1:],
        b"\x30\x06\x02\x01\xff\x02\x01\x01",  # r = -1
    ],
    ids=["empty", "longer", "shorter", "twice", "long-length", "raw", "indefinite", "a-set", "negative"],
)
def test_another_encoding_of_a_good_signature_is_refused(malformed):
    assert not KEY.public.verifies(malformed, DATA)


def test_raw_numbers_become_der():
    assert ecdsa.from_raw(R.to_bytes(32, "big") + S.to_bytes(32, "big")) == SIGNATURE
    with pytest.raises(Invalid, match="expected 64"):
        ecdsa.from_raw(b"\1" * 96)


def test_a_fingerprint_is_that_of_openssl():
    pem = KEY.public.pem
    der = subprocess.run(
        ["openssl", "ec", "-pubin", "-outform", "DER"], input=pem.encode(), capture_output=True, check=True
    )
    assert KEY.public.fingerprint == f"sha256:{hashlib.sha256(der.stdout).hexdigest()}"
    assert ecdsa.load_public(f"\n  {pem}\r\n").fingerprint == KEY.public.fingerprint
    assert ecdsa.load_public_der(der.stdout) == KEY.public


OTHER_KINDS = [
    ec.generate_private_key(ec.SECP384R1()),
    ec.generate_private_key(ec.SECP256K1()),
    rsa.generate_private_key(65537, 2048),
    ed25519.Ed25519PrivateKey.generate(),
]


@pytest.mark.parametrize("key", OTHER_KINDS, ids=["p384", "k1", "rsa", "ed25519"])
def test_a_key_of_another_kind_is_refused(key):
    with pytest.raises(Invalid, match="only ECDSA on P-256"):
        ecdsa.load_public(public_pem(key))
    with pytest.raises(Invalid, match="only ECDSA on P-256"):
        ecdsa.load_private(private_pem(key))


def test_a_point_that_is_not_on_the_curve_is_no_key():
    der = bytearray(KEY.public.der)
    der[-1] ^= 1
    with pytest.raises(Invalid):
        ecdsa.load_public_der(bytes(der))


def test_a_private_key_where_a_public_one_belongs_is_refused_and_not_repeated():
    with pytest.raises(Invalid, match="private key") as refused:
        ecdsa.load_public(KEY.pem)
    assert KEY.pem.splitlines()[1] not in refused.value.detail


RAW = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    ("pem", "password"),
    [
        (private_pem(RAW), ""),
        (private_pem(RAW, form=serialization.PrivateFormat.TraditionalOpenSSL), ""),
        (private_pem(RAW, b"open"), "open"),
    ],
    ids=["pkcs8", "sec1", "encrypted"],
)
def test_private_keys_of_every_usual_form_are_read(pem, password):
    assert ecdsa.load_private(pem, password).public.pem == public_pem(RAW)


@pytest.mark.parametrize(
    ("pem", "password", "words"),
    [
        (private_pem(RAW, b"open"), "", "enter its password"),
        (private_pem(RAW, b"open"), "shut", "is that its password"),
        (private_pem(RAW), "open", "not encrypted"),
        (private_pem(RAW)[:-60], "", "cannot be opened"),
        (public_pem(RAW), "", "cannot be opened"),
        ("", "", "cannot be opened"),
        ("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n", "", "cosign's own"),
        ("x" * 20_000, "", "at most"),
    ],
    ids=["encrypted", "wrong-password", "needless-password", "cut-off", "public", "empty", "cosign", "long"],
)
def test_a_private_key_that_cannot_be_read_is_refused_without_showing_it(pem, password, words):
    with pytest.raises(Invalid, match=words) as refused:
        ecdsa.load_private(pem, password)
    assert refused.value.where == "private_key"
    assert not any(line in refused.value.detail for line in pem.splitlines() if line and not line.startswith("---"))
    assert refused.value.__cause__ is None


def test_a_private_key_shows_nothing_of_itself():
    assert KEY.pem.splitlines()[1] not in repr(KEY) + str(KEY) + repr(vars(KEY))
