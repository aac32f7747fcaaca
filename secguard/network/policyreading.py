"""NetworkPolicies as the API server tells them, to :class:`~secguard.network.policy.Policy`. Pure.

Kubernetes ``networking.k8s.io/v1`` NetworkPolicy and Cilium ``cilium.io/v2`` CiliumNetworkPolicy and
CiliumClusterwideNetworkPolicy. What is whole and is not understood here is kept as a rule that fits at most perhaps.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from secguard.errors import Invalid, SecGuardError
from secguard.network import selectors
from secguard.network.policy import (
    NAMESPACE_NAME,
    Block,
    Entity,
    Form,
    Fqdn,
    PeerRule,
    Pods,
    Policy,
    Ports,
    Rule,
    Side,
)
from secguard.network.selectors import EVERYTHING, Requirement, Selector

MAX_POLICIES: Final = 20_000
MAX_RULES: Final = 1_000
MAX_PEERS: Final = 2_000
_CILIUM_NAMESPACE: Final = "io.kubernetes.pod.namespace"
_CILIUM_LABELS: Final = "io.cilium.k8s.namespace.labels."


@dataclass(frozen=True, slots=True)
class Read:
    """Documents with their policies; ``refused``: place, code and words."""

    policies: tuple[tuple[Policy, dict[str, Any]], ...]
    refused: tuple[tuple[str, str, str], ...]


def read(document: Any, cluster: str) -> Read:
    """A list (``kubectl get networkpolicies,ciliumnetworkpolicies -A -o json``) or one policy.

    A broken one is refused by itself. Raises ``Invalid`` for what is no list of policies.
    """
    items = document.get("items") if isinstance(document, dict) and "items" in document else [document]
    if not isinstance(items, list) or len(items) > MAX_POLICIES:
        raise Invalid(
            f"Expected a list of at most {MAX_POLICIES:,} policies under items.", code="wrong-shape", where="items"
        )
    found, refused = [], []
    for i, item in enumerate(items):
        try:
            found += [(policy, item) for policy in policies_of(item, cluster)]
        except SecGuardError as error:
            refused.append((f"items[{i}].{error.where}".rstrip("."), error.code, error.detail))
    return Read(tuple(found), tuple(refused))


def policies_of(document: Any, cluster: str) -> list[Policy]:
    """The policies of one document: a Cilium one may hold several under ``specs``. Raises ``Invalid``."""
    if not isinstance(document, dict):
        raise Invalid("The policy is no object.", code="wrong-shape")
    kind = document.get("kind")
    metadata = _object(document, "metadata", "")
    name, namespace = metadata.get("name"), metadata.get("namespace", "default")
    if not isinstance(name, str) or not 0 < len(name) <= 253 or not isinstance(namespace, str) or len(namespace) > 63:
        raise Invalid("The policy has no name, or no namespace.", code="wrong-shape", where="metadata.name")
    if kind == "NetworkPolicy":
        return [_kubernetes(_object(document, "spec", ""), cluster, namespace, name)]
    if kind in ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"):
        place = namespace if kind == "CiliumNetworkPolicy" else ""
        specs = [_object(document, "spec", "")] if "spec" in document else []
        more = document.get("specs") or []
        if not isinstance(more, list) or len(more) > MAX_RULES or not (specs or more):
            raise Invalid("The policy has neither spec nor specs.", code="wrong-shape", where="spec")
        return [_cilium(spec, cluster, place, name, f"spec[{i}]") for i, spec in enumerate([*specs, *more])]
    raise Invalid(
        f"The kind is {str(kind)[:60]!r}; NetworkPolicy, CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy are "
        "read.",
        code="unknown-kind",
        where="kind",
    )


def _kubernetes(spec: dict[str, Any], cluster: str, namespace: str, name: str) -> Policy:
    """NetworkPolicySpec: without ``policyTypes`` it is for ingress, and for egress where it has such rules."""
    types = spec.get("policyTypes")
    if types is None:
        types = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    if not isinstance(types, list) or not set(map(str, types)) <= {"Ingress", "Egress"}:
        raise Invalid("policyTypes holds Ingress and Egress alone.", code="wrong-shape", where="spec.policyTypes")
    unread = _unknown(spec, {"podSelector", "policyTypes", "ingress", "egress"}, "spec")
    rules = {
        side: _rules(spec, side, _kubernetes_rule, namespace, "spec") if side.capitalize() in types else None
        for side in ("ingress", "egress")
    }
    return Policy(
        form=Form.KUBERNETES,
        name=name,
        namespace=namespace,
        cluster=cluster,
        selector=selectors.read(spec.get("podSelector") or {}, "spec.podSelector"),
        ingress=rules["ingress"],
        egress=rules["egress"],
        unread=unread,
    )


_RuleReader = Callable[[dict[str, Any], str, str, str], Rule]


def _rules(spec: Mapping[str, Any], side: str, reader: _RuleReader, namespace: str, where: str) -> tuple[Rule, ...]:
    told = _list(spec, side, where, MAX_RULES)
    toward = "from" if side.startswith("ingress") else "to"
    return tuple(reader(rule, toward, namespace, f"{where}.{side}[{i}]") for i, rule in enumerate(told))


def _kubernetes_rule(rule: dict[str, Any], toward: str, namespace: str, where: str) -> Rule:
    """A rule without peers, or with an empty list of them, is for everybody; so for ports."""
    peers = _list(rule, toward, where, MAX_PEERS)
    ports = _list(rule, "ports", where, MAX_PEERS)
    return Rule(
        peers=tuple(_kubernetes_peer(p, f"{where}.{toward}[{i}]") for i, p in enumerate(peers)) or None,
        ports=tuple(_kubernetes_port(p, f"{where}.ports[{i}]") for i, p in enumerate(ports)) or None,
        is_partial=bool(_unknown(rule, {toward, "ports"}, where)),
    )


def _kubernetes_peer(peer: dict[str, Any], where: str) -> PeerRule:
    unknown = _unknown(peer, {"podSelector", "namespaceSelector", "ipBlock"}, where)
    if unknown or not peer or ("ipBlock" in peer and len(peer) > 1):
        raise Invalid(
            f"The peer at {where} is none; expected podSelector and namespaceSelector, or ipBlock.",
            code="wrong-shape",
            where=where,
        )
    if "ipBlock" in peer:
        block = _object(peer, "ipBlock", where)
        return _block(block.get("cidr"), block.get("except") or [], f"{where}.ipBlock")
    pods = selectors.read(peer.get("podSelector") or {}, f"{where}.podSelector")
    told = peer.get("namespaceSelector")
    return Pods(pods, None if told is None else selectors.read(told, f"{where}.namespaceSelector"))


def _block(cidr: Any, excepted: Any, where: str) -> Block:
    try:
        network = str(ipaddress.ip_network(cidr, strict=False))
        outer = ipaddress.ip_network(network)
        holes = tuple(str(ipaddress.ip_network(hole, strict=False)) for hole in excepted[:MAX_PEERS])
        inner = [ipaddress.ip_network(hole) for hole in holes]
    except (ValueError, TypeError, KeyError):
        raise Invalid(f"The block at {where} is no network.", code="bad-value", where=where) from None
    if any(hole.version != outer.version for hole in inner):
        raise Invalid(f"{where}.except is of another IP version.", code="bad-value", where=where)
    return Block(network, holes)


def _kubernetes_port(port: dict[str, Any], where: str) -> Ports:
    """NetworkPolicyPort: the protocol is TCP where none is told."""
    return _port(port.get("port"), port.get("endPort"), str(port.get("protocol") or "TCP"), where)


def _port(first: Any, last: Any, protocol: str, where: str) -> Ports:
    protocol = protocol.lower()[:16]
    if isinstance(first, str) and first.isascii() and first.isdigit() and len(first) <= 5:
        first = int(first)
    if first is None or first == 0:
        return Ports(protocol)
    if isinstance(first, str):
        return Ports(protocol, named=first[:63])
    numbers = [first] if last in (None, 0) else [first, last]
    if not all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= 65_535 for n in numbers):
        raise Invalid(f"The port at {where} is none, 1 to 65,535.", code="bad-value", where=where)
    return Ports(protocol, numbers[0], numbers[-1])


def _cilium(spec: Any, cluster: str, namespace: str, name: str, where: str) -> Policy:
    """Cilium's Rule: a section makes its direction one of denial for what it selects, unless told otherwise."""
    if not isinstance(spec, dict):
        raise Invalid(f"{where} is no object.", code="wrong-shape", where=where)
    known = {
        "endpointSelector", "ingress", "egress", "ingressDeny", "egressDeny", "description", "labels",
        "enableDefaultDeny", "log",
    }  # fmt: skip
    unread = _unknown(spec, known, where)
    told = spec.get("endpointSelector")
    if told is None:
        raise Invalid(
            f"{where} has no endpointSelector; policies for nodes are not read.", code="unknown-kind", where=where
        )
    lists = {
        side: _rules(spec, side, _cilium_rule, namespace, where) if spec.get(side) is not None else None
        for side in ("ingress", "egress", "ingressDeny", "egressDeny")
    }
    default = spec.get("enableDefaultDeny")
    default = default if isinstance(default, dict) else {}
    return Policy(
        form=Form.CILIUM,
        name=name,
        namespace=namespace,
        cluster=cluster,
        selector=_own_namespace(selectors.read(told, f"{where}.endpointSelector")),
        ingress=_enforced(lists["ingress"], lists["ingressDeny"]),
        egress=_enforced(lists["egress"], lists["egressDeny"]),
        ingress_deny=lists["ingressDeny"] or (),
        egress_deny=lists["egressDeny"] or (),
        leaves_open=frozenset(side for side in Side if default.get(side.value) is False),
        unread=unread,
    )


