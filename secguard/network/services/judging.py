"""Observed against allowed: each edge with what the rules say of it, and an event where one is seen to break them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import Application
from secguard.jobs import services as jobs
from secguard.jobs.registry import Run
from secguard.network import segmentation
from secguard.network.edges import OUTSIDE
from secguard.network.flow import Verdict
from secguard.network.models import Edge, Peer, Segment, SegmentRule
from secguard.network.segmentation import BREAKING, Effect, Place, Ref, Rules, Stance, Standing
from secguard.network.services.reporting import Broken, report

JUDGE: Final = "network.judge"
CHUNK: Final = 5_000
_EDGE: Final = (
    "pk", "source_id", "destination_id", "protocol", "port", "verdict", "standing", "rule_id", "broke_at", "last_at",
)  # fmt: skip
_PEER: Final = ("pk", "sort", "cluster", "namespace", "workload__application_id")
_BREAKING: Final = [s.value for s in BREAKING]


def ask() -> None:
    """Have every edge judged anew: a rule, a segment or whose something is has changed. In the caller's transaction."""
    jobs.enqueue(JUDGE, {}, key="all", again=True)


def judge(_run: Run) -> Mapping[str, Any]:
    """The job: everything, by what holds now."""
    return judge_all(timezone.now())


def judge_all(now: datetime) -> dict[str, int]:
    """Bring every end's segments and every edge's standing up to date, some thousands in a transaction."""
    book = Book.load(now)
    ends, last = book.place(Peer.objects.all()), 0
    with transaction.atomic():
        _keep_members(ends)
    judged = broke = 0
    while rows := list(Edge.objects.filter(pk__gt=last).order_by("pk")[:CHUNK].values_list(*_EDGE)):
        last = rows[-1][0]
        with transaction.atomic():
            found = book.changes(rows, ends, now)
            broke += _write(found, now)
        judged += len(rows)
    return {"edges": judged, "breaking": broke}


def follow(ids: Iterable[int], now: datetime) -> None:
    """``intake.FOLLOWERS``: what is new, and what is seen for the first time since a rule says no to it."""
    may_break = Q(standing__in=_BREAKING, broke_at=None) & ~Q(verdict=Verdict.DENIED.value)
    found = Edge.objects.filter(Q(standing="") | may_break, pk__in=bulk.among(ids))
    rows = list(found.order_by("pk").values_list(*_EDGE))
    if not rows:
        return
    book = Book.load(now)
    ends = book.place(Peer.objects.filter(pk__in=bulk.among(sorted({pk for row in rows for pk in row[1:3]}))))
    _keep_members(ends)
    _write(book.changes(rows, ends, now), now)


class Change(NamedTuple):
    """What is written of an edge."""

    edge: int
    standing: Standing
    rule: int | None
    broke_at: datetime | None
    is_new: bool
    """It is seen to break the rules only now."""


Ends = Mapping[int, frozenset[Ref]]


