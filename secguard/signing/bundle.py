"""Sigstore bundles (v0.3) whose signer is known by a key: one DSSE envelope, and a hint at which key.

github.com/sigstore/protobuf-specs, protos/sigstore_bundle.proto; cosign's specs/BUNDLE_SPEC.md. Of the envelope's
signatures there is exactly one.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from secguard.images.strictjson import Node, loads
from secguard.signing import dsse
from secguard.signing.dsse import Envelope
from secguard.signing.ecdsa import PublicKey

MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_BYTES = dsse.MAX_BYTES + 2**20
_READABLE = (
    MEDIA_TYPE,
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
    "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.1",
)
_WHAT = "The bundle"


@dataclass(frozen=True, slots=True)
class Bundle:
    """``hint`` says which key signed; it helps to find that key and proves nothing. Empty for certificates."""

    envelope: Envelope
    hint: str = ""
    by_certificate: bool = False


def is_bundle_type(media_type: str) -> bool:
    """Whether an artifact of this type may be a bundle, of whatever version."""
    return media_type.startswith("application/vnd.dev.sigstore.bundle")


def hint_of(key: PublicKey) -> str:
    """The key's SHA-256 in base64, as sigstore's own tools write it."""
    return base64.b64encode(hashlib.sha256(key.der).digest()).decode()


def encode(envelope: Envelope, key: PublicKey) -> bytes:
    """A bundle of an envelope that ``key`` signed."""
    document: dict[str, Any] = {
        "mediaType": MEDIA_TYPE,
        # No transparency log has seen it. The list may be missing, says the format; some readers want it all the same.
        "verificationMaterial": {"publicKey": {"hint": hint_of(key)}, "tlogEntries": []},
        "dsseEnvelope": envelope.document(),
    }
    return json.dumps(document, separators=(",", ":")).encode()


def decode(raw: bytes) -> Bundle:
    """Read a bundle. Raises ``Invalid`` where it is none or holds no envelope; it verifies nothing."""
    node = Node(loads(raw, what=_WHAT, max_bytes=MAX_BYTES), _WHAT)
    kind = node.text("mediaType", most=255)
    if kind not in _READABLE:
        raise node.wrong("mediaType", f"is {kind!r}; expected {MEDIA_TYPE!r}")
    inner = node.node("dsseEnvelope")
    if inner is None or "messageSignature" in node.members:
        raise node.wrong("dsseEnvelope", "is missing or not alone; a signature of an image is an envelope")
    envelope = dsse.from_node(inner)
    if len(envelope.signatures) != 1:
        raise inner.wrong("signatures", f"has {len(envelope.signatures)} entries; a bundle's envelope has exactly one")
    material = node.node("verificationMaterial")
    if material is None:
        raise node.wrong("verificationMaterial", "is missing")
    key = material.node("publicKey")
    return Bundle(envelope, key.text("hint", most=1024) if key else "", by_certificate=key is None)
