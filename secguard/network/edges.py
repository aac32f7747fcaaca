"""Flows folded into edges: who asked whom, at which port, and what became of it. Pure.

An edge names workloads, not pods, and networks, not addresses, so that an estate has as many as it has relations.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from secguard.network import selectors
from secguard.network.flow import End, Verdict
from secguard.network.grouping import MAX_COUNT, Group, hour_at

MAX_PORTS: Final = 128
"""Of one pair and protocol: what knocks at more is one edge without a port, and a scan of ports."""
MAX_NETWORKS: Final = 32
"""So many networks are remembered of a name in the DNS."""


class Sort(StrEnum):
    """What an end is. The last three are outside: they belong to no namespace."""

    WORKLOAD = "workload"
    IDENTITY = "identity"
    """What the cluster's network knows by itself: ``kube-apiserver``, ``host``, ``remote-node`` …"""
    NAME = "name"
    NETWORK = "network"
    MACHINE = "machine"


OUTSIDE: Final = frozenset({Sort.NAME, Sort.NETWORK, Sort.MACHINE})
WORLD: Final = "world"


class Peer(NamedTuple):
    """One end of an edge. ``cluster`` and ``namespace`` are empty outside."""

    sort: Sort
    name: str
    cluster: str = ""
    namespace: str = ""
    kind: str = ""
    """Of a workload: ``Deployment``; empty where nobody told."""

    @property
    def is_outside(self) -> bool:
        return self.sort in OUTSIDE

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Edge(NamedTuple):
    source: Peer
    destination: Peer
    protocol: str
    """``tcp``, ``udp`` …; empty where it is not told."""
    port: int | None
    verdict: Verdict


@dataclass(slots=True)
class Seen:
    """How often, when and how much."""

    first_at: datetime
    last_at: datetime
    count: int = 0
    bytes: int = 0

    def add(self, begins: datetime, ends: datetime, count: int, size: int) -> None:
        self.first_at = min(self.first_at, begins)
        self.last_at = max(self.last_at, ends)
        self.count = min(self.count + count, MAX_COUNT)
        self.bytes = min(self.bytes + size, MAX_COUNT)


@dataclass(slots=True)
class Folded:
    """What a batch adds up to."""

    edges: dict[Edge, Seen] = field(default_factory=dict)
    hours: dict[tuple[Edge, datetime], int] = field(default_factory=dict)
    labels: dict[Peer, dict[str, str | None]] = field(default_factory=dict)
    networks: dict[Peer, set[str]] = field(default_factory=dict)
    """Where their addresses lay, of all that are not a network themselves."""
    scanned: set[tuple[Peer, Peer]] = field(default_factory=set)
    """Pairs whose ports were more than ``MAX_PORTS``."""
    clusters: set[str] = field(default_factory=set)


class Pair(NamedTuple):
    """Whose ports are counted."""

    source: Peer
    destination: Peer
    protocol: str


def pair_of(edge: Edge) -> Pair:
    return Pair(edge.source, edge.destination, edge.protocol)


Resolve = Callable[[End, str], Peer | None]
"""The workload that an end is, by its pod or its address; ``None`` where that is not known. Second: the cluster."""


def fold(groups: Iterable[Group], *, cluster: str, resolve: Resolve, into: Folded | None = None) -> Folded:
    """Edges of a batch. ``cluster``: of whoever sent it, where it is bound to one; else each flow tells its own."""
    folded = Folded() if into is None else into
    met: _Met = {}
    for group in groups:
        _take(group, cluster, resolve, folded, met)
    return folded


_Met = dict[tuple[End, str], Peer]
"""Ends that a batch has told of already: few, in very many flows."""


def _take(group: Group, bound: str, resolve: Resolve, folded: Folded, met: _Met) -> None:
    home = group.home
    if (source := met.get((group.source, home))) is None:
        source = met[group.source, home] = _noted(group.source, bound, home, resolve, folded)
    if (destination := met.get((group.destination, home))) is None:
        destination = met[group.destination, home] = _noted(group.destination, bound, home, resolve, folded)
    folded.clusters.add(bound or home)
    sums = group.sums()
    edge = Edge(source, destination, _bounded(group.protocol, 16), group.port or None, group.verdict)
    seen = folded.edges.get(edge)
    if seen is None:
        seen = folded.edges[edge] = Seen(sums.first_at, sums.last_at)
    seen.add(sums.first_at, sums.last_at, sums.count, sums.bytes)
    for number, count in sums.hours.items():
        hour = edge, hour_at(number)
        folded.hours[hour] = min(folded.hours.get(hour, 0) + count, MAX_COUNT)


def _noted(end: End, bound: str, home: str, resolve: Resolve, folded: Folded) -> Peer:
    """A sensor of one cluster can speak of another's workloads only as of strangers."""
    if bound and end.cluster and home and end.cluster != home:
        return Peer(Sort.MACHINE, f"{end.cluster}/{end.namespace or ''}/{end.workload or end.pod or ''}"[:253], bound)
    peer = peer_of(end, bound or end.cluster or home, resolve)
    if end.labels and peer.sort is Sort.WORKLOAD:
        labels = _labels(end.labels)
        known = folded.labels.get(peer)
        if known is None:
            folded.labels[peer] = dict(labels)
        elif known != labels:
            folded.labels[peer] = selectors.merged(known, labels)
    if end.ip and peer.sort is not Sort.NETWORK:
        folded.networks.setdefault(peer, set()).add(network_of(end.ip))
    return peer


@lru_cache(maxsize=16_384)
def _labels(told: tuple[str, ...]) -> Mapping[str, str]:
    return selectors.parsed(told)


