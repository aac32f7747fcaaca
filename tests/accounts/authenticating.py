"""A security key made of software: what a browser and a device would answer (WebAuthn Level 2)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import struct
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor
from fido2.cose import ES256

VERIFIED, PRESENT, ATTESTED = 0x04, 0x01, 0x40


def text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw(value: str) -> bytes:
    return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))


class Key:
    """One passkey for one site; ``flags`` and ``origin`` are what a test spoils."""

    def __init__(self, site: str = "localhost", origin: str = "http://localhost:8000") -> None:
        self.site, self.origin = site, origin
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.id = secrets.token_bytes(32)
        self.handle = b""
        self.count = 0
        self.flags = VERIFIED | PRESENT

    def _client_data(self, kind: str, challenge: str) -> bytes:
        told = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(told).encode()

    def _data(self, attested: bytes = b"") -> bytes:
        self.count += 1
        flags = self.flags | (ATTESTED if attested else 0)
        return hashlib.sha256(self.site.encode()).digest() + struct.pack(">BI", flags, self.count) + attested

    def make(self, options: str) -> str:
        asked = json.loads(options)["publicKey"]
        self.handle = raw(asked["user"]["id"])
        public = cbor.encode(dict(ES256.from_cryptography_key(self.private.public_key())))
        attested = b"\0" * 16 + struct.pack(">H", len(self.id)) + self.id + public
        response = {
            "clientDataJSON": text(self._client_data("webauthn.create", asked["challenge"])),
            "attestationObject": text(cbor.encode({"fmt": "none", "attStmt": {}, "authData": self._data(attested)})),
        }
        return self._answer(response)

    def show(self, options: str, **changes: Any) -> str:
        asked = json.loads(options)["publicKey"]
        client, data = self._client_data("webauthn.get", asked["challenge"]), self._data()
        signature = self.private.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": text(client),
            "authenticatorData": text(data),
            "signature": text(signature),
            "userHandle": text(self.handle),
        }
        return self._answer(response | changes)

    def _answer(self, response: dict[str, Any]) -> str:
        told = {"id": text(self.id), "rawId": text(self.id), "type": "public-key", "response": response}
        return json.dumps(told | {"clientExtensionResults": {}})
