"""A signed token that somebody else issued (a JWT, RFC 7519), read and verified. No I/O: keys and time are arguments.

Only asymmetric signatures count, by a key whose kind and name fit the token's header (RFC 8725): a token cannot choose
``none``, or have a public key taken for a shared secret.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import jwt

from secguard.errors import Invalid

MAX_BYTES = 16_384
MAX_KEYS = 50
MIN_RSA_BITS = 2048
LEEWAY = timedelta(seconds=30)
"""How far the issuer's clock may be from ours."""
LONGEST = timedelta(hours=24)
"""A token that lives longer is no proof of a job that runs now."""

FAMILIES: Final[dict[str, tuple[str, str]]] = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", "")),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""The algorithms that count: (the key's type, its curve)."""
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "k")
_PUBLIC = ("kty", "kid", "use", "alg", "n", "e", "crv", "x", "y", "key_ops")


class BadAssertion(Invalid):
    """The token does not count. ``error`` is RFC 6749's word for it (section 5.2)."""

    status = 400
    title = "Token refused"

    def __init__(
        self, detail: str, *, code: str = "bad-token", where: str = "subject_token", error: str = "invalid_grant"
    ) -> None:
        described = "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in detail)
        super().__init__(detail, code=code, where=where, error=error, error_description=described)


class UnknownKey(BadAssertion):
    """Nothing is wrong with the token's form, but its key is not among the issuer's that are known."""


@dataclass(frozen=True)
class Assertion:
    """A token as its sender wrote it: nothing of it is true before ``verified``."""

    raw: str = field(repr=False)
    issuer: str
    key_id: str
    algorithm: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.raw.encode()).hexdigest()


