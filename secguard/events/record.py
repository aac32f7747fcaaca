"""What happened, in one form for every source: the log of what people do, gates, admissions, sensors. Pure.

A :class:`Line` is what a source tells; the store keeps it in full or counts it under its ``story``
(:mod:`~secguard.events.keeping`).
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from msgspec import Struct

from secguard.findings.severity import Severity


class Kind(StrEnum):
    """What an event is about. The first four are of the product's own; the others are what sensors saw."""

    AUDIT = "audit"
    GATE = "gate"
    ADMISSION = "admission"
    PROMOTION = "promotion"
    PROCESS = "process"
    FILE = "file"
    NETWORK = "network"
    MALWARE = "malware"
    LOG_GROWTH = "log-growth"
    API_AUDIT = "api-audit"
    FLOW = "flow"
    OTHER = "other"


OWN: Final = frozenset({Kind.AUDIT, Kind.GATE, Kind.ADMISSION, Kind.PROMOTION})
SENSED: Final = frozenset(Kind) - OWN

MAX_TITLE: Final = 300
MAX_RULE: Final = 200
EARLIEST: Final = timedelta(days=7)
"""How long after it happened an event may arrive: longer ago is a wrong clock, or a backlog that nobody needs."""
LATEST: Final = timedelta(minutes=5)
"""How far a sensor's clock may be ahead."""


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened. Empty text and ``None``: not known."""

    kind: Kind
    source: str
    """Whose word it is: ``falco``, ``hubble``, ``secguard``."""
    title: str
    at: datetime
    """When it happened, aware."""
    story: str
    """What it is counted under: the same for what repeats (see :func:`story_of`)."""
    rule: str = ""
    severity: int = Severity.UNKNOWN
    outcome: str = ""
    sensor_id: int | None = None
    cluster: str = ""
    namespace: str = ""
    workload: str = ""
    host: str = ""
    workload_id: int | None = None
    application_id: int | None = None
    team_id: int | None = None
    digest: str = ""
    actor: str = ""
    fingerprint: UUID | None = None
    """The same for the same event told again; ``None``: it is never told again."""
    ref: str = ""
    """``kind:id`` of the row that it tells of: ``evaluation:12``."""
    detail: dict[str, Any] = {}
    count: int = 1
    keep: bool = False
    """It is kept in full, however often the like of it comes."""


def fitted(text: str, most: int) -> str:
    """The text as every database keeps it: PostgreSQL has no NUL in texts, and counts characters."""
    return text.replace("\0", "")[:most]


def story_of(*parts: object) -> str:
    """32 characters that are the same for the same parts."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:32]


def fingerprint_of(*parts: object) -> UUID:
    return UUID(bytes=hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:16])


def moment(told: datetime | None, received: datetime) -> tuple[datetime, str]:
    """When something happened as far as it can be believed, and what is wrong with the time told ("" for nothing).

    A time that is more than ``LATEST`` ahead of ours or more than ``EARLIEST`` ago is replaced by when it arrived.
    """
    if told is None:
        return received, "no time was told"
    told = told.astimezone(UTC)
    if told > received + LATEST:
        return received, f"its clock is {_words(told - received)} ahead"
    if told < received - EARLIEST:
        return received, f"it is told {_words(received - told)} late"
    return min(told, received), ""


def _words(span: timedelta) -> str:
    seconds = int(span.total_seconds())
    for name, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size:,} {name}"
    return f"{seconds} seconds"
