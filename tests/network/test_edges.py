"""Flows folded into edges: workloads and networks, replies left out, counts kept."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from secguard.network import edges
from secguard.network.edges import Edge, Folded, Peer, Sort
from secguard.network.flow import End, Flow, Verdict
from secguard.network.grouping import MAX_COUNT, Group, fresh, grouped

NOW = datetime(2026, 5, 28, 20, 30, tzinfo=UTC)
WEB = End(namespace="shop", workload="web", workload_kind="Deployment", labels=("app=web",), ip="10.0.1.10")
DB = End(namespace="shop", workload="db", workload_kind="StatefulSet", ip="10.0.1.11")


def nobody(end: End, cluster: str) -> Peer | None:
    return None


def flow(source: End = WEB, destination: End = DB, **more: Any) -> Flow:
    told = {"verdict": Verdict.FORWARDED, "protocol": "tcp", "port": 5432, "observed": NOW} | more
    return Flow(tool="t", fingerprint="f", source=source, destination=destination, **told)


def fold(*flows: Flow, cluster: str = "prod", resolve: edges.Resolve = nobody) -> Folded:
    return edges.fold(grouped(flows, NOW).groups, cluster=cluster, resolve=resolve)


def peer(end: End, resolve: edges.Resolve = nobody) -> Peer:
    return edges.peer_of(end, "prod", resolve)


def test_flows_of_one_relation_are_one_edge():
    earlier = NOW - timedelta(hours=2)
    folded = fold(flow(bytes=10), flow(bytes=5, count=3, observed=earlier), flow(verdict=Verdict.DENIED))
    web, db = Peer(Sort.WORKLOAD, "web", "prod", "shop", "Deployment"), peer(DB)
    seen = folded.edges[Edge(web, db, "tcp", 5432, Verdict.FORWARDED)]
    assert (seen.first_at, seen.last_at, seen.count, seen.bytes) == (earlier, NOW, 4, 15)
    assert folded.edges[Edge(web, db, "tcp", 5432, Verdict.DENIED)].count == 1
    assert folded.labels == {web: {"app": "web"}}
    assert sorted(n for (e, _), n in folded.hours.items() if e.verdict is Verdict.FORWARDED) == [1, 3]


def test_a_reply_is_no_edge_whether_told_or_told_by_its_ports():
    told = [flow(is_reply=True), flow(DB, WEB, source_port=443, port=51_000), flow(source_port=51_000, port=443)]
    folded = fold(*told)
    assert grouped(told, NOW).replies == 2
    assert [e.port for e in folded.edges] == [443]
    assert fold(flow(is_reply=False, source_port=443, port=51_000)).edges  # what is told counts


def test_who_an_end_is():
    assert peer(End(namespace="shop", pod="web-1")) == Peer(Sort.WORKLOAD, "web-1", "prod", "shop", "Pod")
    assert peer(End(identity="kube-apiserver", ip="10.0.0.1")) == Peer(Sort.IDENTITY, "kube-apiserver", "prod")
    assert peer(End(identity="world", names=("b.example.", "A.example"))) == Peer(Sort.NAME, "a.example")
    assert peer(End(identity="world", ip="203.0.113.7")) == Peer(Sort.NETWORK, "203.0.113.0/24")
    assert peer(End(ip="2001:db8::7")) == Peer(Sort.NETWORK, "2001:db8::/64")
    assert peer(End(ip="::ffff:203.0.113.7")) == Peer(Sort.NETWORK, "203.0.113.0/24")
    assert peer(End(service="shop/db")) == Peer(Sort.WORKLOAD, "db", "prod", "shop", "Service")
    assert peer(End(namespace="shop")) == Peer(Sort.WORKLOAD, "", "prod", "shop")
    assert peer(End(host="eni-1")) == Peer(Sort.MACHINE, "eni-1", "prod")


def test_an_address_that_is_known_is_its_workload():
    known = Peer(Sort.WORKLOAD, "db", "prod", "shop", "StatefulSet")
    found = peer(End(ip="10.0.1.11"), lambda end, cluster: known if end.ip == "10.0.1.11" else None)
    assert found == known
    told = peer(WEB, lambda end, cluster: known)  # what is told of it comes first
    assert told.name == "web"


def test_a_bound_sensor_speaks_of_its_own_cluster_alone():
    (edge,) = fold(flow(End(namespace="a", workload="x", cluster="other"), cluster="other"), cluster="prod").edges
    assert edge.source.cluster == edge.destination.cluster == "prod"
    (edge,) = fold(flow(End(namespace="a", workload="x", cluster="other")), cluster="").edges
    assert edge.source.cluster == "other"


def test_a_wrong_clock_is_not_believed():
    told = [flow(observed=NOW + timedelta(days=40))]
    (seen,) = fold(*told).edges.values()
    assert seen.last_at == NOW
    assert grouped(told, NOW).mistimed == 1


def test_who_knocks_at_very_many_ports_is_one_edge_more():
    folded = fold(*(flow(port=n) for n in range(1, 1 + edges.MAX_PORTS + 1)))
    web, db = peer(WEB), peer(DB)
    edges.collapse(folded, {edges.Pair(web, db, "tcp"): frozenset({5})})
    assert {e.port for e in folded.edges} == {5, None}
    assert sum(s.count for s in folded.edges.values()) == edges.MAX_PORTS + 1
    assert sum(folded.hours.values()) == edges.MAX_PORTS + 1
    assert folded.scanned == {(web, db)}
    few = fold(flow(port=1), flow(port=2))
    edges.collapse(few, {})
    assert {e.port for e in few.edges} == {1, 2}


def test_labels_in_which_pods_differ_are_not_known():
    other = End(namespace="shop", workload="web", workload_kind="Deployment", labels=("app=web", "zone=b"))
    (labels,) = fold(flow(), flow(other)).labels.values()
    assert labels == {"app": "web", "zone": None}


def test_a_name_with_very_many_networks_may_be_anywhere():
    many = {f"198.51.{n}.0/24" for n in range(edges.MAX_NETWORKS + 1)}
    assert edges.remembered({*many, "2001:db8::/64"}) == ["0.0.0.0/0", "2001:db8::/64"]
    assert edges.remembered(["0.0.0.0/0", "198.51.1.0/24"]) == ["0.0.0.0/0"]
    assert edges.remembered(["198.51.1.0/24"]) == ["198.51.1.0/24"]


def test_nothing_is_new_while_a_cluster_is_being_learned():
    assert edges.new_until(NOW, NOW - timedelta(days=1)) is None
    assert edges.new_until(NOW, NOW - timedelta(days=8)) == NOW + edges.NEW_FOR


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.integers(1, 5), st.integers(1, 9))))
def test_no_flow_is_lost_or_counted_twice_in_folding(told):
    ends = {n: End(namespace=n, workload=n) for n in "abc"}
    folded = fold(*(flow(ends[s], ends[d], port=p, count=n) for s, d, p, n in told))
    assert sum(seen.count for seen in folded.edges.values()) == sum(n for *_, n in told)
    assert sum(folded.hours.values()) == sum(n for *_, n in told)
    assert len(folded.edges) == len({(s, d, p) for s, d, p, _ in told})


ENDS = [WEB, DB, End(identity="world", ip="203.0.113.7"), End(namespace="pay", workload="api")]
pools = st.lists(
    st.builds(
        lambda source, destination, port, minutes, lasts, count, size, print_, verdict: Flow(
            tool="t", fingerprint=f"{print_:016x}", source=source, destination=destination, protocol="tcp", port=port,
            observed=NOW - timedelta(minutes=minutes), ended=NOW - timedelta(minutes=minutes - lasts), count=count,
            bytes=size, verdict=verdict,
        ),
        st.sampled_from(ENDS), st.sampled_from(ENDS), st.sampled_from([80, 443]), st.integers(0, 300),
        st.integers(-5, 5), st.integers(1, 2**63), st.integers(0, 2**64), st.integers(0, 30), st.sampled_from(Verdict),
    ),
    min_size=1, max_size=20, unique_by=lambda f: f.fingerprint,
)  # fmt: skip
told_flows = pools.flatmap(lambda pool: st.lists(st.sampled_from(pool), max_size=40))
"""Some are told more than once: what has the same fingerprint is the same flow."""


@given(told_flows, st.integers(0, 40), st.sets(st.integers(0, 30)))
def test_grouped_or_not_each_flow_counts_once(told: list[Flow], cut: int, known: set[int]) -> None:
    """Two requests, of which the second tells some again, and some that were known: as if each were looked at alone."""
    first, again = grouped(told[:cut], NOW).groups, grouped(told, NOW).groups
    packed = msgspec.msgpack.decode(msgspec.msgpack.encode(first), type=list[Group])
    assert packed == first
    left, prints = fresh(packed, [known])
    rest, _ = fresh(again, [known, prints])
    folded = edges.fold(left, cluster="prod", resolve=nobody)
    folded = edges.fold(rest, cluster="prod", resolve=nobody, into=folded)
    naive: dict[Edge, list[Flow]] = {}
    heard = set(known)
    for one in told:
        number = int(one.fingerprint, 16)
        if number not in heard:
            heard.add(number)
            edge = Edge(peer(one.source), peer(one.destination), "tcp", one.port, one.verdict)
            naive.setdefault(edge, []).append(one)
    assert folded.edges.keys() == naive.keys()
    for edge, flows in naive.items():
        seen = folded.edges[edge]
        begins = [min(f.observed or NOW, NOW) for f in flows]
        assert seen.first_at == min(begins)
        assert seen.last_at == max(*begins, *(min(f.ended or NOW, NOW) for f in flows))
        assert seen.count == min(sum(min(f.count, MAX_COUNT) for f in flows), MAX_COUNT)
        assert seen.bytes == min(sum(min(f.bytes or 0, MAX_COUNT) for f in flows), MAX_COUNT)
        hours = {at: n for (e, at), n in folded.hours.items() if e == edge}
        assert hours.keys() == {at.replace(minute=0) for at in begins}
        if seen.count < MAX_COUNT:
            assert sum(hours.values()) == seen.count
