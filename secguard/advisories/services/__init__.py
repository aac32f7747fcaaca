"""Flaws and what the world says of them: named, taken in, and everybody who depends on it is told."""

from secguard.advisories.services.fetching import (
    DUE,
    FETCH,
    edit_feed,
    enqueue_due,
    ensure_defaults,
    fetch,
    fetch_failed,
    request_fetch,
)
from secguard.advisories.services.flaws import EPSS_NEWS, KEV, known_flaws, merge, resolve
from secguard.advisories.services.following import (
    ADVISORIES_CHANGED,
    DECIDED_BY_OTHERS,
    FACTS_CHANGED,
    ON_MERGE,
    Changes,
)
from secguard.advisories.services.importing import IMPORT, failed, folder, request_import, take_in, work

__all__ = [
    "ADVISORIES_CHANGED",
    "DECIDED_BY_OTHERS",
    "DUE",
    "EPSS_NEWS",
    "FACTS_CHANGED",
    "FETCH",
    "IMPORT",
    "KEV",
    "ON_MERGE",
    "Changes",
    "edit_feed",
    "enqueue_due",
    "ensure_defaults",
    "failed",
    "fetch",
    "fetch_failed",
    "folder",
    "known_flaws",
    "merge",
    "request_fetch",
    "request_import",
    "resolve",
    "take_in",
    "work",
]
