"""What could be reached: over observed edges, and over what no policy stops, against a naive search."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.network.edges import Edge, Peer, Sort
from secguard.network.flow import Verdict
from secguard.network.policy import Outcome, Policies
from secguard.network.policyreading import policies_of
from secguard.network.reachability import by_allowed, by_observed, open_ports
from tests.network import worlds
from tests.network.worlds import KNOWN, OUTSIDE, WORKLOADS

WEB, API, DB, PAY_WEB, PAY_API, PAY_DB = WORKLOADS


def edge(source: Peer, destination: Peer, verdict: Verdict = Verdict.FORWARDED, port: int = 443) -> Edge:
    return Edge(source, destination, "tcp", port, verdict)


def policies(*documents: object) -> Policies:
    return Policies([p for d in documents for p in policies_of(d, "prod")], KNOWN)


def test_paths_of_what_was_observed():
    found = by_observed(
        WEB,
        [edge(WEB, API), edge(API, DB, port=5432), edge(DB, OUTSIDE[0]), edge(OUTSIDE[0], PAY_DB),
         edge(WEB, PAY_WEB, Verdict.DENIED), edge(DB, WEB)],
    )  # fmt: skip
    assert {p: s.hops for p, s in found.steps.items()} == {API: 1, DB: 2, OUTSIDE[0]: 3}  # outside leads no further
    assert [(s.peer, s.ports) for s in found.path(DB)] == [(API, ("tcp/443",)), (DB, ("tcp/5432",))]


def test_without_policies_everything_of_the_cluster_is_one_step_away():
    far = Peer(Sort.WORKLOAD, "far", "other", "shop", "Deployment")
    found = by_allowed(WEB, [*WORKLOADS, far], policies())
    assert {p: (s.hops, s.ports) for p, s in found.steps.items()} == {
        w: (1, ("any port",)) for w in WORKLOADS if w != WEB
    }


def test_policies_bound_the_way_and_the_ports():
    only_api = {
        "kind": "NetworkPolicy",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "db"}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "api"}}}], "ports": [{"port": 5432}]}],
        },
    }
    found = by_allowed(WEB, WORKLOADS, policies(only_api))
    assert [s.peer for s in found.path(DB)] == [API, DB]
    assert found.steps[DB].ports == ("tcp/5432",)
    assert by_allowed(WEB, WORKLOADS, policies(only_api), max_hops=1).steps.get(DB) is None


def test_a_step_that_is_not_certain_says_so():
    spec = {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"ports": [{"port": "pg"}]}]}
    named = {"kind": "NetworkPolicy", "metadata": {"name": "n", "namespace": "shop"}, "spec": spec}
    found = by_allowed(WEB, WORKLOADS, policies(named))
    assert not found.steps[DB].is_certain
    assert found.steps[API].is_certain


@settings(max_examples=60, deadline=None)
@given(st.lists(worlds.documents(), max_size=4), st.sampled_from(WORKLOADS))
def test_classes_agree_with_asking_each_pair(documents, start):
    asked = policies(*documents)
    found = by_allowed(start, WORKLOADS, asked)
    reached, queue = {start}, [start]
    while queue:
        here = queue.pop()
        for w in WORKLOADS:
            if w not in reached and open_ports(here, w, asked)[0]:
                reached.add(w)
                queue.append(w)
    assert set(found.steps) == reached - {start}


@settings(max_examples=60, deadline=None)
@given(st.lists(worlds.documents(), max_size=3), st.sampled_from(WORKLOADS), st.sampled_from(WORKLOADS), st.data())
def test_a_port_that_may_be_entered_is_among_those_told(documents, source, destination, data):
    asked = policies(*documents)
    port = data.draw(st.integers(1, 65_535) | st.sampled_from(worlds.PORTS))
    outcome = asked.judge(source, destination, "tcp", port).outcome
    if outcome is Outcome.ALLOWED and source != destination:
        assert open_ports(source, destination, asked)[0]


@settings(max_examples=60, deadline=None)
@given(st.lists(worlds.edges, max_size=15))
def test_every_path_is_made_of_observed_edges(edges):
    found = by_observed(WEB, edges)
    spoken = {(e.source, e.destination) for e in edges}
    for peer, step in found.steps.items():
        path = found.path(peer)
        assert len(path) == step.hops
        assert all(pair in spoken for pair in zip([WEB, *(s.peer for s in path)], [s.peer for s in path], strict=False))
