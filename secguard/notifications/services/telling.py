"""Tell people something: into their inbox at once, and into their next message.

Told is told: the same line (kind and key) reaches the same person once, however often a producer says it. Whatever
comes for somebody while their notice of that kind, team and day is untold joins it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import structlog
from django.db import transaction
from django.db.models import F, Window
from django.db.models.functions import RowNumber

from secguard import bulk
from secguard.notifications import digest, kinds
from secguard.notifications.digest import Line
from secguard.notifications.models import Notice, NoticeLine
from secguard.notifications.queries import choices_of, mail_is_on

log = structlog.get_logger(__name__)

MAX_LINES = 200
"""Lines that one notice keeps, the most pressing ones; the rest is only counted."""

ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Telling:
    """What to tell: lines of one registered kind, about one team's things.

    ``team_id`` decides who may still see it later: only who sees that team. 0 (a thing that no team owns): only who
    sees everything. None: the person's own affair. ``more`` further things are only counted: lines past ``MAX_LINES``
    would not be kept anyway.
    """

    kind: str
    lines: tuple[Line, ...]
    team_id: int | None = None
    more: int = 0


FOLLOWERS: list[Callable[[Sequence[Telling], datetime], None]] = []
"""Called inside the transaction with what people are told, each telling once; upper apps add themselves."""

_silent: ContextVar[bool] = ContextVar("notifications_silent", default=False)


@contextmanager
def silence() -> Iterator[None]:
    """Nobody is told anything of what happens inside: for histories that are loaded afterwards."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def notify(user_ids: Iterable[int], telling: Telling, *, now: datetime) -> int:
    """Tell each of ``user_ids``; returns how many lines were new to somebody. See ``notify_many``."""
    return notify_many([(user, telling) for user in user_ids], now=now)


Place = tuple[int, str]
"""(user id, the notice's key)."""


@dataclass(slots=True)
class _Wanted:
    kind: str
    team_id: int | None
    lines: dict[str, Line]
    more: int = 0
    is_on_page: bool = True


def notify_many(tellings: Iterable[tuple[int, Telling]], *, now: datetime) -> int:
    """Tell people things: (user id, what). Part of the caller's transaction: told if, and only if, that is committed.

    A fixed number of statements, however many people and lines. What a person was told before is left out. Returns how
    many lines were new to somebody. Raises ``NotFound`` for a kind that nobody registered.
    """
    told = [] if _silent.get() else list(tellings)
    wanted = _gathered(told, now)
    if not wanted:
        return 0
    with transaction.atomic():
        for follow in FOLLOWERS:
            follow(_once(told), now)
        _choose(wanted)
        if wanted:
            _drop_told(wanted)
        rows = _pending(wanted, now) if wanted else {}
        _add(rows, wanted, now)
    return sum(len(wanted[place].lines) for place in rows)


def _once(tellings: Iterable[tuple[int, Telling]]) -> list[Telling]:
    """Each telling once, however many people it is for."""
    return list({id(telling): telling for _, telling in tellings}.values())


def _gathered(tellings: Iterable[tuple[int, Telling]], now: datetime) -> dict[Place, _Wanted]:
    found: dict[Place, _Wanted] = {}
    for user, telling in tellings:
        if not telling.lines:
            continue
        team = "own" if telling.team_id is None else telling.team_id
        key = f"{kinds.kind(telling.kind).name}:{team}:{now:%Y-%m-%d}"
        wanted = found.setdefault((user, key), _Wanted(telling.kind, telling.team_id, {}))
        wanted.lines.update((line.key[:120], line) for line in telling.lines)
        wanted.more += telling.more
    return found


def _choose(wanted: dict[Place, _Wanted]) -> None:
    """Leave out what people do not want to hear of, and note what they want in their mail alone.

    Without a mail server everything is on the page: somewhere it has to be.
    """
    kinds_of = sorted({one.kind for one in wanted.values()})
    chosen = choices_of(sorted({user for user, _ in wanted}), kinds_of)
    for place, one in list(wanted.items()):
        choice = chosen.get((place[0], one.kind))
        if choice is None or kinds.kind(one.kind).is_urgent:
            continue
        if choice.is_silent:
            del wanted[place]
        else:
            one.is_on_page = choice.on_page or not mail_is_on()


