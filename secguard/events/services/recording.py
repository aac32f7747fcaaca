"""Writing what happened into the store: once, in full or counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from secguard import bulk
from secguard.events import keeping
from secguard.events.keeping import At, Counted
from secguard.events.models import Event, Heard, Tally
from secguard.events.record import MAX_RULE, MAX_TITLE, Line, fitted

_ENCODER: Final = msgspec.json.Encoder()
_COLUMNS: Final = (
    "day", "at", "received_at", "kind", "source", "rule", "title", "severity", "outcome", "sensor_id", "cluster",
    "namespace", "workload", "host", "workload_id", "application_id", "team_id", "digest", "actor", "story", "ref",
    "detail", "count",
)  # fmt: skip
_TALLIED: Final = (
    "hour", "story", "kind", "source", "rule", "title", "severity", "outcome", "cluster", "namespace", "workload",
    "workload_id", "application_id", "team_id", "digest", "count", "first_at", "last_at",
)  # fmt: skip
_MORE: Final = "CASE WHEN excluded.{0} > events_tally.{0} THEN excluded.{0} ELSE events_tally.{0} END"
_LESS: Final = _MORE.replace(">", "<")
_ADDED: Final = f"""
    count = events_tally.count + excluded.count,
    severity = {_MORE.format("severity")},
    first_at = {_LESS.format("first_at")},
    last_at = {_MORE.format("last_at")}
"""


def record(lines: Iterable[Line], now: datetime) -> list[Line]:
    """Take lines in, inside the caller's transaction; returns those that were not heard before, in their order.

    A line whose fingerprint is known is passed over. The first few of a story in an hour, and those that say ``keep``,
    are kept in full; all are counted. A fixed number of statements, whatever their number.
    """
    fresh = _unheard(list(lines))
    if not fresh:
        return []
    before = _count(keeping.counted(fresh))
    bulk.insert(Event, _COLUMNS, (_row(line, now) for line in keeping.in_full(fresh, before)))
    return fresh


def _unheard(lines: Sequence[Line]) -> list[Line]:
    told: dict[UUID, date] = {}
    for line in lines:
        if line.fingerprint is not None:
            told.setdefault(line.fingerprint, line.at.astimezone(UTC).date())
    if not told:
        return list(lines)
    # What tells no time has the time at which it came: sent again past midnight it is of another day.
    days = set(told.values())
    former = {day - timedelta(days=1) for day in days} | days
    known = Heard.objects.filter(day__in=sorted(former), fingerprint__in=bulk.among(list(told)))
    heard = {_uuid(found) for found in known.values_list("fingerprint", flat=True)}
    rows = sorted(((day, f) for f, day in told.items() if f not in heard), key=lambda row: (row[0], row[1].int))
    inserted = bulk.merge(
        Heard,
        ("day", "fingerprint"),
        rows,
        unique=("day", "fingerprint"),
        returning=("fingerprint",),
    )
    new = {_uuid(found) for (found,) in inserted}
    fresh = []
    for line in lines:
        if line.fingerprint is None:
            fresh.append(line)
        elif line.fingerprint in new:
            new.discard(line.fingerprint)
            fresh.append(line)
    return fresh


def _uuid(found: Any) -> UUID:
    return found if isinstance(found, UUID) else UUID(hex=str(found))


def _count(found: Mapping[At, Counted]) -> dict[At, int]:
    """Add to the tallies; returns how often each story had come in its hour before that."""
    rows = [_tallied(at, told) for at, told in found.items()]
    merged = bulk.merge(
        Tally, _TALLIED, rows, unique=("story", "hour"), settings=_ADDED, returning=("hour", "story", "count")
    )
    told = {(at.hour.astimezone(UTC), at.story): at for at in found}
    keys = [(told[_moment(hour), story], count) for hour, story, count in merged]
    return {at: count - found[at].count for at, count in keys}


def _moment(found: Any) -> datetime:
    """A time as the driver gives it: SQLite's has no zone, and is in UTC."""
    at = found if isinstance(found, datetime) else datetime.fromisoformat(str(found))
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def _tallied(at: At, told: Counted) -> tuple[Any, ...]:
    line = told.line
    return (
        at.hour, at.story, line.kind.value, fitted(line.source, 64), fitted(line.rule, MAX_RULE),
        fitted(line.title, MAX_TITLE), int(line.severity), line.outcome[:16], fitted(line.cluster, 100),
        fitted(line.namespace, 253), fitted(line.workload, 253), line.workload_id, line.application_id, line.team_id,
        line.digest[:135], told.count, told.first_at, told.last_at,
    )  # fmt: skip


def _row(line: Line, now: datetime) -> tuple[Any, ...]:
    return (
        line.at.astimezone(UTC).date(), line.at, now, line.kind.value, fitted(line.source, 64),
        fitted(line.rule, MAX_RULE), fitted(line.title, MAX_TITLE), int(line.severity), line.outcome[:16],
        line.sensor_id, fitted(line.cluster, 100), fitted(line.namespace, 253), fitted(line.workload, 253),
        fitted(line.host, 253), line.workload_id, line.application_id, line.team_id, line.digest[:135],
        fitted(line.actor, 200), line.story, line.ref[:80], _detail(line.detail), line.count,
    )  # fmt: skip


def _detail(value: Mapping[str, Any]) -> Any:
    """JSON that both databases keep, written once: most has nothing to mend."""
    try:
        written = _ENCODER.encode(value)
    except UnicodeEncodeError:
        written = b""
    return msgspec.Raw(written) if written and rb"\u0000" not in written else storable(value)


def storable(value: Any) -> Any:
    """The value without NUL, and with no half of a surrogate pair."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {storable(str(k)): storable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [storable(v) for v in value]
    return value
