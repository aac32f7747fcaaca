"""Generated policies: tried, asked for, decided by somebody else, exported, and recognised in the cluster."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.network.lifecycle import ProposalEvent
from secguard.network.models import Applied, Proposal
from secguard.network.policy import Form
from secguard.network.services import applying, proposing
from secguard.network.services.proposing import About

pytestmark = pytest.mark.django_db
URL = "/api/v1/network/policies/"


@pytest.fixture
def about(shop: dict[str, Any]) -> About:
    return About(Form.KUBERNETES, shop["db"].pk)


@pytest.fixture
def proposal(about: About, operator: Any) -> Proposal:
    return proposing.propose(about, "Only web.", actor=operator)


def listed(*documents: Any) -> dict[str, Any]:
    return {"kind": "List", "items": list(documents)}


def test_a_draft_says_what_it_would_do(shop: dict[str, Any], operator: Any) -> None:
    draft = proposing.draft(About(Form.KUBERNETES, shop["db"].pk), actor=operator)
    assert draft.simulated.words == "would cut none of 7 recorded edges"
    assert draft.generated.document["spec"]["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 5432}]
    # A policy that lets nobody in is applied: generating from one edge less would cut the rest.
    whole = proposing.draft(About(Form.CILIUM, None, "prod", "shop"), actor=operator)
    assert whole.generated.name == "shop-observed"
    assert whole.simulated.cut == ()


def test_what_is_proposed_would_cut_what_came_after(shop: dict[str, Any], operator: Any) -> None:
    draft = proposing.draft(About(Form.KUBERNETES, shop["db"].pk), actor=operator)
    late = shop["estate"].edge(shop["web"], shop["db"], 9200)
    from secguard.network.policyreading import policies_of
    from secguard.network.queries import known
    from secguard.network.simulating import simulate

    ends = known.ends_of("prod")
    told = known.recorded(ends, cluster="prod")
    after = policies_of(draft.generated.document, "prod")
    found = simulate(told, before=[], after=after, known=ends.known)
    assert found.words == "would cut this edge (7 flows) in 1 namespace"
    assert [change.recorded.id for change in found.cut] == [late.pk]


def test_asking_and_deciding(proposal: Proposal, operator: Any, reviewer: Any, viewer: Any) -> None:
    assert (proposal.application.slug, proposal.subject, proposal.made_from) == ("shop", "db", 1)
    with pytest.raises(NotAllowed):
        proposing.decide(proposal.pk, ProposalEvent.APPROVE, actor=viewer)
    with pytest.raises(NotAllowed):
        proposing.decide(proposal.pk, ProposalEvent.WITHDRAW, actor=reviewer)
    decided = proposing.decide(proposal.pk, ProposalEvent.APPROVE, "Fine.", actor=reviewer)
    assert (decided.state, decided.decided_by, decided.answer) == ("approved", reviewer, "Fine.")
    with pytest.raises(Conflict, match="approved"):
        proposing.decide(proposal.pk, ProposalEvent.REJECT, actor=reviewer)
    actions = set(AuditEntry.objects.filter(subject_type="network-policy").values_list("action", flat=True))
    assert actions == {"network-policy:propose", "network-policy:decide"}


def test_nobody_approves_their_own(about: About, administrator: Any) -> None:
    own = proposing.propose(about, "", actor=administrator)
    with pytest.raises(NotAllowed, match="somebody else"):
        proposing.decide(own.pk, ProposalEvent.APPROVE, actor=administrator)
    with pytest.raises(IntegrityError), transaction.atomic():
        Proposal.objects.filter(pk=own.pk).update(state="approved", decided_by=administrator)
    assert proposing.decide(own.pk, ProposalEvent.WITHDRAW, actor=administrator).state == "withdrawn"


def test_one_is_open_at_a_time(proposal: Proposal, about: About, operator: Any, reviewer: Any) -> None:
    with pytest.raises(Conflict, match="open already"):
        proposing.propose(about, "", actor=operator)
    proposing.decide(proposal.pk, ProposalEvent.REJECT, actor=reviewer)
    assert proposing.propose(about, "", actor=operator).state == "open"


def test_who_may_not_know_the_others_cannot_generate(
    shop: dict[str, Any], viewer: Any, stranger: Any, make_person: Any, team: Any
) -> None:
    ours = make_person("otto", "operator", team=team)
    with pytest.raises(NotAllowed, match="other teams"):
        proposing.draft(About(Form.KUBERNETES, shop["web"].pk), actor=ours)  # web speaks to pay/api
    assert proposing.propose(About(Form.KUBERNETES, shop["db"].pk), "", actor=ours).asked_by == ours
    with pytest.raises(NotAllowed):
        proposing.propose(About(Form.CILIUM, shop["db"].pk), "", actor=viewer)
    for about in (About(Form.KUBERNETES, shop["db"].pk), About(Form.KUBERNETES, None, "prod", "shop")):
        with pytest.raises(NotFound):
            proposing.draft(about, actor=stranger)


def test_over_rest(shop: dict[str, Any], operator: Any, reviewer: Any, stranger: Any, viewer: Any) -> None:
    end = shop["db"].pk
    draft = operator.api.post(f"{URL}draft/", {"end": end, "form": "cilium"}, format="json")
    assert (draft.status_code, draft.json()["document"]["kind"]) == (200, "CiliumNetworkPolicy"), draft.content
    assert not Proposal.objects.exists()
    both = {"end": end, "cluster": "prod", "namespace": "shop"}
    assert operator.api.post(URL, both, format="json").status_code == 422
    made = operator.api.post(URL, {"end": end, "reason": "Only web."}, format="json")
    assert made.status_code == 201, made.content
    pk = made.json()["id"]
    text = viewer.api.get(f"{URL}{pk}/yaml/")
    assert yaml.safe_load(text.content)["metadata"]["name"] == "db-observed"
    assert operator.api.post(f"{URL}{pk}/approve/", {}, format="json").status_code == 403
    assert stranger.api.get(f"{URL}{pk}/").status_code == 404
    assert stranger.api.post(f"{URL}{pk}/withdraw/", {}, format="json").status_code == 404
    assert reviewer.api.post(f"{URL}{pk}/approve/", {"answer": "Yes."}, format="json").json()["state"] == "approved"
    assert [p["id"] for p in viewer.api.get(URL).json()["results"]] == [pk]
    assert stranger.api.get(URL).json()["results"] == []


def test_what_is_applied_is_recognised(proposal: Proposal, operator: Any, reviewer: Any) -> None:
    proposing.decide(proposal.pk, ProposalEvent.APPROVE, actor=reviewer)
    proposal.refresh_from_db()

    def word(*documents: Any) -> applying.Standing:
        applying.report("prod", listed(*documents), timezone.now(), actor=operator)
        return applying.standings([proposal])[proposal.pk]

    assert applying.standings([proposal])[proposal.pk].word == "not told"
    assert word().word == "missing"
    told = proposal.document | {"status": {}, "metadata": proposal.document["metadata"] | {"uid": "1"}}
    assert word(told) == applying.Standing("applied")
    renamed = told | {"metadata": told["metadata"] | {"name": "other"}}
    assert word(renamed) == applying.Standing("applied", "other")
    wider = told | {"spec": told["spec"] | {"ingress": [{}]}}
    assert word(wider).word == "applied otherwise"
    assert Applied.objects.get().document["metadata"].get("uid") is None


def test_a_list_replaces_what_a_cluster_applied(
    shop: dict[str, Any], operator: Any, viewer: Any, stranger: Any
) -> None:
    def policy(name: str, **spec: Any) -> dict[str, Any]:
        return {
            "kind": "NetworkPolicy",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"podSelector": {}} | spec,
        }

    path = "/api/v1/network/applied/?cluster=prod"
    first = operator.api.post(path, listed(policy("a"), policy("b"), policy("c", ingress=1)), format="json").json()
    assert (first["applied"], first["gone"], first["refused"][0]["where"]) == (2, 0, "items[2].spec.ingress")
    second = operator.api.post(path, listed(policy("b")), format="json").json()
    assert (second["applied"], second["gone"]) == (1, 1)
    assert operator.api.post(path, {"kind": "Pod"}, format="json").status_code == 422
    assert operator.api.post("/api/v1/network/applied/", listed(), format="json").status_code == 422
    for person in (viewer, stranger):
        assert person.api.post(path, listed(), format="json").status_code == 403
    assert Applied.objects.count() == 1
    # What is applied bounds what could be reached.
    deny = policy("deny", policyTypes=["Ingress"])
    operator.api.post(path, listed(deny), format="json")
    reach = operator.api.get(f"/api/v1/network/reach/{shop['pay'].pk}/").json()
    assert reach["has_policies"]
    by = {row["name"]: row["by"] for row in reach["rows"]}
    assert "shop/db" not in by
    assert by["vault/jewels"] == ["observed", "allowed"]


def test_pages(shop: dict[str, Any], operator: Any, reviewer: Any, viewer: Any, stranger: Any) -> None:
    new = f"/network/policies/new/?end={shop['db'].pk}"
    text = operator.client.get(new).content.decode()
    assert "would cut none of 7 recorded edges" in text
    assert "Ask for it" in text
    assert "Ask for it" not in viewer.client.get(new).content.decode()
    assert stranger.client.get(new).status_code == 404
    made = operator.client.post("/network/policies/new/", {"end": shop["db"].pk, "form": "kubernetes"})
    page = made.headers["Location"]
    assert 'value="approve"' not in operator.client.get(page).content.decode()
    assert 'value="withdraw"' in operator.client.get(page).content.decode()
    assert 'value="approve"' in reviewer.client.get(page).content.decode()
    assert stranger.client.get(page).status_code == 404
    reviewer.client.post(f"{page}decide/", {"event": "approve"})
    assert "approved" in viewer.client.get("/network/policies/").content.decode()
    answer = viewer.client.get(f"{page}?format=yaml")
    assert yaml.safe_load(answer.content)["kind"] == "NetworkPolicy"
    unlabelled = shop["estate"].workload("shop/bare", None, labels={})
    said = operator.client.get(f"/network/policies/new/?end={unlabelled.pk}").content.decode()
    assert "labels of shop/bare are not known" in said


def test_a_reason_is_bounded(about: About, operator: Any) -> None:
    with pytest.raises(Invalid, match="at most"):
        proposing.propose(about, "x" * 5_000, actor=operator)


def test_edges_and_map_over_rest(shop: dict[str, Any], operator: Any, viewer: Any, stranger: Any) -> None:
    rows = viewer.api.get("/api/v1/network/edges/").json()["results"]
    assert len(rows) == 6
    assert "jewels" not in str(rows)
    denied = viewer.api.get("/api/v1/network/edges/?state=denied").json()["results"]
    assert [(r["source"], r["destination"], r["verdict"]) for r in denied] == [
        ("another team's workload", "shop/db", "denied")
    ]
    assert viewer.api.get("/api/v1/network/edges/?state=odd").status_code == 400
    found = operator.api.get("/api/v1/network/map/?namespace=shop&cluster=prod").json()
    assert {"web", "db", "pay"} <= {n["label"] for n in found["nodes"]}
    assert "vault" not in str(viewer.api.get("/api/v1/network/map/").json())
    assert stranger.api.get(f"/api/v1/network/reach/{shop['web'].pk}/").status_code == 404
