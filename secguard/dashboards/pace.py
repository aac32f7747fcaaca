"""How fast work is done, from sums that are kept by day: shares and times. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from secguard.dashboards.figures import share


@dataclass(frozen=True, slots=True)
class Pace:
    """Sums over some days: ``…_seconds`` over the ``…`` that they are of.

    ``fixed``: exposures that were resolved, from first found to resolved; of them ``kept`` by their deadline and
    ``missed``. ``decided``: decisions that were given, from first found to decided. ``carried_out``: exposures that
    were resolved under a decision, from decided to resolved.
    """

    fixed: int = 0
    fixed_seconds: int = 0
    kept: int = 0
    missed: int = 0
    decided: int = 0
    decided_seconds: int = 0
    carried_out: int = 0
    carried_out_seconds: int = 0

    def __add__(self, other: Pace) -> Pace:
        return Pace(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(Pace)})

    @property
    def days_to_fix(self) -> float | None:
        return _days(self.fixed_seconds, self.fixed)

    @property
    def days_to_decide(self) -> float | None:
        return _days(self.decided_seconds, self.decided)

    @property
    def days_from_decision_to_fix(self) -> float | None:
        return _days(self.carried_out_seconds, self.carried_out)

    def kept_share(self, overdue: int) -> float | None:
        """Per cent of what was due that was fixed in time; what is ``overdue`` still was not."""
        return share(self.kept, self.kept + self.missed + overdue)


def total(paces: Iterable[Pace]) -> Pace:
    found = Pace()
    for pace in paces:
        found += pace
    return found


def of_row(row: Mapping[str, Any]) -> Pace:
    """From a row of sums; none of nothing is zero."""
    return Pace(**{f.name: int(row[f.name] or 0) for f in fields(Pace)})


def _days(seconds: int, count: int) -> float | None:
    return round(seconds / count / 86_400, 1) if count else None