def peer_of(end: End, cluster: str, resolve: Resolve) -> Peer:
    """Who an end is: what is told of it first, then what is known of its address; never a guess."""
    peer = _told(end, cluster, resolve)
    bounded = Peer(
        peer.sort,
        _bounded(peer.name, 253),
        _bounded(peer.cluster, 100),
        _bounded(peer.namespace, 100),
        _bounded(peer.kind, 50),
    )
    return peer if peer == bounded else bounded


def _bounded(text: str, most: int) -> str:
    """As it is kept: no NUL, and no longer than its column."""
    return text if len(text) <= most and "\0" not in text else text.replace("\0", "")[:most]


def _told(end: End, cluster: str, resolve: Resolve) -> Peer:
    if end.workload and end.namespace is not None:
        known = resolve(end, cluster) if not end.workload_kind else None
        return known or Peer(Sort.WORKLOAD, end.workload, cluster, end.namespace, end.workload_kind or "")
    if end.identity and end.identity != WORLD:
        return Peer(Sort.IDENTITY, end.identity, cluster)
    if (known := resolve(end, cluster)) is not None:
        return known
    if end.pod:
        return Peer(Sort.WORKLOAD, end.pod, cluster, end.namespace or "", "Pod")
    if end.workload:
        return Peer(Sort.WORKLOAD, end.workload, cluster, "", end.workload_kind or "")
    if end.service and not end.names:
        namespace, _, name = end.service.rpartition("/")
        return Peer(Sort.WORKLOAD, name, cluster, namespace or end.namespace or "", "Service")
    return _outside(end, cluster)


def _outside(end: End, cluster: str) -> Peer:
    if end.namespace:
        return Peer(Sort.WORKLOAD, "", cluster, end.namespace, "")
    if end.names:
        return Peer(Sort.NAME, min(end.names).rstrip(".").lower()[:253])
    if end.ip:
        return Peer(Sort.NETWORK, network_of(end.ip))
    if end.host:
        return Peer(Sort.MACHINE, end.host[:253], cluster)
    return Peer(Sort.IDENTITY, end.identity or "unknown", cluster)


@lru_cache(maxsize=65_536)
def network_of(ip: str) -> str:
    """The /24 (IPv4) or /64 (IPv6) that an address lies in; an IPv4 address that is written as IPv6 is IPv4."""
    address = ipaddress.ip_address(ip.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address, 24 if address.version == 4 else 64), strict=False))


def is_world(peer: Peer) -> bool:
    """Outside the organisation: a name, or a network that is neither private nor local (RFC 1918, 4193, 6598)."""
    if peer.sort is Sort.NETWORK:
        network = ipaddress.ip_network(peer.name)
        return not _is_local(network) and not network.is_multicast
    if peer.sort is Sort.NAME:
        return not peer.name.endswith(_INTERNAL) and "." in peer.name
    return peer.sort is Sort.IDENTITY and peer.name == WORLD


_INTERNAL: Final = (".local", ".internal", ".svc", ".localdomain", ".home.arpa", ".lan")
_LOCAL: Final = tuple(
    ipaddress.ip_network(n)
    for n in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
              "0.0.0.0/8", "fc00::/7", "fe80::/10", "::1/128", "::/128")
)  # fmt: skip


def _is_local(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return any(network.version == local.version and network.overlaps(local) for local in _LOCAL)


def collapse(folded: Folded, known: Mapping[Pair, frozenset[int]]) -> None:
    """One edge for who knocks at very many ports, so that nobody fills the map by that.

    ``known``: the ports of a pair that are edges already, where those are many; they go on counting for themselves.
    """
    ports: dict[Pair, set[int]] = defaultdict(set)
    for edge in folded.edges:
        if edge.port is not None:
            ports[pair_of(edge)].add(edge.port)
    much = {pair for pair, found in ports.items() if len(found | known.get(pair, frozenset())) > MAX_PORTS}
    if not much:
        return

    def stays(edge: Edge) -> bool:
        pair = pair_of(edge)
        return edge.port is None or pair not in much or edge.port in known.get(pair, ())

    for edge in [e for e in folded.edges if not stays(e)]:
        one, seen = edge._replace(port=None), folded.edges.pop(edge)
        there = folded.edges.setdefault(one, Seen(seen.first_at, seen.last_at))
        there.add(seen.first_at, seen.last_at, seen.count, seen.bytes)
        folded.scanned.add((edge.source, edge.destination))
    for edge, hour in [at for at in folded.hours if not stays(at[0])]:
        one_at = edge._replace(port=None), hour
        folded.hours[one_at] = folded.hours.get(one_at, 0) + folded.hours.pop((edge, hour))


def remembered(networks: Iterable[str]) -> list[str]:
    """At most ``MAX_NETWORKS`` of a kind; more than that may be any."""
    found = set(networks)
    four, six = {n for n in found if ":" not in n}, {n for n in found if ":" in n}
    four = {"0.0.0.0/0"} if len(four) > MAX_NETWORKS or "0.0.0.0/0" in four else four
    six = {"::/0"} if len(six) > MAX_NETWORKS or "::/0" in six else six
    return [*sorted(four), *sorted(six)]


NEW_FOR: Final = timedelta(days=7)
LEARNING: Final = timedelta(days=7)


def new_until(first_at: datetime, heard_since: datetime) -> datetime | None:
    """Until when an edge counts as new; ``None`` where its cluster was only being learned when it first appeared."""
    return first_at + NEW_FOR if first_at >= heard_since + LEARNING else None
