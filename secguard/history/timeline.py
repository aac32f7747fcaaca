"""An image's timeline: what happened to it, newest first, and the place where a page of it ends."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

MAX_CURSOR = 200


class Kind(StrEnum):
    SEEN = "seen"
    SCANNED = "scanned"
    FOUND = "found"
    JUDGED = "judged"
    ASKED = "asked"
    VOTED = "voted"
    DECIDED = "decided"
    SIGNED = "signed"
    PROMOTED = "promoted"
    ADMITTED = "admitted"
    RECALLED = "recalled"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event stands among all of them: by time, then by source, then by row. No two share one."""

    at: datetime
    rank: int
    row: int

    @property
    def order(self) -> tuple[datetime, int, int]:
        """Ascending is oldest first; of one instant, the sources follow each other from the highest rank down."""
        return (self.at, -self.rank, self.row)

    def encode(self) -> str:
        """Opaque to whoever pages."""
        text = f"{self.at.astimezone(UTC).isoformat()}|{self.rank}|{self.row}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(text: str) -> Place:
    """What ``encode`` wrote; raises ``ValueError`` for anything else."""
    if len(text) > MAX_CURSOR:
        raise ValueError("too long")
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("no base64 of text") from error
    moment, rank, row = raw.split("|")
    at = datetime.fromisoformat(moment)
    if at.tzinfo is None or not (rank.isascii() and rank.isdigit() and row.isascii() and row.isdigit()):
        raise ValueError("no place")
    if len(rank) > 3 or len(row) > 18:
        raise ValueError("no place")
    return Place(at, int(rank), int(row))


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, told by the names that were stored with it. ``link`` is a path here, or empty."""

    place: Place
    kind: Kind
    who: str
    words: str
    link: str = ""

    @property
    def at(self) -> datetime:
        return self.place.at


def newest_first(sources: Iterable[Iterable[Event]], limit: int) -> tuple[list[Event], Place | None]:
    """The first ``limit`` events of all sources, and the place after which the next page begins (none: the last).

    Each source brings at least one more than ``limit`` of its own newest, or all that it has.
    """
    events = sorted((e for source in sources for e in source), key=lambda e: e.place.order, reverse=True)
    page = events[:limit]
    return page, page[-1].place if len(events) > limit else None


def instant_of(text: str) -> datetime:
    """The instant that a person names in UTC: a date (its last moment), or a date with a time; or any with an offset.

    Raises ``ValueError`` for anything else.
    """
    bare = text.strip()
    at = datetime.fromisoformat(bare)
    if len(bare) == len("2026-01-31"):
        at = at.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
