"""Writing folded edges, and letting go of what has aged: a fixed number of statements for a batch of any size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, Max, Q

from secguard import bulk
from secguard.events.keeping import hour_of
from secguard.events.record import fitted
from secguard.network import edges, selectors
from secguard.network.edges import Folded, Pair
from secguard.network.grouping import MAX_COUNT
from secguard.network.models import Edge, Heard, Hour, Loss, Peer, Print
from secguard.network.services import tying

HOURS_KEPT: Final = timedelta(days=14)
LOSSES_KEPT: Final = timedelta(days=90)
MARKED: Final = timedelta(days=7)
LEAST_UNUSUAL: Final = 100
"""Fewer flows in an hour are never unusual."""
TIMES_UNUSUAL: Final = 5
_MANY: Final = edges.MAX_PORTS // 2
_LATER: Final = "CASE WHEN excluded.{0} > {1}.{0} THEN excluded.{0} ELSE {1}.{0} END"
_EARLIER: Final = _LATER.replace(">", "<")
_ADDED: Final = f"CASE WHEN {{1}}.{{0}} >= {MAX_COUNT} THEN {{1}}.{{0}} ELSE {{1}}.{{0}} + excluded.{{0}} END"
_PEER_KEY: Final = ("cluster", "namespace", "name", "kind", "sort")
_EDGE_KEY: Final = ("source_id", "destination_id", "protocol", "port", "verdict")


def save(folded: Folded, now: datetime) -> list[int]:
    """Add what a batch adds up to, inside the caller's transaction; returns the ids of the edges that it touched."""
    since = _hear(folded, now)
    peers = _peers(folded)
    if not peers:
        return []
    edges.collapse(folded, _known_ports(folded, peers))
    ids = _edges(folded, peers, since, now)
    table = Hour._meta.db_table
    rows = sorted((ids[edge], hour, min(n, MAX_COUNT)) for (edge, hour), n in folded.hours.items())
    bulk.merge(
        Hour,
        ("edge_id", "hour", "count"),
        rows,
        unique=("edge_id", "hour"),
        settings=f"count = {_ADDED.format('count', table)}",
        returning=("id",),
    )
    return sorted(ids.values())


def _hear(folded: Folded, now: datetime) -> Mapping[str, datetime]:
    rows: list[bulk.Row] = [(fitted(cluster, 100), now, now) for cluster in sorted(folded.clusters)]
    bulk.merge(
        Heard,
        ("cluster", "since", "last_at"),
        rows,
        unique=("cluster",),
        settings=f"last_at = {_LATER.format('last_at', Heard._meta.db_table)}",
        returning=("id",),
    )
    return dict(Heard.objects.values_list("cluster", "since"))


_KNOWN: Final = ("id", *_PEER_KEY, "labels", "networks", "workload_id", "last_at")
_LATELY: Final = timedelta(minutes=10)
"""How exactly it is kept when an end was last seen; its edges tell to the second."""


def _peers(folded: Folded) -> dict[edges.Peer, int]:
    """Every end's row, made where it is missing, and brought up to date where it has changed."""
    seen: dict[edges.Peer, edges.Seen] = {}
    for edge, times in folded.edges.items():
        for peer in edge[:2]:
            if (there := seen.get(peer)) is None:
                seen[peer] = edges.Seen(times.first_at, times.last_at)
            else:
                there.first_at = min(there.first_at, times.first_at)
                there.last_at = max(there.last_at, times.last_at)
    by_key = {_key(p): p for p in seen}
    found, loose = _refresh(by_key, seen, folded)
    missing = sorted(by_key.keys() - found.keys())
    if missing:
        _add([by_key[key] for key in missing], seen)
        more, loose = _refresh({key: by_key[key] for key in missing}, seen, folded)
        found |= more
    tying.tie(loose)
    return {p: found[key] for key, p in by_key.items()}


def _add(peers: Sequence[edges.Peer], seen: Mapping[edges.Peer, edges.Seen]) -> None:
    rows: list[bulk.Row] = [(*_key(p), edges.is_world(p), [], seen[p].first_at, seen[p].last_at) for p in peers]
    columns = (*_PEER_KEY, "is_world", "networks", "first_at", "last_at")
    bulk.merge(Peer, columns, rows, unique=_PEER_KEY, returning=("id",))


def _refresh(
    by_key: Mapping[tuple[str, ...], edges.Peer], seen: Mapping[edges.Peer, edges.Seen], folded: Folded
) -> tuple[dict[tuple[str, ...], int], list[tying.Loose]]:
    """The rows of ends that are kept, and those that are tied to no workload yet."""
    found: dict[tuple[str, ...], int] = {}
    changed: list[bulk.Row] = []
    loose = []
    rows = Peer.objects.filter(name__in=bulk.among(sorted({key[2] for key in by_key}))).order_by("pk")
    for pk, *rest in rows.values_list(*_KNOWN):
        key = tuple(rest[:5])
        peer = by_key.get(key)
        if peer is None:
            continue
        found[key] = pk
        labels, networks, workload_id, last_at = rest[5:]
        told, more = folded.labels.get(peer), folded.networks.get(peer, ())
        merged = labels if told is None else dict(told) if labels is None else selectors.merged(labels, told)
        remembered = networks if set(networks) >= set(more) else edges.remembered([*networks, *more])
        is_later = seen[peer].last_at > last_at + _LATELY
        if is_later or merged != labels or remembered != networks:
            changed.append((pk, merged, remembered, max(last_at, seen[peer].last_at)))
        if workload_id is None and peer.sort is edges.Sort.WORKLOAD:
            loose.append(tying.Loose(pk, peer, None))
    bulk.update(Peer, ("labels", "networks", "last_at"), changed)
    return found, loose


