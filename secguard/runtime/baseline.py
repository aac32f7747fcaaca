"""What is normal for one image (digest): learned, compared with the version before, and what events are held against.

Pure. What was learned is a join: of parts of it in any order, grouped in any way, the same comes out. A kind of which
more than its bound was seen is *varied*: everything of it counts as normal, and nothing is told by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from secguard.errors import Conflict
from secguard.runtime.baseline_items import Item, ItemKind, covers, deed_of, items_of
from secguard.runtime.baseline_rates import Range, added, hour_of, in_bytes
from secguard.runtime.event import Event, Kind

MOST: Final = {ItemKind.PROCESS: 1_000, ItemKind.FILE: 2_000, ItemKind.CONNECTION: 500, ItemKind.SYSCALL: 512}
MAX_REPLICAS: Final = 64
"""Replicas are told apart up to here; of more, the first in order are kept, and it says "64 or more"."""

LEARNING_LASTS: Final = timedelta(days=14)
LEARNING_EVENTS: Final = 100
LEARNING_REPLICAS: Final = 2
"""Learning is over when it lasted so long, and with so many events of so many replicas: a single one's habits are not
the image's. After twice the time one is enough, where there is never a second."""


# --- the life of a baseline ---


class Status(StrEnum):
    LEARNING = "learning"
    PROPOSED = "proposed"
    ASKED = "asked"
    LOCKED = "locked"


class Step(StrEnum):
    PROPOSE = "propose"
    ASK = "ask"
    WITHDRAW = "withdraw"
    REJECT = "reject"
    LOCK = "lock"
    REOPEN = "reopen"


TRANSITIONS: Final[dict[tuple[Status, Step], Status]] = {
    (Status.LEARNING, Step.PROPOSE): Status.PROPOSED,
    (Status.PROPOSED, Step.ASK): Status.ASKED,
    (Status.PROPOSED, Step.REOPEN): Status.LEARNING,
    (Status.ASKED, Step.WITHDRAW): Status.PROPOSED,
    (Status.ASKED, Step.REJECT): Status.PROPOSED,
    (Status.ASKED, Step.LOCK): Status.LOCKED,
    (Status.LOCKED, Step.REOPEN): Status.LEARNING,
}


def after(status: Status, step: Step) -> Status:
    """Raises ``Conflict`` with the state that was found."""
    found = TRANSITIONS.get((status, step))
    if found is None:
        wanted = " or ".join(s.value for (s, t) in TRANSITIONS if t is step)
        raise Conflict(
            f"The baseline is {status.value}; to {step.value}, it has to be {wanted}.", code="baseline-state"
        )
    return found


def still_lacking(since: datetime, events: int, replicas: int, now: datetime) -> tuple[str, ...]:
    """What learning still lacks, in words; nothing: enough was learned."""
    lacking = []
    if (lasted := now - since) < LEARNING_LASTS:
        lacking.append(f"it learns for {max(0, lasted.days)} of {LEARNING_LASTS.days} days")
    if events < LEARNING_EVENTS:
        lacking.append(f"it saw {events} of {LEARNING_EVENTS} events")
    if replicas < (1 if lasted >= 2 * LEARNING_LASTS else LEARNING_REPLICAS):
        lacking.append(f"it saw {replicas} of {LEARNING_REPLICAS} replicas")
    return tuple(lacking)


# --- learning ---


class Seen(Struct, frozen=True):
    """How often an item was seen, from when to when, and how it spread over the hours."""

    count: int
    first: datetime
    last: datetime
    severity: int = 0
    """The worst that a sensor rated it: what was an alert is what a reviewer looks at first."""
    hours: Mapping[int, int] = {}
    volumes: Mapping[int, int] = {}
    """Bytes, of files that grow."""


def together(left: Seen, right: Seen) -> Seen:
    return Seen(
        left.count + right.count,
        min(left.first, right.first),
        max(left.last, right.last),
        max(left.severity, right.severity),
        added(left.hours, right.hours),
        added(left.volumes, right.volumes),
    )


