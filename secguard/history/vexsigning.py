"""How VEX documents are signed and verified: with the keys of this installation, and in DSSE's and cosign's forms."""

from __future__ import annotations

import json

from secguard.decisions.services.vexsigning import Opened, Signed
from secguard.errors import Invalid
from secguard.history.services import signing_key
from secguard.images.strictjson import Node, loads
from secguard.signing import dsse, ecdsa
from secguard.signing.services import sign

OPENVEX = "https://openvex.dev/ns"
_WHAT = "The VEX attestation"


class Signatures:
    """``decisions.services.vexsigning.Signatures``."""

    def public_key(self, pem: str) -> tuple[str, str]:
        key = ecdsa.load_public(pem)
        return key.pem, key.fingerprint

    def opened(self, raw: bytes, beside: bytes) -> Opened:
        if not _is_envelope(raw):
            return Opened(raw, lambda pem: bool(beside) and ecdsa.load_public(pem).verifies(beside, raw))
        envelope = dsse.decode(raw)
        payload = _predicate(envelope.payload) if envelope.payload_type == dsse.IN_TOTO else envelope.payload
        return Opened(payload, lambda pem: bool(envelope.signers([ecdsa.load_public(pem)])))

    def sealed(self, kind: str, payload: bytes, key_name: str) -> bytes:
        key = signing_key(key_name)
        return dsse.signed(kind, payload, lambda data: sign(key, data), key.fingerprint).encode()

    def signed(self, payload: bytes, key_name: str) -> Signed:
        key = signing_key(key_name)
        return Signed(sign(key, payload), key.name, key.fingerprint)


def _is_envelope(raw: bytes) -> bool:
    """By its members; most documents hold no such word, and are not read twice."""
    if raw.lstrip()[:1] != b"{" or b'"payloadType"' not in raw:
        return False
    members = loads(raw, what="The VEX document", max_bytes=dsse.MAX_BYTES)
    return isinstance(members, dict) and "payloadType" in members


def _predicate(payload: bytes) -> bytes:
    """The OpenVEX document in an in-toto statement, as ``cosign attest --type openvex`` makes one."""
    statement = Node(loads(payload, what=_WHAT, max_bytes=dsse.MAX_BYTES), _WHAT)
    kind = statement.text("predicateType", most=300)
    if not kind.startswith(OPENVEX):
        raise Invalid(
            f"The attestation states {kind[:100]!r}; expected OpenVEX ({OPENVEX}).",
            code="vex-unknown-format",
            where="predicateType",
        )
    predicate = statement.node("predicate")
    if predicate is None:
        raise statement.wrong("predicate", "is missing; expected an OpenVEX document")
    return json.dumps(predicate.members).encode()
