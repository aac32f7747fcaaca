"""What somebody who holds a workload could reach from it, step by step. Pure.

By what was observed: the edges that were let through. By what is allowed: what no policy stops. A step into a workload
counts as holding it: that is the worst case, and what findings on the way make likely or not.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from secguard.network.edges import Edge, Peer, Sort
from secguard.network.flow import Verdict
from secguard.network.policy import Block, Outcome, Pods, Policies, Policy, Ports, Side

MAX_HOPS: Final = 16
MAX_SHOWN_PORTS: Final = 16


class Step(NamedTuple):
    """``came_from`` is a step before it; ``ports`` by which it can be entered: ``tcp/5432``, ``any port``."""

    peer: Peer
    hops: int
    came_from: Peer | None
    ports: tuple[str, ...] = ()
    is_certain: bool = True
    """Where not: whether a policy stops it on the way is not known."""


@dataclass(frozen=True, slots=True)
class Reached:
    start: Peer
    steps: Mapping[Peer, Step] = field(default_factory=dict)
    """Without the start, nearest first."""

    def path(self, peer: Peer) -> tuple[Step, ...]:
        """The steps from the start to a peer; raises ``KeyError`` for one that is not reached."""
        found = []
        at: Peer | None = peer
        while at is not None and at != self.start:
            step = self.steps[at]
            found.append(step)
            at = step.came_from
        return tuple(reversed(found))


Next = Callable[[Peer], Iterable[tuple[Peer, tuple[str, ...], bool]]]


def _walk(start: Peer, onward: Next, max_hops: int) -> Reached:
    """Breadth first; certain steps before uncertain ones of the same length. An end outside leads no further."""
    steps: dict[Peer, Step] = {}
    queue: deque[tuple[Peer, int, bool]] = deque([(start, 0, True)])
    while queue:
        here, hops, certain = queue.popleft()
        if hops == max_hops:
            continue
        found = sorted(onward(here), key=lambda one: (not one[2], one[0]))
        for peer, ports, is_certain in found:
            if peer == start or peer in steps:
                continue
            steps[peer] = Step(peer, hops + 1, here, ports, certain and is_certain)
            if peer.sort is Sort.WORKLOAD and peer.kind != "Service":
                queue.append((peer, hops + 1, certain and is_certain))
    return Reached(start, steps)


def by_observed(start: Peer, edges: Iterable[Edge], *, max_hops: int = MAX_HOPS) -> Reached:
    """What was spoken to, from one to the next."""
    by_source: dict[Peer, dict[Peer, set[str]]] = defaultdict(lambda: defaultdict(set))
    for edge in edges:
        if edge.verdict is not Verdict.DENIED and edge.source != edge.destination:
            by_source[edge.source][edge.destination].add(port_words(edge.protocol, edge.port))

    def onward(peer: Peer) -> Iterable[tuple[Peer, tuple[str, ...], bool]]:
        return [(p, tuple(sorted(ports)[:MAX_SHOWN_PORTS]), True) for p, ports in by_source[peer].items()]

    return _walk(start, onward, max_hops)


def by_allowed(start: Peer, workloads: Sequence[Peer], policies: Policies, *, max_hops: int = MAX_HOPS) -> Reached:
    """What no policy keeps a workload from: at some port of TCP or UDP.

    Workloads that all policies treat alike are judged once, so that an estate without policies costs one judgement.
    """
    classes = _Classes([*workloads, start], policies)
    steps: dict[Peer, Step] = {}
    entered: set[object] = set()
    begun = {classes.of.get(start)}
    queue: deque[tuple[Peer, int, bool]] = deque([(start, 0, True)])  # one of each class: the others go where it goes
    while queue:
        here, hops, certain = queue.popleft()
        if hops == max_hops:
            continue
        for key, ports, is_certain in classes.entered_from(here):
            if key in entered:
                continue
            entered.add(key)
            members = [m for m in classes.members[key] if m not in (start, here)]
            for member in members:
                steps[member] = Step(member, hops + 1, here, ports, certain and is_certain)
            if members and key not in begun:
                begun.add(key)
                queue.append((members[0], hops + 1, certain and is_certain))
    return Reached(start, steps)


class _Classes:
    """Workloads by how the policies see them."""

    def __init__(self, workloads: Sequence[Peer], policies: Policies) -> None:
        self.policies = policies
        self.members: dict[object, list[Peer]] = defaultdict(list)
        self.of: dict[Peer, object] = {}
        named = policies.named_peers()
        for peer in sorted(set(workloads)):
            if peer.sort is Sort.WORKLOAD and peer.kind != "Service":
                key = _seen_as(peer, policies, named)
                self.members[key].append(peer)
                self.of[peer] = key

    def entered_from(self, peer: Peer) -> list[tuple[object, tuple[str, ...], bool]]:
        """The classes that may be entered from a peer, and where; the certain ones first."""
        if peer not in self.of:
            return []
        found = []
        for key, members in self.members.items():
            if members[0].cluster == peer.cluster:  # between clusters only what was observed tells of a way
                ports, is_certain = open_ports(peer, members[0], self.policies)
                if ports:
                    found.append((key, ports, is_certain))
        return sorted(found, key=lambda one: not one[2])


_Named = Mapping[tuple[str, str], Sequence[tuple[Policy, Pods | Block]]]


def _seen_as(peer: Peer, policies: Policies, named: _Named) -> object:
    selecting = tuple((side, id(p), truth) for side in Side for p, truth in policies.selecting(peer, side))
    places = {(peer.cluster, peer.namespace), (peer.cluster, "")}
    fits = tuple(
        (place, i, truth)
        for place in sorted(places)
        for i, (policy, rule) in enumerate(named.get(place, ()))
        if (truth := policies.holds_peer(policy, rule, peer))
    )
    return peer.cluster, not peer.namespace, selecting, fits


def open_ports(source: Peer, destination: Peer, policies: Policies) -> tuple[tuple[str, ...], bool]:
    """Where a workload may be entered from another, in words, and whether that is certain; empty where nowhere.

    Policies treat all ports between two of their bounds alike, so one of each range is asked.
    """
    touching = (*policies.selecting(source, Side.EGRESS), *policies.selecting(destination, Side.INGRESS))
    if not touching:
        return ("any port",), True
    bounds = _bounds(ports for policy, _ in touching for side in Side for ports in policy.all_ports(side))
    allowed: list[str] = []
    unknown: list[str] = []
    for protocol in ("tcp", "udp"):
        for first, last in bounds:
            outcome = policies.judge(source, destination, protocol, first).outcome
            if outcome is not Outcome.DENIED:
                words = _range_words(protocol, first, last)
                (allowed if outcome is Outcome.ALLOWED else unknown).append(words)
    found = allowed or unknown
    whole = len(found) == 2 * len(bounds)
    return (("any port",) if whole else tuple(found[:MAX_SHOWN_PORTS])), bool(allowed)


def _bounds(ports: Iterable[Ports]) -> list[tuple[int, int]]:
    starts = {1}
    for one in ports:
        if one.first is not None:
            starts |= {one.first, (one.last or one.first) + 1}
    ordered = sorted(s for s in starts if s <= 65_535)
    return [(s, e - 1) for s, e in zip(ordered, [*ordered[1:], 65_536], strict=True)]


def _range_words(protocol: str, first: int, last: int) -> str:
    if (first, last) == (1, 65_535):
        return f"{protocol}, any port"
    return port_words(protocol, first) if first == last else f"{protocol}/{first}-{last}"


def port_words(protocol: str, port: int | None) -> str:
    return f"{protocol or 'any'}/{port}" if port else protocol or "any port"
