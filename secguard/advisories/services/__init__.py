"""Flaws and what the world says of them: named, taken in, and everybody who depends on it is told."""

from secguard.advisories.services.flaws import EPSS_NEWS, KEV, known_flaws, merge, resolve
from secguard.advisories.services.following import (
    ADVISORIES_CHANGED,
    DECIDED_BY_OTHERS,
    FACTS_CHANGED,
    ON_MERGE,
    Changes,
)

__all__ = [
    "ADVISORIES_CHANGED",
    "DECIDED_BY_OTHERS",
    "EPSS_NEWS",
    "FACTS_CHANGED",
    "KEV",
    "ON_MERGE",
    "Changes",
    "known_flaws",
    "merge",
    "resolve",
]
