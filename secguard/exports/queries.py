"""Reading the event store in the order of its commits, and targets for pages and the API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from django.db import connection
from django.db.models import Q, QuerySet
from django.utils import timezone

from secguard.accounts.models import Application, Team, User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.errors import NotFound
from secguard.events.models import Event, EventQuerySet
from secguard.events.record import EARLIEST, OWN, SENSED, Kind, Line
from secguard.exports.item import Item
from secguard.exports.models import ExportTarget
from secguard.exports.targets import Audience, Cursor

WINDOW: Final = 5_000
"""Rows that one read passes at most, however few of them are wanted."""
COUNTED: Final = 10_000
"""Waiting events are counted up to here."""
BEGINNING: Final = Cursor(0, 0, date(2000, 1, 1))
_LAST_ID: Final = 10**18 - 1
_LATE: Final = EARLIEST + timedelta(days=1)
OWN_LATE: Final = timedelta(days=30)
_SETTLED: Final = """
    SELECT least(
        pg_snapshot_xmax(snapshot)::text::bigint,
        pg_current_xact_id_if_assigned()::text::bigint,
        (
            SELECT min(number::text::bigint) FROM pg_snapshot_xip(snapshot) AS number
            WHERE number::xid <> ALL (ARRAY(
                SELECT transactionid FROM pg_locks JOIN pg_stat_activity AS at USING (pid)
                WHERE locktype = 'transactionid' AND mode = 'ExclusiveLock' AND granted
                AND at.datid <> (SELECT oid FROM pg_database WHERE datname = current_database())
            ))
        )
    ) FROM pg_current_snapshot() AS snapshot
"""
"""Every transaction that has a number holds a lock on it; so those of the server's other databases are told apart."""


class Batch(NamedTuple):
    """``cursor``: up to where was read; ``more``: there was not room for all of it."""

    items: list[Item]
    cursor: Cursor
    more: bool


def is_transactional() -> bool:
    """Rows know their transaction. On SQLite there is one writer, and the order of numbers is that of commits."""
    return connection.vendor == "postgresql"


def now_cursor(now: datetime) -> Cursor:
    """After everything that is in the store now."""
    day = now.astimezone(UTC).date()
    if is_transactional():
        # What is under way now comes after it, with that transaction's number or a higher one.
        return Cursor(_first_unsettled() - 1, _LAST_ID, day)
    last = Event.objects.order_by("-id").values_list("id", flat=True).first()
    return Cursor(0, last or 0, day)


def is_ahead(cursor: Cursor) -> bool:
    """The cursor is after transactions that are still to come: the database was restored into another server."""
    if not is_transactional():
        return False
    with connection.cursor() as reader:
        reader.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return cursor.txid > int(reader.fetchone()[0])


def read(rows: EventQuerySet, cursor: Cursor, audience: Audience, limit: int, now: datetime) -> Batch:
    """The next events of ``rows`` after ``cursor`` that ``audience`` is told, in the order of their commits.

    A row of a transaction that is not finished has a number that may be lower than one that was read already. So only
    those are read whose transaction is older than every one that is still under way: nothing that will ever be
    committed sorts before them. A fixed number of queries, and at most ``WINDOW`` rows.
    """
    after = settled(_after(rows, cursor, audience.kinds)).order_by("txid", "id")
    passed = list(after.values_list("txid", "id")[:WINDOW])
    if not passed:
        return Batch([], cursor._replace(day=now.astimezone(UTC).date()), more=False)
    wanted = _up_to(after, *passed[-1]).filter(_wanted(audience))
    found = list(wanted[:limit])
    items = _items(found)
    if len(found) == limit and len(passed) > limit:
        return Batch(items, Cursor(found[-1].txid, found[-1].id, cursor.day), more=True)
    more = len(passed) == WINDOW
    day = cursor.day if more else now.astimezone(UTC).date()
    return Batch(items, Cursor(*passed[-1], day), more=more)


def settled(rows: EventQuerySet) -> EventQuerySet:
    """Those of transactions before which nothing comes any more."""
    return rows.filter(txid__lt=_first_unsettled()) if is_transactional() else rows


