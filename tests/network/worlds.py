"""Small estates and policies for property-based tests, and Kubernetes' semantics read naively."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import strategies as st

from secguard.network.edges import Edge, Peer, Sort
from secguard.network.flow import Verdict
from secguard.network.policy import NAMESPACE_NAME, Known

NAMES = {"web": {"app": "web", "tier": "front"}, "api": {"app": "api", "tier": "back"}, "db": {"app": "db"}}
SPACES = ("shop", "pay")
WORKLOADS = tuple(Peer(Sort.WORKLOAD, n, "prod", ns, "Deployment") for ns in SPACES for n in NAMES)
OUTSIDE = (
    Peer(Sort.NETWORK, "203.0.113.0/24"),
    Peer(Sort.NETWORK, "2001:db8::/64"),
    Peer(Sort.NAME, "api.example.org"),
    Peer(Sort.IDENTITY, "kube-apiserver", "prod"),
)
KNOWN = Known(
    labels={w: NAMES[w.name] for w in WORKLOADS},
    networks={
        OUTSIDE[2]: frozenset({"198.51.100.0/24", "198.51.101.0/24"}),
        OUTSIDE[3]: frozenset({"10.96.0.0/24"}),
        **{w: frozenset({f"10.0.{i}.0/24"}) for i, w in enumerate(WORKLOADS)},
    },
)
PORTS = (53, 80, 443, 5432)


def edges_between(sources: Any, destinations: Any) -> Any:
    made = st.builds(
        Edge,
        sources,
        destinations,
        st.sampled_from(["tcp", "udp"]),
        st.sampled_from(PORTS),
        st.just(Verdict.FORWARDED),
    )
    return made.filter(lambda e: e.source != e.destination)


workloads = st.sampled_from(WORKLOADS)
edges = st.one_of(
    edges_between(workloads, st.sampled_from(WORKLOADS + OUTSIDE)),
    edges_between(st.sampled_from(OUTSIDE), workloads),
)

_labels = st.dictionaries(st.sampled_from(["app", "tier"]), st.sampled_from(["web", "api", "db", "front"]), max_size=2)
_expressions = st.lists(
    st.one_of(
        st.builds(
            lambda k, o, v: {"key": k, "operator": o, "values": v},
            st.sampled_from(["app", "tier"]),
            st.sampled_from(["In", "NotIn"]),
            st.lists(st.sampled_from(["web", "api", "back"]), min_size=1, max_size=2),
        ),
        st.builds(
            lambda k, o: {"key": k, "operator": o},
            st.sampled_from(["app", "tier"]),
            st.sampled_from(["Exists", "DoesNotExist"]),
        ),
    ),
    max_size=1,
)
_pods = st.builds(lambda m, e: {"matchLabels": m, "matchExpressions": e}, _labels, _expressions)
_spaces = st.sampled_from(
    [{}, *({"matchLabels": {NAMESPACE_NAME: ns}} for ns in SPACES),
     {"matchExpressions": [{"key": NAMESPACE_NAME, "operator": "NotIn", "values": ["pay"]}]}]
)  # fmt: skip
_peers = st.one_of(
    st.builds(lambda p: {"podSelector": p}, _pods),
    st.builds(lambda n: {"namespaceSelector": n}, _spaces),
    st.builds(lambda p, n: {"podSelector": p, "namespaceSelector": n}, _pods, _spaces),
    st.sampled_from(
        [
            {"ipBlock": {"cidr": "203.0.0.0/8"}},
            {"ipBlock": {"cidr": "203.0.0.0/8", "except": ["203.0.113.0/24"]}},
            {"ipBlock": {"cidr": "::/0"}},
            {"ipBlock": {"cidr": "198.51.100.0/23"}},
        ]
    ),
)
_ports = st.one_of(
    st.builds(lambda n: {"port": n}, st.sampled_from(PORTS)),
    st.builds(lambda p: {"protocol": p}, st.sampled_from(["TCP", "UDP"])),
    st.just({"port": 80, "endPort": 443, "protocol": "TCP"}),
    st.just({"port": 53, "protocol": "UDP"}),
)


def _rules(toward: str) -> Any:
    return st.lists(
        st.fixed_dictionaries(
            {}, optional={toward: st.lists(_peers, max_size=2), "ports": st.lists(_ports, max_size=2)}
        ),
        max_size=2,
    )


@st.composite
def documents(draw: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {"podSelector": draw(_pods)}
    types = draw(st.sampled_from([None, ["Ingress"], ["Egress"], ["Ingress", "Egress"]]))
    if types is not None:
        spec["policyTypes"] = types
    for side, toward in (("ingress", "from"), ("egress", "to")):
        if draw(st.booleans()):
            spec[side] = draw(_rules(toward))
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": draw(st.sampled_from("pqr")), "namespace": draw(st.sampled_from(SPACES))},
        "spec": spec,
    }


def allowed(found: list[dict[str, Any]], edge: Edge) -> bool:
    """Kubernetes, "Network Policies", read sentence by sentence over the documents."""
    return _side(found, "Egress", edge.source, edge.destination, edge) and _side(
        found, "Ingress", edge.destination, edge.source, edge
    )


def _side(found: list[dict[str, Any]], type_: str, subject: Peer, other: Peer, edge: Edge) -> bool:
    if subject.sort is not Sort.WORKLOAD:
        return True
    mine = []
    for d in found:
        spec = d["spec"]
        types = spec.get("policyTypes", ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])
        if (
            type_ in types
            and d["metadata"]["namespace"] == subject.namespace
            and _selects(spec["podSelector"], dict(KNOWN.labels[subject]))
        ):
            mine.append(d)
    if not mine:
        return True
    key, toward = type_.lower(), "to" if type_ == "Egress" else "from"
    return any(
        _peers_hold(rule.get(toward) or [], other, d["metadata"]["namespace"]) and _ports_hold(rule.get("ports"), edge)
        for d in mine
        for rule in d["spec"].get(key) or []
    )


def _selects(selector: dict[str, Any], labels: dict[str, Any]) -> bool:
    if any(labels.get(k) != v for k, v in selector.get("matchLabels", {}).items()):
        return False
    for e in selector.get("matchExpressions", []):
        value = labels.get(e["key"])
        holds = {
            "In": value in e.get("values", []),
            "NotIn": value not in e.get("values", []),
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }
        if not holds[e["operator"]]:
            return False
    return True


def _peers_hold(peers: list[dict[str, Any]], other: Peer, namespace: str) -> bool:
    return not peers or any(_peer_holds(p, other, namespace) for p in peers)


def _peer_holds(peer: dict[str, Any], other: Peer, namespace: str) -> bool:
    if "ipBlock" in peer:
        nets = [other.name] if other.sort is Sort.NETWORK else sorted(KNOWN.networks[other])
        return all(_in_block(peer["ipBlock"], n) for n in nets)
    if other.sort is not Sort.WORKLOAD:
        return False
    if "namespaceSelector" in peer:
        if not _selects(peer["namespaceSelector"], {NAMESPACE_NAME: other.namespace}):
            return False
    elif other.namespace != namespace:
        return False
    return _selects(peer.get("podSelector", {}), dict(KNOWN.labels[other]))


def _in_block(block: dict[str, Any], network: str) -> bool:
    one = ipaddress.ip_network(network)

    def inside(cidr: str) -> bool:
        outer = ipaddress.ip_network(cidr)
        return outer.version == one.version and one.subnet_of(outer)  # type: ignore[arg-type]

    return inside(block["cidr"]) and not any(inside(e) for e in block.get("except", []))


def _ports_hold(ports: list[dict[str, Any]] | None, edge: Edge) -> bool:
    if not ports:
        return True
    for p in ports:
        if p.get("protocol", "TCP").lower() != edge.protocol:
            continue
        first = p.get("port")
        if first is None or first <= (edge.port or 0) <= p.get("endPort", first):
            return True
    return False
