"""Which transactions are matching an image that nobody else can see yet.

Whoever brings changed matches to images must not miss one that was matched to the advisories of a moment ago and is
committed a moment later. So a take-in holds a shared lock until its transaction ends, and ``wait`` returns once all
that held it when it was called have ended (as PostgreSQL's own CREATE INDEX CONCURRENTLY waits). Take-ins never wait
for it. SQLite has one writer at a time: there nothing is in flight.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from django.db import connection

_KEY = 0x5EC60A4E
"""The key of PostgreSQL's advisory lock."""
_HOLDERS = """
    SELECT virtualtransaction FROM pg_locks
    WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND classid = 0 AND objid = %s AND objsubid = 1 AND pid <> pg_backend_pid()
"""


def enter() -> None:
    """From now until this transaction ends it is in flight."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [_KEY])


def wait(waiting: Callable[[], None]) -> None:
    """Return once every transaction that is in flight now has ended; ``waiting`` is called while it goes on."""
    pause, left = 0.01, _holders()
    while left:
        waiting()
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)
        left &= _holders()


def _holders() -> set[str]:
    if connection.vendor != "postgresql":
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_HOLDERS, [_KEY])
        return {row[0] for row in cursor.fetchall()}
