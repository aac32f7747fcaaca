"""Whether flows come, and what network policies limit: kept, missing, not measured; never another team's workloads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from secguard.network.models import Applied, Heard
from tests.measuring import names_behind, outcome, outcomes

pytestmark = pytest.mark.django_db

LIMITED = ("network-ingress-limited", "network-egress-limited")
ALL: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
"""Kubernetes' own example of one that denies all ("Network Policies", default deny all)."""
WEB = ALL | {"podSelector": {"matchLabels": {"app": "web"}}}


def apply(estate: Any, spec: dict[str, Any], namespace: str = "shop", days: int = 0, **document: Any) -> None:
    """The cluster told, so many days ago, that it applies a policy."""
    told = estate.now - timedelta(days=days)
    metadata = {"name": f"p{Applied.objects.count()}", "namespace": namespace}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"} | document
    Applied.objects.create(
        cluster=estate.cluster.name, namespace=namespace, name=metadata["name"], form="kubernetes",
        document={**kind, "metadata": metadata, "spec": spec}, first_at=told, reported_at=told,
    )  # fmt: skip
    Heard.objects.filter(cluster=estate.cluster.name).update(policies_at=told)


def states(estate: Any, *applications: Any) -> list[list[str]]:
    return [[o.state for o in outcomes(name, applications, estate.now)] for name in LIMITED]


def test_nothing_is_measured_where_nothing_runs(estate: Any, application: Any) -> None:
    apply(estate, ALL)
    assert {outcome(name, application, estate.now).state for name in ("network-heard", *LIMITED)} == {"unmeasured"}


def test_flows_of_each_cluster_came_within_a_day(
    estate: Any, application: Any, other_application: Any, viewer: Any
) -> None:
    from tests.network.conftest import Estate

    estate.workload("shop/web", application)
    found = outcome("network-heard", application, estate.now)
    assert (found.state, found.changes_at) == ("kept", estate.now + timedelta(days=1))
    assert outcome("network-heard", application, estate.now + timedelta(days=1)).state == "missing"
    silent = Estate("silent")
    Heard.objects.filter(cluster="silent").delete()
    bad = silent.workload("shop/quiet", application)
    estate.workload("pay/api", other_application)
    ours, theirs = outcomes("network-heard", [application, other_application], estate.now)
    assert (ours.state, theirs.state) == ("missing", "kept")
    assert names_behind(viewer, ours.links[0][1], "Workload") == [bad.name]


def test_a_policy_that_selects_every_pod_limits_it(estate: Any, application: Any, other_application: Any) -> None:
    estate.workload("shop/web", application)
    estate.workload("pay/api", other_application)
    assert states(estate, application) == [["unmeasured"], ["unmeasured"]]
    apply(estate, ALL)
    assert states(estate, application, other_application) == [["kept", "missing"]] * 2
    found = outcome(LIMITED[0], application, estate.now)
    assert found.changes_at == estate.now + timedelta(days=7)
    assert outcome(LIMITED[0], application, estate.now + timedelta(days=7)).state == "unmeasured"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (WEB, ["missing", "missing"]),
        (ALL | {"policyTypes": ["Ingress"]}, ["kept", "missing"]),
        (ALL | {"egress": [{}]}, ["kept", "missing"]),
        (ALL | {"ingress": [{"ports": [{"port": 443}]}]}, ["kept", "kept"]),
        (ALL | {"ingress": [{"from": [{"podSelector": {}}]}, {}]}, ["missing", "kept"]),
    ],
)
def test_each_direction_of_each_workload_is_limited(
    estate: Any, application: Any, viewer: Any, spec: dict[str, Any], expected: list[str]
) -> None:
    estate.workload("shop/web", application)
    bad = estate.workload("shop/db", application)
    apply(estate, spec)
    found = [outcome(name, application, estate.now) for name in LIMITED]
    assert [o.state for o in found] == expected
    for o in found:
        if o.state == "missing" and spec is WEB:
            assert names_behind(viewer, o.links[0][1], "Workload") == [bad.name]


def test_what_one_policy_lets_through_the_others_do_not_limit(estate: Any, application: Any) -> None:
    estate.workload("shop/web", application)
    apply(estate, ALL)
    apply(estate, WEB | {"policyTypes": ["Ingress"], "ingress": [{}]})
    assert states(estate, application) == [["missing"], ["kept"]]


def test_where_labels_decide_and_are_not_known_nothing_is(estate: Any, application: Any) -> None:
    from tests.measuring import run

    run(application, namespace="shop")  # of which no flow told
    apply(estate, WEB)
    assert states(estate, application) == [["unmeasured"], ["unmeasured"]]
    apply(estate, ALL)
    assert states(estate, application) == [["kept"], ["kept"]]


def test_another_namespaces_and_another_clusters_policies_do_not_count(estate: Any, application: Any) -> None:
    from tests.network.conftest import Estate

    estate.workload("shop/web", application)
    apply(estate, ALL, namespace="pay")
    apply(Estate("other"), ALL)
    assert states(estate, application) == [["missing"], ["missing"]]


def test_policies_that_were_told_long_ago_tell_nothing(estate: Any, application: Any) -> None:
    estate.workload("shop/web", application)
    apply(estate, ALL, days=7)
    assert states(estate, application) == [["unmeasured"], ["unmeasured"]]


# --- rules between segments ---


def test_workloads_lie_in_closed_segments_and_keep_their_rules(
    shop: dict[str, Any], application: Any, other_application: Any, operator: Any, reviewer: Any, viewer: Any
) -> None:
    """web speaks to db and, outside of shop, to pay: what comes from web to db needs a rule once shop is closed."""
    from secguard.approvals.quorum import Choice
    from secguard.network.models import Edge
    from secguard.network.segmentation import Effect, Stance
    from secguard.network.services import judging, ruling, segments
    from secguard.network.services.ruling import RuleEdit
    from secguard.network.services.segments import SegmentEdit

    names, both = ("network-segmented", "network-rules-kept"), [application, other_application]
    now = shop["estate"].now + timedelta(minutes=1)

    def found() -> list[list[str]]:
        judging.judge_all(now)
        return [[o.state for o in outcomes(name, both, now)] for name in names]

    assert found() == [["missing", "missing"], ["unmeasured", "unmeasured"]]
    edit = SegmentEdit("Shops", [{"namespace": "shop"}], stance=Stance.CLOSED)
    segment = segments.create(edit, None, actor=operator)
    assert found() == [["kept", "missing"], ["kept", "unmeasured"]]
    Edge.objects.update(last_at=now)  # seen again, after the segment was closed
    assert found()[1][0] == "missing"
    (_, path) = outcome("network-rules-kept", application, now).links[0]
    assert names_behind(viewer, path, "Workload") == ["db", "web"]
    outside = segments.create(SegmentEdit("World", [{"outside": True}]), None, actor=operator)
    for source in (segment, outside):
        asked = ruling.ask(
            RuleEdit(f"segment:{source.pk}", f"segment:{segment.pk}", "", Effect.ALLOW, "It has to."), actor=operator
        )
        ruling.vote(asked.pk, Choice.APPROVE, actor=reviewer)
    assert found()[1][0] == "kept"


def test_of_what_no_flow_told_no_segment_is_known(application: Any) -> None:
    from tests.measuring import NOW, run

    run(application)
    assert {outcome(name, application, NOW).state for name in ("network-segmented", "network-rules-kept")} == {
        "unmeasured"
    }
