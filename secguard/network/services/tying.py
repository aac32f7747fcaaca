"""Which workload an end is, by its pod or its address, as lists of pods told."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from django.db.models import F, Q

from secguard import bulk
from secguard.network import edges
from secguard.network.edges import Peer, Resolve, Sort
from secguard.network.flow import End
from secguard.network.models import Peer as PeerRow
from secguard.workloads.models import Container, Workload

_COLUMNS: Final = (
    "cluster__name", "namespace", "pod", "pod_ip", "workload__namespace", "workload__kind", "workload__name", "gone_at",
)  # fmt: skip
_Keyed = dict[tuple[str, ...], Peer | None]


def resolver(told: Iterable[End]) -> Resolve:
    """Looks these ends up: in three statements, whatever their number. What could be two workloads is neither."""
    pods: set[str] = set()
    ips: set[str] = set()
    names: set[str] = set()
    for end in told:
        if end.workload and end.namespace is not None:
            if not end.workload_kind:
                names.add(end.workload)
        elif end.identity is None or end.identity == edges.WORLD:
            if end.pod:
                pods.add(end.pod)
            if end.ip:
                ips.add(end.ip)
    by_pod, by_ip = _containers(pods, ips)
    by_name = _named(names)

    def resolve(end: End, cluster: str) -> Peer | None:
        if end.workload:
            return by_name.get((cluster, end.namespace or "", end.workload))
        if end.pod:
            return by_pod.get((cluster, end.namespace or "", end.pod))
        if end.ip and cluster:
            return by_ip.get((cluster, end.ip))
        return None

    return resolve


def _containers(pods: set[str], ips: set[str]) -> tuple[_Keyed, _Keyed]:
    by_pod: _Keyed = {}
    by_ip: _Keyed = {}
    if not pods and not ips:
        return by_pod, by_ip
    wanted = Q(pod__in=bulk.among(sorted(pods))) | Q(pod_ip__in=bulk.among(sorted(ips)))
    rows = Container.objects.filter(wanted).order_by(F("gone_at").desc(nulls_first=True), "-seen_at")
    alive: set[tuple[str, ...]] = set()
    for cluster, namespace, pod, ip, of, kind, name, gone_at in rows.values_list(*_COLUMNS):
        peer = Peer(Sort.WORKLOAD, name, cluster, of, kind)
        by_pod.setdefault((cluster, namespace, pod), peer)
        if ip:
            # Addresses are given again: who has it now has it. Two who have it now share their node's.
            key = (cluster, ip)
            if key not in by_ip:
                by_ip[key] = peer
                if gone_at is None:
                    alive.add(key)
            elif gone_at is None and by_ip[key] != peer:
                by_ip[key] = None
    return by_pod, by_ip


def _named(names: set[str]) -> _Keyed:
    found: _Keyed = {}
    if names:
        rows = Workload.objects.running().filter(name__in=bulk.among(sorted(names))).order_by("pk")
        for cluster, namespace, kind, name in rows.values_list("cluster__name", "namespace", "kind", "name"):
            key = (cluster, namespace, name)
            found[key] = None if key in found else Peer(Sort.WORKLOAD, name, cluster, namespace, kind)
    return found


class Loose(NamedTuple):
    """An end's row, and the workload that it is tied to."""

    id: int
    peer: Peer
    workload_id: int | None


def tie(ends: Iterable[Loose]) -> int:
    """Tie ends to the workloads that run now under their names; returns how many changed. Two statements."""
    rows = [end for end in ends if end.peer.name]
    if not rows:
        return 0
    running = Workload.objects.running().filter(name__in=bulk.among(sorted({end.peer.name for end in rows})))
    by_kind: dict[tuple[str, ...], int] = {}
    by_name: dict[tuple[str, ...], list[int]] = {}
    for pk, cluster, namespace, name, kind in running.values_list("pk", "cluster__name", "namespace", "name", "kind"):
        by_kind[cluster, namespace, name, kind] = pk
        by_name.setdefault((cluster, namespace, name), []).append(pk)
    changed: list[bulk.Row] = []
    for end in rows:
        at = (end.peer.cluster, end.peer.namespace, end.peer.name)
        alike = by_name.get(at, [])
        found = by_kind.get((*at, end.peer.kind)) or (alike[0] if not end.peer.kind and len(alike) == 1 else None)
        if found is not None and found != end.workload_id:
            changed.append((end.id, found))
    bulk.update(PeerRow, ("workload_id",), changed)
    return len(changed)
