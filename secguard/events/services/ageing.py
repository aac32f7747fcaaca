"""What ages out of the store, and what the store takes: safe to run again at any time."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Min
from django.utils import timezone

from secguard.events import keeping, partitions
from secguard.events.models import Event, Position, Retention, Stored, Tally
from secguard.events.record import Kind

AGE: Final = "events.age"
BOUNDED: Final = "age"
"""The position that says what went before its time, and when."""
_AT_ONCE: Final = 20_000


def days_kept() -> dict[Kind, int]:
    """For how many days raw detail of each kind is kept. One query."""
    said = dict(Retention.objects.values_list("kind", "days"))
    return {kind: said.get(kind.value, keeping.DEFAULT_DAYS[kind]) for kind in Kind}


def age(now: datetime | None = None) -> dict[str, int]:
    """Make partitions ahead, drop what is past its retention, and measure once a day. Not inside a transaction."""
    now = now or timezone.now()
    today = now.date()
    made = partitions.ensure(today)
    dropped = 0
    for kind, days in days_kept().items():
        dropped += partitions.drop_before(kind, keeping.first_day_kept(now, days).date())
        dropped += partitions.drop_empty_before(kind, today - timedelta(days=partitions.BEHIND))
    dropped += partitions.drop_heard_before(today - timedelta(days=keeping.HEARD_DAYS))
    return {
        "made": made,
        "dropped": dropped,
        "tallies": _drop_tallies(now - timedelta(days=keeping.TALLY_DAYS)),
        "bounded": sum(_bound(now).values()),
        "measured": _measure(today),
    }


def _drop_tallies(before: datetime) -> int:
    """In short transactions, oldest first: nobody who counts waits long."""
    oldest, total = Tally.objects.filter(hour__lt=before).order_by("hour").values("pk")[:_AT_ONCE], 0
    while gone := Tally.objects.filter(pk__in=oldest).delete()[0]:
        total += gone
    return total


# --- the bound on SQLite ---


def _bound(now: datetime) -> dict[Kind, int]:
    """Where partitions are not dropped whole the store is bounded by its rows; returns how many went of each kind."""
    if partitions.is_partitioned():
        return {}
    rows = {Kind(kind): n for kind, n in Event.objects.order_by().values_list("kind").annotate(n=Count("pk"))}
    gone = {kind: _drop_oldest(kind, n) for kind, n in keeping.over(rows, settings.MAX_EVENT_ROWS).items()}
    if gone:
        after = {kind.value: n for kind, n in gone.items()}
        Position.objects.update_or_create(source=BOUNDED, defaults={"after": after, "at": now})
    return gone


def _drop_oldest(kind: Kind, number: int) -> int:
    total = 0
    while total < number:
        oldest = Event.objects.filter(kind=kind).order_by("at", "pk").values("pk")[: min(_AT_ONCE, number - total)]
        gone = Event.objects.filter(pk__in=oldest).delete()[0]
        if not gone:
            break
        total += gone
    return total


# --- the measure ---


def _measure(today: date) -> int:
    """Write down what each kind takes, once a day; returns how many kinds that were."""
    if Stored.objects.filter(day=today).exists():
        return 0
    rates = _rates(today)
    rows = [
        Stored(day=today, kind=kind, per_day=rates[kind], **size._asdict()) for kind, size in partitions.sizes().items()
    ]
    with transaction.atomic():
        Stored.objects.bulk_create(rows, ignore_conflicts=True)
        Stored.objects.filter(day__lt=today - timedelta(days=keeping.TALLY_DAYS)).delete()
    return len(rows)


def _rates(today: date) -> dict[Kind, float | None]:
    """Rows a day of each kind over the last whole days; ``None`` where the store is younger than one."""
    begin = today - timedelta(days=keeping.MEASURED_DAYS)
    rows = Event.objects.filter(day__gte=begin, day__lt=today).order_by()
    found: dict[str, Any] = {r["kind"]: r["n"] for r in rows.values("kind").annotate(n=Count("pk"))}
    first = rows.aggregate(first=Min("day"))["first"]
    whole = (today - first).days if first else 0
    return {kind: found.get(kind.value, 0) / whole if whole else None for kind in Kind}
