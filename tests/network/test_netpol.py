"""Generated policies: valid documents, the same text for the same edges, and never a cut of what was observed."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.network import netpol
from secguard.network.edges import Edge, Peer, Sort
from secguard.network.flow import Verdict
from secguard.network.policy import Form, Known, Outcome, Policies
from secguard.network.policyreading import policies_of
from secguard.network.simulating import Recorded, simulate
from tests.network import worlds
from tests.network.worlds import KNOWN, OUTSIDE, SPACES, WORKLOADS

WEB, API, DB = WORKLOADS[:3]
forms = st.sampled_from(list(Form))
observed = st.lists(worlds.edges, max_size=12, unique=True)


def edge(source: Peer, destination: Peer, port: int | None = 443, protocol: str = "tcp") -> Edge:
    return Edge(source, destination, protocol, port, Verdict.FORWARDED)


def generated_for_all(edges: list[Edge], form: Form, known: Known = KNOWN) -> list[netpol.Generated]:
    return [netpol.for_workload(w, edges, known, form=form, namesakes=WORKLOADS) for w in WORKLOADS]


def judged(made: list[netpol.Generated], known: Known = KNOWN) -> Policies:
    return Policies([p for g in made for p in policies_of(yaml.safe_load(g.text), "prod")], known)


@settings(max_examples=60, deadline=None)
@given(observed, forms)
def test_what_was_generated_never_cuts_what_it_was_generated_from(edges, form):
    made = generated_for_all(edges, form)
    policies = judged(made)
    left = {e for g in made for out in g.left_out for e in out.stops}
    for one in edges:
        assert one in left or policies.judge(*one[:4]).outcome is Outcome.ALLOWED
    assert not left


@settings(max_examples=60, deadline=None)
@given(observed, forms)
def test_nor_does_one_for_a_namespace(edges, form):
    made = [netpol.for_namespace("prod", ns, edges, KNOWN, form=form) for ns in SPACES]
    policies = judged(made)
    assert all(policies.judge(*one[:4]).outcome is Outcome.ALLOWED for one in edges)


@settings(max_examples=60, deadline=None)
@given(observed.filter(bool), forms, st.data())
def test_what_was_not_observed_is_cut_and_nothing_else(edges, form, data):
    """Generate without one edge: that one is cut, and every other still passes."""
    gone = data.draw(st.sampled_from(edges))
    rest = [e for e in edges if e != gone]
    policies = judged(generated_for_all(rest, form))
    assert all(policies.judge(*one[:4]).outcome is Outcome.ALLOWED for one in rest)
    assert policies.judge(*gone[:4]).outcome is not Outcome.ALLOWED
    if all(p.sort is not Sort.NETWORK for p in gone[:2]):  # a network alone may be any name's
        assert policies.judge(*gone[:4]).outcome is Outcome.DENIED


@settings(max_examples=40, deadline=None)
@given(observed, forms, st.randoms())
def test_the_same_edges_make_the_same_text(edges, form, random):
    shuffled = list(edges)
    random.shuffle(shuffled)
    assert [g.text for g in generated_for_all(edges, form)] == [g.text for g in generated_for_all(shuffled, form)]


@settings(max_examples=40, deadline=None)
@given(st.lists(worlds.edges, max_size=8, unique=True), forms, st.sets(st.sampled_from(WORKLOADS), max_size=3))
def test_workloads_without_labels_are_never_cut(edges, form, unknown):
    known = Known({p: v for p, v in KNOWN.labels.items() if p not in unknown}, KNOWN.networks)
    made = [netpol.for_workload(w, edges, known, form=form, namesakes=WORKLOADS) for w in WORKLOADS if w not in unknown]
    policies = judged(made, known)
    assert all(policies.judge(*one[:4]).outcome is not Outcome.DENIED for one in edges)


def test_a_policy_of_kubernetes():
    made = netpol.for_workload(
        WEB,
        [edge(WEB, DB, 5432), edge(API, WEB, 80), edge(WEB, OUTSIDE[0]), edge(WEB, OUTSIDE[2])],
        KNOWN,
        form=Form.KUBERNETES,
        namesakes=WORKLOADS,
    )
    assert made.text == (
        """---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: web-observed
  namespace: shop
  labels:
    app.kubernetes.io/managed-by: secguard
spec:
  podSelector:
    matchLabels:
      app: web
      tier: front
  policyTypes:
  - Ingress
  - Egress
  ingress:
  - from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: shop
      podSelector:
        matchLabels:
          app: api
          tier: back
    ports:
    - protocol: TCP
      port: 80
  egress:
  - to:
    - ipBlock:
        cidr: 198.51.100.0/24
    - ipBlock:
        cidr: 198.51.101.0/24
    - ipBlock:
        cidr: 203.0.113.0/24
    ports:
    - protocol: TCP
      port: 443
  - to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: shop
      podSelector:
        matchLabels:
          app: db
    ports:
    - protocol: TCP
      port: 5432
  - to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
    ports:
    - protocol: UDP
      port: 53
    - protocol: TCP
      port: 53
