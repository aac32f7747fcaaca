"""Segments and rules as a person may see them: the matrix of who speaks to whom, usage, and names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import Case, Count, F, IntegerField, Max, Q, QuerySet, Sum, Value, When
from django.urls import reverse

from secguard.accounts.models import Application, User
from secguard.accounts.roles import Permission
from secguard.approvals.queries import votes_of
from secguard.errors import NotFound
from secguard.network.edges import Sort
from secguard.network.models import Edge, Peer, Segment, SegmentRule
from secguard.network.queries.edges import SIDES, edges
from secguard.network.segmentation import in_words, members_of
from secguard.network.services.ruling import state_of, teams_of

MAX_HEADS: Final = 15
"""So many rows and columns has the matrix: those with most edges."""
UNUSED: Final = timedelta(days=30)
_HIDDEN, _NONE = -1, 0
OTHER: Final = "another team's application"


@dataclass(slots=True)
class Cell:
    """Edges of a pair: observed, of them allowed by a rule, breaking one, and without any."""

    observed: int = 0
    allowed: int = 0
    breaking: int = 0
    url: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    key: str
    label: str
    url: str = ""


@dataclass(slots=True)
class Matrix:
    heads: list[Head] = field(default_factory=list)
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    is_cut: bool = False

    @property
    def rows(self) -> list[tuple[Head, list[tuple[Head, Cell | None]]]]:
        """Who speaks, and with it a cell for each that is spoken to."""
        return [(one, [(to, self.cells.get((one.key, to.key))) for to in self.heads]) for one in self.heads]

    @property
    def document(self) -> dict[str, Any]:
        named = {head.key: head.label for head in self.heads}
        return {
            "heads": [{"key": head.key, "label": head.label} for head in self.heads],
            "cells": [
                {"source": s, "destination": d, "observed": c.observed, "allowed": c.allowed, "breaking": c.breaking}
                for (s, d), c in sorted(self.cells.items())
                if s in named and d in named
            ],
            "is_cut": self.is_cut,
        }


def matrix(user: User, by: str = "segment") -> Matrix:
    """Who speaks to whom, by segment or by application; the database adds. Two statements."""
    path = "segments" if by == "segment" else "workload__application"
    rows: Any = edges(user).order_by()
    for side in SIDES:
        named = When(**{f"{side}_shown": True}, then=F(f"{side}__{path}"))
        rows = rows.annotate(**{f"{side}_of": Case(named, default=Value(_HIDDEN), output_field=IntegerField())})
    grouped = rows.values("source_of", "destination_of").annotate(
        observed=Count("pk"),
        allowed=Count("pk", filter=Q(standing="allowed")),
        breaking=Count("pk", filter=Q(broke_at__isnull=False)),
    )
    found = list(grouped)
    heads = _heads({row[f"{side}_of"] for row in found for side in SIDES}, by)
    made, weights = Matrix(), defaultdict[str, int](int)
    for row in found:
        source, destination = (heads[row[f"{side}_of"] or _NONE] for side in SIDES)
        link = _list({"source": source.key, "destination": destination.key})
        cell = made.cells.setdefault((source.key, destination.key), Cell(url=link))
        for name in ("observed", "allowed", "breaking"):
            setattr(cell, name, getattr(cell, name) + row[name])
        for head in {source, destination}:
            weights[head.key] += row["observed"]
    kept = sorted(heads.values(), key=lambda h: (-weights[h.key], h.label))[:MAX_HEADS]
    made.heads = sorted((h for h in kept if weights[h.key]), key=lambda h: (h.key in _LAST, h.label))
    made.is_cut = sum(n > 0 for n in weights.values()) > len(made.heads)
    return made


_LAST: Final = ("others", "segment:none", "application:none")


def _heads(ids: Iterable[int | None], by: str) -> dict[int, Head]:
    """Who is shown belongs to segments and applications that the person may see: its own team's, or everybody's."""
    words = ("In no segment", "segment:none") if by == "segment" else ("Of no application", "application:none")
    heads = {_HIDDEN: Head("others", "Other teams' workloads"), _NONE: Head(words[1], words[0])}
    wanted = [pk for pk in ids if pk and pk > 0]
    if by == "segment":
        for pk, name in Segment.objects.filter(pk__in=wanted).values_list("pk", "name"):
            heads[pk] = Head(f"segment:{pk}", name, reverse("network:segment", args=[pk]))
    else:
        for pk, name, slug in Application.objects.filter(pk__in=wanted).values_list("pk", "name", "slug"):
            heads[pk] = Head(f"application:{slug}", name, reverse("applications:detail", args=[slug]))
    return heads


def _list(query: Mapping[str, str]) -> str:
    return f"{reverse('network:edges')}?{urlencode(query)}"


# --- segments ---


def segments(user: User) -> QuerySet[Segment]:
    """Those that the person may see and that have not ended."""
    return Segment.objects.visible_to(user).live().select_related("team", "made_by")


def find_segment(user: User, pk: int) -> Segment:
    """Raises ``NotFound``."""
    row = segments(user).filter(pk=pk).first()
    if row is None:
        raise NotFound(f"There is no segment {pk} that you may see.", code="no-segment")
    return row


def ends(user: User, segment: Segment) -> QuerySet[Peer]:
    """What belongs to a segment, as far as the person may know it."""
    rows = Peer.objects.filter(segments=segment)
    if not user.sees_everything:
        rows = rows.filter(Q(pk__in=Peer.objects.visible_to(user).values("pk")) | ~Q(sort=Sort.WORKLOAD.value))
    return rows.order_by("cluster", "namespace", "name", "pk")


def counts(user: User, rows: Sequence[Segment]) -> dict[int, dict[str, int]]:
    """{segment: ends, edges to it and those of them that break a rule}, as far as the person may see them."""
    ids = [row.pk for row in rows]
    known = Peer.objects.all()
    if not user.sees_everything:
        known = known.filter(Q(pk__in=Peer.objects.visible_to(user).values("pk")) | ~Q(sort=Sort.WORKLOAD.value))
    through = known.filter(segments__in=ids).order_by().values("segments").annotate(n=Count("pk"))
    found = {pk: {"ends": 0, "edges": 0, "breaking": 0} for pk in ids}
    for one in through:
        found[one["segments"]]["ends"] = one["n"]
    seen: Any = edges(user)
    to = seen.filter(destination_shown=True, destination__segments__in=ids).order_by()
    added = to.values("destination__segments").annotate(
        n=Count("pk"), breaking=Count("pk", filter=Q(broke_at__isnull=False))
    )  # fmt: skip
    for row in added:
        found[row["destination__segments"]] |= {"edges": row["n"], "breaking": row["breaking"]}
    return found


def member_words(segment: Segment) -> list[str]:
    return [member.words for member in members_of(segment.members)]


# --- rules ---


def rules(user: User) -> QuerySet[SegmentRule]:
    """Those that the person may see, of any state."""
    return SegmentRule.objects.visible_to(user).select_related(
        "source_segment", "source_application", "destination_segment", "destination_application", "request", "asked_by",
        "ended_by",
    )  # fmt: skip


def find_rule(user: User, pk: int) -> SegmentRule:
    """Raises ``NotFound``."""
    row = rules(user).filter(pk=pk).first()
    if row is None:
        raise NotFound(f"There is no rule {pk} that you may see.", code="no-rule")
    return row


@dataclass(frozen=True, slots=True)
class Usage:
    """What was recorded under a rule, as far as the person may see it."""

    edges: int = 0
    flows: int = 0
    last_at: datetime | None = None

    def words(self, now: datetime) -> str:
        """``used 12,000 times``, ``not used in 30 days``, ``never used``."""
        if self.last_at is None:
            return "never used"
        if self.last_at < now - UNUSED:
            return f"not used in {UNUSED.days} days"
        return f"used {self.flows:,} time{'s' * (self.flows != 1)}"


def usage(user: User, ids: Sequence[int]) -> dict[int, Usage]:
    """{rule: its usage}. One statement."""
    rows = Edge.objects.visible_to(user).filter(rule__in=ids).order_by().values("rule")
    found = {pk: Usage() for pk in ids}
    for one in rows.annotate(edges=Count("pk"), flows=Sum("count"), last=Max("last_at")):
        found[one["rule"]] = Usage(one["edges"], one["flows"], one["last"])
    return found


def describe(user: User, found: Sequence[Any], now: datetime) -> None:
    """Give rules what a page or a document shows of them, beside the row itself. Three statements at most."""
    ids = {getattr(row, f"{side}_application_id") for row in found for side in SIDES} - {None}
    mine = set(Application.objects.visible_to(user).filter(pk__in=ids).values_list("pk", flat=True)) if ids else set()
    kept = {s.pk for row in found for side in SIDES if (s := getattr(row, f"{side}_segment"))}
    visible = set(Segment.objects.visible_to(user).filter(pk__in=kept).values_list("pk", flat=True)) if kept else set()
    used = usage(user, [row.pk for row in found])
    for row in found:
        row.state = state_of(row, now)
        row.usage = used[row.pk]
        row.usage_words = row.usage.words(now)
        row.ports_words = in_words(row.as_rule.ports)
        row.source_name, row.source_url = _named(row, "source", mine, visible)
        row.destination_name, row.destination_url = _named(row, "destination", mine, visible)


def _named(row: Any, side: str, applications: set[int], visible: set[int]) -> tuple[str, str]:
    """(name, page). Whoever asked for a rule tells its ends, as far as they knew them, to whoever sees the rule."""
    is_told = getattr(row, f"{side}_told")
    segment, application = getattr(row, f"{side}_segment"), getattr(row, f"{side}_application")
    if segment is not None:
        is_seen = segment.pk in visible
        page = reverse("network:segment", args=[segment.pk]) if is_seen and segment.ended_at is None else ""
        return (segment.name if is_seen or is_told else OTHER, page)
    is_seen = application.pk in applications
    page = reverse("applications:detail", args=[application.slug]) if is_seen else ""
    return (application.name if is_seen or is_told else OTHER, page)


def votes(rows: Sequence[SegmentRule]) -> dict[int, list[dict[str, Any]]]:
    """{rule: who said what}. One statement."""
    cast = votes_of([row.request for row in rows])
    return {
        row.pk: [
            {"voter": v.voter.username, "choice": v.choice, "comment": v.comment, "at": v.created_at}
            for v in cast[row.request_id]
        ]
        for row in rows
    }


def may(user: User, row: SegmentRule, now: datetime) -> dict[str, bool]:
    """What a page can offer."""
    state, teams = state_of(row, now), teams_of(row)

    def holds(permission: Permission) -> bool:
        return all(user.can(permission, team or None) for team in teams)

    return {
        "vote": state == "waiting" and row.asked_by_id != user.pk and holds(Permission.DECISION_APPROVE),
        "withdraw": state == "waiting" and row.asked_by_id == user.pk,
        "end": state == "in force" and holds(Permission.DECISION_REVOKE),
    }
