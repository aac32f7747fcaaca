"""Segments and rules on pages and over REST: the matrix, numbers that lead to their edges, generated policies."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from django.utils import timezone

from secguard.network.models import Edge, Segment, SegmentRule
from secguard.network.segmentation import Effect, Stance
from secguard.network.services import judging, ruling, segments
from secguard.network.services.segments import SegmentEdit
from tests.network.test_rules import SHOP, WAREHOUSE, approved, rule

pytestmark = pytest.mark.django_db
SEGMENTS, RULES = "/api/v1/network/segments/", "/api/v1/network/rules/"


@pytest.fixture
def ruled(shop: dict[str, Any], operator: Any, reviewer: Any, developer: Any, team: Any) -> dict[str, Any]:
    """Shop's database is closed, but for web; what it says to pay is denied; outside is a segment."""
    make = {"actor": operator}
    outside = segments.create(SegmentEdit("Outside", [{"outside": True}]), None, **make)
    shops = segments.create(SegmentEdit("Shops", [{"application": "shop"}], "", Stance.CLOSED), team.pk, **make)
    inside = approved(rule(SHOP, SHOP, ports="tcp/5432"), developer, reviewer)
    no = approved(rule(SHOP, WAREHOUSE, Effect.DENY), operator, reviewer)
    Edge.objects.update(last_at=timezone.now())
    judging.judge_all(timezone.now())
    return {**shop, "outside": outside, "shops": shops, "inside": inside, "no": no}


def test_every_number_of_the_matrix_leads_to_its_edges(ruled: dict[str, Any], operator: Any, viewer: Any) -> None:
    for person in (operator, viewer):
        for by in ("segment", "application"):
            matrix = person.client.get(f"/network/segments/?by={by}").context["matrix"]
            assert (
                sum(c.observed for c in matrix.cells.values())
                == person.client.get("/network/edges/").context["listing"].count
            )
            for cell in matrix.cells.values():
                for query, number in (
                    ("", cell.observed), ("&standing=allowed", cell.allowed), ("&standing=breaking", cell.breaking),
                ):  # fmt: skip
                    assert person.client.get(cell.url + query).context["listing"].count == number, cell.url + query
    shops, outside = f"segment:{ruled['shops'].pk}", f"segment:{ruled['outside'].pk}"
    cells = operator.client.get("/network/segments/").context["matrix"].cells
    assert (cells[shops, shops].observed, cells[shops, shops].allowed) == (1, 1)
    assert (cells[outside, shops].observed, cells[outside, shops].breaking) == (1, 1)
    assert cells[shops, "segment:none"].breaking == 2


def test_strangers_see_nothing_of_a_teams(
    ruled: dict[str, Any], stranger: Any, viewer: Any, make_person: Any, make_team: Any
) -> None:
    shops, inside, no = ruled["shops"].pk, ruled["inside"].pk, ruled["no"].pk
    far = make_person("fara", "developer", team=make_team("Far"))
    for person, hidden in ((stranger, [shops, inside]), (far, [shops, inside, no])):
        for pk in hidden:
            path = "segments" if pk == shops else "rules"
            assert person.client.get(f"/network/{path}/{pk}/").status_code == 404, (person, path)
            assert person.api.get(f"/api/v1/network/{path}/{pk}/").status_code == 404
    text = stranger.client.get("/network/segments/").content.decode()
    assert "Outside" in text
    assert "Shops" not in text
    assert "shop" not in far.client.get("/network/rules/").content.decode().partition("<main")[2].lower()
    assert viewer.client.get("/network/rules/").context["listing"].count == 2
    # Who asked knew both ends, so both teams are told who is meant.
    assert "Warehouse" in viewer.client.get(f"/network/rules/{no}/").content.decode()
    assert stranger.client.get("/network/rules/").context["listing"].count == 1
    page = far.client.get(f"/network/edges/?rule={no}")
    assert page.context["listing"].count == 0


def test_edges_show_and_are_narrowed_by_what_the_rules_say(ruled: dict[str, Any], operator: Any) -> None:
    names = {edge.pk: name for name, edge in ruled["edges"].items()}

    def found(query: str) -> set[str]:
        return {names[row.pk] for row in operator.client.get(f"/network/edges/?{query}").context["listing"].rows}

    assert found("standing=allowed") == found(f"rule={ruled['inside'].pk}") == {"web_db"}
    assert found("standing=denied") == found(f"rule={ruled['no'].pk}") == {"web_pay", "scan"}
    assert found("standing=not-allowed") == {"pay_db", "in"}
    assert found("standing=breaking") == {"web_pay", "scan", "in"}
    assert found("standing=no-rule") == {"pay_secret", "web_mail"}
    assert found(f"edge={ruled['edges']['in'].pk}") == {"in"}
    text = operator.client.get("/network/edges/").content.decode()
    assert f"/network/rules/{ruled['no'].pk}/" in text
    rows = operator.api.get("/api/v1/network/edges/?standing=breaking").json()["results"]
    assert {(row["standing"], row["breaks_rules"]) for row in rows} == {("denied", True), ("not-allowed", True)}
    SegmentRule.objects.update(ends_at=timezone.now())
    assert found("standing=allowed") == set(), "a rule past its end counts for nothing, judged anew or not"


