"""NetworkPolicies that let through what was observed, and nothing else. Pure.

One policy for each workload (or one for a namespace), in Kubernetes' form or Cilium's. What is generated never stops
what it was generated from, but for what is named in ``left_out``: a form may have no words for it. The same edges make
the same text, byte for byte.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import yaml

from secguard.errors import Invalid
from secguard.network import selectors
from secguard.network.edges import Edge, Peer, Sort
from secguard.network.flow import Verdict
from secguard.network.policy import NAMESPACE_NAME, Form, Known, Side
from secguard.network.selectors import Labels, Truth

GENERATOR: Final = "secguard"
_PREFERRED: Final = (
    ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"),
    ("app", "component", "role", "tier"),
    ("k8s-app",),
    ("name",),
)
_PASSING: Final = (*selectors.VOLATILE, "helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by",
                   "version", "chart", "heritage", "release-revision")  # fmt: skip
_CILIUM_ENTITIES: Final = frozenset(
    {"host", "remote-node", "kube-apiserver", "health", "init", "ingress", "unmanaged", "world"}
)
_DNS: Final = {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: "kube-system"}},
               "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}  # fmt: skip


class LeftOut(NamedTuple):
    """An edge that the policy stops, or a breadth that it has, and why."""

    subject: str
    why: str
    stops: tuple[Edge, ...] = ()


@dataclass(frozen=True, slots=True)
class Generated:
    """``document``: as the API server takes it. ``edges``: what it was made from."""

    form: Form
    name: str
    namespace: str
    cluster: str
    document: dict[str, Any]
    edges: tuple[Edge, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def text(self) -> str:
        return as_yaml([self.document])


def as_yaml(documents: Iterable[Mapping[str, Any]]) -> str:
    """Documents behind each other, as ``kubectl apply -f`` reads them."""
    return str(yaml.dump_all(list(documents), Dumper=_Plain, sort_keys=False, explicit_start=True))


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def for_workload(
    subject: Peer,
    edges: Iterable[Edge],
    known: Known,
    *,
    form: Form,
    namesakes: Iterable[Peer] = (),
    suffix: str = "observed",
) -> Generated:
    """A policy for one workload, from the edges that it is an end of; its name ends in ``suffix``.

    ``edges``: all of its namespace, and ``namesakes`` its workloads: where a selector cannot tell two workloads apart,
    the policy is for both and lets through what either needs. Raises ``Invalid`` where its labels are not known.
    """
    _require_place(subject.namespace)
    labels = known.labels.get(subject)
    chosen = _chosen(subject, labels, known, [p for p in namesakes if p != subject])
    if not chosen:
        raise Invalid(
            f"The labels of {subject} are not known, so no policy can select it. Send flows that carry labels (Hubble "
            "does), or generate one policy for its whole namespace.",
            code="labels-unknown",
            where="workload",
        )
    selector = selectors.matching(chosen)
    inside = [subject]
    for other in sorted(set(namesakes) - {subject}):
        here = (other.cluster, other.namespace) == (subject.cluster, subject.namespace)
        if here and selector.selects(known.labels.get(other)) is not Truth.NO:
            inside.append(other)
    notes = [
        LeftOut(str(other), "has the same labels as far as is known: the policy holds for it too, and lets through "
                            "what it needs as well")
        for other in inside[1:]
    ]  # fmt: skip
    name = f"{_name(subject.name or subject.namespace)}-{suffix}"
    return _generated(form, name, subject, {"matchLabels": chosen}, set(inside), edges, known, notes)


def for_namespace(cluster: str, namespace: str, edges: Iterable[Edge], known: Known, *, form: Form) -> Generated:
    """One policy for all pods of a namespace, from the edges that any of its workloads is an end of."""
    _require_place(namespace)
    found = tuple(edges)
    inside = {
        p
        for e in found
        for p in (e.source, e.destination)
        if p.sort is Sort.WORKLOAD and (p.cluster, p.namespace) == (cluster, namespace)
    }
    place = Peer(Sort.WORKLOAD, "", cluster, namespace)
    return _generated(form, f"{_name(namespace)}-observed", place, {}, inside, found, known, [])


def _require_place(namespace: str) -> None:
    if not selectors.is_namespace(namespace):
        raise Invalid(
            f"{namespace[:80]!r} is no namespace's name, so no policy can stand in it.",
            code="bad-value",
            where="namespace",
        )


def _name(text: str) -> str:
    """A name of the API's (RFC 1123 subdomain) from any text; what had to change it is told apart by a digest."""
    made = re.sub(r"[^a-z0-9]+", "-", text.lower())[:200].strip("-") or "workload"
    return made if made == text else f"{made}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _chosen(subject: Peer, labels: Labels | None, known: Known, others: Sequence[Peer]) -> dict[str, str]:
    """The few labels that say which workload it is; all that last where those fit another one as well."""
    lasting = {k: v for k, v in (labels or {}).items() if v is not None and k not in _PASSING}
    lasting = {k: v for k, v in sorted(lasting.items()) if selectors.is_label(k, v)}
    for keys in _PREFERRED:
        few: dict[str, str] = {k: lasting[k] for k in keys if k in lasting}
        if few and keys[0] in few:
            selector = selectors.matching(few)
            rivals = (o for o in others if (o.cluster, o.namespace) == (subject.cluster, subject.namespace))
            if all(selector.selects(known.labels.get(o)) is not Truth.YES for o in rivals):
                return few
    return lasting


