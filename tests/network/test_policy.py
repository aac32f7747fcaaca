"""What policies let through: against a naive reading of Kubernetes' rules, and where something is not known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.network.edges import Peer, Sort
from secguard.network.policy import Form, Known, Outcome, Policies, Policy, Side
from secguard.network.policyreading import policies_of
from secguard.network.selectors import Requirement, Selector
from tests.network import worlds
from tests.network.worlds import KNOWN, OUTSIDE, WORKLOADS

WEB, API, DB = WORKLOADS[:3]
PAY_WEB = WORKLOADS[3]


def policies(*documents: dict[str, Any], known: Known = KNOWN) -> Policies:
    return Policies([p for d in documents for p in policies_of(d, "prod")], known)


def kubernetes(name: str = "p", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"kind": "NetworkPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def cilium(name: str = "c", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {"kind": "CiliumNetworkPolicy", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


@settings(max_examples=120, deadline=None)
@given(st.lists(worlds.documents(), max_size=3), worlds.edges)
def test_it_agrees_with_a_naive_reading_where_everything_is_known(documents, edge):
    judged = policies(*documents).judge(*edge[:4])
    if judged.outcome is not Outcome.UNKNOWN:
        assert (judged.outcome is Outcome.ALLOWED) == worlds.allowed(documents, edge)
    else:  # a block may hold a pod or not, by the plugin; a name may lie in several networks
        blocks = "ipBlock" in str(documents)
        assert blocks


@settings(max_examples=60, deadline=None)
@given(st.lists(worlds.documents(), max_size=3), worlds.edges)
def test_what_is_certain_without_labels_is_so_with_any(documents, edge):
    """Less is known: the answer may become unknown, and never another."""
    less = policies(*documents, known=Known(networks=KNOWN.networks)).judge(*edge[:4])
    full = policies(*documents).judge(*edge[:4])
    assert less.outcome in (Outcome.UNKNOWN, full.outcome)


def test_nothing_selects_so_everything_passes():
    assert policies().judge(WEB, DB, "tcp", 5432) == (Outcome.ALLOWED, (), None)


def test_a_default_denial_names_itself_and_its_side():
    deny = kubernetes("deny", podSelector={}, policyTypes=["Egress"])
    assert policies(deny).judge(WEB, DB, "tcp", 5432) == (Outcome.DENIED, ("shop/deny",), Side.EGRESS)
    assert policies(deny).judge(PAY_WEB, DB, "tcp", 5432).outcome is Outcome.ALLOWED


def test_without_policy_types_it_is_for_ingress():
    one = policies(kubernetes(podSelector={"matchLabels": {"app": "db"}}))
    assert one.judge(WEB, DB, "tcp", 5432) == (Outcome.DENIED, ("shop/p",), Side.INGRESS)
    assert one.judge(DB, WEB, "tcp", 80).outcome is Outcome.ALLOWED


def test_named_ports_are_not_known():
    named = kubernetes(podSelector={}, ingress=[{"ports": [{"port": "http"}]}])
    assert policies(named).judge(WEB, DB, "tcp", 80).outcome is Outcome.UNKNOWN
    assert policies(named).judge(WEB, DB, "udp", 80).outcome is Outcome.DENIED


def test_a_range_of_ports():
    ranged = policies(kubernetes(podSelector={}, ingress=[{"ports": [{"port": 8000, "endPort": 8100}]}]))
    assert [ranged.judge(WEB, DB, "tcp", n).outcome for n in (7999, 8000, 8100, 8101)] == [
        Outcome.DENIED, Outcome.ALLOWED, Outcome.ALLOWED, Outcome.DENIED,
    ]  # fmt: skip
    assert ranged.judge(WEB, DB, "tcp", None).outcome is Outcome.UNKNOWN


def test_other_protocols_are_the_plugins_matter():
    some = policies(kubernetes(podSelector={}, ingress=[{"ports": [{"port": 80}]}]))
    assert some.judge(WEB, DB, "icmp", None).outcome is Outcome.UNKNOWN
    assert policies(kubernetes(podSelector={})).judge(WEB, DB, "icmp", None).outcome is Outcome.DENIED


def test_a_block_that_cuts_through_a_network_is_not_certain():
    half = policies(kubernetes(podSelector={}, egress=[{"to": [{"ipBlock": {"cidr": "203.0.113.0/25"}}]}]))
    assert half.judge(WEB, OUTSIDE[0], "tcp", 443).outcome is Outcome.UNKNOWN
    holed = {"cidr": "0.0.0.0/0", "except": ["203.0.113.128/25"]}
    hole = policies(kubernetes(podSelector={}, egress=[{"to": [{"ipBlock": holed}]}]))
    assert hole.judge(WEB, OUTSIDE[0], "tcp", 443).outcome is Outcome.UNKNOWN


def test_a_name_is_let_through_where_all_its_networks_are():
    both = [{"ipBlock": {"cidr": "198.51.100.0/24"}}, {"ipBlock": {"cidr": "198.51.101.0/24"}}]
    assert (
        policies(kubernetes(podSelector={}, egress=[{"to": both}])).judge(WEB, OUTSIDE[2], "tcp", 443).outcome
        is Outcome.ALLOWED
    )
    one = policies(kubernetes(podSelector={}, egress=[{"to": both[:1]}]))
    assert one.judge(WEB, OUTSIDE[2], "tcp", 443).outcome is Outcome.UNKNOWN


def test_another_namespaces_labels_are_not_known_unless_told():
    told = kubernetes(podSelector={}, ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"env": "prod"}}}]}])
    assert policies(told).judge(PAY_WEB, DB, "tcp", 1).outcome is Outcome.UNKNOWN
    for env, outcome in (("prod", Outcome.ALLOWED), ("test", Outcome.DENIED)):
        known = Known(KNOWN.labels, KNOWN.networks, {("prod", "pay"): {"env": env}})
        assert policies(told, known=known).judge(PAY_WEB, DB, "tcp", 1).outcome is outcome


def test_a_policy_of_another_cluster_or_namespace_holds_nothing_here():
    deny = kubernetes("deny", podSelector={})
    elsewhere = Policies(policies_of(deny, "other"), KNOWN)
    assert elsewhere.judge(WEB, DB, "tcp", 1).outcome is Outcome.ALLOWED


def test_the_own_node_always_passes():
    deny = policies(kubernetes(podSelector={}, policyTypes=["Ingress", "Egress"]))
    assert deny.judge(Peer(Sort.IDENTITY, "host", "prod"), DB, "tcp", 1).outcome is Outcome.ALLOWED


class TestCilium:
    def test_an_empty_rule_lets_nobody_through(self):
        assert policies(cilium(endpointSelector={}, ingress=[{}])).judge(WEB, DB, "tcp", 1).outcome is Outcome.DENIED

    def test_an_empty_selector_is_the_own_namespace(self):
        one = policies(cilium(endpointSelector={}, ingress=[{"fromEndpoints": [{}]}]))
        assert one.judge(WEB, DB, "tcp", 1).outcome is Outcome.ALLOWED
        assert one.judge(PAY_WEB, DB, "tcp", 1).outcome is Outcome.DENIED

    def test_a_namespace_is_a_label(self):
        rule = {"fromEndpoints": [{"matchLabels": {"k8s:io.kubernetes.pod.namespace": "pay", "k8s:app": "web"}}]}
        one = policies(cilium(endpointSelector={"matchLabels": {"k8s:app": "db"}}, ingress=[rule]))
        assert one.judge(PAY_WEB, DB, "tcp", 1).outcome is Outcome.ALLOWED
        assert one.judge(WEB, DB, "tcp", 1).outcome is Outcome.DENIED

    def test_denial_comes_first(self):
        one = policies(cilium(endpointSelector={}, ingress=[{"fromEntities": ["all"]}],
                              ingressDeny=[{"fromEntities": ["world"]}]))  # fmt: skip
        assert one.judge(WEB, DB, "tcp", 1).outcome is Outcome.ALLOWED
        assert one.judge(OUTSIDE[0], DB, "tcp", 1).outcome is Outcome.DENIED

    def test_what_only_allows_stops_nothing(self):
        open_ = cilium("o", endpointSelector={}, ingress=[{"fromEntities": ["world"]}],
                       enableDefaultDeny={"ingress": False})  # fmt: skip
        assert policies(open_).judge(WEB, DB, "tcp", 1).outcome is Outcome.ALLOWED
        deny = cilium("d", endpointSelector={}, ingress=[{}])
        assert policies(open_, deny).judge(OUTSIDE[0], DB, "tcp", 1).outcome is Outcome.ALLOWED
        assert policies(open_, deny).judge(WEB, DB, "tcp", 1).outcome is Outcome.DENIED

    def test_names(self):
        rule = {"toFQDNs": [{"matchPattern": "*.example.org"}], "toPorts": [{"ports": [{"port": "443"}]}]}
        one = policies(cilium(endpointSelector={}, egress=[rule]))
        assert one.judge(WEB, OUTSIDE[2], "tcp", 443).outcome is Outcome.ALLOWED
        assert one.judge(WEB, OUTSIDE[2], "tcp", 80).outcome is Outcome.DENIED
        assert one.judge(WEB, Peer(Sort.NAME, "a.b.example.org"), "tcp", 443).outcome is Outcome.DENIED
        assert one.judge(WEB, OUTSIDE[0], "tcp", 443).outcome is Outcome.UNKNOWN  # its name is not known

    def test_rules_of_http_may_still_refuse_and_those_of_dns_do_not(self):
        ports = {"ports": [{"port": "80", "protocol": "TCP"}]}
        for rules, outcome in (({"http": [{}]}, Outcome.UNKNOWN), ({"dns": [{}]}, Outcome.ALLOWED)):
            one = policies(cilium(endpointSelector={}, ingress=[{"toPorts": [ports | {"rules": rules}]}]))
            assert one.judge(WEB, DB, "tcp", 80).outcome is outcome

    def test_what_is_not_read_is_not_known(self):
        one = policies(cilium(endpointSelector={}, egress=[{"toServices": [{}]}]))
        assert one.judge(WEB, DB, "tcp", 80).outcome is Outcome.UNKNOWN

    def test_a_policy_for_the_whole_cluster(self):
        wide = {"kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "w"},
                "spec": {"endpointSelector": {"matchLabels": {"app": "db"}}, "ingress": [{}]}}  # fmt: skip
        assert policies(wide).judge(PAY_WEB, DB, "tcp", 80).outcome is Outcome.DENIED
        assert policies(wide).judge(DB, PAY_WEB, "tcp", 80).outcome is Outcome.ALLOWED


def test_where_it_is_not_known_whether_a_policy_selects():
    unknown = Known(networks=KNOWN.networks)
    stops = kubernetes("s", podSelector={"matchLabels": {"app": "db"}})
    lets = kubernetes("l", podSelector={"matchLabels": {"app": "db"}}, ingress=[{}])
    assert policies(stops, known=unknown).judge(WEB, DB, "tcp", 1).outcome is Outcome.UNKNOWN
    assert policies(lets, known=unknown).judge(WEB, DB, "tcp", 1).outcome is Outcome.ALLOWED


@pytest.mark.parametrize(("operator", "there", "missing"), [("In", 2, 0), ("NotIn", 0, 2), ("Exists", 2, 0)])
def test_requirements(operator, there, missing):
    one = Selector((Requirement("app", operator, ("web",)),))
    assert (one.selects({"app": "web"}), one.selects({})) == (there, missing)
    assert one.selects(None) == 1
    assert Selector((Requirement("pod-template-hash", "In", ("x",)),)).selects({}) == 1


def test_a_policy_without_anything_is_one():
    assert str(Policy(Form.KUBERNETES, "p", "", Selector())) == "p"