def test_a_rule_says_how_it_is_used(ruled: dict[str, Any], viewer: Any, developer: Any) -> None:
    ask = ruling.ask(rule(SHOP, SHOP, ports="tcp/9999"), actor=developer)
    used = {row.pk: row.usage_words for row in viewer.client.get("/network/rules/").context["listing"].rows}
    assert used == {ruled["inside"].pk: "used 7 times", ruled["no"].pk: "used 14 times", ask.pk: "never used"}
    Edge.objects.update(last_at=timezone.now() - timezone.timedelta(days=40))
    again = viewer.api.get(f"{RULES}{ruled['inside'].pk}/").json()
    assert (again["usage"], again["flows"]) == ("not used in 30 days", 7)


def test_asking_and_deciding_on_pages(shop: dict[str, Any], developer: Any, make_person: Any, other_team: Any) -> None:
    theirs = make_person("theo", "security-reviewer", team=other_team)
    edge = shop["edges"]["web_pay"].pk
    page = developer.client.get(f"/network/rules/new/?edge={edge}").content.decode()
    assert "another team&#x27;s workload" in page
    assert "Warehouse" not in page
    entered = {"effect": "allow", "source": SHOP, "destination": f"edge:{edge}", "ports": "tcp/443", "reason": "Pay."}
    wrong = developer.client.post(f"/network/rules/new/?edge={edge}", entered | {"ports": "443"})
    assert (wrong.status_code, "no port" in wrong.content.decode()) == (422, True)
    made = developer.client.post(f"/network/rules/new/?edge={edge}", entered)
    assert made.status_code == 302, made.content.decode()
    asked = developer.client.get(made.url).content.decode()
    assert "Shop may speak to another team&#x27;s application" in asked
    assert "Withdraw" in asked
    assert "Approve" not in asked
    seen = theirs.client.get(made.url).content.decode()
    assert "Shop may speak to Warehouse" in seen
    assert theirs.client.post(f"{made.url}decide/", {"act": "reject"}).status_code == 422
    assert theirs.client.post(f"{made.url}decide/", {"act": "approve"}).status_code == 302
    assert theirs.client.post(f"{made.url}decide/", {"act": "end", "comment": "Enough."}).status_code == 302
    assert "Enough." in developer.client.get(made.url).content.decode()


def test_a_segment_on_pages(shop: dict[str, Any], operator: Any, viewer: Any) -> None:
    new = {"name": "Shops", "members": "application=shop production=yes\nnamespace=pay-*", "stance": "observe"}
    for wrong in ("shop", "color=red", "production=maybe", "outside=yes", ""):
        answer = operator.client.post("/network/segments/new/", new | {"members": wrong})
        assert answer.status_code == 422, wrong
    made = operator.client.post("/network/segments/new/", new)
    assert made.status_code == 302
    segment = Segment.objects.get()
    assert segment.members == [{"application": "shop", "production": True}, {"namespace": "pay-*"}]
    judging.judge_all(timezone.now())
    page = viewer.client.get(made.url)
    assert {str(end) for end in page.context["ends"]} == {"shop/web", "shop/db"}
    assert viewer.client.post(made.url, new).status_code == 403
    again = operator.client.post(made.url, new | {"stance": "closed"})
    assert again.status_code == 302
    segment.refresh_from_db()
    assert (segment.stance, segment.closed_at is not None) == ("closed", True)
    assert "application=shop production=yes\nnamespace=pay-*" in operator.client.get(made.url).content.decode()
    assert operator.client.post(f"{made.url}end/").status_code == 302
    assert viewer.client.get(made.url).status_code == 404


def test_over_rest(shop: dict[str, Any], operator: Any, reviewer: Any, developer: Any) -> None:
    new = {"name": "Shops", "members": [{"namespace": "shop"}]}
    made = operator.api.post(SEGMENTS, new, format="json")
    assert made.status_code == 201, made.content
    pk = made.json()["id"]
    assert operator.api.post(SEGMENTS, new, format="json").status_code == 409
    assert operator.api.post(SEGMENTS, new | {"members": [{}]}, format="json").status_code == 422
    assert operator.api.post(SEGMENTS, new | {"team": "no-such"}, format="json").status_code == 404
    assert developer.api.put(f"{SEGMENTS}{pk}/", new, format="json").status_code == 403
    closed = operator.api.put(f"{SEGMENTS}{pk}/", new | {"stance": "closed"}, format="json")
    assert (closed.status_code, closed.json()["stance"]) == (200, "closed")
    asked = developer.api.post(
        RULES, {"source": SHOP, "destination": SHOP, "ports": "tcp/1-2", "reason": "x"}, format="json"
    )
    assert (asked.status_code, asked.json()["state"], asked.json()["ports"]) == (201, "waiting", "tcp/1-2")
    path = f"{RULES}{asked.json()['id']}/"
    assert developer.api.post(f"{path}approve/", {}, format="json").status_code == 403
    done = reviewer.api.post(f"{path}approve/", {"comment": "Fine."}, format="json").json()
    assert (done["state"], done["votes"][0]["voter"], done["votes"][0]["comment"]) == ("in force", "reviewer", "Fine.")
    assert reviewer.api.get(f"{RULES}?state=in+force").json()["count"] == 1
    assert reviewer.api.post(f"{path}end/", {"reason": "Done."}, format="json").json()["state"] == "ended"
    assert operator.api.get("/api/v1/network/matrix/?by=application").json()["cells"]
    assert operator.api.get("/api/v1/network/matrix/?by=colour").status_code == 400
    assert operator.api.delete(f"{SEGMENTS}{pk}/").status_code == 204


