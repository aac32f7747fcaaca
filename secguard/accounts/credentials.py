"""The shape of secrets that SecGuard makes, and how they are kept.

A token is ``sgt_`` and 43 URL-safe characters: 256 random bits, with a prefix that secret scanners can be taught. It is
kept as one plain SHA-256: a slow hash is there to make guessing *chosen* passwords dear, and nobody guesses 256 random
bits, while every API request pays for it. Looking the hash up in an index leaks nothing either: the time it takes
depends on the hash of what was sent, which nobody can steer towards a stored one.
"""

from __future__ import annotations

import hashlib
import re
import secrets

TOKEN_PREFIX = "sgt_"  # noqa: S105 - the public part of every token
SHOWN = 12
"""How many characters of a token are kept and shown, to tell tokens apart: ``sgt_`` and 48 of its 256 bits."""

SIGN_IN_LINK_PATH = "/sign-in/link/?key="
"""Where a one-time link points to; what follows is its secret, in the query because that stays out of every log."""

_TOKEN = re.compile(r"sgt_[A-Za-z0-9_-]{43}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


def new_token() -> str:
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def new_secret() -> str:
    """The secret in a one-time sign-in link."""
    return secrets.token_urlsafe(32)


def is_token(raw: str) -> bool:
    return _TOKEN.fullmatch(raw) is not None


def is_secret(raw: str) -> bool:
    return _SECRET.fullmatch(raw) is not None


def shown(raw: str) -> str:
    return raw[:SHOWN]


def digest(raw: str) -> str:
    """What is stored of a token or of a link's secret."""
    return hashlib.sha256(raw.encode()).hexdigest()
