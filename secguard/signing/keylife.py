"""A signing key's life: its states, and whose signatures count at an instant. Pure: time is an argument.

active     signs; what it signed counts
retiring   signs no more; what it signed counts until the overlap ends, so that images can be signed anew
retired    signs no more, and nothing that it signed counts
revoked    the same, at once and for good: somebody else may have had it
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from secguard.errors import Conflict

AUDIT_LINE = "audit-log"
"""The line of keys that signs the audit log's checkpoints, and nothing else."""


class KeyStatus(StrEnum):
    ACTIVE = "active"
    RETIRING = "retiring"
    RETIRED = "retired"
    REVOKED = "revoked"


class KeyEvent(StrEnum):
    ROTATE = "rotate"
    RETIRE = "retire"
    REVOKE = "revoke"


class Provider(StrEnum):
    """Where a private key is: in the database, sealed, or in a device that never gives it out."""

    LOCAL = "local"
    PKCS11 = "pkcs11"


class TrustStatus(StrEnum):
    """Of somebody else's key."""

    TRUSTED = "trusted"
    WITHDRAWN = "withdrawn"


TRANSITIONS: dict[tuple[KeyStatus, KeyEvent], KeyStatus] = {
    (KeyStatus.ACTIVE, KeyEvent.ROTATE): KeyStatus.RETIRING,
    (KeyStatus.ACTIVE, KeyEvent.RETIRE): KeyStatus.RETIRED,
    (KeyStatus.RETIRING, KeyEvent.RETIRE): KeyStatus.RETIRED,
    (KeyStatus.ACTIVE, KeyEvent.REVOKE): KeyStatus.REVOKED,
    (KeyStatus.RETIRING, KeyEvent.REVOKE): KeyStatus.REVOKED,
    (KeyStatus.RETIRED, KeyEvent.REVOKE): KeyStatus.REVOKED,
}


def target(status: KeyStatus, event: KeyEvent) -> KeyStatus:
    """The state after ``event``; ``Conflict`` naming the state found where there is no such step."""
    found = TRANSITIONS.get((status, event))
    if found is None:
        allowed = " or ".join(source for source, what in TRANSITIONS if what == event)
        raise Conflict(f"The key is {status}; only one that is {allowed} can be made to {event}.", code="key-state")
    return found


def at(status: KeyStatus, counts_until: datetime | None, now: datetime) -> KeyStatus:
    """The state at ``now``: an overlap that has ended needs no worker to end it."""
    if status == KeyStatus.RETIRING and counts_until is not None and counts_until <= now:
        return KeyStatus.RETIRED
    return status


def counts(status: KeyStatus, counts_until: datetime | None, now: datetime) -> bool:
    """Whether what the key signed counts at ``now``."""
    return at(status, counts_until, now) in (KeyStatus.ACTIVE, KeyStatus.RETIRING)
