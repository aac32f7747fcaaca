"""``secguard passport verify``: check an image's passport without any server.

The check is written from the protocol (github.com/secure-systems-lab/dsse, protocol.md) on ``cryptography`` alone, and
shares no code with what signs.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from secguard.client.rest import CouldNotTell

PAYLOAD_TYPE = "application/vnd.secguard.passport+json"
MAX_BYTES = 64 * 2**20
MAX_SIGNATURES = 16


@dataclass(frozen=True)
class Checked:
    """A passport that the key signed; where it did not, ``why`` says so, and nothing of what is in it is believed."""

    passport: dict[str, Any]
    why: str = ""


def verify(raw: bytes, pem: str) -> Checked:
    """Whether the envelope ``raw`` holds a passport that the key ``pem`` signed.

    Raises ``CouldNotTell`` where it is no envelope of a passport, or the key is no P-256 key.
    """
    key = _key(pem)
    envelope = _object(raw, "The file")
    kind, payload = envelope.get("payloadType"), _bytes(envelope.get("payload"), "payload")
    if kind != PAYLOAD_TYPE:
        raise CouldNotTell(
            f"The file holds {str(kind)[:80]!r}; expected {PAYLOAD_TYPE!r}, as `secguard passport` writes."
        )
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) > MAX_SIGNATURES:
        raise CouldNotTell(f"The file has no list of at most {MAX_SIGNATURES} signatures.")
    if not signatures:
        return Checked({}, "It is not signed: no key signed on the server that issued it.")
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    if any(_made(key, s, signed) for s in signatures):
        return Checked(_object(payload, "The payload"))
    return Checked({}, "No signature in it is this key's over these bytes: another key made it, or it was changed.")


def summary(passport: dict[str, Any]) -> list[str]:
    """The passport in a few lines."""
    image, by = passport.get("image") or {}, passport.get("issued_by") or {}
    lines = [f"{image.get('digest')}, issued {passport.get('issued_at')} by {by.get('url')}"]
    for verdict in passport.get("verdicts") or []:
        word = verdict.get("verdict") or "not judged"
        then = "" if verdict.get("holds") else f" ({verdict.get('why_not')})"
        same = "" if verdict.get("replayed", True) else "; computed again it is NOT the same"
        lines.append(f"{verdict.get('stage')}: {word}{then}{same}")
    counts = ("decisions", "signatures", "attestations", "promotions")
    lines.append(", ".join(f"{len(passport.get(name) or [])} {name}" for name in counts))
    return lines


def read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CouldNotTell(f"{path} cannot be read: {error.strerror}.") from error
    if len(raw) > MAX_BYTES:
        raise CouldNotTell(f"{path} has more than {MAX_BYTES:,} bytes: it is no passport.")
    return raw


def _made(key: ec.EllipticCurvePublicKey, signature: Any, signed: bytes) -> bool:
    made = _bytes(signature.get("sig") if isinstance(signature, dict) else None, "sig")
    try:
        key.verify(made, signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _key(pem: str) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise CouldNotTell(
            "The key is no PEM of a public key, from -----BEGIN PUBLIC KEY----- on; `secguard keys public NAME` prints "
            "one."
        ) from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CouldNotTell("The key is of another kind; passports are signed with P-256 keys.")
    return key


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(raw.decode())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CouldNotTell(
            f"{what} is no JSON object; expected a passport as `secguard passport IMAGE -o FILE` writes."
        )
    return found


def _bytes(text: Any, name: str) -> bytes:
    try:
        return base64.b64decode(text if isinstance(text, str) else "!", validate=True)
    except (binascii.Error, ValueError):
        raise CouldNotTell(f"The file's {name} is no base64.") from None
