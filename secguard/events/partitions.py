"""Partitions of the event store on PostgreSQL: made ahead, dropped whole, measured. Elsewhere rows are deleted.

``events_event`` branches by kind and then by day, ``events_heard`` by day. Each branch has a default partition, so that
a row is never refused for its day; what got in there is moved when the day's own is made. A partition is built beside
its branch and attached: that locks no reader and no writer but those of the default one (PostgreSQL 15, 5.11.2.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Final, NamedTuple

from django.db import OperationalError, connection, transaction
from django.db.models import Count, Sum
from django.db.models.functions import Length

from secguard.events.models import Event, Heard
from secguard.events.record import Kind

AHEAD: Final = 7
BEHIND: Final = 7
_DAY: Final = re.compile(r"_(\d{4})(\d\d)(\d\d)$")
_AT_ONCE: Final = 20_000
_ROW_BYTES: Final = 400
"""What a row takes beside its detail, about: columns, and its places in six indexes."""


class Size(NamedTuple):
    """``is_exact``: measured by the database; else reckoned from the length of what is written."""

    rows: int
    bytes: int
    is_exact: bool


def is_partitioned() -> bool:
    return connection.vendor == "postgresql"


def branch_of(kind: Kind) -> str:
    return f"{Event._meta.db_table}_{kind.value.replace('-', '_')}"


def ensure(today: date) -> int:
    """Make the partitions of the days around ``today`` that are missing; returns how many. Not inside a transaction."""
    if not is_partitioned():
        return 0
    made = 0
    for branch in (*map(branch_of, Kind), Heard._meta.db_table):
        have = {day for _, day in _days_of(branch)}
        for offset in range(-BEHIND, AHEAD + 1):
            day = today + timedelta(days=offset)
            if day not in have:
                _make(branch, day)
                made += 1
    return made


def _make(branch: str, day: date) -> None:
    # Names are of a closed list and days are dates: nothing here was ever told by anybody.
    name, ends = f"{branch}_{day:%Y%m%d}", day + timedelta(days=1)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '10s'")
        cursor.execute(f"CREATE TABLE {name} (LIKE {branch} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)")
        cursor.execute(
            f"WITH moved AS (DELETE FROM {branch}_default WHERE day = %s RETURNING *) "  # noqa: S608
            f"INSERT INTO {name} SELECT * FROM moved",
            [day],
        )
        cursor.execute(f"ALTER TABLE {branch} ATTACH PARTITION {name} FOR VALUES FROM ('{day}') TO ('{ends}')")


def drop_before(kind: Kind, day: date) -> int:
    """Drop what is older than ``day``: whole partitions (PostgreSQL), else rows; returns how many of them.

    A partition that somebody reads at this moment stays until the next time: who waits for it keeps others waiting.
    """
    if is_partitioned():
        return _drop(branch_of(kind), day)
    return _delete(Event.objects.filter(kind=kind, day__lt=day))


def drop_heard_before(day: date) -> int:
    return _drop(Heard._meta.db_table, day) if is_partitioned() else _delete(Heard.objects.filter(day__lt=day))


def _drop(branch: str, before: date) -> int:
    dropped = 0
    for name, day in _days_of(branch):
        if day >= before:
            continue
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET LOCAL lock_timeout = '1s'")
                cursor.execute(f"DROP TABLE {name}")
        except OperationalError:
            break  # who reads one holds the branch as well: each further try would keep others waiting for nothing
        dropped += 1
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {branch}_default WHERE day < %s", [before])  # noqa: S608
    return dropped


def drop_empty_before(kind: Kind, day: date) -> int:
    """Drop partitions older than ``day`` that nothing came into: each costs a lock in every query over its day."""
    if not is_partitioned():
        return 0
    dropped = 0
    for name, found in _days_of(branch_of(kind)):
        if found >= day:
            continue
        try:
            dropped += _drop_empty(name)
        except OperationalError:
            break
    return dropped


def _drop_empty(name: str) -> bool:
    """Raises ``OperationalError`` where somebody reads it, or its branch, at this moment."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '1s'")
        if _has_rows(name):
            return False
        cursor.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
        if _has_rows(name):  # it came meanwhile
            return False
        cursor.execute(f"DROP TABLE {name}")
    return True


def _has_rows(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT EXISTS (SELECT FROM {name})")  # noqa: S608
        return bool(cursor.fetchone()[0])


def _delete(rows: object) -> int:
    """In short transactions: SQLite's one writer must not be kept from others."""
    total = 0
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:_AT_ONCE]):  # type: ignore[attr-defined]
        total += rows.model.objects.filter(pk__gte=ids[0], pk__lte=ids[-1], pk__in=_same(rows)).delete()[0]  # type: ignore[attr-defined]
    return total


def _same(rows: object) -> object:
    return rows.order_by().values("pk")  # type: ignore[attr-defined]


def _days_of(branch: str) -> Iterator[tuple[str, date]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = %s::regclass ORDER BY c.relname",
            [branch],
        )
        names = [name for (name,) in cursor.fetchall()]
    for name in names:
        if found := _DAY.search(name):
            year, month, day = map(int, found.groups())
            yield name, date(year, month, day)


def sizes() -> dict[Kind, Size]:
    """What each kind takes now, its indexes included."""
    if is_partitioned():
        return {kind: _measured(branch_of(kind)) for kind in Kind}
    rows = Event.objects.order_by().values("kind").annotate(n=Count("pk"), told=Sum(Length("detail")))
    found = {r["kind"]: Size(r["n"], (r["told"] or 0) + r["n"] * _ROW_BYTES, False) for r in rows}
    return {kind: found.get(kind.value, Size(0, 0, False)) for kind in Kind}


def _measured(branch: str) -> Size:
    """Rows are those that PostgreSQL's own statistics count, bytes are those on disk."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT coalesce(sum(s.n_live_tup), 0), coalesce(sum(pg_total_relation_size(t.relid)), 0) "
            "FROM pg_partition_tree(%s) t LEFT JOIN pg_stat_all_tables s ON s.relid = t.relid WHERE t.isleaf",
            [branch],
        )
        rows, size = cursor.fetchone()
    return Size(int(rows), int(size), True)