class Learned(Struct, frozen=True):
    items: Mapping[Item, Seen] = {}
    replicas: frozenset[str] = frozenset()
    varied: frozenset[ItemKind] = frozenset()
    events: int = 0


def learned(event: Event, at: datetime, replica: str = "") -> Learned:
    """What one event tells; ``at`` is when it happened, ``replica`` names the pod or container it happened in."""
    items = items_of(event)
    if not items:
        return Learned()
    return Learned(
        {item: seen_in(event, item, at) for item in items},
        frozenset({replica} if replica else ()),
        events=event.count,
    )


def seen_in(event: Event, item: Item, at: datetime) -> Seen:
    hour = hour_of(at)
    grown = volume_of(event) if item.kind is ItemKind.FILE else 0
    return Seen(event.count, at, at, int(event.severity), {hour: event.count}, {hour: grown} if grown else {})


def volume_of(event: Event) -> int:
    """Bytes that a file grew by in an hour: what was told of a longer time is taken as even over its hours."""
    growth = event.growth if event.kind is Kind.LOG_GROWTH else None
    if growth is None or not growth.grown_by:
        return 0
    seconds = growth.seconds or 0
    return growth.grown_by * 3600 // seconds if seconds > 3600 else growth.grown_by


def merged(left: Learned, right: Learned) -> Learned:
    """Both together: commutative and associative, whatever is past a bound."""
    varied = left.varied | right.varied
    items = {i: s for i, s in left.items.items() if i.kind not in varied}
    for item, seen in right.items.items():
        if item.kind not in varied:
            items[item] = together(items[item], seen) if item in items else seen
    kinds = Counter(item.kind for item in items)
    if over := {kind for kind, n in kinds.items() if n > MOST[kind]}:
        items = {i: s for i, s in items.items() if i.kind not in over}
    replicas = frozenset(sorted(left.replicas | right.replicas)[:MAX_REPLICAS])
    return Learned(items, replicas, varied | over, left.events + right.events)


# --- judging ---


class Verdict(StrEnum):
    NORMAL = "normal"
    LEARNING = "learning"
    NEW = "new"
    """It was not in the version before, whose baseline is locked, and this one is still learned."""
    ANOMALY = "anomaly"
    UNTOLD = "untold"
    """Nothing that a baseline speaks of."""


class Deviation(StrEnum):
    NAME = "name"
    RATE = "rate"
    VOLUME = "volume"


class Judgement(Struct, frozen=True):
    verdict: Verdict
    reason: str = ""
    deviation: Deviation | None = None
    item: Item | None = None

    @property
    def is_outside(self) -> bool:
        return self.verdict in (Verdict.NEW, Verdict.ANOMALY)


UNTOLD: Final = Judgement(Verdict.UNTOLD)
NORMAL: Final = Judgement(Verdict.NORMAL)


class Baseline(Struct, frozen=True):
    """What events are held against. ``items`` may be those alone that an event can be about (``same_name``)."""

    status: Status
    items: frozenset[Item] = frozenset()
    varied: frozenset[ItemKind] = frozenset()
    days: int = 0
    """How long it was learned, or is."""
    replicas: int = 0
    before: str = ""
    """What the version before is called, where this one began from its locked baseline."""

    def is_normal(self, seen: Item) -> bool:
        return seen.kind in self.varied or seen in self.items or any(covers(normal, seen) for normal in self.items)


def judge(items: Sequence[Item], baseline: Baseline) -> Judgement:
    """An event, by its items, against what is normal. The first that is not decides."""
    if not items:
        return UNTOLD
    unknown = next((item for item in items if not baseline.is_normal(item)), None)
    if unknown is None:
        return NORMAL
    if baseline.status is Status.LEARNING and not baseline.before:
        return Judgement(Verdict.LEARNING, item=unknown)
    verdict = Verdict.NEW if baseline.status is Status.LEARNING else Verdict.ANOMALY
    return Judgement(verdict, f"{deed_of(unknown)}, {_why(unknown, baseline)}", Deviation.NAME, unknown)


