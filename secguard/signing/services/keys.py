"""Keys of ours: made here, imported, or in a PKCS #11 token; rotated with an overlap, retired, revoked.

A private key leaves this module only into the signature that it makes: no error, audit entry or log line has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound, Unavailable
from secguard.sealing import seal, unseal
from secguard.signing import ecdsa, keylife
from secguard.signing.adapters.signers import Device, DeviceSigner, LocalSigner, Signer
from secguard.signing.keylife import KeyEvent, KeyStatus, Provider, TrustStatus
from secguard.signing.models import SigningKey, TrustedKey

SEALED_FOR = "signing-key"
OVERLAP_DAYS = 90
MAX_OVERLAP_DAYS = 3650
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class NewKey:
    """Where a key comes from: made by the provider, or imported (local), or in the token under ``label`` already."""

    provider: Provider = Provider.LOCAL
    private_pem: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    label: str = ""

    def columns(self, name: str) -> dict[str, object]:
        """The row's columns; makes the key where it is to be made. Raises ``Invalid``, ``Unavailable``."""
        if self.provider == Provider.PKCS11:
            if self.private_pem:
                raise Invalid(
                    "A key is imported into a token by the token's own tools; then name its label here.",
                    where="private_key",
                )
            label, public = (self.label, _device().public(self.label)) if self.label else _device().generate(name)
            return _public(public) | {"label": label, "is_imported": bool(self.label)}
        if self.label:
            raise Invalid("A label is for keys in a PKCS #11 token (provider pkcs11).", where="label")
        key = ecdsa.load_private(self.private_pem, self.password) if self.private_pem else ecdsa.generate()
        sealed = seal(key.pem, keys=[settings.SECRET_KEY], purpose=SEALED_FOR)
        return _public(key.public) | {"sealed_private": sealed, "is_imported": bool(self.private_pem)}


def create_key(name: str, new: NewKey, *, actor: User | None) -> SigningKey:
    """A new line of keys, with its first. Needs signing-key:manage in the whole organisation.

    Raises ``Conflict`` where a line of that name has a key that signs, or the key is known here already.
    """
    require(actor, Permission.SIGNING_KEY_MANAGE)
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"{name[:80]!r} is no name of a key; expected lower-case letters, digits and '-', at most 63.", where="name"
        )
    if SigningKey.objects.filter(name=name, status=KeyStatus.ACTIVE).exists():
        raise Conflict(f"A key {name!r} signs already; rotate it.", code="key-exists")
    if TrustedKey.objects.filter(name=name, status=TrustStatus.TRUSTED).exists():
        raise Conflict(f"A trusted key is called {name!r}; choose another name for ours.", code="name-taken")
    columns = new.columns(name)  # before the transaction: a device takes its time
    with transaction.atomic():
        made = _insert(name, new, columns, actor)
        _record(Action.SIGNING_KEY_CREATE, made, actor, _origin(made))
    return made


def rotate_key(
    key_id: int, new: NewKey | None = None, *, overlap_days: int = OVERLAP_DAYS, actor: User | None
) -> SigningKey:
    """Put a new key in the place of one that signs (by default one that the same provider makes); returns the new one.

    What the old one signed counts for ``overlap_days`` more (0: no longer), and its private part is erased at once.
    Raises ``NotFound``, and ``Conflict`` where the key does not sign.
    """
    require(actor, Permission.SIGNING_KEY_MANAGE)
    if not 0 <= overlap_days <= MAX_OVERLAP_DAYS:
        raise Invalid(f"The overlap is {overlap_days} days; expected 0 to {MAX_OVERLAP_DAYS}.", where="overlap_days")
    old = _existing(key_id)
    keylife.target(old.current_status, KeyEvent.ROTATE)  # before anything is made for nothing
    new = new or NewKey(Provider(old.provider))
    columns = new.columns(old.name)
    with transaction.atomic():
        now, old = timezone.now(), _locked(key_id)
        old.status = keylife.target(old.status_at(now), KeyEvent.ROTATE)
        old.sealed_private, old.counts_until = "", now + timedelta(days=overlap_days)
        old.save(update_fields=["status", "sealed_private", "counts_until"])
        made = _insert(old.name, new, columns, actor)
        told = {"from": old.fingerprint, "counts_until": old.counts_until.isoformat()}
        _record(Action.SIGNING_KEY_ROTATE, made, actor, told | _origin(made))
    return made


