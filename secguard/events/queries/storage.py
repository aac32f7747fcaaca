"""What the store takes: measured each day, and what it will take at the rate it has now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Max

from secguard.events import keeping
from secguard.events.keeping import Forecast
from secguard.events.models import Stored
from secguard.events.record import Kind
from secguard.events.services.ageing import days_kept


@dataclass(frozen=True, slots=True)
class Cost:
    """One kind: what it takes, what comes of it in a day (None: no whole day yet), and how long it is kept."""

    kind: Kind
    rows: int
    bytes: int
    per_day: float | None
    days: int
    expected: Forecast | None

    @property
    def bytes_per_day(self) -> float | None:
        return self.per_day * self.bytes / self.rows if self.per_day is not None and self.rows else None


def measured() -> date | None:
    """The day of the last measure; None before the first."""
    found: date | None = Stored.objects.aggregate(last=Max("day"))["last"]
    return found


def costs(day: date) -> list[Cost]:
    """Each kind as it was measured on ``day``. Two queries."""
    rows, kept = {s.kind: s for s in Stored.objects.filter(day=day)}, days_kept()
    found = []
    for kind in Kind:
        if (stored := rows.get(kind.value)) is not None:
            days = kept[kind]
            expected = keeping.forecast(stored.rows, stored.bytes, stored.per_day, days)
            found.append(Cost(kind, stored.rows, stored.bytes, stored.per_day, days, expected))
    return found


def history(until: date, days: int) -> list[Stored]:
    """What was measured in the ``days`` up to ``until``, oldest first."""
    return list(Stored.objects.filter(day__gt=until - timedelta(days=days), day__lte=until).order_by("day", "kind"))