def _why(item: Item, baseline: Baseline) -> str:
    others = sorted({i.how for i in baseline.items if i.kind is item.kind is ItemKind.PROCESS and i.name == item.name})
    but = f"; so far it was started by {_listed(others)}" if others else ""
    if baseline.status is Status.LEARNING:
        return f"which {baseline.before} does not do: new in this version{but}"
    days = f"{baseline.days} day{'' if baseline.days == 1 else 's'}"
    more = "" if baseline.replicas < MAX_REPLICAS else " or more"
    replicas = f"{baseline.replicas}{more} replica{'' if baseline.replicas == 1 else 's'}"
    return f"never seen in {days} and {replicas} of this digest{but}"


def judge_hour(item: Item, deviation: Deviation, value: int, usual: Range | None) -> Judgement | None:
    """An hour's count or bytes, as far as the hour went, against the range; ``None``: within it, or none is known."""
    if usual is None or value <= usual.limit:
        return None
    if deviation is Deviation.VOLUME:
        span = f"{in_bytes(usual.least)}–{in_bytes(usual.most)}/h"
        reason = f"wrote {in_bytes(value)}/h to {item.name}; normal {span}"
    else:
        span = f"{usual.least:,}–{usual.most:,}"
        reason = f"{deed_of(item)} {value:,} times in an hour; normal {span}"
    return Judgement(Verdict.ANOMALY, reason, deviation, item)


# --- versions ---


class Difference(Struct, frozen=True):
    added: tuple[Item, ...] = ()
    gone: tuple[Item, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.gone)


def difference(before: Iterable[Item], now: Iterable[Item]) -> Difference:
    """What is new, and what is no longer done, between what two versions did."""
    was, does = frozenset(before), frozenset(now)
    return Difference(_uncovered(does, was), _uncovered(was, does))


def _uncovered(items: frozenset[Item], by: frozenset[Item]) -> tuple[Item, ...]:
    named: dict[tuple[ItemKind, str], list[Item]] = {}
    for item in by:
        named.setdefault((item.kind, item.name), []).append(item)
    left = (i for i in items - by if not any(covers(n, i) for n in named.get((i.kind, i.name), ())))
    return tuple(sorted(left, key=lambda i: (_ORDER[i.kind], i)))


_ORDER: Final = {kind: n for n, kind in enumerate(ItemKind)}
_TOLD: Final = 4
_NOUNS: Final = {
    ItemKind.PROCESS: "processes",
    ItemKind.FILE: "uses of files",
    ItemKind.CONNECTION: "connections",
    ItemKind.SYSCALL: "system calls",
}


def in_words(found: Difference, version: str, before: str) -> str:
    """``1.5 adds /bin/sh and egress to port 443 (tcp) of public addresses; it no longer does …``"""
    if not found:
        return f"{version} does what {before} did."
    told = []
    if found.added:
        told.append(f"{version} adds {_told(found.added)}")
    if found.gone:
        told.append(f"{'it was not seen doing' if told else version + ' was not seen doing'} {_told(found.gone)}")
    return "; ".join(told) + "."


def _told(items: Sequence[Item]) -> str:
    words = []
    for kind in ItemKind:
        ours = [item for item in items if item.kind is kind]
        words += [str(item) for item in ours[:_TOLD]]
        if len(ours) > _TOLD:
            words.append(f"{len(ours) - _TOLD:,} more {_NOUNS[kind]}")
    return _listed(words)


def _listed(words: Sequence[str]) -> str:
    shown = [word or "something else" for word in words]
    return ", ".join(shown[:-1]) + f" and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def carry(locked: Baseline, version: str) -> Baseline:
    """Where the next version begins: what is normal stays so, and what is not is new and asks for review.

    Raises ``Conflict`` where the one before is not locked: nobody has said that it is normal.
    """
    if locked.status is not Status.LOCKED:
        raise Conflict(f"The baseline of {version} is {locked.status.value}; only a locked one is carried on.")
    return replace(locked, status=Status.LEARNING, before=version, days=0, replicas=0)
