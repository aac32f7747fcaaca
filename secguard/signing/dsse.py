"""DSSE envelopes: a payload with its type, signatures over both (github.com/secure-systems-lab/dsse, protocol.md)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from secguard.errors import Invalid
from secguard.images.strictjson import Node, loads
from secguard.signing.ecdsa import PublicKey

IN_TOTO = "application/vnd.in-toto+json"
MEDIA_TYPE = "application/vnd.dsse.envelope.v1+json"
MAX_BYTES = 64 * 2**20
"""Of an envelope: an SBOM of a large image is tens of megabytes."""
MAX_SIGNATURES = 16
_WHAT = "The envelope"


@dataclass(frozen=True, slots=True)
class EnvelopeSignature:
    """``keyid`` is a hint and proves nothing."""

    sig: bytes
    keyid: str = ""


@dataclass(frozen=True, slots=True)
class Envelope:
    payload_type: str
    payload: bytes
    signatures: tuple[EnvelopeSignature, ...]

    def document(self) -> dict[str, Any]:
        """The envelope as JSON's values."""
        return {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": s.keyid, "sig": base64.b64encode(s.sig).decode()} for s in self.signatures],
        }

    def encode(self) -> bytes:
        return json.dumps(self.document(), separators=(",", ":")).encode()

    def signers(self, keys: Iterable[PublicKey]) -> tuple[PublicKey, ...]:
        """Those of ``keys`` that made one of the signatures, whatever the hints say."""
        signed = pae(self.payload_type, self.payload)
        return tuple(key for key in keys if any(key.verifies(s.sig, signed) for s in self.signatures))


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding, which is what is signed: lengths make every boundary certain."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def body(encoded: bytes) -> bytes:
    """The payload in what ``pae`` made."""
    _, kind_size, rest = encoded.split(b" ", 2)
    return rest[int(kind_size) + 1 :].partition(b" ")[2]


def signed(payload_type: str, payload: bytes, sign: Callable[[bytes], bytes], keyid: str = "") -> Envelope:
    """An envelope with one signature, by ``sign``."""
    return Envelope(payload_type, payload, (EnvelopeSignature(sign(pae(payload_type, payload)), keyid),))


def decode(raw: bytes) -> Envelope:
    """Read an envelope. Raises ``Invalid`` where it is none, ``TooLarge`` past a bound; it verifies nothing."""
    return from_node(Node(loads(raw, what=_WHAT, max_bytes=MAX_BYTES), _WHAT))


def from_node(node: Node) -> Envelope:
    """The envelope in a document that was read."""
    kind = node.text("payloadType", most=255)
    if not kind:
        raise node.wrong("payloadType", "is missing; expected a media type or URI")
    if "payload" not in node.members:
        raise node.wrong("payload", "is missing; expected base64")
    signatures = tuple(
        EnvelopeSignature(unbase64(s, "sig", most=1024), s.text("keyid", most=1024))
        for s in node.nodes("signatures", most=MAX_SIGNATURES)
    )
    if not signatures:
        raise node.wrong("signatures", "is empty; expected at least one")
    return Envelope(kind, unbase64(node, "payload", most=MAX_BYTES), signatures)


def unbase64(node: Node, name: str, *, most: int) -> bytes:
    """The bytes of a member in base64, of the standard or the URL-safe alphabet; both are allowed in an envelope."""
    text = node.text(name, most=most)
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        raise node.wrong(name, "is not base64") from None


def require_type(envelope: Envelope, wanted: str = IN_TOTO) -> None:
    """Raises ``Invalid`` where the payload is of another type."""
    if envelope.payload_type != wanted:
        raise Invalid(
            f"The envelope holds {envelope.payload_type[:100]!r}; expected {wanted!r}.",
            code="wrong-payload-type",
            where="$.payloadType",
        )
