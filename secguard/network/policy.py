"""What network policies let through, in one form for Kubernetes' and Cilium's, where not everything is known. Pure.

Kubernetes, "Network Policies": a pod that no policy selects for a direction lets everything through in it; else what
one of them lets through. A connection needs its source's egress and its destination's ingress. Traffic of a pod with
its own node always passes. Cilium, "Policy Enforcement": the same, and what is denied outright is denied first.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from secguard.network import selectors
from secguard.network.edges import Peer, Sort
from secguard.network.selectors import Labels, Selector, Truth

NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"


class Form(StrEnum):
    KUBERNETES = "kubernetes"
    CILIUM = "cilium"


class Outcome(StrEnum):
    ALLOWED = "allowed"
    DENIED = "denied"
    UNKNOWN = "unknown"


class Side(StrEnum):
    EGRESS = "egress"
    INGRESS = "ingress"


class Pods(NamedTuple):
    """Pods by labels. ``namespaces``: ``None`` is the policy's own, else those that its selector selects."""

    labels: Selector
    namespaces: Selector | None = None


class Block(NamedTuple):
    network: str
    excepted: tuple[str, ...] = ()


class Entity(NamedTuple):
    """Cilium's: ``world``, ``cluster``, ``all``, ``kube-apiserver`` …"""

    name: str


class Fqdn(NamedTuple):
    """Cilium's ``toFQDNs``: ``*`` stands for characters other than dots."""

    pattern: str


PeerRule = Pods | Block | Entity | Fqdn


class Ports(NamedTuple):
    """``first`` to ``last`` of a protocol; ``first`` ``None``: every port. ``named``: which is not known here."""

    protocol: str
    first: int | None = None
    last: int | None = None
    named: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """``peers``, ``ports``: ``None`` is everybody, everything; empty is nobody. ``is_partial``: more is asked than is
    read here, so that what fits may still be refused."""

    peers: tuple[PeerRule, ...] | None = None
    ports: tuple[Ports, ...] | None = None
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """``None`` for a direction: the policy says nothing of it."""

    form: Form
    name: str
    namespace: str
    selector: Selector
    cluster: str = ""
    ingress: tuple[Rule, ...] | None = None
    egress: tuple[Rule, ...] | None = None
    ingress_deny: tuple[Rule, ...] = ()
    egress_deny: tuple[Rule, ...] = ()
    leaves_open: frozenset[Side] = frozenset()
    """Directions in which it lets something through and stops nothing else (Cilium's ``enableDefaultDeny: false``)."""
    unread: tuple[str, ...] = ()
    """Places of what is not understood here."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    def rules(self, side: Side) -> tuple[Rule, ...] | None:
        return self.egress if side is Side.EGRESS else self.ingress

    def all_ports(self, side: Side) -> tuple[Ports, ...]:
        return tuple(p for r in (*(self.rules(side) or ()), *self.denials(side)) for p in r.ports or ())

    def denials(self, side: Side) -> tuple[Rule, ...]:
        return self.egress_deny if side is Side.EGRESS else self.ingress_deny


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of ends. Labels ``None`` or missing: not told."""

    labels: Mapping[Peer, Labels] = field(default_factory=dict)
    networks: Mapping[Peer, frozenset[str]] = field(default_factory=dict)
    namespaces: Mapping[tuple[str, str], Labels] = field(default_factory=dict)
    """Labels of namespaces, by cluster and name."""


class Judged(NamedTuple):
    """``by``: names of the policies that let it through, or of those that stop it; none: nothing selects either end."""

    outcome: Outcome
    by: tuple[str, ...] = ()
    side: Side | None = None
    """Where it is stopped, or not known."""