def _first_unsettled() -> int:
    """The number of the oldest transaction that can still write here, or of the next one (PostgreSQL
    manual, "Transaction ID and Snapshot Information Functions").

    Numbers are the whole server's. A long transaction of another database writes nothing here and holds up nothing; one
    that is not known to be another database's counts as this one's.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SETTLED)
        return int(cursor.fetchone()[0])


def _after(rows: EventQuerySet, cursor: Cursor, kinds: Iterable[str]) -> EventQuerySet:
    """Rows after the cursor; on PostgreSQL only the partitions are opened in which there can be any.

    Each partition that is opened costs a lock for each of its indexes, and a year has thousands. What a sensor tells is
    never dated before ``EARLIEST`` ago, and nothing is dated after it came. The product's own sources are read every
    few seconds: ``OWN_LATE`` is for one that was broken while everything else went on.
    """
    found = rows.filter(kind__in=sorted(kinds)) if kinds else rows
    if not is_transactional():
        return found.filter(id__gt=cursor.id)
    found = found.filter(day__lte=timezone.now().astimezone(UTC).date() + timedelta(days=1))
    if cursor.day > BEGINNING.day:
        own = Q(kind__in=sorted(OWN), day__gte=cursor.day - OWN_LATE)
        found = found.filter(own | Q(kind__in=sorted(SENSED), day__gte=cursor.day - _LATE))
    return found.filter(txid__gte=cursor.txid).exclude(txid=cursor.txid, id__lte=cursor.id)


def _up_to(rows: EventQuerySet, txid: int, number: int) -> EventQuerySet:
    if not is_transactional():
        return rows.filter(id__lte=number)
    return rows.filter(txid__lte=txid).exclude(txid=txid, id__gt=number)


def _wanted(audience: Audience) -> Q:
    """``Audience.wants``, asked of the database; its kinds are asked for elsewhere."""
    wanted = Q(severity__gte=audience.least_severity) if audience.least_severity else Q()
    if audience.is_wide:
        return wanted
    return wanted & (Q(team_id__in=sorted(audience.teams)) | Q(application_id__in=sorted(audience.applications)))


def waiting(cursor: Cursor, audience: Audience) -> tuple[int, datetime | None]:
    """How many events after the cursor the audience waits for (at most ``COUNTED``), and since when the first does.

    Of what is not for it there may be very much in between: past ``COUNTED`` rows nothing is looked at.
    """
    after = _after(Event.objects.all(), cursor, audience.kinds).order_by("txid", "id")
    columns = ("severity", "team_id", "application_id", "received_at")
    rows = [row for row in after.values_list(*columns)[:COUNTED] if _is_wanted(audience, *row[:3])]
    return len(rows), min((row[3] for row in rows), default=None)


def has_more(cursor: Cursor, audience: Audience) -> bool:
    """Whether anything came after the cursor, wanted or not."""
    return _after(Event.objects.all(), cursor, audience.kinds).exists()


def _is_wanted(audience: Audience, severity: int, team: int | None, application: int | None) -> bool:
    if severity < audience.least_severity:
        return False
    return audience.is_wide or team in audience.teams or application in audience.applications


def _items(rows: Sequence[Event]) -> list[Item]:
    """With the names of their teams and applications: two queries, however many."""
    teams = {row.team_id for row in rows if row.team_id}
    team_names = dict(Team.objects.filter(pk__in=teams).values_list("pk", "slug"))
    owners = {row.application_id for row in rows if row.application_id}
    owner_names = dict(Application.objects.filter(pk__in=owners).values_list("pk", "slug"))
    return [
        Item(
            id=row.id,
            line=line_of(row),
            received_at=row.received_at,
            team=team_names.get(row.team_id or 0, ""),
            application=owner_names.get(row.application_id or 0, ""),
        )
        for row in rows
    ]


_SAME: Final = (
    "source", "title", "at", "story", "rule", "severity", "outcome", "sensor_id", "cluster", "namespace", "workload",
    "host", "workload_id", "application_id", "team_id", "digest", "actor", "ref", "detail", "count",
)  # fmt: skip


def line_of(row: Event) -> Line:
    return Line(kind=Kind(row.kind), **{name: getattr(row, name) for name in _SAME})


def readable_by(user: User) -> EventQuerySet:
    """The events that a person may pull. Raises ``NotAllowed``."""
    require(user, Permission.EVENT_READ, anywhere=True)
    return Event.objects.visible_to(user)


def targets(user: User) -> QuerySet[ExportTarget]:
    """Those that ``user`` may set up. Raises ``NotAllowed``."""
    require(user, Permission.EXPORT_EDIT)
    rows = ExportTarget.objects.visible_to(user).select_related("created_by")
    return rows.prefetch_related("teams", "applications")


def find(user: User, target_id: int) -> ExportTarget:
    """The target, if ``user`` may set it up; else ``NotFound``."""
    found = targets(user).filter(pk=target_id).first()
    if found is None:
        raise NotFound(f"There is no export target {target_id}.")
    return found


def lag(target: ExportTarget, now: datetime) -> timedelta:
    """For how long the first event that waits has waited."""
    return max(now - target.waiting_since, timedelta(0)) if target.waiting_since else timedelta(0)
