"""Absences over REST: one's own by oneself, never with a token; a vote undone over REST, and by no narrow token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.approvals.models import Absence
from secguard.decisions import services
from tests.decisions.conftest import ask, estate, image, repository, risk  # noqa: F401 - fixtures
from tests.fixtures_people import Person, api_client

pytestmark = pytest.mark.django_db


@pytest.fixture
def second(make_person: Any) -> Person:
    made: Person = make_person("second", "security-reviewer")
    return made


def days(first: int, last: int) -> dict[str, str]:
    now = timezone.now()
    return {
        "starts_at": (now + timedelta(days=first)).isoformat(),
        "ends_at": (now + timedelta(days=last)).isoformat(),
    }


def asked(ask: Any, actor: Person) -> Any:  # noqa: F811
    now = timezone.now()
    return ask(actor, now=now, expires_at=now + timedelta(days=9))


def post(person: Any, path: str, body: dict[str, Any] | None = None) -> Any:
    """As the browser in which ``person`` is signed in sends it."""
    return person.client.post(f"/api/v1/{path}", body or {}, content_type="application/json")


def test_a_deputy_is_named_listed_and_ended(reviewer: Person, second: Person, developer: Person) -> None:
    made = post(reviewer, "absences/", {"deputy": "second", **days(0, 3)})
    assert made.status_code == 201, made.content
    assert made["Location"].endswith(f"/api/v1/absences/{made.json()['id']}/")
    assert (made.json()["person"], made.json()["deputy"], made.json()["state"]) == ("reviewer", "second", "away")
    for person, found in ((reviewer, 1), (second, 1), (developer, 0)):
        assert len(person.api.get("/api/v1/absences/").json()["results"]) == found
    ended = post(reviewer, f"absences/{made.json()['id']}/end/")
    assert (ended.status_code, ended.json()["state"]) == (200, "over")
    assert ended.json()["until"] == ended.json()["ended_at"]
    again = post(reviewer, f"absences/{made.json()['id']}/end/")
    assert (again.status_code, again.json()["code"]) == (409, "absence-ended")


def test_an_administrator_ends_anybodys(administrator: Person, reviewer: Person, second: Person) -> None:
    made = post(reviewer, "absences/", {"deputy": "second", **days(1, 3)}).json()
    assert made["state"] == "coming"
    assert post(second, f"absences/{made['id']}/end/").status_code == 403
    assert administrator.api.post(f"/api/v1/absences/{made['id']}/end/").status_code == 200
    assert not Absence.objects.at(timezone.now() + timedelta(days=2)).exists()


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"deputy": "nobody-here"}, 404, "nobody-here"),
        ({"deputy": "stranger"}, 422, "does not see everything"),
        ({"deputy": "reviewer"}, 422, "own deputy"),
        ({"deputy": "second", **days(3, 1)}, 422, "after the beginning"),
        ({"deputy": "second", **days(0, 400)}, 422, "at most 90 days"),
        ({"deputy": "second", "ends_at": "tomorrow"}, 422, "ends_at"),
    ],
)
def test_refusals_say_what_is_expected(
    reviewer: Person, second: Person, stranger: Person, body: dict[str, Any], status: int, word: str
) -> None:
    answer = post(reviewer, "absences/", {**days(0, 3), **body})
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    assert word in answer.content.decode()
    assert not Absence.objects.exists()


def test_no_token_hands_on_a_vote_or_takes_it_back(reviewer: Person, second: Person) -> None:
    refused = reviewer.api.post("/api/v1/absences/", {"deputy": "second", **days(0, 3)})
    assert (refused.status_code, refused.json()["code"]) == (403, "by-token")
    made = post(reviewer, "absences/", {"deputy": "second", **days(0, 3)}).json()
    assert reviewer.api.post(f"/api/v1/absences/{made['id']}/end/").status_code == 403


def test_a_vote_is_undone_over_rest(ask: Any, developer: Person, reviewer: Person, second: Person) -> None:  # noqa: F811
    first = services.approve(asked(ask, developer).pk, actor=reviewer)
    path = f"/api/v1/decisions/{first.pk}/undo/"
    assert second.api.post(path).json()["code"] == "undo"
    again = reviewer.api.post(path)
    assert again.status_code == 200, again.content
    assert (again.json()["status"], again.json()["requested_by"]) == ("requested", "developer")
    assert again.json()["id"] != first.pk
    first.refresh_from_db()
    assert first.status == "revoked"
    assert reviewer.api.post(path).status_code == 409


def test_a_token_that_casts_no_vote_takes_none_back(ask: Any, developer: Person, reviewer: Person) -> None:  # noqa: F811
    first = services.approve(asked(ask, developer).pk, actor=reviewer)
    refused = api_client(reviewer, "viewer").post(f"/api/v1/decisions/{first.pk}/undo/")
    assert refused.status_code == 403
    assert "casts no votes" in refused.json()["detail"]
    first.refresh_from_db()
    assert first.status == "approved"
