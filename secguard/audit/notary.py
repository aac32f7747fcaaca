"""Who signs the audit log's checkpoints. Pure: the app that keeps keys lies above and registers itself here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from secguard.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Signer:
    """The key that signs now: its public part, and what makes a DER signature over some bytes with it."""

    public_pem: str
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that signs checkpoints, or did. ``until``: when it stopped; None while it signs."""

    public_pem: str
    fingerprint: str
    status: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Notary:
    """``signer`` gives the key that signs now, ``public_keys`` all there were, the newest first, and ``ask``
    has a worker make a checkpoint soon; it returns the job's id."""

    signer: Callable[[], Signer]
    public_keys: Callable[[], Sequence[PublicKey]]
    ask: Callable[[], int]


_notaries: list[Notary] = []


def register(notary: Notary) -> None:
    """Has ``notary`` sign from now on. Called once, in an ``AppConfig.ready``."""
    _notaries[:] = [notary]


def notary() -> Notary:
    """The one that is registered; ``Unavailable`` where none is."""
    if not _notaries:
        raise Unavailable("Nothing here signs the audit log's checkpoints.", code="no-notary")
    return _notaries[0]
