"""Policies, drafts and evaluations over REST."""

from __future__ import annotations

import zlib
from typing import Any

import pytest

from tests.fixtures_people import Person
from tests.fixtures_reports import digest, flaw, report
from tests.policies.test_services import BLOCK_ALL


@pytest.fixture
def image(post: Any, developer: Person, application: Any) -> str:
    post(report(flaw("CVE-2026-1", severity="negligible")), developer, application=application.slug)
    return digest(1)


@pytest.mark.django_db
def test_a_draft_is_told_line_and_column_of_each_fault(developer: Person) -> None:
    broken = BLOCK_ALL.replace("effect: block", "effect: explode")
    answer = developer.api.post("/api/v1/policies/check/", {"source": broken})
    problem = answer.json()
    assert answer.status_code == 422
    assert any(fault.get("line") == 6 and fault.get("column") for fault in problem["errors"]), problem


@pytest.mark.django_db
def test_a_sound_draft_names_its_rules(developer: Person) -> None:
    answer = developer.api.post("/api/v1/policies/check/", {"source": BLOCK_ALL})
    assert answer.json() == {"name": "strict", "rules": ["nothing-at-all"]}


@pytest.mark.django_db
def test_a_simulation_says_now_and_then_and_keeps_nothing(image: str, developer: Person) -> None:
    from secguard.policies.models import PolicyVersion

    developer.api.get(f"/api/v1/images/{image}/verdict/")
    versions = PolicyVersion.objects.count()
    (row,) = developer.api.post("/api/v1/policies/simulate/", {"source": BLOCK_ALL}).json()
    assert (row["image"], row["then"]) == (image, "block")
    assert row["now"] != "block"
    assert row["document"]["reasons"][0]["rule"] == "nothing-at-all"
    assert PolicyVersion.objects.count() == versions
    assert developer.api.get(f"/api/v1/images/{image}/verdict/").json()["verdict"] != "block"


@pytest.mark.django_db
def test_a_simulation_reaches_no_image_of_another_team(image: str, stranger: Person) -> None:
    assert stranger.api.post("/api/v1/policies/simulate/", {"source": BLOCK_ALL}).json() == []
    named = stranger.api.post("/api/v1/policies/simulate/", {"source": BLOCK_ALL, "images": [image]})
    assert named.status_code == 404


@pytest.mark.django_db
def test_saving_and_activating(image: str, reviewer: Person, developer: Person) -> None:
    saved = reviewer.api.post("/api/v1/policies/", {"name": "strict", "source": BLOCK_ALL})
    assert (saved.status_code, saved.json()["gates"]) == (201, False)
    path = f"/api/v1/policy-versions/{saved.json()['id']}/activate/"
    assert developer.api.post(path).status_code == 403
    assert reviewer.api.post(path).json()["gates"] is True
    assert developer.api.get(f"/api/v1/images/{image}/verdict/").json()["policy"] == {"name": "strict", "version": 1}


@pytest.mark.django_db
def test_evaluations_tell_what_was_answered_on_a_day(image: str, reviewer: Person, developer: Person) -> None:
    before = developer.api.get(f"/api/v1/images/{image}/verdict/").json()
    reviewer.api.post("/api/v1/policies/", {"name": "strict", "source": BLOCK_ALL, "activate": True})
    developer.api.get(f"/api/v1/images/{image}/verdict/")
    listed = developer.api.get(f"/api/v1/evaluations/?image={image}&stage=build").json()["results"]
    assert [row["policy"] for row in listed] == ["strict", "default"]
    assert developer.api.get(f"/api/v1/evaluations/{listed[1]['id']}/").json()["document"] == before
    assert len(developer.api.get("/api/v1/evaluations/?verdict=block").json()["results"]) == 1


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("asked", "is_packed"),
    [("gzip, deflate", True), ("deflate;q=0.5", True), ("gzip, deflate;q=0", False), ("identity", False), ("", False)],
)
def test_a_stored_verdict_goes_out_packed_to_who_takes_it(
    image: str, developer: Person, stranger: Person, asked: str, is_packed: bool
) -> None:
    path = f"/api/v1/images/{image}/verdict/"
    plain = developer.api.get(path).content
    answer = developer.api.get(path, HTTP_ACCEPT_ENCODING=asked)
    assert answer.headers.get("Content-Encoding") == ("deflate" if is_packed else None)
    assert "Accept-Encoding" in answer.headers["Vary"]
    assert (zlib.decompress(answer.content) if is_packed else answer.content) == plain
    assert stranger.api.get(path, HTTP_ACCEPT_ENCODING=asked).status_code == 404
