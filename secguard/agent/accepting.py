"""Which snapshot an agent takes: signed by a key it was given, for its own token, not from the future, never an older
one than it has. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from secguard.admission.snapshot import MAX_SKEW, PAYLOAD_TYPE, Snapshot, decode, holder_of
from secguard.errors import Conflict, Invalid
from secguard.signing import dsse, ecdsa

_BEGIN = "-----BEGIN PUBLIC KEY-----"
MAX_KEYS = 16


def keys_of(pem: str) -> tuple[ecdsa.PublicKey, ...]:
    """The public keys of a PEM file: the one that signs and, during an overlap, those it took over from. Raises
    ``Invalid`` where it holds none, or something else."""
    blocks = [_BEGIN + rest for rest in pem.split(_BEGIN)[1:]]
    if not blocks or len(blocks) > MAX_KEYS:
        raise Invalid(
            f"The file of public keys holds {len(blocks) or 'none'}; expected 1 to {MAX_KEYS}, as secguard keys public "
            "NAME prints them.",
            code="bad-public-key",
        )
    return tuple(ecdsa.load_public(block) for block in blocks)


def accept(
    raw: bytes, keys: Sequence[ecdsa.PublicKey], token: str, now: datetime, *, have: Snapshot | None = None
) -> Snapshot:
    """The snapshot in an envelope. Raises ``Invalid`` (``TooLarge``) for one that is not to be used, and ``Conflict``
    for one that is older than ``have``; the words say which of it."""
    envelope = dsse.decode(raw)
    dsse.require_type(envelope, PAYLOAD_TYPE)
    if not envelope.signers(keys):
        raise Invalid(
            "The snapshot is signed by none of the keys in the file of public keys: it was altered on its way, or the "
            "server signs with another key (secguard keys public NAME).",
            code="snapshot-signature",
        )
    taken = decode(envelope.payload)
    head = taken.head
    if not head.holder or head.holder != holder_of(hashlib.sha256(token.encode()).hexdigest()):
        raise Invalid(
            f"The snapshot is for the cluster {head.cluster[:100]!r} and another token than this agent's: it is "
            "another cluster's, or this one's before its token was renewed.",
            code="snapshot-holder",
        )
    if head.made_at > now + MAX_SKEW:
        raise Invalid(
            f"The snapshot was made at {head.made_at:%Y-%m-%d %H:%M:%S} UTC, and here it is {now:%Y-%m-%d %H:%M:%S}: "
            "one of the two clocks is wrong.",
            code="snapshot-future",
        )
    if have is not None and head.made_at < have.head.made_at:
        raise Conflict(
            f"The snapshot was made at {head.made_at:%Y-%m-%d %H:%M:%S} UTC, before the one that is held "
            f"({have.head.made_at:%Y-%m-%d %H:%M:%S}); the newer one stays.",
            code="snapshot-older",
        )
    return taken
