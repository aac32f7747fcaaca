"""ECDSA on P-256 with SHA-256 (FIPS 186-5), the one algorithm that is made here and that counts here.

A signature is DER, ``SEQUENCE { r INTEGER, s INTEGER }`` (RFC 3279 section 2.2.3), in its one canonical encoding with
0 < r, s < n. Libraries have taken r = s = 0 for anybody's signature over anything (CVE-2022-21449), so what is
degenerate is refused here before any library sees it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from secguard.errors import Invalid

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""n, the order of P-256's base point (SP 800-186, section 3.2.1.3)."""
MAX_SIGNATURE_BYTES = 72
MAX_PEM = 16_384
_ALGORITHM = ec.ECDSA(hashes.SHA256())


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A point on P-256. ``der`` is its SubjectPublicKeyInfo (RFC 5480), the same bytes for the same key."""

    der: bytes
    _key: ec.EllipticCurvePublicKey = field(repr=False, compare=False)

    @property
    def fingerprint(self) -> str:
        """``sha256:<hex>`` of the SubjectPublicKeyInfo."""
        return f"sha256:{hashlib.sha256(self.der).hexdigest()}"

    @property
    def pem(self) -> str:
        """PEM, as ``openssl`` and cosign's ``--key`` take it."""
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_bytes(encoding, form).decode()

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` is this key's over ``data``; what is malformed or degenerate never is."""
        if not is_wellformed(signature):
            return False
        try:
            self._key.verify(signature, data, _ALGORITHM)
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """What signs. Neither ``repr`` nor an error ever shows it; ``pem`` is for sealing alone."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key

    @property
    def public(self) -> PublicKey:
        return _public(self._key.public_key())

    @property
    def pem(self) -> str:
        """PKCS #8 without encryption."""
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return self._key.private_bytes(encoding, form, serialization.NoEncryption()).decode()

    def sign(self, data: bytes) -> bytes:
        """A DER signature over ``data``."""
        return self._key.sign(data, _ALGORITHM)


def generate() -> PrivateKey:
    """A new private key, from the system's own source of randomness."""
    return PrivateKey(ec.generate_private_key(ec.SECP256R1()))


def is_wellformed(signature: bytes) -> bool:
    """Whether it is the one DER encoding of an r and an s between 0 and the curve's order."""
    if len(signature) > MAX_SIGNATURE_BYTES:
        return False
    try:
        r, s = decode_dss_signature(signature)
        return 0 < r < ORDER and 0 < s < ORDER and encode_dss_signature(r, s) == signature
    except ValueError:
        return False


def from_raw(signature: bytes) -> bytes:
    """DER of ``r || s`` with 32 bytes each, as PKCS #11 writes signatures (PKCS #11 3.1, section 6.3.1)."""
    if len(signature) != 64:
        raise Invalid(f"The signature has {len(signature)} bytes; expected 64 of a P-256 key.", code="bad-signature")
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def load_public(text: str, *, where: str = "public_key") -> PublicKey:
    """The key of a PEM text. Raises ``Invalid`` where it is none, or of another algorithm or curve."""
    text = _bounded(text, where)
    if "PRIVATE KEY" in text:
        raise Invalid(
            "That is a private key. Paste the public one, from -----BEGIN PUBLIC KEY----- to -----END PUBLIC KEY-----; "
            "what was sent is not kept, but it has been shown to a server: make a new key.",
            code="private-key-shown",
            where=where,
        )
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid(
            "The public key cannot be read; expected PEM of a P-256 key, from -----BEGIN PUBLIC KEY----- to "
            "-----END PUBLIC KEY-----, as `openssl ec -pubout` and `cosign public-key` write it.",
            code="bad-public-key",
            where=where,
        ) from None
    return _public(key, where)


def load_public_der(raw: bytes, *, where: str = "public_key") -> PublicKey:
    """The key of a SubjectPublicKeyInfo. Raises as ``load_public``."""
    try:
        key = serialization.load_der_public_key(raw)
    except (ValueError, UnsupportedAlgorithm):
        raise Invalid("The public key is no SubjectPublicKeyInfo.", code="bad-public-key", where=where) from None
    return _public(key, where)


def load_private(text: str, password: str = "", *, where: str = "private_key") -> PrivateKey:
    """The key of a PEM text (PKCS #8 or SEC 1), opened with ``password`` if it is encrypted.

    Raises ``Invalid`` where it is none, of another algorithm or curve, or the password is not its own. No error has a
    part of the key in it.
    """
    text = _bounded(text, where)
    if "ENCRYPTED SIGSTORE PRIVATE KEY" in text or "ENCRYPTED COSIGN PRIVATE KEY" in text:
        raise Invalid(
            "That is cosign's own encrypted form, which nothing but cosign opens. Import the key that it was made of "
            "(`cosign import-key-pair`), or make a new one here and trust the old one's public key.",
            code="cosign-private-key",
            where=where,
        )
    try:
        key = serialization.load_pem_private_key(text.encode(), password.encode() if password else None)
    except TypeError:  # encrypted without a password, or a password for what is not
        needed = "it is encrypted: enter its password" if not password else "it is not encrypted: leave the password"
        raise Invalid(f"The private key cannot be opened: {needed}.", code="bad-private-key", where=where) from None
    except (ValueError, UnsupportedAlgorithm):
        words = "is that its password, and is" if password else "is"
        raise Invalid(
            f"The private key cannot be opened: {words} it PEM of a P-256 key, from -----BEGIN PRIVATE KEY----- (or "
            "EC PRIVATE KEY) to the END line?",
            code="bad-private-key",
            where=where,
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        _other_kind(key, where)
    return PrivateKey(key)


def _bounded(text: str, where: str) -> str:
    if len(text) > MAX_PEM:
        raise Invalid(
            f"The key has {len(text):,} characters; at most {MAX_PEM:,} are read.", code="bad-key", where=where
        )
    return text.strip() + "\n"


def _public(key: object, where: str = "public_key") -> PublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        _other_kind(key, where)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(der, key)


def _other_kind(key: Any, where: str) -> NoReturn:
    curve = getattr(getattr(key, "curve", None), "name", "")
    found = f"on the curve {curve}" if curve else type(key).__name__.strip("_").replace("PublicKey", "").lower()
    raise Invalid(
        f"The key is {found or 'of another kind'}; only ECDSA on P-256 (prime256v1, secp256r1) counts. Make one with "
        "`openssl ecparam -name prime256v1 -genkey`.",
        code="wrong-key-kind",
        where=where,
    )
