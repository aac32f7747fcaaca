"""What a source says of a flaw, and the names it gives it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class Named:
    """What one report says of one flaw."""

    canonical: str
    names: set[str]
    title: str = ""
    description: str = ""
    references: tuple[str, ...] = ()
    cvss_score: float | None = None
    cvss_vector: str = ""
    epss: float | None = None
    known_exploited: bool = False
    published_at: datetime | None = None
    source: str = ""
