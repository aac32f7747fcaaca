"""Reading the product's own sources into the store: each from where it was read to, exactly once."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.utils import timezone

from secguard.events import sources
from secguard.events.models import Position
from secguard.events.services.recording import record
from secguard.events.sources import Pull

log = structlog.get_logger(__name__)

COLLECT: Final = "events.collect"
LIMIT: Final = 2_000
"""Lines of one source in one transaction, about."""
ROUNDS: Final = 5
"""Transactions for one source in one run: the next run goes on where this one stopped."""


def collect(now: datetime | None = None) -> dict[str, int]:
    """Read every source; returns how many new lines each had. A source that fails stops no other."""
    now, found = now or timezone.now(), {}
    for name, pull in sources.registered():
        try:
            found[name] = _collect(name, pull, now)
        except (OperationalError, InterfaceError):  # the database's fault, and no source's: the job is tried again
            raise
        except Exception:
            log.exception("events.source_failed", source=name)
    return found


def _collect(name: str, pull: Pull, now: datetime) -> int:
    new = 0
    for _ in range(ROUNDS):
        pulled, fresh = _one_round(name, pull, now)
        new += fresh
        if pulled < LIMIT:
            break
    return new


@transaction.atomic
def _one_round(name: str, pull: Pull, now: datetime) -> tuple[int, int]:
    """(lines that were read, those of them that were new); nothing where somebody else reads this source now."""
    Position.objects.get_or_create(source=name)
    position = Position.objects.select_for_update(skip_locked=True).filter(source=name).first()
    if position is None:
        return 0, 0
    lines, after = pull(position.after, LIMIT, now)
    fresh = record(lines, now)
    if after != position.after:
        position.after, position.at = after, now
        position.save(update_fields=["after", "at"])
    return len(lines), len(fresh)