def retire_key(key_id: int, reason: str = "", *, actor: User | None) -> SigningKey:
    """Nothing that the key signed counts from now on, without a word against it."""
    return _end(key_id, KeyEvent.RETIRE, reason, Action.SIGNING_KEY_RETIRE, actor)


def revoke_key(key_id: int, reason: str, *, actor: User | None) -> SigningKey:
    """Nothing that the key ever signed counts, at once and for good. Needs a reason."""
    if not reason.strip():
        raise Invalid("Say why the key is revoked: who meets a refused image reads it.", where="reason")
    return _end(key_id, KeyEvent.REVOKE, reason, Action.SIGNING_KEY_REVOKE, actor)


def sign(key: SigningKey, data: bytes) -> bytes:
    """A DER signature over ``data``, checked against the key's public part before anybody sees it.

    Raises ``Conflict`` where the key does not sign any more, and ``Unavailable`` where its private part cannot be had.
    """
    signature = _signer(require_signing(key)).sign(data)
    if not ecdsa.load_public(key.public_pem).verifies(signature, data):
        raise Unavailable(
            f"The signature of the key {key.name!r} does not verify by its own public key: its private part is "
            "another's, or was damaged. It is not used.",
            code="key-damaged",
        )
    return signature


def require_signing(key: SigningKey) -> SigningKey:
    """The key's row as it is now; raises ``Conflict`` where it signs no more, whatever the caller's copy says."""
    now = _existing(key.pk)
    if now.status != KeyStatus.ACTIVE:
        raise Conflict(f"The key {now.name!r} is {now.current_status}; it signs no more.", code="key-state")
    return now


def _signer(key: SigningKey) -> Signer:
    if key.provider == Provider.PKCS11:
        return DeviceSigner(_device(), key.label)
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return LocalSigner(ecdsa.load_private(unseal(key.sealed_private, keys=keys, purpose=SEALED_FOR)))


def _device() -> Device:
    return Device(settings.PKCS11_MODULE, settings.PKCS11_TOKEN, settings.PKCS11_PIN)


@transaction.atomic
def _end(key_id: int, event: KeyEvent, reason: str, action: Action, actor: User | None) -> SigningKey:
    require(actor, Permission.SIGNING_KEY_MANAGE)
    now, key = timezone.now(), _locked(key_id)
    key.status = keylife.target(key.status_at(now), event)
    key.sealed_private, key.ended_at, key.reason = "", now, reason.strip()[:500]
    key.save(update_fields=["status", "sealed_private", "ended_at", "reason"])
    _record(action, key, actor, {"reason": key.reason})
    return key


def _insert(name: str, new: NewKey, columns: dict[str, object], actor: User | None) -> SigningKey:
    if SigningKey.objects.filter(fingerprint=columns["fingerprint"]).exists():
        raise Conflict(
            f"This key ({columns['fingerprint']}) is or was known here; a key is used once. Make a new one.",
            code="key-known",
        )
    try:
        with transaction.atomic():
            return SigningKey.objects.create(name=name, provider=new.provider, created_by=actor, **columns)
    except IntegrityError:
        raise Conflict(f"A key {name!r} was made at the same time; look again.", code="key-exists") from None


def _public(key: ecdsa.PublicKey) -> dict[str, object]:
    return {"public_pem": key.pem, "fingerprint": key.fingerprint}


def _existing(key_id: int) -> SigningKey:
    found = SigningKey.objects.filter(pk=key_id).first()
    if found is None:
        raise NotFound(f"There is no signing key {key_id}.")
    return found


def _locked(key_id: int) -> SigningKey:
    found = SigningKey.objects.select_for_update().filter(pk=key_id).first()
    if found is None:
        raise NotFound(f"There is no signing key {key_id}.")
    return found


def _origin(key: SigningKey) -> dict[str, object]:
    return {"provider": key.provider, "imported": key.is_imported}


def _record(action: Action, key: SigningKey, actor: User | None, details: dict[str, object]) -> None:
    record(
        action,
        actor=actor,
        subject_type="signing-key",
        subject_id=key.pk,
        subject=key.name,
        details={"fingerprint": key.fingerprint, **details},
    )