def _enforced(rules: tuple[Rule, ...] | None, denials: tuple[Rule, ...] | None) -> tuple[Rule, ...] | None:
    """Rules of a direction; one that only denies makes the rest denied as well (Cilium, "Policy Enforcement Modes")."""
    return None if rules is None and denials is None else rules or ()


def _own_namespace(selector: Selector) -> Selector:
    return Selector(tuple(r for r in selector.requirements if r.key != _CILIUM_NAMESPACE))


_TOWARD: Final = ("Endpoints", "Entities", "CIDR", "CIDRSet")


def _cilium_rule(rule: dict[str, Any], toward: str, namespace: str, where: str) -> Rule:
    """One rule with several ``from``/``to`` members asks for all of them, which no document of sense does."""
    members = {toward + word for word in _TOWARD} | ({"toFQDNs"} if toward == "to" else set())
    given = [m for m in sorted(members) if rule.get(m) is not None]
    peers: list[PeerRule] = []
    for member in given:
        told = _texts_or_objects(rule, member, where)
        peers += [_cilium_peer(member[len(toward) :], one, namespace, f"{where}.{member}[{i}]") for i, one in told]
    ports, is_partial = _cilium_ports(rule, where)
    unknown = _unknown(rule, members | {"toPorts"}, where)
    if not given and not ports and not unknown:
        return Rule(peers=())  # an empty rule lets nobody through
    return Rule(
        peers=tuple(peers) if given else None,
        ports=ports,
        is_partial=is_partial or bool(unknown) or len(given) > 1,
    )


