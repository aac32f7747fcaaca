"""Secrets at rest: sealed with a key that is derived from the instance's own, so that a copied database tells none.

Fernet (AES-128-CBC with HMAC-SHA256, github.com/fernet/spec) under a key from HKDF-SHA256 (RFC 5869).
"""

from __future__ import annotations

import base64

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from secguard.errors import Unavailable


def _fernet(key: str, purpose: str) -> Fernet:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"secguard {purpose}".encode()).derive(key.encode())
    return Fernet(base64.urlsafe_b64encode(derived))


def seal(text: str, *, keys: list[str], purpose: str) -> str:
    """``text`` sealed with the first of ``keys``; what was sealed for one purpose opens for no other."""
    return _fernet(keys[0], purpose).encrypt(text.encode()).decode()


def unseal(sealed: str, *, keys: list[str], purpose: str) -> str:
    """The text, by whichever of ``keys`` sealed it.

    Raises ``Unavailable`` where none did: the instance's key was changed without keeping the former one.
    """
    try:
        return MultiFernet([_fernet(k, purpose) for k in keys]).decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise Unavailable(
            "A stored secret was sealed with another SECGUARD_SECRET_KEY. Set the former key again, or enter the "
            "secret anew.",
            code="sealed-with-another-key",
        ) from None