def _key(peer: edges.Peer) -> tuple[str, ...]:
    return (peer.cluster, peer.namespace, peer.name, peer.kind, peer.sort.value)


def _known_ports(folded: Folded, peers: Mapping[edges.Peer, int]) -> dict[Pair, frozenset[int]]:
    """Of pairs that have many ports already, and come again with one."""
    sources = {peers[e.source] for e in folded.edges if e.port}
    destinations = {peers[e.destination] for e in folded.edges if e.port}
    rows = Edge.objects.filter(
        source__in=bulk.among(sorted(sources)), destination__in=bulk.among(sorted(destinations)), port__gt=0
    ).order_by()
    columns = ("source_id", "destination_id", "protocol")
    many = rows.values(*columns).annotate(n=Count("port", distinct=True)).filter(n__gte=_MANY)
    wanted = {tuple(one[c] for c in columns) for one in many}
    if not wanted:
        return {}
    by_id = {pk: peer for peer, pk in peers.items()}
    found: dict[Pair, set[int]] = defaultdict(set)
    ports = rows.filter(source__in=[w[0] for w in wanted], destination__in=[w[1] for w in wanted])
    for source, destination, protocol, port in ports.values_list(*columns, "port"):
        if (source, destination, protocol) in wanted:
            found[Pair(by_id[source], by_id[destination], protocol)].add(port)
    return {pair: frozenset(several) for pair, several in found.items()}


def _edges(
    folded: Folded, peers: Mapping[edges.Peer, int], since: Mapping[str, datetime], now: datetime
) -> dict[edges.Edge, int]:
    rows = {}
    for edge, seen in folded.edges.items():
        key = (peers[edge.source], peers[edge.destination], edge.protocol, edge.port or 0, edge.verdict.value)
        scanned = edge.port is None and (edge.source, edge.destination) in folded.scanned
        cluster = edge.destination.cluster or edge.source.cluster
        until = edges.new_until(seen.first_at, since.get(cluster, now))
        anomaly = ("ports", now) if scanned else ("", None)
        rows[key] = (edge, (*key, seen.count, seen.bytes, seen.first_at, seen.last_at, until, *anomaly))
    table = Edge._meta.db_table
    found = bulk.merge(
        Edge,
        (*_EDGE_KEY, "count", "bytes", "first_at", "last_at", "new_until", "anomaly", "anomaly_at"),
        [row for _, row in (rows[key] for key in sorted(rows))],
        unique=_EDGE_KEY,
        settings=f"""
            count = {_ADDED.format("count", table)},
            bytes = {_ADDED.format("bytes", table)},
            first_at = {_EARLIER.format("first_at", table)},
            last_at = {_LATER.format("last_at", table)},
            anomaly = CASE WHEN excluded.anomaly <> '' THEN excluded.anomaly ELSE {table}.anomaly END,
            anomaly_at = CASE WHEN excluded.anomaly <> '' THEN excluded.anomaly_at ELSE {table}.anomaly_at END
        """,
        returning=("id", *_EDGE_KEY),
    )
    return {rows[tuple(key)][0]: pk for pk, *key in found}


@transaction.atomic
def mark_unusual(now: datetime) -> int:
    """Mark edges that had far more flows in the last whole hour than in any hour before; returns how many.

    Nothing is said of an edge that is known for less than a day. A mark goes after ``MARKED``. Two statements.
    """
    Edge.objects.filter(anomaly_at__lt=now - MARKED).update(anomaly="", anomaly_at=None)
    hour = hour_of(now - timedelta(hours=1))
    busy = Hour.objects.filter(hour=hour, count__gte=LEAST_UNUSUAL).values("edge")
    before = Q(hour__lt=hour)
    told = Hour.objects.filter(edge__in=busy, hour__lte=hour).order_by().values("edge")
    found = told.annotate(
        hours=Count("pk", filter=before), most=Max("count", filter=before), lately=Max("count", filter=Q(hour=hour))
    ).filter(hours__gte=24, lately__gt=F("most") * TIMES_UNUSUAL)
    return Edge.objects.filter(pk__in=found.values("edge"), anomaly="").update(anomaly="volume", anomaly_at=now)


@transaction.atomic
def age(now: datetime) -> dict[str, int]:
    """Let go of edges that were not seen for ``NETWORK_DAYS``, and of what is counted and remembered for less."""
    gone, _ = Edge.objects.filter(last_at__lt=now - timedelta(days=settings.NETWORK_DAYS)).delete()
    _, of_each = Peer.objects.filter(
        outgoing=None, incoming=None, last_at__lt=now - timedelta(days=settings.NETWORK_DAYS)
    ).delete()
    Hour.objects.filter(hour__lt=now - HOURS_KEPT).delete()
    Loss.objects.filter(ended_at__lt=now - LOSSES_KEPT).delete()
    Print.objects.filter(received_at__lt=now - timedelta(hours=1)).delete()
    return {"edges": gone, "ends": of_each.get("network.Peer", 0)}


@transaction.atomic
def retie() -> int:
    """Tie ends to what runs now: workloads go and come back, and lists of pods come after flows."""
    loose = Peer.objects.filter(sort="workload").exclude(workload__gone_at=None, workload__isnull=False)
    rows = loose.order_by("pk").values_list("pk", "name", "cluster", "namespace", "kind", "workload_id")
    return tying.tie(tying.Loose(pk, edges.Peer(edges.Sort.WORKLOAD, *at), of) for pk, *at, of in rows.iterator())