class Policies:
    """A set of policies, ready to be asked many times."""

    def __init__(self, policies: Iterable[Policy], known: Known) -> None:
        self.known = known
        self._by_place: dict[tuple[str, str], list[Policy]] = defaultdict(list)
        for policy in policies:
            self._by_place[policy.cluster, policy.namespace].append(policy)
        self._selecting: dict[tuple[Peer, Side], tuple[tuple[Policy, Truth], ...]] = {}

    def selecting(self, peer: Peer, side: Side) -> tuple[tuple[Policy, Truth], ...]:
        """The policies that (may) hold for a workload in a direction."""
        found = self._selecting.get((peer, side))
        if found is None:
            found = self._selecting[peer, side] = tuple(self._found(peer, side))
        return found

    def named_peers(self) -> dict[tuple[str, str], list[tuple[Policy, Pods | Block]]]:
        """Pods and blocks that the policies name, by cluster and the namespace in which they can be; "": in any.

        Each once, with a policy that names it.
        """
        found: dict[tuple[str, str], dict[object, tuple[Policy, Pods | Block]]] = defaultdict(dict)
        for policy in (p for policies in self._by_place.values() for p in policies):
            for side in Side:
                for rule in (*(policy.rules(side) or ()), *policy.denials(side)):
                    for peer in rule.peers or ():
                        if isinstance(peer, Pods | Block):
                            own = isinstance(peer, Pods) and peer.namespaces is None
                            key = (policy.form, policy.namespace if own else "", peer)
                            for place in _places(policy, peer):
                                found[policy.cluster, place].setdefault(key, (policy, peer))
        return {place: list(named.values()) for place, named in found.items()}

    def _found(self, peer: Peer, side: Side) -> Iterable[tuple[Policy, Truth]]:
        if peer.sort is not Sort.WORKLOAD or peer.kind == "Service":
            return
        labels = self.known.labels.get(peer)
        for policy in (*self._by_place[peer.cluster, peer.namespace], *self._clusterwide(peer)):
            if policy.rules(side) is None and not policy.denials(side):
                continue
            selects = policy.selector.selects(labels)
            if selects is not Truth.NO:
                yield policy, selects

    def _clusterwide(self, peer: Peer) -> Sequence[Policy]:
        return self._by_place[peer.cluster, ""] if peer.namespace else ()

    def judge(self, source: Peer, destination: Peer, protocol: str, port: int | None) -> Judged:
        """May this be? By its source's egress, then by its destination's ingress."""
        leaving = self._side(Side.EGRESS, source, destination, protocol, port)
        if leaving.outcome is Outcome.DENIED:
            return leaving
        coming = self._side(Side.INGRESS, destination, source, protocol, port)
        if coming.outcome is Outcome.DENIED or leaving.outcome is Outcome.ALLOWED:
            return coming if coming.outcome is not Outcome.ALLOWED else Judged(Outcome.ALLOWED, leaving.by + coming.by)
        return leaving

    def _side(self, side: Side, subject: Peer, other: Peer, protocol: str, port: int | None) -> Judged:
        if other.sort is Sort.IDENTITY and other.name == "host":
            return Judged(Outcome.ALLOWED)
        matches = [
            (policy, selects, self._best(policy, policy.rules(side), other, protocol, port))
            for policy, selects in self.selecting(subject, side)
            if policy.rules(side) is not None
        ]
        denials = [
            (policy, min(selects, self._best(policy, policy.denials(side), other, protocol, port)))
            for policy, selects in self.selecting(subject, side)
            if policy.denials(side)
        ]
        return _weighed(side, matches, denials)

    def _best(
        self, policy: Policy, rules: Sequence[Rule] | None, other: Peer, protocol: str, port: int | None
    ) -> Truth:
        """Over every network that a name stands for: let through in all, in none, or not certain."""
        named = other.sort is Sort.NAME or (other.sort is Sort.IDENTITY and policy.form is Form.KUBERNETES)
        networks: Iterable[str | None] = sorted(self.known.networks.get(other, ())) if named else ()
        told = [
            max((self._fits(policy, rule, other, network, protocol, port) for rule in rules or ()), default=Truth.NO)
            for network in networks or (None,)
        ]
        return told[0] if len(set(told)) == 1 else Truth.MAYBE

    def _fits(
        self, policy: Policy, rule: Rule, other: Peer, network: str | None, protocol: str, port: int | None
    ) -> Truth:
        ports = Truth.YES
        if rule.ports is not None:
            ports = max((holds_port(p, protocol, port) for p in rule.ports), default=Truth.NO)
        if ports is Truth.NO:
            return Truth.NO
        peers = Truth.YES
        if rule.peers is not None:
            peers = max((self.holds_peer(policy, peer, other, network) for peer in rule.peers), default=Truth.NO)
        return min(ports, peers, Truth.MAYBE) if rule.is_partial else min(ports, peers)

    def holds_peer(self, policy: Policy, rule: PeerRule, other: Peer, network: str | None = None) -> Truth:
        """Does an end (as far as it lies in ``network``) belong to those that a rule names?"""
        if isinstance(rule, Pods):
            return self._pods(policy, rule, other)
        if isinstance(rule, Block):
            return self._block(policy, rule, other, network)
        if isinstance(rule, Entity):
            return _entity(rule.name, other, policy.cluster)
        return _fqdn(rule.pattern, other)

    def _pods(self, policy: Policy, rule: Pods, other: Peer) -> Truth:
        if other.sort is not Sort.WORKLOAD or other.cluster != policy.cluster:
            return Truth.NO
        if not other.namespace:
            return Truth.MAYBE
        if rule.namespaces is None:
            here = Truth.YES if not policy.namespace or other.namespace == policy.namespace else Truth.NO
        else:
            here = self._namespace(other, rule.namespaces)
        if other.kind == "Service":
            return min(here, Truth.MAYBE)  # which pods stand behind it is not told
        return min(here, rule.labels.selects(self.known.labels.get(other)))

    def _namespace(self, other: Peer, selector: Selector) -> Truth:
        """Every namespace carries its own name as a label; the others are known only where they were told."""
        name = {NAMESPACE_NAME: other.namespace}
        told = self.known.namespaces.get((other.cluster, other.namespace))
        if told is not None:
            return selector.selects({**told, **name})
        known = (r.holds(name) if r.key == NAMESPACE_NAME else Truth.MAYBE for r in selector.requirements)
        return min(known, default=Truth.YES)

    def _block(self, policy: Policy, rule: Block, other: Peer, network: str | None) -> Truth:
        """Whether a block holds a pod depends on the network's plugin, so there it is never certain."""
        if other.sort is Sort.NETWORK:
            return _inside(rule, other.name)
        if network is not None:
            return _inside(rule, network)
        if policy.form is Form.CILIUM and other.cluster == policy.cluster and not other.is_outside:
            return Truth.NO
        told = self.known.networks.get(other, ())
        return min(Truth.MAYBE, max((_inside(rule, n) for n in told), default=Truth.MAYBE))


