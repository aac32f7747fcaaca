"""Signatures of VEX documents. What signs and verifies is an app beside this one; its ways are put in from above."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from secguard.errors import Unavailable


class Opened(NamedTuple):
    """A document out of its envelope, or as it was with a signature beside it."""

    payload: bytes
    is_by: Callable[[str], bool]
    """Whether the public key (PEM) made one of its signatures; of none it never did."""


class Signed(NamedTuple):
    """A signature beside a document."""

    signature: bytes
    key: str
    fingerprint: str


class Signatures(Protocol):
    """Raise ``Invalid`` for what is none of the kind, ``NotFound`` for no such key, ``Unavailable`` for its device."""

    def public_key(self, pem: str) -> tuple[str, str]:
        """The key as it is kept, and its fingerprint."""

    def opened(self, raw: bytes, beside: bytes) -> Opened:
        """A DSSE envelope opened; anything else as it is, with the signature (DER) that came ``beside`` it."""

    def sealed(self, kind: str, payload: bytes, key_name: str) -> bytes:
        """A DSSE envelope around ``payload``, signed with the key of that name, or the newest."""

    def signed(self, payload: bytes, key_name: str) -> Signed:
        """A signature over just the bytes, as ``cosign verify-blob`` takes it."""


SIGNATURES: list[Signatures] = []
"""One, put in when the process starts."""


def signatures() -> Signatures:
    """Raises ``Unavailable`` where nothing signs in this installation."""
    if not SIGNATURES:
        raise Unavailable("Nothing here signs or verifies documents.", code="no-signatures")
    return SIGNATURES[0]
