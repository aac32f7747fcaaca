"""One-time codes of an authenticator app: RFC 6238 with SHA-1, six digits and 30 seconds, which every app can do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
from datetime import datetime
from urllib.parse import quote, urlencode

SECONDS = 30
DIGITS = 6
STEPS_AROUND = 1
"""A code of the step before or after counts too: clocks differ, and people type slowly (RFC 6238 section 5.2)."""


def new_secret() -> str:
    """160 random bits (RFC 4226 section 4), in the base32 that apps take."""
    return base64.b32encode(secrets.token_bytes(20)).decode()


def code_at(secret: str, step: int) -> str:
    """The code of a time step (RFC 4226 section 5.3)."""
    mac = hmac.new(base64.b32decode(secret), struct.pack(">Q", step), hashlib.sha1).digest()
    start = mac[-1] & 0x0F
    number = int.from_bytes(mac[start : start + 4], "big") & 0x7FFFFFFF
    return str(number % 10**DIGITS).zfill(DIGITS)


def step_of(now: datetime) -> int:
    return int(now.timestamp()) // SECONDS


def matching_step(secret: str, code: str, now: datetime, *, after: int) -> int | None:
    """The time step that ``code`` is of, if it is a present one later than ``after``; else None."""
    typed = "".join(code.split())
    if len(typed) != DIGITS or not (typed.isascii() and typed.isdigit()):
        return None
    at = step_of(now)
    found = [
        step
        for step in range(at - STEPS_AROUND, at + STEPS_AROUND + 1)
        # Each is compared, so that the time taken tells nothing.
        if hmac.compare_digest(code_at(secret, step), typed) and step > after
    ]
    return found[-1] if found else None


def uri(secret: str, *, account: str, issuer: str) -> str:
    """What the square for the app's camera says (Key URI Format)."""
    return f"otpauth://totp/{quote(f'{issuer}:{account}')}?" + urlencode(
        {"secret": secret, "issuer": issuer, "digits": DIGITS, "period": SECONDS}
    )
