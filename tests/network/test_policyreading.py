"""Lists of policies: taken one by one, refused one by one with the place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid, SecGuardError
from secguard.network.policyreading import policies_of, read
from tests.network import worlds


def one(**spec: Any) -> dict[str, Any]:
    return {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "shop"}, "spec": {"podSelector": {}} | spec}


def test_a_broken_policy_is_refused_by_itself():
    found = read({"kind": "List", "items": [one(), one(ingress={}), {"kind": "Pod", "metadata": {"name": "p"}}]}, "c")
    assert [str(p) for p, _ in found.policies] == ["shop/p"]
    assert [(where, code) for where, code, _ in found.refused] == [
        ("items[1].spec.ingress", "wrong-shape"), ("items[2].kind", "unknown-kind"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"policyTypes": ["Both"]}, "spec.policyTypes"),
        ({"podSelector": {"matchLabels": {"a": 1}}}, "spec.podSelector.matchLabels"),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}, "spec.podSelector.matchExp"),
        ({"podSelector": {"labels": {}}}, "spec.podSelector"),
        ({"ingress": [{"from": [{}]}]}, "spec.ingress[0].from[0]"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]}, "spec.ingress[0].from[0].ipBlock"),
        ({"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["::/8"]}}]}]},
         "spec.ingress[0].from[0].ipBlock.except"),
        ({"ingress": [{"ports": [{"port": 70_000}]}]}, "spec.ingress[0].ports[0]"),
        ({"ingress": [{"ports": [{"port": True}]}]}, "spec.ingress[0].ports[0]"),
        ({"ingress": [{"from": "x"}]}, "spec.ingress[0].from"),
    ],
)  # fmt: skip
def test_the_place_of_a_fault_is_told(spec, where):
    with pytest.raises(Invalid) as refused:
        policies_of(one(**spec), "c")
    assert refused.value.where.startswith(where.rpartition(".except")[0] or where)


def test_what_is_no_list_of_policies_is_refused():
    with pytest.raises(Invalid):
        read({"items": {}}, "c")
    assert read({"items": []}, "c").policies == ()
    assert read([], "c").refused


def test_several_specs_are_several_policies():
    spec = {"endpointSelector": {}, "ingress": [{}]}
    document = {"kind": "CiliumNetworkPolicy", "metadata": {"name": "p", "namespace": "shop"}, "specs": [spec, spec]}
    assert len(policies_of(document, "c")) == 2
    nodes = {**document, "specs": [{"nodeSelector": {}, "ingress": [{}]}]}
    with pytest.raises(Invalid, match="nodes"):
        policies_of(nodes, "c")


_WORDS = [
    "kind", "metadata", "name", "spec", "podSelector", "endpointSelector", "ingress", "egress", "from",
    "to", "ports", "port", "endPort", "protocol", "ipBlock", "cidr", "except", "matchLabels",
    "matchExpressions", "key", "operator", "values", "toPorts", "rules", "fromCIDR", "toFQDNs",
    "fromCIDRSet", "enableDefaultDeny", "ingressDeny", "policyTypes", "specs",
]  # fmt: skip
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99_999) | st.sampled_from(["x", "Ingress", "10.0.0.0/8", "TCP", ""]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(_WORDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_json, st.sampled_from(["NetworkPolicy", "CiliumNetworkPolicy"]))
def test_hostile_documents_are_refused_with_words(spec, kind):
    document = {"kind": kind, "metadata": {"name": "p"}, "spec": spec}
    refused = None
    try:
        policies_of(document, "c")
    except SecGuardError as error:
        refused = error
    assert refused is None or (refused.detail and refused.code)


@settings(max_examples=60, deadline=None)
@given(worlds.documents())
def test_every_valid_document_is_taken(document):
    assert len(policies_of(document, "prod")) == 1
