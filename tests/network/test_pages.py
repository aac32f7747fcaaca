"""The map, its table and the list of edges: what a person may see, and nothing of another team's names."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from django.utils import timezone

from secguard.network import queries
from secguard.network.models import Edge

pytestmark = pytest.mark.django_db


def overview(user: Any) -> queries.Map:
    return queries.overview(queries.edges(user), timezone.now(), {})


def pairs(found: queries.Map) -> dict[tuple[str, str], str]:
    return {(found.label_of(one.source), found.label_of(one.destination)): one.state for one in found.links}


def test_the_map_adds_up_by_namespace(shop: dict[str, Any], operator: Any) -> None:
    found = overview(operator)
    assert pairs(found) == {
        ("shop", "shop"): "allowed", ("shop", "pay"): "new", ("pay", "shop"): "denied", ("pay", "vault"): "allowed",
        ("shop", "Outside"): "allowed", ("Outside", "shop"): "allowed", ("shop", "vault"): "anomalous",
    }  # fmt: skip
    assert sum(link.flows for link in found.links) == 7 * Edge.objects.count()
    assert len({(node.x, node.y) for node in found.nodes}) == len(found.nodes)


def test_a_namespace_opens_to_its_workloads(shop: dict[str, Any], operator: Any) -> None:
    found = queries.opened(queries.edges(operator), "prod", "shop", timezone.now(), {})
    assert pairs(found) == {
        ("web", "db"): "allowed", ("web", "pay"): "new", ("pay", "db"): "denied", ("web", "vault"): "anomalous",
        ("web", "mail.example.org"): "allowed", ("203.0.113.0/24", "web"): "allowed",
    }  # fmt: skip
    assert len({(node.x, node.y) for node in found.nodes}) == len(found.nodes)


def test_another_teams_workloads_are_not_named(shop: dict[str, Any], viewer: Any, stranger: Any) -> None:
    found = overview(viewer)
    assert pairs(found) == {
        ("shop", "shop"): "allowed", ("shop", "Other teams' workloads"): "anomalous",
        ("Other teams' workloads", "shop"): "denied", ("shop", "Outside"): "allowed", ("Outside", "shop"): "allowed",
    }  # fmt: skip
    for path in ("/network/", "/network/?namespace=shop", "/network/edges/", "/network/edges/?format=csv"):
        answer = viewer.client.get(path)
        text = (b"".join(answer.streaming_content) if answer.streaming else answer.content).decode()
        assert answer.status_code == 200
        main = text.partition("<main")[2] or text
        assert not [name for name in ("pay/", "vault", "jewels") if name in main], path
    assert "another team&#x27;s workload" in viewer.client.get("/network/edges/").content.decode()
    theirs = queries.edges(stranger)
    assert set(theirs.values_list("pk", flat=True)) == {
        shop["edges"][name].pk for name in ("web_pay", "pay_db", "pay_secret", "scan")
    }


@pytest.mark.parametrize("query", ["namespace=pay", "namespace=vault", "q=jewels", "source=prod/vault", "cluster=x"])
def test_no_filter_tells_what_is_not_named(shop: dict[str, Any], viewer: Any, query: str) -> None:
    answer = viewer.client.get(f"/network/edges/?{query}")
    assert answer.context["listing"].count == 0
    end = viewer.client.get(f"/network/edges/?end={shop['secret'].pk}")
    assert end.context["listing"].count == 0


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("state=denied", {"pay_db"}), ("state=new", {"web_pay"}), ("state=anomalous", {"scan"}),
        ("outside=true", {"web_mail", "in"}), ("source=outside", {"in"}),
        ("destination=prod/shop", {"web_db", "pay_db", "in"}),
        ("source=outside&destination=prod/shop", {"in"}), ("q=mail", {"web_mail"}),
    ],
)  # fmt: skip
def test_filters(shop: dict[str, Any], operator: Any, query: str, found: set[str]) -> None:
    listing = operator.client.get(f"/network/edges/?{query}").context["listing"]
    assert {row.pk for row in listing.rows} == {shop["edges"][name].pk for name in found}


def test_every_number_leads_to_its_rows(shop: dict[str, Any], operator: Any) -> None:
    found = overview(operator)
    for link in found.links:
        listing = operator.client.get(link.url).context["listing"]
        assert listing.count == link.allowed + link.denied + link.unknown, link.url
    opened = queries.opened(queries.edges(operator), "prod", "shop", timezone.now(), {"cluster": "prod"})
    for link in opened.links:
        listing = operator.client.get(link.url).context["listing"]
        assert listing.count == link.allowed + link.denied + link.unknown, link.url


def test_the_page_without_scripts_says_the_same(shop: dict[str, Any], operator: Any) -> None:
    text = operator.client.get("/network/").content.decode()
    for words in ("shop", "pay", "vault", "Outside", "network-map-data"):
        assert words in text
    assert "<style" not in text
    assert "style=" not in text


def test_the_map_is_narrowed(shop: dict[str, Any], operator: Any) -> None:
    answer = operator.client.get("/network/?state=denied&cluster=prod")
    assert pairs(answer.context["map"]) == {("pay", "shop"): "denied"}
    nothing = operator.client.get("/network/?state=unknown").content.decode()
    assert "Nothing matches" in nothing


def test_empty_pages_say_what_to_do(operator: Any, viewer: Any) -> None:
    assert "/hooks/flows/" in operator.client.get("/network/").content.decode()
    assert "/hooks/flows/" in viewer.client.get("/network/edges/").content.decode()


def test_a_very_large_namespace_is_cut_and_says_so(estate: Any, operator: Any, monkeypatch: Any) -> None:
    from secguard.network.queries import mapping

    monkeypatch.setattr(mapping, "MAX_WORKLOADS", 3)
    ends = [estate.workload(f"big/w-{n}") for n in range(8)]
    for one, other in pairwise(ends):
        estate.edge(one, other)
    found = queries.opened(queries.edges(operator), "prod", "big", timezone.now(), {})
    assert len(found.nodes) == 4
    assert sum(one.allowed for one in found.links) == 7
    assert "More workloads" in {n.label for n in found.nodes}


def test_what_was_lost_is_said_to_who_sees_everything(shop: dict[str, Any], operator: Any, viewer: Any) -> None:
    from secguard.network.models import Loss

    now = timezone.now()
    Loss.objects.create(cluster="prod", count=17, began_at=now, ended_at=now, fingerprint="1")
    assert "lost 17 flows" in operator.client.get("/network/").content.decode()
    assert "lost 17 flows" not in viewer.client.get("/network/").content.decode()


def test_reach(shop: dict[str, Any], operator: Any, viewer: Any, stranger: Any) -> None:
    path = f"/network/reach/{shop['web'].pk}/"
    text = operator.client.get(path).content.decode()
    assert "shop/db" in text
    assert "vault/jewels" in text
    assert "spoken to from outside" in text
    mine = viewer.client.get(path).content.decode()
    assert "vault" not in mine.partition("<main")[2]
    assert "another team&#x27;s workload" in mine
    assert stranger.client.get(path).status_code == 404
    assert viewer.client.get(f"/network/reach/{shop['mail'].pk}/").status_code == 404
    by = viewer.client.get(f"{path}?by=observed").context["rows"]
    assert {row.name for row in by} == {"shop/db", "mail.example.org", queries.HIDDEN}


def test_a_workloads_page_has_a_block(shop: dict[str, Any], viewer: Any, estate: Any, application: Any) -> None:
    text = viewer.client.get(f"/workloads/{shop['web'].workload_id}/").content.decode()
    assert f"/network/reach/{shop['web'].pk}/" in text
    assert "Spoken to from outside" in text
    from secguard.workloads.models import Workload

    quiet = Workload.objects.create(cluster=estate.cluster, namespace="shop", name="quiet", application=application)
    assert "/network/reach/" not in viewer.client.get(f"/workloads/{quiet.pk}/").content.decode()