class _Toward(NamedTuple):
    """A peer in a form's words, and the ports at which it may be met; ``None``: every one."""

    peer: dict[str, Any]
    port: tuple[str, int] | None


def _generated(
    form: Form,
    name: str,
    place: Peer,
    selector: dict[str, Any],
    inside: set[Peer],
    edges: Iterable[Edge],
    known: Known,
    notes: Sequence[LeftOut],
) -> Generated:
    passed = (e for e in edges if e.verdict is not Verdict.DENIED)
    mine = sorted({e for e in passed if e.source in inside or e.destination in inside}, key=_order)
    writer = _Cilium(place, known) if form is Form.CILIUM else _Kubernetes(place, known)
    for edge in mine:
        if edge.source in inside:
            writer.take(Side.EGRESS, edge, edge.destination)
        if edge.destination in inside:
            writer.take(Side.INGRESS, edge, edge.source)
    document = writer.document(name, selector)
    left = (*notes, *(LeftOut(s, w, tuple(es)) for (s, w), es in sorted(writer.left_out.items())))
    return Generated(form, name, place.namespace, place.cluster, document, tuple(mine), left)


def _order(edge: Edge) -> tuple[Any, ...]:
    return (edge.source, edge.destination, edge.protocol, edge.port or 0, edge.verdict)


_ANY_PORT: Final = ("", 0)