def _texts_or_objects(rule: Mapping[str, Any], member: str, where: str) -> list[tuple[int, Any]]:
    told = rule[member]
    if not isinstance(told, list) or len(told) > MAX_PEERS:
        raise Invalid(f"{where}.{member} is no list of at most {MAX_PEERS:,}.", code="wrong-shape", where=where)
    return list(enumerate(told))


def _cilium_peer(word: str, told: Any, namespace: str, where: str) -> PeerRule:
    if word == "Endpoints":
        return _cilium_pods(selectors.read(told, where), namespace)
    if word == "Entities" and isinstance(told, str):
        return Entity(told[:64])
    if word == "CIDR" and isinstance(told, str):
        return _block(told, [], where)
    if isinstance(told, dict):
        if word == "CIDRSet" and "cidr" in told:
            return _block(told.get("cidr"), told.get("except") or [], where)
        pattern = told.get("matchName") or told.get("matchPattern")
        if word == "FQDNs" and isinstance(pattern, str) and len(pattern) <= 255:
            return Fqdn(pattern)
    raise Invalid(f"What {where} names is not understood.", code="wrong-shape", where=where)


def _cilium_pods(selector: Selector, namespace: str) -> Pods:
    """A selector that does not speak of namespaces is of the policy's own."""
    own, labels = [], []
    for r in selector.requirements:
        if r.key == _CILIUM_NAMESPACE:
            own.append(Requirement(NAMESPACE_NAME, r.operator, r.values))
        elif r.key.startswith(_CILIUM_LABELS):
            own.append(Requirement(r.key[len(_CILIUM_LABELS) :], r.operator, r.values))
        else:
            labels.append(r)
    if own:
        return Pods(Selector(tuple(labels)), Selector(tuple(own)))
    return Pods(Selector(tuple(labels)), None if namespace else EVERYTHING)


def _cilium_ports(rule: dict[str, Any], where: str) -> tuple[tuple[Ports, ...] | None, bool]:
    """Ports, and whether more is asked than they say: rules of HTTP or Kafka may still refuse; those of DNS do not."""
    told = _list(rule, "toPorts", where, MAX_PEERS)
    found: list[Ports] = []
    is_partial = False
    for i, one in enumerate(told):
        at = f"{where}.toPorts[{i}]"
        ports = _list(one, "ports", at, MAX_PEERS)
        found += [
            _port(p.get("port"), p.get("endPort"), str(p.get("protocol") or "ANY"), f"{at}.ports[{n}]")
            for n, p in enumerate(ports)
        ] or [Ports("any")]
        rules = one.get("rules")
        is_partial |= bool(rules) and (not isinstance(rules, dict) or set(rules) != {"dns"})
        is_partial |= bool(_unknown(one, {"ports", "rules"}, at))
    return (tuple(found) if told else None), is_partial


def _object(node: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    told = node.get(name)
    if not isinstance(told, dict):
        place = f"{where}.{name}".lstrip(".")
        raise Invalid(f"{place} is no object.", code="wrong-shape", where=place)
    return told


def _list(node: Mapping[str, Any], name: str, where: str, most: int) -> Sequence[dict[str, Any]]:
    told = [] if node.get(name) is None else node[name]
    if not isinstance(told, list) or len(told) > most or not all(isinstance(one, dict) for one in told):
        place = f"{where}.{name}"
        raise Invalid(f"{place} is no list of at most {most:,} objects.", code="wrong-shape", where=place)
    return told


def _unknown(node: Mapping[str, Any], known: set[str], where: str) -> tuple[str, ...]:
    return tuple(f"{where}.{name}"[:200] for name in sorted(map(str, node)) if name not in known)
