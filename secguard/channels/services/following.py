"""Write down, for each channel, what people are told: in the transaction that tells them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from secguard import bulk
from secguard.channels.formats import MAX_LINES
from secguard.channels.models import Channel, Delivery, DeliveryLine
from secguard.channels.services.setting_up import new_message_id
from secguard.notifications import kinds
from secguard.notifications.digest import Line
from secguard.notifications.services import Telling

SETTLE = timedelta(seconds=30)
"""So long more of the same may join a message: one import tells in many steps."""

ATTEMPTS = 5
Place = tuple[int, str, int]
"""(channel id, kind, team id)."""


@dataclass(slots=True)
class _Wanted:
    lines: dict[str, Line] = field(default_factory=dict)
    more: int = 0


def follow(tellings: Sequence[Telling], now: datetime) -> None:
    """``notifications.services.FOLLOWERS``: what is told of teams' things, and of nobody's alone, is for channels too.

    A fixed number of statements, however many channels and lines; one, where there is no channel.
    """
    shared = [telling for telling in tellings if telling.team_id is not None and telling.lines]
    channels = list(Channel.objects.filter(is_active=True).order_by("pk")) if shared else []
    wanted = _wanted(channels, shared)
    if wanted:
        _drop_told(wanted)
    if wanted:
        _add(_open(wanted, now), wanted)


def _wanted(channels: Iterable[Channel], tellings: Sequence[Telling]) -> dict[Place, _Wanted]:
    found: dict[Place, _Wanted] = {}
    for channel in channels:
        for telling in tellings:
            team = telling.team_id or 0
            if channel.wants(telling.kind, team):
                one = found.setdefault((channel.pk, telling.kind, team), _Wanted())
                one.lines.update((line.key[:120], line) for line in telling.lines)
                one.more = max(one.more, telling.more)
    return found


def _drop_told(wanted: dict[Place, _Wanted]) -> None:
    rows = DeliveryLine.objects.filter(
        channel_id__in=bulk.among(sorted({channel for channel, *_ in wanted})),
        kind__in=sorted({kind for _, kind, _ in wanted}),
        key__in=bulk.among(sorted({key for one in wanted.values() for key in one.lines})),
    )
    told = set(rows.values_list("channel_id", "kind", "key"))
    for (channel, kind, team), one in list(wanted.items()):
        one.lines = {key: line for key, line in one.lines.items() if (channel, kind, key) not in told}
        if not one.lines:
            del wanted[channel, kind, team]


def _open(wanted: Mapping[Place, _Wanted], now: datetime) -> dict[Place, Delivery]:
    """The message of each place that nobody has tried to post, made where there is none; its row is locked."""
    found: dict[Place, Delivery] = {}
    for _ in range(ATTEMPTS):
        rows = Delivery.objects.open().filter(
            channel_id__in=bulk.among(sorted({channel for channel, *_ in wanted})), is_test=False
        )
        locked = rows.select_for_update(no_key=True).order_by("pk")
        found = {p: row for row in locked if (p := (row.channel_id, row.kind, row.team_id)) in wanted}
        missing = sorted(wanted.keys() - found.keys())
        if not missing:
            return found
        columns = ("channel_id", "kind", "team_id", "message_id", "total", "is_test", "status", "attempts", "ready_at",
                   "error", "created_at")  # fmt: skip
        made = [
            (*place, new_message_id(), 0, False, "waiting", 0, now + _settle(place[1]), "", now) for place in missing
        ]
        bulk.insert_missing(Delivery, columns, made)
    return found


def _settle(kind: str) -> timedelta:
    return timedelta(0) if kinds.kind(kind).at_once else SETTLE


def _add(rows: Mapping[Place, Delivery], wanted: Mapping[Place, _Wanted]) -> None:
    lines: list[tuple[Any, ...]] = []
    totals = []
    for place, delivery in rows.items():
        ranked = sorted(wanted[place].lines.items(), key=lambda item: (-item[1].weight, item[0]))
        totals.append((delivery.pk, delivery.total + len(ranked) + wanted[place].more))
        kept = ranked[:MAX_LINES]
        lines += [(delivery.pk, delivery.channel_id, delivery.kind, key, li.weight, _facts(li)) for key, li in kept]
    columns = ("delivery_id", "channel_id", "kind", "key", "weight", "facts")
    bulk.insert_missing(DeliveryLine, columns, sorted(lines, key=lambda row: tuple(row[1:4])))
    bulk.update(Delivery, ("total",), totals)


def _facts(line: Line) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(line)
    return {name: value for name, value in facts.items() if name not in ("key", "weight")}
