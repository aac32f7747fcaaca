"""Where the ends of a map lie: the same places for the same ends, so that a map looks tomorrow as it does today. Pure.

What is outside lies above, clusters below it side by side with their namespaces in rows; or the workloads of one
namespace in the middle and whom they speak to around them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

WIDE: Final = 170
HIGH: Final = 84
GAP: Final = 2
"""Free rows between groups."""


class Place(NamedTuple):
    x: int
    y: int


def by_cluster(clusters: Mapping[str, Sequence[str]], above: Sequence[str]) -> dict[str, Place]:
    """``clusters``: the ids of each one's ends, in their order; ``above``: what lies outside."""
    places: dict[str, Place] = {}
    left = 0
    for _, ids in sorted(clusters.items()):
        columns = _columns(len(ids))
        places |= _rows(ids, columns, left, 0)
        left += columns + 1
    return places | _line(above, max(left - 1, 1))


def around(middle: Sequence[str], beside: Sequence[str], above: Sequence[str]) -> dict[str, Place]:
    """``middle``: workloads of one namespace; ``beside``: other namespaces, half to each side."""
    columns = _columns(len(middle))
    rows = max(1, math.ceil(len(middle) / columns))
    half = (len(beside) + 1) // 2
    deep = max(rows, 4)
    left, right = beside[:half], beside[half:]
    places = _rows(middle, columns, 0, 0)
    wide = math.ceil(len(left) / deep)
    places |= {i: Place((-GAP - wide + 1 + n // deep) * WIDE, (n % deep) * HIGH) for n, i in enumerate(left)}
    places |= {i: Place((columns + 1 + n // deep) * WIDE, (n % deep) * HIGH) for n, i in enumerate(right)}
    return places | _line(above, columns)


def _columns(count: int) -> int:
    return max(1, math.ceil(math.sqrt(count * 0.9)))


def _rows(ids: Sequence[str], columns: int, left: int, top: int) -> dict[str, Place]:
    return {i: Place((left + n % columns) * WIDE, (top + n // columns) * HIGH) for n, i in enumerate(ids)}


def _line(ids: Iterable[str], columns: int) -> dict[str, Place]:
    """Above everything, in as many rows as they need, the last of them nearest."""
    found = list(ids)
    wide = max(columns, 6)
    start = (columns - 1) * WIDE / 2
    places = {}
    for n, i in enumerate(found):
        row, in_row = divmod(n, wide)
        count = min(wide, len(found) - row * wide)
        places[i] = Place(round(start + (in_row - (count - 1) / 2) * WIDE), -(GAP + row) * HIGH)
    return places