def _places(policy: Policy, peer: Pods | Block) -> tuple[str, ...]:
    """The namespaces in which what a rule names can be."""
    if isinstance(peer, Block):
        return ("",)
    if peer.namespaces is None:
        return (policy.namespace,)
    for one in peer.namespaces.requirements:
        if one.key == NAMESPACE_NAME and one.operator == "In":
            return one.values
    return ("",)


def _weighed(
    side: Side, matches: Sequence[tuple[Policy, Truth, Truth]], denials: Sequence[tuple[Policy, Truth]]
) -> Judged:
    """Over all that is possible where something is not known: allowed or denied only where it is so in every case."""
    stopping = tuple(str(p) for p, truth in denials if truth is Truth.YES)
    if stopping:
        return Judged(Outcome.DENIED, stopping, side)
    surely = tuple(str(p) for p, selects, fits in matches if selects is Truth.YES and fits is Truth.YES)
    stops = [(p, selects, fits) for p, selects, fits in matches if side not in p.leaves_open]
    may_stop = any(fits is not Truth.YES for _, _, fits in stops)
    judged = Judged(Outcome.UNKNOWN, tuple(str(p) for p, _, _ in matches), side)
    if surely or not may_stop:
        judged = Judged(Outcome.ALLOWED, surely)
    elif any(s is Truth.YES for _, s, _ in stops) and all(fits is Truth.NO for _, _, fits in matches):
        judged = Judged(Outcome.DENIED, tuple(str(p) for p, s, _ in stops if s is Truth.YES), side)
    maybe = tuple(str(p) for p, truth in denials if truth is Truth.MAYBE)
    return Judged(Outcome.UNKNOWN, maybe, side) if maybe and judged.outcome is Outcome.ALLOWED else judged


