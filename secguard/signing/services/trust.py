"""Other people's keys: whose signatures count, and in which repositories."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard import patterns
from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.errors import Conflict, Invalid, NotFound
from secguard.signing import ecdsa
from secguard.signing.keylife import TrustStatus
from secguard.signing.models import SigningKey, TrustedKey

_MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose key, for which repositories, until when (None: no end)."""

    name: str
    public_key: str
    repositories: str
    valid_until: datetime | None = None


@transaction.atomic
def trust_key(trust: Trust, *, actor: User | None) -> TrustedKey:
    """Let what a key signed count. Needs signing-key:manage in the whole organisation.

    Raises ``Invalid`` for a key, pattern or end that is none, and ``Conflict`` where that is trusted already.
    """
    require(actor, Permission.SIGNING_KEY_MANAGE)
    name, pattern, key = trust.name.strip(), patterns.check(trust.repositories), ecdsa.load_public(trust.public_key)
    if not name or len(name) > _MAX_NAME:
        raise Invalid(f"Say whose key it is, in 1 to {_MAX_NAME} characters.", where="name")
    if SigningKey.objects.filter(name=name).exists():
        raise Conflict(
            f"A key of ours is called {name!r}: a cluster that wants its signature would take theirs. Choose another.",
            code="name-taken",
            where="name",
        )
    if trust.valid_until is not None and trust.valid_until <= timezone.now():
        raise Invalid("The end of the trust has passed; enter a later one, or none.", where="valid_until")
    try:
        with transaction.atomic():
            made = TrustedKey.objects.create(
                name=name,
                fingerprint=key.fingerprint,
                public_pem=key.pem,
                repositories=pattern,
                valid_until=trust.valid_until,
                created_by=actor,
            )
    except IntegrityError:
        raise Conflict(
            f"The key {key.fingerprint} is trusted for {pattern} already; withdraw that first.", code="trusted-already"
        ) from None
    until = trust.valid_until.isoformat() if trust.valid_until else ""
    _record(Action.TRUSTED_KEY_CREATE, made, actor, {"repositories": pattern, "valid_until": until})
    return made


@transaction.atomic
def withdraw_trust(trusted_id: int, reason: str, *, actor: User | None) -> TrustedKey:
    """What the key signed counts no more. Needs a reason; raises ``NotFound``, ``Conflict`` where it is withdrawn."""
    require(actor, Permission.SIGNING_KEY_MANAGE)
    if not reason.strip():
        raise Invalid("Say why the trust is withdrawn: who meets a refused image reads it.", where="reason")
    found = TrustedKey.objects.select_for_update().filter(pk=trusted_id).first()
    if found is None:
        raise NotFound(f"There is no trusted key {trusted_id}.")
    if found.status != TrustStatus.TRUSTED:
        raise Conflict(f"The trust in {found.name!r} is {found.status}.", code="trust-state")
    found.status, found.withdrawn_at, found.reason = TrustStatus.WITHDRAWN, timezone.now(), reason.strip()[:500]
    found.save(update_fields=["status", "withdrawn_at", "reason"])
    _record(Action.TRUSTED_KEY_WITHDRAW, found, actor, {"reason": found.reason})
    return found


def _record(action: Action, key: TrustedKey, actor: User | None, details: dict[str, object]) -> None:
    record(
        action,
        actor=actor,
        subject_type="trusted-key",
        subject_id=key.pk,
        subject=key.name,
        details={"fingerprint": key.fingerprint, **details},
    )