# --- policies made of rules ---


@pytest.mark.parametrize("form", ["kubernetes", "cilium"])
def test_policies_let_through_what_the_rules_allow(ruled: dict[str, Any], operator: Any, form: str) -> None:
    path = f"/api/v1/applications/shop/network-policies/?form={form}"
    (found,) = operator.api.get(path).json()["clusters"]
    assert {d["metadata"]["name"] for d in found["documents"]} == {"web-allowed", "db-allowed"}
    assert list(yaml.safe_load_all(found["yaml"])) == found["documents"]
    cut = set(found["simulated"]["edges"])
    edges = {name: edge.pk for name, edge in ruled["edges"].items()}
    assert edges["web_db"] not in cut
    assert {edges[name] for name in ("web_pay", "web_mail", "in")} <= cut
    page = operator.client.get(f"/network/rules/policies/?application=shop&form={form}")
    assert "web-allowed" in page.content.decode()
    text = operator.client.get(f"/network/rules/policies/?application=shop&form={form}&format=yaml").content
    assert list(yaml.safe_load_all(text)) == found["documents"]


def test_outside_is_everywhere_and_ranges_stay_ranges(
    ruled: dict[str, Any], operator: Any, reviewer: Any, developer: Any
) -> None:
    outside = f"segment:{ruled['outside'].pk}"
    approved(rule(outside, SHOP, ports="tcp/8000-8100"), operator, reviewer)
    approved(rule(SHOP, outside, ports="tcp/443"), operator, reviewer)
    (found,) = operator.api.get("/api/v1/applications/shop/network-policies/").json()["clusters"]
    web = next(d for d in found["documents"] if d["metadata"]["name"] == "web-allowed")
    world = [{"ipBlock": {"cidr": cidr}} for cidr in ("0.0.0.0/0", "::/0")]
    ports = [{"protocol": "TCP", "port": 8000, "endPort": 8100}]
    assert {"from": world, "ports": ports} in web["spec"]["ingress"]
    assert {"to": world, "ports": [{"protocol": "TCP", "port": 443}]} in web["spec"]["egress"]
    assert ruled["edges"]["web_mail"].pk not in found["simulated"]["edges"]


def test_what_a_policy_has_no_words_for_is_said(ruled: dict[str, Any], operator: Any, reviewer: Any) -> None:
    approved(rule(SHOP, SHOP), operator, reviewer)
    approved(rule(SHOP, SHOP, Effect.DENY, "tcp/22"), operator, reviewer)
    (found,) = operator.api.get("/api/v1/applications/shop/network-policies/").json()["clusters"]
    assert any("a policy has no words for the rest" in out["why"] for out in found["left_out"])


def test_who_may_not_know_the_others_cannot_make_them(
    ruled: dict[str, Any], viewer: Any, stranger: Any, operator: Any, reviewer: Any
) -> None:
    path = "/api/v1/applications/shop/network-policies/"
    assert viewer.api.get(path).status_code == 200
    assert stranger.api.get(path).status_code == 404
    ruling.end(ruled["no"].pk, "x", actor=reviewer)
    approved(rule(WAREHOUSE, SHOP), operator, reviewer)
    assert viewer.api.get(path).status_code == 403
    assert operator.api.get(path).status_code == 200


def test_a_file_is_tried(ruled: dict[str, Any], operator: Any, viewer: Any, make_person: Any, make_team: Any) -> None:
    nobody_in = {
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "x", "namespace": "shop"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }  # fmt: skip
    path = "/api/v1/network/simulate/?cluster=prod"
    told = operator.api.post(path, {"items": [nobody_in, {"kind": "Pod"}]}, format="json").json()
    assert (told["policies"], len(told["refused"])) == (1, 1)
    assert set(told["simulated"]["edges"]) == {ruled["edges"][name].pk for name in ("web_db", "in")}
    mine = viewer.api.post(path, nobody_in, format="json").json()
    assert mine["simulated"]["asked"] == 3, "edges of which one end is another team's are left out"
    far = make_person("fara", "developer", team=make_team("Far"))
    assert far.api.post(path, nobody_in, format="json").status_code == 404
    assert operator.api.post(path, {"kind": "Pod"}, format="json").status_code == 422
