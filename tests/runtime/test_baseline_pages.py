"""Baselines on pages and in the API: looked at, asked for, decided, exported; and not there for other teams."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from secguard.images.models import Image
from secguard.runtime.baseline_items import Item, ItemKind
from secguard.runtime.models import Baseline, BaselineChange, BaselineDeviation, BaselineItem
from secguard.runtime.services import baselines
from tests.dashboards.test_queries import assert_constant_queries
from tests.runtime.test_baseline import egress, event, file, process
from tests.runtime.test_baselines import MakeImage, image, learned, locked, make_image, observe, repository

__all__ = ["image", "make_image", "repository"]
pytestmark = pytest.mark.django_db


def page_of(image: Image) -> str:
    return f"/images/{image.digest}/baseline/"


def test_the_list_and_the_page_show_where_it_stands(image: Image, developer: Any) -> None:
    learned(image, process("/app"), file("/var/log/a.log"))
    observe(image, process("/bin/sh"))
    found = developer.client.get("/baselines/").content.decode()
    assert "registry.example/shop/web" in found
    assert "Proposed" in found
    shown = developer.client.get(page_of(image)).content.decode()
    for words in ("/app", "writing /var/log/a.log", "started /bin/sh, never seen in 20 days", "Ask that it is locked"):
        assert words in shown
    assert "Baseline</a>" in developer.client.get(f"/images/{image.digest}/").content.decode()


def test_an_image_of_which_nothing_was_told_says_what_to_do(image: Image, developer: Any, stranger: Any) -> None:
    answer = developer.client.get(page_of(image))
    assert (answer.status_code, "Nothing was told of this image yet" in answer.content.decode()) == (200, True)
    assert stranger.client.get(page_of(image)).status_code == 404
    api = developer.api.get(f"/api/v1/baselines/{image.digest}/")
    assert (api.status_code, api.json()["code"]) == (404, "no-baseline")


def test_what_containers_call_themselves_is_only_text(image: Image, developer: Any) -> None:
    learned(image, process("/<script>alert(1)</script>"))
    observe(image, process("/<img src=x>"))
    shown = developer.client.get(page_of(image)).content.decode()
    assert "<script>alert" not in shown
    assert "<img src=x>" not in shown
    assert "&lt;img src=x&gt;" in shown


def test_it_is_asked_for_and_locked_on_pages(image: Image, developer: Any, reviewer: Any, stranger: Any) -> None:
    learned(image, process("/app"))
    assert developer.client.post(f"{page_of(image)}ask/", {"reason": ""}).status_code == 422
    assert stranger.client.post(f"{page_of(image)}ask/", {"reason": "x"}).status_code == 404
    assert developer.client.post(f"{page_of(image)}ask/", {"reason": "It is ours."}).status_code == 303
    change = BaselineChange.objects.get()
    assert "1 waits for you" in reviewer.client.get("/baselines/").content.decode()
    assert "waits for you" not in developer.client.get("/baselines/").content.decode()
    vote = f"/baselines/changes/{change.pk}/vote/"
    assert stranger.client.post(vote, {"choice": "approve"}).status_code == 404
    assert developer.client.post(vote, {"choice": "approve"}).status_code == 403
    assert reviewer.client.post(vote, {"choice": "reject"}).status_code == 422
    assert reviewer.client.post(vote, {"choice": "approve"}).status_code == 303
    assert Baseline.objects.get().status == "locked"
    assert "Locked" in developer.client.get(page_of(image)).content.decode()


def test_what_is_outside_may_be_expected_on_the_page(image: Image, developer: Any, stranger: Any) -> None:
    learned(image, process("/app"))
    observe(image, process("/bin/sh"))
    path = f"/baselines/outside/{BaselineDeviation.objects.get().pk}/expect/"
    assert stranger.client.post(path, {"reason": "x"}).status_code == 404
    assert developer.client.post(path, {"reason": ""}).status_code == 422
    assert developer.client.post(path, {"reason": "Our probe."}).status_code == 303
    assert BaselineItem.objects.filter(name="/bin/sh", origin="expected").exists()


def test_the_difference_to_the_version_before_comes_first(
    make_image: MakeImage, image: Image, developer: Any, reviewer: Any
) -> None:
    locked(image, developer, reviewer, process("/app"))
    newer = make_image(90, days_ago=1)
    observe(newer, process("/app"), process("/bin/sh"), egress(443))
    shown = developer.client.get(page_of(newer)).content.decode()
    assert "adds /bin/sh and egress to port 443 (tcp) of public addresses" in shown
    found = developer.api.get(f"/api/v1/baselines/{newer.digest}/difference/").json()
    assert (found["before"], [i["name"] for i in found["added"]], found["gone"]) == (
        image.digest, ["/bin/sh", "public addresses"], [],
    )  # fmt: skip


def test_everything_goes_by_the_api(image: Image, developer: Any, reviewer: Any, stranger: Any) -> None:
    learned(image, process("/app"))
    observe(image, process("/bin/sh"))
    one = f"/api/v1/baselines/{image.digest}/"
    assert [b["status"] for b in developer.api.get("/api/v1/baselines/").json()["results"]] == ["proposed"]
    assert stranger.api.get("/api/v1/baselines/").json()["results"] == []
    assert developer.api.get(f"{one}items/").json()["results"][0]["words"] == "/app"
    assert developer.api.get(f"{one}outside/").json()["results"][0]["deviation"] == "name"
    made = developer.api.post(f"{one}ask/", {"reason": "Ours."}, format="json")
    assert (made.status_code, made.json()["status"]) == (201, "waiting")
    change = f"/api/v1/baseline-changes/{made.json()['id']}/"
    assert developer.api.post(f"{change}approve/", {}, format="json").status_code == 403
    assert stranger.api.get(change).status_code == 404
    assert reviewer.api.post(f"{change}approve/", {}, format="json").json()["status"] == "approved"
    more = {"reason": "Ours.", "items": [{"kind": "process", "name": "/bin/sh"}]}
    join = developer.api.post(f"{one}expect/", more, format="json")
    assert (join.status_code, join.json()["items"][0]["name"]) == (201, "/bin/sh")
    assert developer.api.get("/api/v1/baseline-changes/?waiting=true").json()["results"][0]["what"] == "join"
    gone = developer.api.post(f"/api/v1/baseline-changes/{join.json()['id']}/withdraw/")
    assert gone.json()["status"] == "withdrawn"
    assert developer.api.post(f"{one}reopen/", {"reason": "x"}, format="json").status_code == 403
    assert reviewer.api.post(f"{one}reopen/", {"reason": "x"}, format="json").json()["status"] == "learning"


@pytest.mark.parametrize(
    "body",
    [{}, {"reason": "x", "items": []}, {"reason": "x", "items": [{"kind": "pod", "name": "x"}]},
     {"reason": "x", "items": [{"kind": "process", "name": "x" * 301}]}, {"reason": "x", "items": [7]},
     {"reason": "x", "items": [{"kind": "process", "name": "x"}] * 201},
     {"reason": "x", "items": [{"kind": "file", "name": "/x"}]},
     {"reason": "x", "items": [{"kind": "file", "name": "/x", "how": "write", "port": 7}]},
     {"reason": "x", "items": [{"kind": "connection", "name": "x", "how": "sideways tcp"}]},
     {"reason": "x", "items": [{"kind": "syscall", "name": "rm -rf"}]}],
)  # fmt: skip
def test_what_may_join_is_read_strictly(image: Image, developer: Any, body: dict[str, Any]) -> None:
    learned(image, process("/app"))
    answer = developer.api.post(f"/api/v1/baselines/{image.digest}/expect/", body, format="json")
    assert answer.status_code == 422, answer.content


def test_it_is_exported(image: Image, developer: Any, stranger: Any) -> None:
    learned(image, process("/app"), event(event_kind(), fields={"syscalls": "read write"}))
    one = f"/api/v1/baselines/{image.digest}/"
    falco = developer.api.get(f"{one}falco/")
    assert falco["Content-Disposition"].endswith('.falco.yaml"')
    assert any("rule" in rule for rule in yaml.safe_load(falco.content))
    assert b"Nobody has locked it" in falco.content
    assert b'"/app" ix,' in developer.api.get(f"{one}apparmor/").content
    profile = json.loads(developer.api.get(f"{one}seccomp/?otherwise=log").content)
    assert (profile["defaultAction"], profile["syscalls"][0]["names"]) == ("SCMP_ACT_LOG", ["read", "write"])
    assert developer.api.get(f"{one}seccomp/?otherwise=kill").status_code == 400
    for kind in ("falco", "apparmor", "seccomp"):
        assert stranger.api.get(f"{one}{kind}/").status_code == 404


def event_kind() -> Any:
    from secguard.runtime.event import Kind

    return Kind.OTHER


def test_without_system_calls_the_api_says_how_to_tell_them(image: Image, developer: Any) -> None:
    learned(image, process("/app"))
    answer = developer.api.get(f"/api/v1/baselines/{image.digest}/seccomp/")
    assert (answer.status_code, answer.json()["code"]) == (409, "no-syscalls")


def test_pages_ask_the_same_number_of_queries_at_any_size(
    make_image: MakeImage, image: Image, developer: Any, reviewer: Any
) -> None:
    row = locked(image, developer, reviewer, process("/app"))
    numbers = iter(range(300, 400))

    def grow() -> None:
        for _ in range(3):
            n = next(numbers)
            learned(make_image(n), process("/app"), file("/a"))
            observe(image, process(f"/bin/{n:x}z"), process(f"/opt/{n:x}z"))
            joining = [Item(ItemKind.PROCESS, f"/j/{n:x}z")]
            baselines.expected(row.pk, joining, "Ours.", actor=developer)

    paths = ["/baselines/", page_of(image), "/api/v1/baselines/", "/api/v1/baseline-changes/"]
    assert_constant_queries(grow, paths, reviewer.client.get)
