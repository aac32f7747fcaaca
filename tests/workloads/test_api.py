"""What runs, over REST: noted, brought up to date, forgotten; another team's is not there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fixtures_people import MakePerson, Person
from tests.fixtures_reports import digest, flaw, report

PATH = "/api/v1/workloads/"


@pytest.fixture
def seen(post: Any, developer: Person, application: Any) -> dict[str, Any]:
    """What a cluster reports of an image that was scanned."""
    post(report(flaw("CVE-2026-1")), developer, application=application.slug)
    return {
        "cluster": "here",
        "namespace": "shop",
        "name": "web",
        "application": application.slug,
        "images": ["reg.example/shop/web:1"],
    }


@pytest.mark.django_db
def test_noting_it_twice_keeps_one_that_is_up_to_date(seen: dict[str, Any], operator: Person) -> None:
    first = operator.api.post(PATH, seen)
    assert (first.status_code, first.json()["images"]) == (201, [digest(1)])
    again = operator.api.post(PATH, {**seen, "images": []})
    assert again.json()["id"] == first.json()["id"]
    (row,) = operator.api.get(PATH).json()["results"]
    assert row["images"] == []


@pytest.mark.django_db
def test_a_forgotten_one_is_gone_and_may_come_back(seen: dict[str, Any], operator: Person) -> None:
    first = operator.api.post(PATH, seen).json()["id"]
    assert operator.api.delete(f"{PATH}{first}/").status_code == 204
    assert operator.api.get(PATH).json()["results"] == []
    assert operator.api.delete(f"{PATH}{first}/").status_code == 404
    assert operator.api.post(PATH, seen).json()["id"] != first


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "rows"),
    [
        (f"image={digest(1)}", 1),
        ("image=reg.example/shop/web:1", 1),
        ("application=shop", 1),
        ("cluster=there", 0),
        ("namespace=shop&cluster=here", 1),
    ],
)
def test_narrowed(seen: dict[str, Any], operator: Person, developer: Person, query: str, rows: int) -> None:
    operator.api.post(PATH, seen)
    assert len(developer.api.get(f"{PATH}?{query}").json()["results"]) == rows


@pytest.mark.django_db
def test_a_stranger_neither_sees_nor_notes_it(seen: dict[str, Any], operator: Person, stranger: Person) -> None:
    known = operator.api.post(PATH, seen).json()["id"]
    assert stranger.api.get(PATH).json()["results"] == []
    assert stranger.api.get(f"{PATH}{known}/").status_code == 404
    assert stranger.api.get(f"{PATH}?image={digest(1)}").status_code == 404
    assert stranger.api.post(PATH, seen).status_code == 404


@pytest.mark.django_db
def test_an_image_that_nobody_knows_is_named(seen: dict[str, Any], operator: Person) -> None:
    from secguard.workloads.models import Workload

    answer = operator.api.post(PATH, {**seen, "images": [digest(9)]})
    assert answer.status_code == 404
    assert digest(9) in answer.json()["detail"]
    assert not Workload.objects.exists()


@pytest.mark.django_db
def test_nobody_takes_another_teams_workload_over_by_its_name(
    seen: dict[str, Any], operator: Person, make_person: MakePerson, other_application: Any
) -> None:
    first = operator.api.post(PATH, seen).json()["id"]
    thief = make_person("thief", "operator", team=other_application.team)
    stolen = {**seen, "application": other_application.slug, "images": []}
    assert thief.api.post(PATH, stolen).status_code == 403
    assert thief.api.get(PATH).json()["results"] == []
    row = operator.api.get(f"{PATH}{first}/").json()
    assert (row["application"], row["images"]) == (seen["application"], [digest(1)])
    # Whoever operates both may hand it over.
    assert operator.api.post(PATH, stolen).json()["application"] == other_application.slug