def read(raw: str) -> Assertion:
    """The token's issuer, key and algorithm, to know where to look. Raises ``BadAssertion`` where it is none."""
    if len(raw) > MAX_BYTES:
        raise BadAssertion(f"The token has {len(raw):,} characters; at most {MAX_BYTES:,} are read.")
    if not raw.isascii() or raw.count(".") != 2:
        raise BadAssertion("This is no signed token: expected three parts with dots between them (a JWT).")
    try:
        parts = jwt.decode_complete(raw, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise BadAssertion(f"This is no signed token: {str(error)[:100] or type(error).__name__}.") from None
    header, issuer = parts["header"], parts["payload"].get("iss")
    algorithm, key_id = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in FAMILIES:
        raise BadAssertion(
            f"The token is signed with {str(algorithm)[:20]!r}; expected one of {', '.join(FAMILIES)}.",
            code="algorithm-not-allowed",
        )
    if not isinstance(key_id, str) or not 1 <= len(key_id) <= 300:
        raise BadAssertion("The token does not say which key signed it (kid).")
    if "crit" in header:
        raise BadAssertion("The token asks for extensions (crit), of which none is known here.")
    if not isinstance(issuer, str) or not 1 <= len(issuer) <= 300 or not issuer.isprintable():
        raise BadAssertion("The token does not say who issued it (iss).")
    return Assertion(raw, issuer, key_id, algorithm)


def read_keys(document: Any, *, where: str = "jwks") -> list[dict[str, Any]]:
    """The keys of a JWK Set (RFC 7517) that can verify tokens, public parts alone.

    Raises ``Invalid`` where it is none, holds a private key, or holds no key that can be used.
    """
    listed = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_KEYS:
        raise Invalid(
            f'The keys are no JWK Set of 1 to {MAX_KEYS} keys; expected {{"keys": [{{"kty": "RSA", "kid": …}}]}}.',
            code="bad-jwks",
            where=where,
        )
    if any(isinstance(key, Mapping) and any(part in key for part in _PRIVATE) for key in listed):
        raise Invalid(
            "The keys hold a private or a shared one. Enter the public parts alone; what was pasted here is to be "
            "taken for known.",
            code="private-key",
            where=where,
        )
    usable = [{name: key[name] for name in _PUBLIC if name in key} for key in listed if _is_usable(key)]
    if not usable:
        raise Invalid(
            f"None of the keys can verify tokens: expected RSA of {MIN_RSA_BITS} bits or more, EC (P-256, P-384, "
            "P-521) or Ed25519, each with a kid.",
            code="bad-jwks",
            where=where,
        )
    return usable


def _is_usable(key: Any) -> bool:
    if not isinstance(key, Mapping) or key.get("use", "sig") != "sig":
        return False
    if not isinstance(key.get("kid"), str) or not 1 <= len(key["kid"]) <= 300:
        return False
    return any(_public_key(key, algorithm) is not None for algorithm in FAMILIES if _is_for(key, algorithm))


def _is_for(key: Mapping[str, Any], algorithm: str) -> bool:
    kind, curve = FAMILIES[algorithm]
    return (
        key.get("kty") == kind
        and (not curve or key.get("crv") == curve)
        and key.get("alg", algorithm) == algorithm
        and key.get("use", "sig") == "sig"
    )


def _public_key(key: Mapping[str, Any], algorithm: str) -> Any:
    """The key as cryptography's object; None where it cannot be used."""
    try:
        found: Any = jwt.get_algorithm_by_name(algorithm).from_jwk(dict(key))
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    return None if getattr(found, "key_size", MIN_RSA_BITS) < MIN_RSA_BITS and key["kty"] == "RSA" else found


def verified(assertion: Assertion, keys: list[dict[str, Any]], now: datetime) -> dict[str, Any]:
    """The claims, once the signature and the times hold.

    Raises ``UnknownKey`` where none of ``keys`` is the one that is named, ``BadAssertion`` for all else.
    """
    named = [key for key in keys if key.get("kid") == assertion.key_id]
    if not named:
        raise UnknownKey(f"The issuer {assertion.issuer} has no key {assertion.key_id[:60]!r}.", code="unknown-key")
    fitting = [key for key in named if _is_for(key, assertion.algorithm)]
    public = _public_key(fitting[0], assertion.algorithm) if fitting else None
    if public is None:
        raise BadAssertion(
            f"The key {assertion.key_id[:60]!r} is not one for {assertion.algorithm}.", code="algorithm-not-allowed"
        )
    try:
        # Times are looked at below, by the clock that was given; issuer and audience by whoever asks (``trust``).
        claims = jwt.decode(
            assertion.raw,
            key=public,
            algorithms=[assertion.algorithm],
            options={
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": False,
                "verify_iss": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
    except (jwt.PyJWTError, ValueError, TypeError):
        raise BadAssertion("The token's signature does not hold.", code="bad-signature") from None
    _check_times(claims, now)
    return claims


def _check_times(claims: Mapping[str, Any], now: datetime) -> None:
    at, leeway = now.timestamp(), LEEWAY.total_seconds()
    ends, begins, made = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
    if ends is None or made is None:
        raise BadAssertion("The token does not say when it was made and when it ends (iat, exp).")
    if ends + leeway <= at:
        raise BadAssertion(f"The token ended {int(at - ends)} seconds ago. Ask the pipeline's system for a new one.")
    if max(begins or made, made) - leeway > at:
        raise BadAssertion("The token is not valid yet: its time lies ahead of this server's clock.")
    if ends - made > LONGEST.total_seconds():
        raise BadAssertion(
            f"The token lives longer than {LONGEST.total_seconds() / 3600:g} hours; ask for one that ends with the job."
        )


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise BadAssertion(f"The token's {name} is no time.")
    return float(value)


def once(assertion: Assertion, claims: Mapping[str, Any]) -> str:
    """What tells this token from every other: its id at its issuer, or itself."""
    jti = claims.get("jti")
    if isinstance(jti, str) and jti:
        return hashlib.sha256(f"{assertion.issuer}\n{jti}".encode()).hexdigest()
    return assertion.digest


def ends_at(claims: Mapping[str, Any]) -> float:
    """When the verified token ends, in seconds since 1970."""
    return float(claims["exp"])