class _Writer:
    """Gathers who may be met where, in one form's words."""

    def __init__(self, place: Peer, known: Known) -> None:
        self.place = place
        self.known = known
        self.met: dict[Side, dict[str, tuple[dict[str, Any], set[tuple[str, int]]]]] = defaultdict(dict)
        self.left_out: dict[tuple[str, str], list[Edge]] = defaultdict(list)

    def peers(self, side: Side, other: Peer) -> list[dict[str, Any]] | str:
        """The words for an end, or why there are none."""
        raise NotImplementedError

    def take(self, side: Side, edge: Edge, other: Peer) -> None:
        if other.sort is Sort.IDENTITY and other.name == "host":
            return  # a pod and its own node always may
        words = self.peers(side, other)
        if isinstance(words, str):
            self.left_out[str(other), words].append(edge)
            return
        port = (edge.protocol, edge.port or 0) if edge.protocol in ("tcp", "udp", "sctp") else _ANY_PORT
        for peer in words:
            self.met[side].setdefault(repr(peer), (peer, set()))[1].add(port)

    def grouped(self, side: Side) -> list[tuple[list[dict[str, Any]], list[tuple[str, int]]]]:
        """Peers that are met at the same ports stand in one rule. No ports: every one."""
        groups: dict[tuple[tuple[str, int], ...], list[dict[str, Any]]] = defaultdict(list)
        for _, (peer, ports) in sorted(self.met[side].items()):
            groups[() if _ANY_PORT in ports else tuple(sorted(_widest(ports)))].append(peer)
        return [(peers, list(ports)) for ports, peers in sorted(groups.items())]

    def document(self, name: str, selector: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def selected(self, other: Peer) -> dict[str, Any]:
        """``matchLabels`` of a workload, or everything of its namespace where its labels are not known."""
        labels = _chosen(other, self.known.labels.get(other), self.known, ())
        if not labels and other.name:
            self.left_out[str(other), "its labels are not known: the rule is for its whole namespace"] += ()
        return {"matchLabels": labels} if labels else {}

    def networks(self, other: Peer) -> list[str]:
        return [other.name] if other.sort is Sort.NETWORK else sorted(self.known.networks.get(other, ()))

    def unnamed(self, other: Peer) -> str:
        """Why a workload cannot be selected, or nothing."""
        if other.cluster != self.place.cluster:
            return f"it runs in another cluster, {other.cluster or 'which is not known'}: no selector reaches there"
        if not selectors.is_namespace(other.namespace):
            return "its namespace is not known"
        return ""


def _widest(ports: set[tuple[str, int]]) -> set[tuple[str, int]]:
    """A port that is not known stands for all of its protocol."""
    whole = {protocol for protocol, port in ports if not port}
    return {(protocol, port) for protocol, port in ports if not port or protocol not in whole}


def _metadata(name: str, namespace: str) -> dict[str, Any]:
    return {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": GENERATOR}}


class _Kubernetes(_Writer):
    def peers(self, side: Side, other: Peer) -> list[dict[str, Any]] | str:
        if other.sort is Sort.WORKLOAD:
            if why := self.unnamed(other):
                return why
            place = {"namespaceSelector": {"matchLabels": {NAMESPACE_NAME: other.namespace}}}
            selected = self.selected(other) if other.kind != "Service" else {}
            return [place | ({"podSelector": selected} if selected else {})]
        networks = self.networks(other)
        if not networks:
            return "a NetworkPolicy names networks alone, and none was told of it"
        return [{"ipBlock": {"cidr": network}} for network in networks]

    def document(self, name: str, selector: dict[str, Any]) -> dict[str, Any]:
        rules = {side: [_kubernetes_rule(side, *g) for g in self.grouped(side)] for side in Side}
        dns = [{"protocol": p, "port": 53} for p in ("UDP", "TCP")]
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata(name, self.place.namespace),
            "spec": {
                "podSelector": selector,
                "policyTypes": ["Ingress", "Egress"],
                "ingress": rules[Side.INGRESS],
                "egress": [*rules[Side.EGRESS], {"to": [_DNS], "ports": dns}],
            },
        }


def _kubernetes_rule(side: Side, peers: list[dict[str, Any]], ports: list[tuple[str, int]]) -> dict[str, Any]:
    rule: dict[str, Any] = {"to" if side is Side.EGRESS else "from": peers}
    if ports:
        rule["ports"] = [
            {"protocol": p.upper(), **({"port": n} if n else {}), **({"endPort": last} if last > n else {})}
            for p, n, last in _runs(ports)
        ]
    return rule


_LONG: Final = 4
"""Ports behind each other that are told as a range; fewer are told one by one, which every plugin reads."""


def _runs(ports: Sequence[tuple[str, int]]) -> list[tuple[str, int, int]]:
    """(protocol, first, last): what lies behind each other as one."""
    runs: list[tuple[str, int, int]] = []
    for protocol, port in sorted(ports):
        if port and runs and runs[-1][0] == protocol and runs[-1][2] == port - 1:
            runs[-1] = (protocol, runs[-1][1], port)
        else:
            runs.append((protocol, port, port))
    told = []
    for protocol, first, last in runs:
        few = last - first + 1 < _LONG
        told += [(protocol, n, n) for n in range(first, last + 1)] if few else [(protocol, first, last)]
    return told


class _Cilium(_Writer):
    def peers(self, side: Side, other: Peer) -> list[dict[str, Any]] | str:
        toward = "to" if side is Side.EGRESS else "from"
        if other.sort is Sort.WORKLOAD:
            if why := self.unnamed(other):
                return why
            labels = {"k8s:io.kubernetes.pod.namespace": other.namespace}
            selected = self.selected(other) if other.kind != "Service" else {}
            labels |= {f"k8s:{k}": v for k, v in selected.get("matchLabels", {}).items()}
            return [{f"{toward}Endpoints": [{"matchLabels": labels}]}]
        if other.sort is Sort.IDENTITY and other.name in _CILIUM_ENTITIES and other.cluster == self.place.cluster:
            return [{f"{toward}Entities": [other.name]}]
        if other.sort is Sort.NAME and side is Side.EGRESS and _is_name(other.name):
            return [{"toFQDNs": [{"matchName": other.name}]}]
        networks = self.networks(other)
        return [{f"{toward}CIDR": networks}] if networks else "no network was told of it"

    def document(self, name: str, selector: dict[str, Any]) -> dict[str, Any]:
        labels = {f"k8s:{k}": v for k, v in selector.get("matchLabels", {}).items()}
        rules = {
            side: [_cilium_rule(p, ports) for peers, ports in self.grouped(side) for p in _joined(peers)]
            for side in Side
        }
        return {
            "apiVersion": "cilium.io/v2",
            "kind": "CiliumNetworkPolicy",
            "metadata": _metadata(name, self.place.namespace),
            "spec": {
                "endpointSelector": {"matchLabels": labels} if labels else {},
                "ingress": rules[Side.INGRESS] or [{}],
                "egress": [*rules[Side.EGRESS], _CILIUM_DNS],
            },
        }


_CILIUM_DNS: Final = {
    "toEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "kube-system", "k8s:k8s-app": "kube-dns"}}],
    # With these rules the agent sees the answers, without which it knows no address of a name.
    "toPorts": [{"ports": [{"port": "53", "protocol": "ANY"}], "rules": {"dns": [{"matchPattern": "*"}]}}],
}


def _joined(peers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Peers of one member stand in one rule; two members in one rule would both have to hold."""
    members: dict[str, list[Any]] = defaultdict(list)
    for peer in peers:
        for member, values in peer.items():
            members[member] += values
    return [{member: values} for member, values in sorted(members.items())]


def _cilium_rule(peer: dict[str, Any], ports: list[tuple[str, int]]) -> dict[str, Any]:
    if not ports:
        return peer
    told = [
        {"port": str(n), "protocol": p.upper(), **({"endPort": last} if last > n else {})}
        for p, n, last in _runs(ports)
    ]
    return peer | {"toPorts": [{"ports": told}]}


_NAME: Final = re.compile(r"(?=.{1,253}$)(?:[a-z0-9_](?:[-a-z0-9_]{0,61}[a-z0-9_])?\.)+[a-z0-9-]{1,63}")


def _is_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name))
