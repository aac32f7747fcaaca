"""What signs: a key in memory, or one in a PKCS #11 device that never gives it out."""

from __future__ import annotations

import hashlib
import secrets
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Protocol

from secguard.errors import Conflict, Invalid, NotFound, Unavailable
from secguard.signing import ecdsa
from secguard.signing.ecdsa import PrivateKey, PublicKey

_ALONE = Lock()
"""One session at a time in a process: signing in is the process's own, so the first session that ends signs all out."""


class Signer(Protocol):
    """Signs with one private key."""

    def sign(self, data: bytes) -> bytes:
        """A DER signature over ``data``. Raises ``Unavailable`` where the key cannot be reached."""


class LocalSigner:
    """Signs with a key that was unsealed for this."""

    def __init__(self, key: PrivateKey) -> None:
        self._key = key

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


@dataclass(frozen=True, slots=True)
class Device:
    """A PKCS #11 token (PKCS #11 3.1): the module that speaks to it, its label, and its user's PIN."""

    module: str
    token: str
    pin: str = field(repr=False)

    def generate(self, name: str) -> tuple[str, PublicKey]:
        """Make a key that cannot be taken out; returns its label and its public part. Raises ``Unavailable``."""
        with self._session(writes=True) as (session, pkcs11):
            label = f"secguard-{name}-{secrets.token_hex(4)}"
            curve = session.create_domain_parameters(
                pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: pkcs11.util.ec.encode_named_curve_parameters("secp256r1")},
                local=True,
            )
            hidden = {pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False}
            public, _ = curve.generate_keypair(
                store=True, label=label, id=secrets.token_bytes(8), private_template=hidden
            )
            return label, ecdsa.load_public_der(pkcs11.util.ec.encode_ec_public_key(public))

    def public(self, label: str) -> PublicKey:
        """The public part of a key that is in the token. Raises ``NotFound``, ``Conflict``, ``Invalid``."""
        with self._session() as (session, pkcs11):
            _the_one(session, pkcs11, label, pkcs11.ObjectClass.PRIVATE_KEY)
            public = _the_one(session, pkcs11, label, pkcs11.ObjectClass.PUBLIC_KEY)
            if public.key_type != pkcs11.KeyType.EC:
                raise Invalid(f"The key {label!r} in the token is no EC key; expected P-256.", where="label")
            return ecdsa.load_public_der(pkcs11.util.ec.encode_ec_public_key(public), where="label")

    def sign(self, label: str, data: bytes) -> bytes:
        """A DER signature by the key of that label."""
        with self._session() as (session, pkcs11):
            key = _the_one(session, pkcs11, label, pkcs11.ObjectClass.PRIVATE_KEY)
            # The digest is made here: not every device hashes, and all of them sign one.
            raw = key.sign(hashlib.sha256(data).digest(), mechanism=pkcs11.Mechanism.ECDSA)
            return ecdsa.from_raw(raw)

    @contextmanager
    def _session(self, *, writes: bool = False) -> Iterator[tuple[Any, Any]]:
        pkcs11 = _library()
        if not self.module or not self.token or not self.pin:
            raise Unavailable(
                "No PKCS #11 token is set up: SECGUARD_PKCS11_MODULE, SECGUARD_PKCS11_TOKEN and SECGUARD_PKCS11_PIN "
                "name the module, the token's label and its PIN, on every host that signs.",
                code="no-pkcs11",
            )
        try:
            with _ALONE, self._token(pkcs11).open(user_pin=self.pin, rw=writes) as session:
                yield session, pkcs11
        except (pkcs11.exceptions.PKCS11Error, RuntimeError, OSError) as error:
            # Its own words are names of conditions; a PIN is never among them.
            raise Unavailable(
                f"The PKCS #11 token {self.token!r} does not work ({type(error).__name__}). Check that the module is "
                "there, that the token has that label, and its PIN.",
                code="pkcs11-fails",
            ) from None
        finally:
            _forget_errors()

    def _token(self, pkcs11: Any) -> Any:
        return pkcs11.lib(self.module).get_token(token_label=self.token)


def _forget_errors() -> None:
    """Take away what the module left in this thread's queue of OpenSSL errors, where it shares that library with us.

    SoftHSM leaves that it found no engine; the next TLS connection that waits for its peer in this thread would take
    that for its own failure and break off. Of the ways to empty the queue this one needs nothing else.
    """
    with suppress(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers("none of them")


@dataclass(frozen=True, slots=True)
class DeviceSigner:
    device: Device
    label: str

    def sign(self, data: bytes) -> bytes:
        return self.device.sign(self.label, data)


def _the_one(session: Any, pkcs11: Any, label: str, kind: Any) -> Any:
    found = list(session.get_objects({pkcs11.Attribute.LABEL: label, pkcs11.Attribute.CLASS: kind}))
    what = kind.name.lower().replace("_", " ")
    if not found:
        raise NotFound(f"The token has no {what} with the label {label!r}.", where="label")
    if len(found) > 1:
        raise Conflict(f"The token has {len(found)} {what}s with the label {label!r}; give one a label of its own.")
    return found[0]


def _library() -> Any:
    try:
        import pkcs11  # noqa: PLC0415 - an extra of the installation
        import pkcs11.util.ec  # noqa: PLC0415
    except ImportError:
        raise Unavailable(
            "Keys in a PKCS #11 token need python-pkcs11: install secguard[pkcs11].", code="no-pkcs11"
        ) from None
    return pkcs11
