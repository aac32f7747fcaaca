"""Flows of one request that say the same but for when and how much, kept together until they are folded. Pure.

Each keeps its own fingerprint, times and numbers, in few bytes: what is told again is still known one by one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct

from secguard.events.record import moment
from secguard.network.flow import End, Flow, Verdict

MAX_COUNT: Final = 2**62
"""Of flows or bytes; more is counted as this, so that no source can fill a counter until it breaks."""
EPHEMERAL: Final = 32_768
"""Where Linux begins to choose ports of its own accord (ip-sysctl, ``ip_local_port_range``)."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
HOUR: Final = 3_600_000_000
_MICROSECOND: Final = timedelta(microseconds=1)
_EACH: Final = 4
"""Numbers of each flow in ``Group.told``."""


class Group(Struct, frozen=True, array_like=True):
    """Flows from one end to another at one port with one outcome."""

    source: End
    destination: End
    home: str
    """The cluster that they tell of themselves, or nothing."""
    protocol: str
    port: int
    """0: not told."""
    verdict: Verdict
    prints: bytes
    """Eight bytes of each flow's fingerprint."""
    told: bytes
    """Of each flow when it began and ended (microseconds since 1970), how many it stands for, and bytes."""

    @property
    def numbers(self) -> array[int]:
        """The fingerprints."""
        return _read("Q", self.prints)

    def without(self, known: set[int]) -> Group | None:
        """What is left where the flows of these fingerprints were told before; one that is told twice counts once."""
        prints, told = array("Q"), array("q")
        each = _read("q", self.told)
        for at, number in enumerate(self.numbers):
            if number not in known:
                known.add(number)
                prints.append(number)
                told += each[at * _EACH : (at + 1) * _EACH]
        if not prints:
            return None
        return Group(
            self.source, self.destination, self.home, self.protocol, self.port, self.verdict, prints.tobytes(),
            told.tobytes(),
        )  # fmt: skip

    def sums(self) -> Sums:
        """What they add up to."""
        each = _read("q", self.told)
        begins, counts = each[::_EACH], each[2::_EACH]
        first, latest = min(begins), max(begins)
        hour, total = first // HOUR, min(sum(counts), MAX_COUNT)
        hours = {hour: total}
        if latest // HOUR != hour:
            hours = {}
            for at, count in zip(begins, counts, strict=True):
                hours[at // HOUR] = min(hours.get(at // HOUR, 0) + count, MAX_COUNT)
        last = max(latest, max(each[1::_EACH]))
        return Sums(_time(first), _time(last), total, min(sum(each[3::_EACH]), MAX_COUNT), hours)


@dataclass(frozen=True, slots=True)
class Sums:
    """``hours``: flows by the hour since 1970 in which they began."""

    first_at: datetime
    last_at: datetime
    count: int
    bytes: int
    hours: dict[int, int]


def hour_at(number: int) -> datetime:
    return _time(number * HOUR)


def _time(number: int) -> datetime:
    return EPOCH + timedelta(microseconds=number)


def _read(kind: str, raw: bytes) -> array[int]:
    found = array(kind)
    found.frombytes(raw)
    return found


@dataclass(slots=True)
class Grouped:
    """``replies``: flows that belong to who asked. ``mistimed``: so many told a time that is not believed."""

    groups: list[Group] = field(default_factory=list)
    replies: int = 0
    mistimed: int = 0


def is_reply(flow: Flow) -> bool:
    """As told; else an answer is what goes from a service's port to one that systems choose for those who ask."""
    if flow.is_reply is not None:
        return flow.is_reply
    if flow.port is None or flow.source_port is None:
        return False
    return flow.port >= EPHEMERAL > flow.source_port


_Key = tuple[Any, ...]


def grouped(flows: Sequence[Flow], received: datetime) -> Grouped:
    """The flows without replies. ``received``: in the place of a time that is not believed.

    Ends are told apart by which object they are: readers give the same for what is told in the same words, and what is
    told in other words is another group, which adds up to the same edge.
    """
    found = Grouped()
    met: dict[_Key, tuple[Flow, array[int], array[int]]] = {}
    for flow in flows:
        if is_reply(flow):
            found.replies += flow.count
            continue
        key = (id(flow.source), id(flow.destination), flow.port, flow.protocol, flow.verdict, flow.node, flow.cluster)
        there = met.get(key)
        if there is None:
            there = met[key] = (flow, array("Q"), array("q"))
        begins, wrong = moment(flow.observed, received)
        ends = begins if flow.ended is None else moment(flow.ended, received)[0]
        found.mistimed += bool(wrong)
        there[1].append(int(flow.fingerprint[:16], 16))
        size = flow.bytes or 0
        there[2].extend(
            ((begins - EPOCH) // _MICROSECOND, (ends - EPOCH) // _MICROSECOND, min(flow.count, MAX_COUNT),
             min(size, MAX_COUNT))
        )  # fmt: skip
    found.groups = [_group(flow, prints, told) for flow, prints, told in met.values()]
    return found


def _group(flow: Flow, prints: array[int], told: array[int]) -> Group:
    node, has_cluster, _ = (flow.node or "").partition("/")
    home = (node if has_cluster else "") or flow.cluster or ""
    return Group(
        flow.source, flow.destination, home, flow.protocol or "", flow.port or 0, flow.verdict, prints.tobytes(),
        told.tobytes(),
    )  # fmt: skip


def fresh(groups: Iterable[Group], known: Iterable[Iterable[int]]) -> tuple[list[Group], array[int]]:
    """The groups without what ``known`` has or they tell twice, and the fingerprints of what is left."""
    rows = list(groups)
    new = array("Q")
    for group in rows:
        new.frombytes(group.prints)
    numbers = set(new)
    heard: set[int] = set()
    for prints in known:
        heard |= numbers.intersection(prints)
    if not heard and len(numbers) == len(new):
        return rows, new
    left = [one for group in rows if (one := group.without(heard)) is not None]
    prints = array("Q")
    for group in left:
        prints.frombytes(group.prints)
    return left, prints
