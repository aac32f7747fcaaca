"""Whose signatures count where, and which public keys are served."""

from __future__ import annotations

from datetime import datetime

from secguard.errors import NotFound
from secguard.signing import ecdsa, patterns
from secguard.signing.models import SigningKey, TrustedKey
from secguard.signing.verification import Party


def parties(repository: str, now: datetime) -> list[Party]:
    """Everybody whose signature counts in ``repository`` (host/path) at ``now``; ours first. Two queries."""
    ours = [
        Party(key.name, ecdsa.load_public(key.public_pem), signing_key_id=key.pk)
        for key in SigningKey.objects.counting(now)
    ]
    return ours + [
        Party(key.name, ecdsa.load_public(key.public_pem), trusted_key_id=key.pk)
        for key in TrustedKey.objects.counting(now).order_by("name", "pk")
        if patterns.matches(key.repositories, repository)
    ]


def served_pem(name: str, now: datetime) -> str:
    """The public keys of the line ``name`` that count, the one that signs first; or the one with that fingerprint.

    A fingerprint is written ``sha256-<hex>`` here. Raises ``NotFound``, also for keys that count no more.
    """
    rows = SigningKey.objects.counting(now)
    found = (
        rows.filter(fingerprint=name.replace("sha256-", "sha256:", 1)) if _is_print(name) else rows.filter(name=name)
    )
    pem = "".join(key.public_pem for key in found)
    if not pem:
        raise NotFound(
            f"No key {name[:80]!r} counts here: there is none of that name, or it was retired or revoked.",
            code="no-such-key",
        )
    return pem


def _is_print(name: str) -> bool:
    return name.startswith("sha256-") and len(name) == 71
