"""Checklists over REST: what is told of them, to whom, and what limited tokens reach."""

from __future__ import annotations

from typing import Any

import pytest
from rest_framework.test import APIClient

from secguard.accounts.services import create_token
from secguard.planning import services
from tests.dashboards.test_queries import assert_constant_queries

pytestmark = pytest.mark.django_db
HERE = "/api/v1/applications/shop/checklist/"
OWN = """name: short
title: Short
requirements:
  - {id: threats, stage: plan, title: Model threats, about: Write them down., answer_days: 30}
  - {id: contacts, stage: log, title: Name contacts, about: Who is called.}
"""
SAID = {"requirement": "threats", "is_kept": True, "text": "Done.", "evidence": "https://wiki.example/threats"}


@pytest.fixture
def short(application: Any, reviewer: Any, developer: Any) -> None:
    made = reviewer.api.post("/api/v1/planning/templates/", {"source": OWN})
    assert (made.status_code, made.json()["version"], made.json()["created_by"]) == (201, 1, "reviewer")
    assert developer.api.get(HERE).json()["code"] == "no-checklist"
    assert developer.api.post(HERE, {"template": "short"}).status_code == 200


def items(person: Any) -> dict[str, Any]:
    return {item["id"]: item for item in person.api.get(HERE).json()["items"]}


def test_an_answer_is_told_with_its_evidence_and_who_gave_it(short: None, developer: Any, viewer: Any) -> None:
    assert items(viewer)["threats"]["state"] == "open"
    made = developer.api.post(f"{HERE}answers/", SAID)
    assert (made.status_code, made.json()["answered_by"]) == (201, "developer")
    item = items(viewer)["threats"]
    assert (item["state"], item["by"], item["answer"]["evidence"]) == ("kept", "answered", SAID["evidence"])
    whole = viewer.api.get(HERE).json()
    assert (whole["kept"], whole["open"], whole["unkept"], whole["may"]) == (1, 1, ["contacts"], [])
    assert developer.api.get(HERE).json()["may"] == ["answer"]
    listed = viewer.api.get(f"{HERE}answers/?requirement=threats").json()
    assert [row["id"] for row in listed["results"]] == [made.json()["id"]]
    assert viewer.api.get(f"{HERE}answers/?requirement=contacts").json()["count"] == 0


def test_what_does_not_apply_is_offered_to_whoever_may_say_so(
    short: None, developer: Any, reviewer: Any, viewer: Any
) -> None:
    asked = developer.api.post(f"{HERE}not-applicable/", {"requirement": "contacts", "reason": "Nobody is called."})
    assert (asked.status_code, asked.json()["status"], asked.json()["may"]) == (201, "waiting", ["end"])
    path = f"/api/v1/planning/not-applicable/{asked.json()['id']}/"
    assert reviewer.api.get(path).json()["may"] == ["approve", "reject", "end"]
    assert viewer.api.get(path).json()["may"] == []
    assert developer.api.post(f"{path}approve/").json()["code"] == "own-request"
    approved = reviewer.api.post(f"{path}approve/", {"comment": "Right."}).json()
    assert (approved["status"], approved["votes"][0]["voter"]) == ("approved", "reviewer")
    assert items(viewer)["contacts"]["state"] == "not-applicable"
    assert reviewer.api.get("/api/v1/planning/not-applicable/?waiting=true").json()["count"] == 0
    assert developer.api.post(f"{path}end/").json()["status"] == "ended"
    assert items(viewer)["contacts"]["state"] == "open"
    assert developer.api.post(f"{path}end/").status_code == 409


def test_another_team_sees_none_of_it(short: None, developer: Any, stranger: Any, other_application: Any) -> None:
    asked = developer.api.post(f"{HERE}not-applicable/", {"requirement": "contacts", "reason": "Nobody."}).json()["id"]
    for path in ("checklists", "not-applicable"):
        assert stranger.api.get(f"/api/v1/planning/{path}/").json()["count"] == 0
        assert developer.api.get(f"/api/v1/planning/{path}/").json()["count"] == 1
    for path in (HERE, f"{HERE}answers/", f"/api/v1/planning/not-applicable/{asked}/"):
        assert stranger.api.get(path).status_code == 404
    for path, sent in (
        (f"{HERE}answers/", SAID),
        (f"{HERE}measure/", {}),
        (f"/api/v1/planning/not-applicable/{asked}/end/", {}),
    ):
        assert stranger.api.post(path, sent).status_code == 404


def test_a_template_s_faults_are_told_with_their_lines_and_its_text_comes_back(
    short: None, reviewer: Any, viewer: Any
) -> None:
    refused = reviewer.api.post("/api/v1/planning/templates/", {"source": OWN.replace("stage: log", "stage: lag")})
    assert (refused.status_code, refused.json()["errors"][0]["line"]) == (422, 5)
    rows = viewer.api.get("/api/v1/planning/templates/?name=short").json()["results"]
    assert viewer.api.get(f"/api/v1/planning/templates/{rows[0]['id']}/export/").content.decode() == OWN
    whole = viewer.api.get(f"/api/v1/planning/templates/{rows[0]['id']}/").json()
    assert [r["id"] for r in whole["requirements"]] == ["threats", "contacts"]
    names = [c["name"] for c in viewer.api.get("/api/v1/planning/templates/checks/").json()]
    assert "images-rebuilt" in names
    checked = viewer.api.post("/api/v1/planning/templates/check/", {"source": OWN}).json()
    assert checked == {"name": "short", "requirements": ["threats", "contacts"]}


def test_a_limited_token_is_kept_out(short: None, application: Any, developer: Any) -> None:
    _, raw = create_token(developer.pk, "developer", actor=None, name="x", applications=[application])
    api = APIClient(HTTP_AUTHORIZATION=f"Bearer {raw}")
    for path in (HERE, f"{HERE}answers/", "/api/v1/planning/checklists/", "/api/v1/planning/not-applicable/"):
        assert (api.get(path).status_code, api.get(path).json()["code"]) == (403, "token-limited")
    assert api.post(f"{HERE}answers/", SAID).status_code == 403


def test_the_same_number_of_queries_at_any_size(
    short: None, application: Any, developer: Any, reviewer: Any, make_team: Any, make_application: Any
) -> None:
    """More applications with checklists, more answers, more requests."""
    made = iter(range(100))

    def grow() -> None:
        for number in [next(made) for _ in range(3)]:
            services.answer(application.pk, "threats", services.Said(is_kept=True, text="Done."), actor=developer)
            waiver = services.ask_for_waiver(application.pk, "contacts", "Nobody.", None, actor=developer)
            services.end_waiver(waiver.pk, actor=developer)
            other = make_application(f"App {number}", make_team(f"Team {number}"))
            services.choose_template(other.pk, "short", actor=reviewer)
            services.make_template(OWN.replace("short", f"own-{number}"), actor=reviewer)

    grow()
    paths = ["planning/templates/", "planning/checklists/", "planning/not-applicable/"]
    found = [*(f"/api/v1/{path}" for path in paths), HERE, f"{HERE}answers/"]
    assert_constant_queries(grow, found, reviewer.api.get)