def holds_port(rule: Ports, protocol: str, port: int | None) -> Truth:
    """Kubernetes defines TCP, UDP and SCTP; what becomes of others is left to the network's plugin."""
    protocol = protocol.lower()
    if rule.protocol != "any" and protocol and rule.protocol != protocol:
        return Truth.NO if protocol in ("tcp", "udp", "sctp") else Truth.MAYBE
    certain = Truth.YES if protocol in ("tcp", "udp", "sctp") else Truth.MAYBE
    if rule.named:
        return Truth.MAYBE
    if rule.first is None:
        return certain
    if port is None:
        return Truth.MAYBE
    return certain if rule.first <= port <= (rule.last or rule.first) else Truth.NO


def _inside(rule: Block, network: str) -> Truth:
    """A network is known to /24: where a block cuts through one, it is not known on which side the address lay."""
    within = _held(network, rule.network)
    for excepted in rule.excepted:
        within = min(within, selectors.inverted(_held(network, excepted)))
    return within


def _held(network: str, block: str) -> Truth:
    one, other = ipaddress.ip_network(network), ipaddress.ip_network(block)
    if isinstance(one, ipaddress.IPv4Network) and isinstance(other, ipaddress.IPv4Network):
        return Truth.YES if one.subnet_of(other) else Truth.MAYBE if one.overlaps(other) else Truth.NO
    if isinstance(one, ipaddress.IPv6Network) and isinstance(other, ipaddress.IPv6Network):
        return Truth.YES if one.subnet_of(other) else Truth.MAYBE if one.overlaps(other) else Truth.NO
    return Truth.NO


def _entity(name: str, other: Peer, cluster: str) -> Truth:
    """Cilium, "Entities Based"; a peer without a cluster of its own is the world."""
    if name == "all":
        return Truth.YES
    if other.is_outside:
        if name in ("world", "world-ipv4", "world-ipv6"):
            version = {"world-ipv4": ".", "world-ipv6": ":"}.get(name)
            fits = version is None or (other.sort is Sort.NETWORK and version in other.name)
            return Truth.YES if fits else Truth.MAYBE if other.sort is not Sort.NETWORK else Truth.NO
        return Truth.NO
    if other.cluster != cluster:
        return Truth.NO
    if other.sort is Sort.IDENTITY:
        of_cluster = name == "cluster" and other.name not in ("world", "unknown")
        return Truth.YES if name == other.name or of_cluster else Truth.NO
    return Truth.YES if name == "cluster" else Truth.NO


def _fqdn(pattern: str, other: Peer) -> Truth:
    """Labels of the pattern against those of the name. What is known by its network alone may be any name."""
    if other.sort is Sort.NETWORK:
        return Truth.MAYBE
    if other.sort is not Sort.NAME:
        return Truth.NO
    if pattern == "*":
        return Truth.YES
    mine, its = pattern.lower().rstrip(".").split("."), other.name.split(".")
    return Truth.YES if len(mine) == len(its) and all(map(_word_fits, mine, its)) else Truth.NO


def _word_fits(pattern: str, word: str) -> bool:
    """``*`` for any characters; linear, since the pattern is anybody's."""
    first, *others = pattern.split("*")
    if not others:
        return pattern == word
    if not word.startswith(first) or len(word) < len(first) + len(others[-1]) or not word.endswith(others[-1]):
        return False
    at, end = len(first), len(word) - len(others[-1])
    for part in others[:-1]:
        found = word.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
