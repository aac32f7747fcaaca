"""What upper apps say beside an event: an explicit list that they register in (DESIGN section 4). Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One row: where it leads, what it is, and what is to be known of it."""

    text: str
    url: str = ""
    note: str = ""


class Part(NamedTuple):
    """A card beside the event. ``empty`` says what no line means."""

    key: str
    title: str
    lines: tuple[Line, ...]
    empty: str


Around = Callable[[Any, Any, datetime], Iterable[Part]]
"""``around(event, user, now)``: what ``user`` may see of what stands around the event."""

AROUND: list[Around] = []


def parts_of(event: Any, user: Any, now: datetime) -> Iterator[Part]:
    for around in AROUND:
        yield from around(event, user, now)
