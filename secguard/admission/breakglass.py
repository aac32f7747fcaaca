"""Break-glass: one start of one digest that is refused, asked for by one person and granted by another. Pure.

It is single-use, for one digest in one namespace, and ends some minutes after it was granted. Whoever looks afterwards
says what came of it: a use stays open until then.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from secguard.errors import Conflict, Invalid
from secguard.images.reference import is_digest

MAX_MINUTES: Final = 240
MIN_REASON: Final = 10


class GlassStatus(StrEnum):
    REQUESTED = "requested"
    GRANTED = "granted"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    USED = "used"
    REVIEWED = "reviewed"


class GlassEvent(StrEnum):
    GRANT = "grant"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    USE = "use"
    REVIEW = "review"


TRANSITIONS: Final[dict[tuple[GlassStatus, GlassEvent], GlassStatus]] = {
    (GlassStatus.REQUESTED, GlassEvent.GRANT): GlassStatus.GRANTED,
    (GlassStatus.REQUESTED, GlassEvent.REFUSE): GlassStatus.REFUSED,
    (GlassStatus.REQUESTED, GlassEvent.WITHDRAW): GlassStatus.WITHDRAWN,
    (GlassStatus.GRANTED, GlassEvent.WITHDRAW): GlassStatus.WITHDRAWN,
    (GlassStatus.GRANTED, GlassEvent.USE): GlassStatus.USED,
    (GlassStatus.USED, GlassEvent.REVIEW): GlassStatus.REVIEWED,
}
OPEN: Final = (GlassStatus.REQUESTED, GlassStatus.USED)
"""What waits for a person: an answer, or a review."""


def after(status: str, event: GlassEvent) -> GlassStatus:
    """The status after ``event``; raises ``Conflict`` naming the status found."""
    try:
        return TRANSITIONS[(GlassStatus(status), event)]
    except KeyError:
        raise Conflict(f"This break-glass is {status}; you cannot {event} it now.", code="break-glass-state") from None


def check(namespace: str, digest: str, minutes: int, reason: str) -> None:
    """Raises ``Invalid`` with the place for a request that says too little, or asks for too much."""
    if not namespace or len(namespace) > 63:
        raise Invalid("Name the namespace in which it is to start, in at most 63 characters.", where="namespace")
    if not is_digest(digest):
        raise Invalid(f"{digest[:80]!r} is no digest; expected sha256:<64 hex digits>.", where="digest")
    if not 1 <= minutes <= MAX_MINUTES:
        raise Invalid(f"{minutes} minutes; expected 1 to {MAX_MINUTES}.", where="minutes")
    if len(reason.strip()) < MIN_REASON:
        raise Invalid(f"Say in at least {MIN_REASON} characters why it cannot wait.", where="reason")
