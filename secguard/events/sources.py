"""The product's own sources of events: an explicit list that the apps which own them register in (DESIGN section 4).

Pure: it knows no database and no clock. ``register`` is called once, in the app's ``AppConfig.ready``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple, Protocol

from secguard.events.record import Line

SOURCE: Final = "secguard"
"""Whose word the product's own events are."""
FIRST_DAYS: Final = timedelta(days=7)
"""How far back a source is read the first time; what happened before stays where it is."""
AGAIN_AFTER: Final = (timedelta(minutes=1), timedelta(minutes=15))
"""Rows read by their ids are read again when they were read so long ago: whoever commits later than somebody with a
higher id has committed by then. What was told already is known by its fingerprint."""
_MARK_EVERY: Final = timedelta(seconds=30)

After = Mapping[str, Any]
"""How far a source was read: JSON of the source's own, empty at first."""


class Pulled(NamedTuple):
    lines: list[Line]
    after: dict[str, Any]


Pull = Callable[[After, int, datetime], Pulled]
"""``pull(after, limit, now)``: about ``limit`` lines past ``after``, inside a transaction of the caller's."""


class Told(Protocol):
    """What a reference's address is made of: the event's digest and time."""

    digest: str
    at: datetime


Address = Callable[[int, Told], str]

_sources: dict[str, Pull] = {}
_addresses: dict[str, Address] = {}


def register(name: str, pull: Pull) -> None:
    """``name``: of its position, at most 32 characters. ``ValueError`` where another source has it."""
    if _sources.setdefault(name, pull) is not pull:
        raise ValueError(f"The source {name!r} is {_sources[name]!r} already; choose another name.")


def registered() -> Iterator[tuple[str, Pull]]:
    yield from _sources.items()


def forget(name: str) -> None:
    """Takes a source out again: for tests that register their own."""
    _sources.pop(name, None)


def lead(kind: str, address: Address) -> None:
    """References of ``kind`` (the part before the colon) lead to ``address(id, event)``, a path of a page."""
    _addresses[kind] = address


def address_of(ref: str, event: Told) -> str:
    """The page of the row that ``ref`` names; empty where nobody knows one."""
    kind, _, number = ref.partition(":")
    found = _addresses.get(kind)
    return found(int(number), event) if found and number.isascii() and number.isdigit() else ""


class Spans(NamedTuple):
    """The ids to read: all past ``new_after``; and again, each span without its first and with its last."""

    new_after: int
    again: tuple[tuple[int, int], ...]


def begin_at(pk: int) -> dict[str, Any]:
    """A position from which ids past ``pk`` are read."""
    return {"id": pk, "again": [pk for _ in AGAIN_AFTER], "marks": []}


def spans(after: After, limit: int, now: datetime) -> Spans:
    """What to read by ids; of each span that is read again at most ``limit`` ids."""
    again = []
    for begin, wait in zip(after["again"], AGAIN_AFTER, strict=True):
        old = [pk for at, pk in after["marks"] if datetime.fromisoformat(at) <= now - wait]
        again.append((begin, min(max([begin, *old]), begin + limit)))
    return Spans(int(after["id"]), tuple(again))


def read_to(after: After, read: Spans, ids: Iterable[int], now: datetime) -> dict[str, Any]:
    """The position once ``read`` was read; ``ids`` are those of it that were new."""
    last, marks = max(ids, default=read.new_after), list(after["marks"])
    again = [end for _, end in read.again]
    if last > read.new_after:
        if len(marks) > 1 and _at(marks[-1]) - _at(marks[-2]) < _MARK_EVERY:
            marks.pop()  # its ids wait a little longer, with those of the new one
        marks.append([now.isoformat(), last])
    return {"id": last, "again": again, "marks": [mark for mark in marks if mark[1] > min(again)]}


def _at(mark: Any) -> datetime:
    return datetime.fromisoformat(mark[0])