"""
    )


def test_a_policy_of_cilium_names_names_and_entities():
    made = netpol.for_workload(
        WEB, [edge(WEB, OUTSIDE[2]), edge(WEB, OUTSIDE[3], 6443)], KNOWN, form=Form.CILIUM, namesakes=WORKLOADS
    )
    egress = made.document["spec"]["egress"]
    assert {"toFQDNs": [{"matchName": "api.example.org"}],
            "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}]} in egress  # fmt: skip
    assert {"toEntities": ["kube-apiserver"],
            "toPorts": [{"ports": [{"port": "6443", "protocol": "TCP"}]}]} in egress  # fmt: skip
    assert made.document["spec"]["ingress"] == [{}]
    assert egress[-1]["toPorts"][0]["rules"] == {"dns": [{"matchPattern": "*"}]}


def test_two_that_cannot_be_told_apart_have_one_policy():
    twin = Peer(Sort.WORKLOAD, "twin", "prod", "shop", "Deployment")
    known = Known({**KNOWN.labels, twin: dict(KNOWN.labels[WEB])}, KNOWN.networks)
    edges = [edge(twin, DB, 5432)]
    made = netpol.for_workload(WEB, edges, known, form=Form.KUBERNETES, namesakes=[*WORKLOADS, twin])
    assert "shop/twin" in [out.subject for out in made.left_out]
    assert Policies(policies_of(made.document, "prod"), known).judge(twin, DB, "tcp", 5432).outcome is Outcome.ALLOWED


def test_more_labels_are_taken_where_few_do_not_tell_apart():
    twin = Peer(Sort.WORKLOAD, "twin", "prod", "shop", "Deployment")
    known = Known({WEB: {"app": "web", "team": "a", "pod-template-hash": "1"}, twin: {"app": "web", "team": "b"}})
    made = netpol.for_workload(WEB, [], known, form=Form.KUBERNETES, namesakes=[WEB, twin])
    assert made.document["spec"]["podSelector"] == {"matchLabels": {"app": "web", "team": "a"}}
    assert made.left_out == ()


def test_what_a_form_has_no_words_for_is_said():
    far = Peer(Sort.WORKLOAD, "far", "elsewhere", "shop", "Deployment")
    name = Peer(Sort.NAME, "no-network.example.org")
    edges = [edge(WEB, far), edge(WEB, name)]
    made = netpol.for_workload(WEB, edges, KNOWN, form=Form.KUBERNETES, namesakes=WORKLOADS)
    assert {out.subject: out.stops for out in made.left_out} == {
        "shop/far": (edges[0],), "no-network.example.org": (edges[1],),
    }  # fmt: skip
    (policy,) = policies_of(made.document, "prod")
    result = simulate([Recorded(e, 7) for e in edges], before=[], after=[policy], known=KNOWN)
    assert result.words == "would cut these 2 edges (14 flows) in 1 namespace"
    cilium = netpol.for_workload(WEB, [edges[1]], KNOWN, form=Form.CILIUM, namesakes=WORKLOADS)
    assert cilium.left_out == ()


def test_a_workload_without_labels_is_refused_with_a_way_out():
    with pytest.raises(Invalid, match="whole namespace") as refused:
        netpol.for_workload(WEB, [], Known(), form=Form.KUBERNETES)
    assert refused.value.code == "labels-unknown"


def test_hostile_names_make_valid_documents_or_none():
    odd = Peer(Sort.WORKLOAD, "We:b\n- x", "prod", "shop", "Deployment")
    known = Known({odd: {"app": "x", "bad key": "v", "k": "-"}})
    made = netpol.for_workload(odd, [], known, form=Form.KUBERNETES)
    assert made.document["metadata"]["name"].startswith("we-b-x-")
    assert made.document["spec"]["podSelector"] == {"matchLabels": {"app": "x"}}
    with pytest.raises(Invalid, match="no namespace"):
        netpol.for_namespace("prod", "Shop\n", [], KNOWN, form=Form.CILIUM)


def test_denied_edges_are_not_let_through():
    denied = Edge(WEB, DB, "tcp", 5432, Verdict.DENIED)
    made = netpol.for_workload(WEB, [denied], KNOWN, form=Form.KUBERNETES, namesakes=WORKLOADS)
    assert made.edges == ()
    assert Policies(policies_of(made.document, "prod"), KNOWN).judge(WEB, DB, "tcp", 5432).outcome is Outcome.DENIED
