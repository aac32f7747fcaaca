"""What is seen to break the rules, as events: bounded, once a day for each edge, and to each team in its own words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from secguard import bulk
from secguard.events.record import Kind, Line, fingerprint_of, story_of
from secguard.events.services.recording import record
from secguard.events.sources import SOURCE
from secguard.findings.severity import Severity
from secguard.network.models import Edge, Peer
from secguard.network.segmentation import Standing

RULE: Final = "network rule broken"
MOST: Final = 500
"""Edges that are told by name at once; of more it is told how many."""
_OTHER: Final = "another team's workload"


class Broken(NamedTuple):
    edge: int
    standing: Standing
    rule: int | None


def report(broken: Sequence[Broken], now: datetime) -> None:
    """Record them, inside the caller's transaction. Three statements, whatever their number."""
    told = {one.edge: one for one in broken[:MOST]}
    if not told:
        return
    related = ("source__workload__application", "destination__workload__application")
    rows = Edge.objects.filter(pk__in=bulk.among(sorted(told))).select_related(*related).order_by("pk")
    lines = [line for edge in rows for line in _lines(edge, told[edge.pk], now)]
    if len(broken) > MOST:
        lines.append(_summary(len(broken) - MOST, now))
    record(lines, now)


def _lines(edge: Edge, broken: Broken, now: datetime) -> Iterable[Line]:
    """One for the team that is spoken to, and one for that which speaks, where it is another: neither names the
    other's workload to it."""
    teams = {side: _team(getattr(edge, side)) for side in ("source", "destination")}
    is_shared = teams["source"] == teams["destination"]
    for side in ("destination",) if is_shared else ("destination", "source"):
        if teams[side] is None and side == "source":
            continue  # outside, or nobody's: the other side is told
        yield _line(edge, broken, side, teams, now)


def _line(edge: Edge, broken: Broken, side: str, teams: dict[str, int | None], now: datetime) -> Line:
    own: Peer = getattr(edge, side)
    names = {
        s: str(peer) if (peer := getattr(edge, s)).sort != "workload" or teams[s] in (teams[side], None) else _OTHER
        for s in ("source", "destination")
    }
    why = f"rule {broken.rule} denies it" if broken.rule else "no rule allows it"
    day = now.astimezone(UTC).date()
    workload = own.workload
    return Line(
        kind=Kind.NETWORK,
        source=SOURCE,
        rule=RULE,
        title=f"{names['source']} spoke to {names['destination']} at {edge.where}: {why}",
        at=now,
        severity=Severity.HIGH if broken.rule else Severity.MEDIUM,
        outcome=broken.standing.value,
        cluster=own.cluster,
        namespace=own.namespace,
        workload=own.name,
        workload_id=workload.pk if workload else None,
        application_id=workload.application_id if workload else None,
        team_id=teams[side],
        story=story_of("network-rule", edge.pk, side),
        fingerprint=fingerprint_of("network-rule", edge.pk, side, broken.standing, broken.rule, day),
        ref=f"network-edge:{edge.pk}",
        detail={"port": edge.port, "protocol": edge.protocol, "flows": edge.count, "rule": broken.rule},
    )


def _team(peer: Peer) -> int | None:
    workload = peer.workload
    return workload.application.team_id if workload and workload.application else None


def _summary(more: int, now: datetime) -> Line:
    return Line(
        kind=Kind.NETWORK,
        source=SOURCE,
        rule=RULE,
        title=f"{more:,} more edges are seen to break the network's rules",
        at=now,
        severity=Severity.MEDIUM,
        story=story_of("network-rule", "more"),
        keep=True,
    )