@dataclass(frozen=True, slots=True)
class Book:
    """Segments and rules as they hold at one instant. ``since``: when each began to say no."""

    segments: Sequence[segmentation.Segment]
    rules: Rules
    since: Mapping[int, datetime]
    closed_since: Mapping[Ref, datetime]

    @classmethod
    def load(cls, now: datetime) -> Book:
        """Two statements."""
        rows = list(Segment.objects.live().order_by("pk"))
        segments = [row.as_segment for row in rows]
        closed = {Ref(segmentation.SEGMENT, row.pk): row.closed_at for row in rows if row.stance == Stance.CLOSED.value}
        told = list(SegmentRule.objects.in_force(now).select_related("request").order_by("pk"))
        since = {row.pk: row.request.closed_at or row.asked_at for row in told if row.effect == Effect.DENY.value}
        rules = Rules([row.as_rule for row in told], [ref.id for ref in closed])
        return cls(segments, rules, since, {ref: at for ref, at in closed.items() if at is not None})

    def place(self, rows: QuerySet[Peer]) -> dict[int, frozenset[Ref]]:
        """What each end can be named by. Two statements."""
        applications = {a.pk: a for a in Application.objects.all()}
        met: dict[tuple[Any, ...], frozenset[Ref]] = {}
        found = {}
        for pk, *told in rows.order_by().values_list(*_PEER):
            key = tuple(told)
            if key not in met:
                met[key] = self._refs(key, applications)
            found[pk] = met[key]
        return found

    def _refs(self, told: tuple[Any, ...], applications: Mapping[int, Application]) -> frozenset[Ref]:
        sort, cluster, namespace, owner = told
        application = applications.get(owner or 0)
        place = Place(cluster, namespace, is_outside=sort in OUTSIDE)
        if application is not None:
            place = place._replace(
                application=application.slug,
                team=application.team_id,
                is_production=application.is_production,
                is_exposed=application.is_exposed,
                impact=application.impact,
            )
        return segmentation.refs_of(place, owner, self.segments)

    def changes(self, rows: Iterable[tuple[Any, ...]], ends: Ends, now: datetime) -> list[Change]:
        """Of edges (``_EDGE``), those of which something else is to be written than is."""
        found = []
        nowhere: frozenset[Ref] = frozenset()
        for pk, source, destination, protocol, port, verdict, standing, rule, broke_at, last_at in rows:
            to = ends.get(destination, nowhere)
            judged = self.rules.judge(ends.get(source, nowhere), to, protocol, port or None)
            breaks = judged.standing in BREAKING and verdict != Verdict.DENIED.value
            at = (broke_at or now) if breaks and last_at >= self._began(judged, to) else None
            if (judged.standing.value, judged.rule, at) != (standing, rule, broke_at):
                found.append(Change(pk, judged.standing, judged.rule, at, broke_at is None and at is not None))
        return found

    def _began(self, judged: segmentation.Judged, to: frozenset[Ref]) -> datetime:
        """Since when what breaks breaks it: what was seen before that did not."""
        if judged.rule is not None:
            return self.since[judged.rule]
        return min(self.closed_since[ref] for ref in to if ref in self.closed_since)


def _write(changes: Sequence[Change], now: datetime) -> int:
    """Returns how many break the rules only now."""
    if not changes:
        return 0
    ids = bulk.among([change.edge for change in changes])
    if connection.vendor == "postgresql":
        # In the order in which folding merges them, so that the two never wait both ways.
        key = ("source_id", "destination_id", "protocol", "port", "verdict")
        locked = Edge.objects.filter(pk__in=ids).order_by(*key).select_for_update(no_key=True)
        list(locked.values_list("pk", flat=True))
    rows = [(c.edge, c.standing.value, c.rule, c.broke_at) for c in changes]
    bulk.update(Edge, ("standing", "rule_id", "broke_at"), rows)
    new = [change for change in changes if change.is_new]
    report([Broken(c.edge, c.standing, c.rule) for c in new], now)
    return len(new)


def _keep_members(ends: Ends) -> None:
    """Which segments each of these ends belongs to. Three statements."""
    wanted = {(pk, ref.id) for pk, refs in ends.items() for ref in refs if ref.kind == segmentation.SEGMENT}
    through = Peer.segments.through
    rows = through._default_manager.filter(peer_id__in=bulk.among(sorted(ends)))
    gone, there = defaultdict(list), set()
    for pk, peer, segment in rows.values_list("pk", "peer_id", "segment_id"):
        if (peer, segment) in wanted:
            there.add((peer, segment))
        else:
            gone["pk"].append(pk)
    if gone:
        through._default_manager.filter(pk__in=bulk.among(gone["pk"])).delete()
    bulk.merge(
        through, ("peer_id", "segment_id"), sorted(wanted - there), unique=("peer_id", "segment_id"), returning=("id",)
    )
