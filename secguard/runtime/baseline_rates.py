"""How often, and how much: an hour's count or bytes held against the hours before. Pure.

An hour is one that the item was seen in: what happens once a day is not compared with the hours in which it does not.
The range is robust (``events.ranges``: the median and its absolute deviation), never narrower than what was learned.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from secguard.events.ranges import band_of

HOURS_KEPT: Final = 336
"""Hours with activity that are kept for each item: the newest, 14 days of them."""
HOURS_NEEDED: Final = 24
"""With fewer, a range would be a guess: nothing is judged by it."""
FACTOR: Final = 2.0
"""Below this many times the largest hour that was ever learned, nothing is outside: what was learned is normal."""
MAX_VALUE: Final = 2**62

Hours = Mapping[int, int]
"""{hour since 1970: count or bytes}."""


class Range(Struct, frozen=True):
    """What an hour has normally, and up to where it is not judged."""

    least: int
    most: int
    limit: int
    hours: int


def hour_of(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp()) // 3600


def added(left: Hours, right: Hours) -> dict[int, int]:
    """Both together; of the sum the newest ``HOURS_KEPT`` hours. In any order and grouping the same."""
    found = dict(left)
    for hour, n in right.items():
        found[hour] = min(MAX_VALUE, found.get(hour, 0) + n)
    if len(found) > HOURS_KEPT:
        found = {hour: found[hour] for hour in sorted(found)[-HOURS_KEPT:]}
    return found


def range_of(values: Iterable[int]) -> Range | None:
    """The range of whole hours; ``None`` where they are too few to tell."""
    seen = sorted(values)
    if len(seen) < HOURS_NEEDED:
        return None
    band = band_of(seen)
    limit = max(band.high if band else 0.0, seen[-1] * FACTOR)
    return Range(seen[0], seen[-1], int(limit), len(seen))


def in_bytes(n: float) -> str:
    """``4.1 GB``: as disks are sold, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if n < 1000:
            return f"{n:.1f}".removesuffix(".0") + f" {unit}"
        n /= 1000
    return f"{n:,.1f} PB"