def _drop_told(wanted: dict[Place, _Wanted]) -> None:
    """Leave out what the person was told before, be it on another day or while it was another team's."""
    rows = NoticeLine.objects.filter(
        user_id__in=bulk.among(sorted({user for user, _ in wanted})),
        kind__in=sorted({w.kind for w in wanted.values()}),
        key__in=bulk.among(sorted({key for w in wanted.values() for key in w.lines})),
    )
    told = set(rows.values_list("user_id", "kind", "key"))
    for place, one in list(wanted.items()):
        one.lines = {key: line for key, line in one.lines.items() if (place[0], one.kind, key) not in told}
        if not one.lines:
            del wanted[place]


def _pending(wanted: Mapping[Place, _Wanted], now: datetime) -> dict[Place, Notice]:
    """The untold notice of each place, made where there is none, its row locked: no message takes it meanwhile."""
    found: dict[Place, Notice] = {}
    for _ in range(ATTEMPTS):
        rows = Notice.objects.pending().filter(
            user_id__in=bulk.among(sorted({user for user, _ in wanted})),
            key__in=bulk.among(sorted({key for _, key in wanted})),
        )
        locked = rows.select_for_update(no_key=True).order_by("pk")
        found = {(row.user_id, row.key): row for row in locked if (row.user_id, row.key) in wanted}
        missing = sorted(wanted.keys() - found.keys())
        if not missing:
            return found
        _insert(missing, wanted, now)
    log.warning("Notices were taken into messages as fast as they were made; some news were not told.")
    return found


def _insert(places: Iterable[Place], wanted: Mapping[Place, _Wanted], now: datetime) -> None:
    columns = ("user_id", "kind", "key", "team_id", "subject", "url", "is_on_page", "weight", "total", "created_at",
               "changed_at")  # fmt: skip
    rows = []
    for user, key in places:
        one = wanted[user, key]
        rows.append((user, one.kind, key, one.team_id, "", kinds.kind(one.kind).url, one.is_on_page, 0, 0, now, now))
    bulk.insert_missing(Notice, columns, rows)


def _add(rows: Mapping[Place, Notice], wanted: Mapping[Place, _Wanted], now: datetime) -> None:
    lines: list[tuple[Any, ...]] = []
    for place, notice in rows.items():
        ranked = sorted(wanted[place].lines.items(), key=lambda item: (-item[1].weight, item[0]))
        _describe(notice, ranked[0][1], len(ranked) + wanted[place].more, now)
        kept = ranked[:MAX_LINES]
        lines += [(notice.pk, notice.user_id, notice.kind, key, li.weight, _facts(li)) for key, li in kept]
    columns = ("notice_id", "user_id", "kind", "key", "weight", "facts")
    bulk.insert_missing(NoticeLine, columns, sorted(lines, key=lambda row: tuple(row[1:4])))
    described = ("subject", "url", "weight", "total", "changed_at")
    bulk.update(Notice, described, [(n.pk, *(getattr(n, c) for c in described)) for n in rows.values()])
    _trim([notice.pk for notice in rows.values() if notice.total > MAX_LINES])


def _describe(notice: Notice, top: Line, count: int, now: datetime) -> None:
    if not notice.total or top.weight > notice.weight:
        notice.subject = digest.subject_of(kinds.kind(notice.kind), top, 1)
        notice.url = top.url if digest.is_own_path(top.url) else notice.url
        notice.weight = top.weight
    notice.total += count
    notice.changed_at = now


def _facts(line: Line) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(line)
    return {name: value for name, value in facts.items() if name not in ("key", "weight")}


def _trim(notice_ids: list[int]) -> None:
    """Keep the most pressing lines of notices that have too many."""
    if not notice_ids:
        return
    place = Window(RowNumber(), partition_by=F("notice_id"), order_by=[F("weight").desc(), F("id").asc()])
    rows = NoticeLine.objects.filter(notice_id__in=bulk.among(notice_ids)).annotate(place=place)
    surplus = list(rows.filter(place__gt=MAX_LINES).values_list("pk", flat=True))
    NoticeLine.objects.filter(pk__in=bulk.among(surplus)).delete()
