"""How what we post is signed: as Standard Webhooks 1.0.0 says (github.com/standard-webhooks). Pure.

The receiver computes HMAC-SHA256 over ``id.timestamp.body`` with the secret that it was shown once, and compares it
with each signature of the header: while a secret is being renewed there are two.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import datetime

PREFIX = "whsec_"
SECRET_BYTES = 32
"""The specification asks for 24 to 64."""


def new_secret() -> str:
    """A secret as its receiver stores it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """``v1,<base64>``: version 1 is HMAC-SHA256 with a shared secret."""
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(secret_list: Iterable[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers of one attempt, signed with each of the secrets; without any, what names the message alone."""
    timestamp = int(at.timestamp())
    signed = " ".join(signature(secret, message_id, timestamp, body) for secret in secret_list)
    named = {"webhook-id": message_id, "webhook-timestamp": str(timestamp)}
    return named | {"webhook-signature": signed} if signed else named
