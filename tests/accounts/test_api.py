"""People, teams, applications and tokens over HTTP; a stranger stands in every test of reading."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from secguard.accounts.models import ApiToken, Application, Membership, Team, User
from secguard.accounts.roles import Role
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db


def names(response: Any, key: str) -> set[str]:
    assert response.status_code == 200, response.content
    return {row[key] for row in response.json()["results"]}


# --- users ---


def test_a_team_sees_its_people_and_their_roles_in_it(
    developer: Person, viewer: Person, stranger: Person, reviewer: Person, other_team: Team
) -> None:
    Membership.objects.create(user=viewer, role="operator", team=other_team)
    assert names(developer.api.get("/api/v1/users/"), "username") == {"developer", "viewer"}
    assert names(stranger.api.get("/api/v1/users/"), "username") == {"stranger", "viewer"}
    shown = developer.api.get(f"/api/v1/users/{viewer.pk}/").json()
    assert [(m["role"], m["team"]) for m in shown["memberships"]] == [("viewer", "payments")]
    assert developer.api.get(f"/api/v1/users/{stranger.pk}/").status_code == 404
    assert names(reviewer.api.get("/api/v1/users/"), "username") == {"developer", "viewer", "stranger", "reviewer"}


def test_addresses_are_for_oneself_and_who_manages_people(
    developer: Person, developer2: Person, administrator: Person, reviewer: Person
) -> None:
    def address(person: Person, of: Person) -> str:
        return str(person.api.get(f"/api/v1/users/{of.pk}/").json()["email"])

    assert address(developer, developer) == address(administrator, developer) == "developer@example.org"
    assert address(developer2, developer) == address(reviewer, developer) == ""


def test_a_person_is_made_invited_edited_and_deactivated(administrator: Person, team: Team) -> None:
    made = administrator.api.post("/api/v1/users/", {"username": "carol", "role": "developer", "team": team.slug})
    assert made.status_code == 201, made.content
    url = f"/api/v1/users/{made.json()['id']}/"
    assert "password" not in made.json()
    link = administrator.api.post(f"{url}sign-in-link/")
    assert link.status_code == 201
    assert link.json()["sign_in_link"].startswith("http://testserver/sign-in/link/?key=")
    assert administrator.api.patch(url, {"display_name": "Carol"}).json()["display_name"] == "Carol"
    assert administrator.api.post(f"{url}deactivate/").json()["is_active"] is False
    assert administrator.api.post(f"{url}deactivate/").status_code == 409
    assert administrator.api.post(f"{url}reactivate/").json()["is_active"] is True
    assert administrator.api.delete(url).status_code == 405


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        ({}, "username"),
        ({"username": "carol", "role": "root"}, "role"),
        ({"username": "carol", "role": "viewer", "team": "no-such-team"}, "team"),
        ({"username": "ca rol", "role": "viewer"}, "username"),
        ({"username": ["carol"], "role": "viewer"}, "username"),
        ({"username": "car\x00ol", "role": "viewer"}, "username"),
    ],
)
def test_a_person_who_cannot_be_made(administrator: Person, sent: dict[str, Any], where: str) -> None:
    response = administrator.api.post("/api/v1/users/", sent)
    assert response.status_code == 422, response.content
    problem = response.json()
    assert where in {problem.get("where"), *(error["where"] for error in problem.get("errors", []))}
    assert User.objects.count() == 1


def test_another_team_is_like_one_that_is_not(make_person: MakePerson, team: Team, other_team: Team) -> None:
    lead = make_person("lead", "administrator", team=team)

    def refusal(slug: str) -> str:
        response = lead.api.post("/api/v1/users/", {"username": "carol", "role": "viewer", "team": slug})
        assert response.status_code == 422
        return response.content.decode().replace(slug, "").replace(response["X-Request-ID"], "")

    assert refusal(other_team.slug) == refusal("no-such-team")


# --- memberships ---


def test_roles_are_given_and_taken_back(administrator: Person, developer: Person, stranger: Person) -> None:
    made = administrator.api.post("/api/v1/memberships/", {"user": "developer", "role": "operator"})
    assert made.status_code == 201
    assert made.json() == {"id": made.json()["id"], "user": "developer", "role": "operator", "team": None}
    url = f"/api/v1/memberships/{made.json()['id']}/"
    assert stranger.api.get(url).status_code == 404
    assert stranger.api.delete(url).status_code == 404
    assert administrator.api.delete(url).status_code == 204
    assert administrator.api.delete(url).status_code == 404


def test_nobody_makes_themselves_a_reviewer(administrator: Person, developer: Person) -> None:
    sent = {"user": "administrator", "role": "security-reviewer"}
    assert administrator.api.post("/api/v1/memberships/", sent).status_code == 403
    assert developer.api.post("/api/v1/memberships/", {"user": "developer", "role": "operator"}).status_code == 403


# --- teams and applications ---


def test_teams(administrator: Person, developer: Person, stranger: Person) -> None:
    made = administrator.api.post("/api/v1/teams/", {"name": "  Fraud   Detection "})
    assert (made.status_code, made.json()["name"], made.json()["slug"]) == (201, "Fraud Detection", "fraud-detection")
    assert administrator.api.post("/api/v1/teams/", {"name": "Fraud Detection"}).status_code == 409
    assert administrator.api.post("/api/v1/teams/", {"name": "Fraud detection"}).json()["slug"] == "fraud-detection-2"
    assert administrator.api.post("/api/v1/teams/", {"name": "New"}).json()["slug"] == "new-2"
    assert administrator.api.post("/api/v1/teams/", {"name": "支付"}).json()["slug"] == "team"
    renamed = administrator.api.patch("/api/v1/teams/fraud-detection/", {"name": "Fraud"}).json()
    assert (renamed["name"], renamed["slug"]) == ("Fraud", "fraud-detection")
    assert names(developer.api.get("/api/v1/teams/"), "slug") == {"payments"}
    assert names(stranger.api.get("/api/v1/teams/"), "slug") == {"logistics"}
    assert stranger.api.get("/api/v1/teams/payments/").status_code == 404
    assert developer.api.patch("/api/v1/teams/payments/", {"name": "Ours"}).status_code == 403


def test_applications(operator: Person, developer: Person, stranger: Person, team: Team) -> None:
    made = operator.api.post("/api/v1/applications/", {"name": "Shop", "team": team.slug, "is_exposed": True})
    assert made.status_code == 201, made.content
    assert (made.json()["slug"], made.json()["is_exposed"], made.json()["is_production"]) == ("shop", True, True)
    url = "/api/v1/applications/shop/"
    assert developer.api.get(url).json()["team"] == "payments"
    assert developer.api.patch(url, {"is_exposed": False}).status_code == 403
    assert stranger.api.get(url).status_code == 404
    assert stranger.api.patch(url, {"is_exposed": False}).status_code == 404
    assert names(stranger.api.get("/api/v1/applications/"), "slug") == set()
    assert operator.api.patch(url, {"is_exposed": False}).json()["is_exposed"] is False
    assert operator.api.patch(url, {"team": "no-such-team"}).status_code == 422


def test_handing_an_application_over_needs_both_teams(
    make_person: MakePerson, application: Application, other_team: Team, operator: Person
) -> None:
    lead = make_person("lead", "operator", team=application.team)
    Membership.objects.create(user=lead, role="viewer", team=other_team)
    url = f"/api/v1/applications/{application.slug}/"
    # The token carries its one role, and only where it is held: the other team is not even there.
    assert lead.api.patch(url, {"team": other_team.slug}).status_code == 422
    assert lead.client.patch(url, {"team": other_team.slug}, content_type="application/json").status_code == 403
    assert operator.api.patch(url, {"team": other_team.slug}).json()["team"] == other_team.slug


def test_who_follows_an_application_is_told_when_it_is_judged_otherwise(
    operator: Person, application: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secguard.accounts.services import teams

    told: list[Application] = []
    monkeypatch.setattr(teams, "APPLICATION_FOLLOWERS", [told.append])
    url = f"/api/v1/applications/{application.slug}/"
    operator.api.patch(url, {"description": "Sells."})
    operator.api.patch(url, {"is_exposed": application.is_exposed})
    assert told == []
    operator.api.patch(url, {"is_exposed": True})
    assert told == [application]


# --- tokens ---


def test_a_token_s_value_is_in_one_answer_alone(developer: Person) -> None:
    made = developer.api.post("/api/v1/tokens/", {"name": "CI", "role": "developer", "expires_in_days": 1})
    assert made.status_code == 201, made.content
    raw = made.json()["token"]
    url = f"/api/v1/tokens/{made.json()['id']}/"
    assert raw not in developer.api.get("/api/v1/tokens/").content.decode()
    assert "digest" not in developer.api.get(url).json()
    rotated = developer.client.post(f"{url}rotate/", content_type="application/json")
    assert rotated.status_code == 201
    assert rotated.json()["token"] != raw
    assert developer.api.get(url).json()["status"] == "revoked"


def test_one_s_own_tokens_and_all_for_who_manages_them(
    developer: Person, developer2: Person, stranger: Person, administrator: Person
) -> None:
    assert names(developer.api.get("/api/v1/tokens/"), "user") == {"developer"}
    assert administrator.api.get("/api/v1/tokens/").json()["count"] == 4
    url = f"/api/v1/tokens/{developer.tokens.get().pk}/"
    for person in (developer2, stranger):
        assert person.api.get(url).status_code == 404
        assert person.api.delete(url).status_code == 404
        assert person.api.post(f"{url}rotate/").status_code == 404
    assert administrator.api.delete(url).status_code == 204
    assert ApiToken.objects.get(pk=developer.tokens.get().pk).revoked_at is not None


@pytest.mark.parametrize(
    "sent", [{"role": "administrator"}, {"expires_in_days": 1000}, {"name": ""}, {"user": "nobody"}]
)
def test_a_token_that_cannot_be_made(developer: Person, sent: dict[str, Any]) -> None:
    asked = {"name": "CI", "role": "developer"} | sent
    assert developer.api.post("/api/v1/tokens/", asked).status_code == 422
    assert developer.tokens.count() == 1


# --- all lists ---


@pytest.mark.parametrize("name", ["users", "memberships", "teams", "applications", "tokens"])
def test_queries_do_not_grow_with_the_rows(
    administrator: Person, make_person: MakePerson, application: Application, name: str
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert administrator.api.get(f"/api/v1/{name}/").status_code == 200
        return len(captured)

    queries()
    few = queries()
    for number in range(12):
        team = Team.objects.create(name=f"Team {number}", slug=f"team-{number}")
        Application.objects.create(name=f"Application {number}", slug=f"application-{number}", team=team)
        make_person(f"person{number}", *(role.value for role in Role), team=team)
    assert queries() == few


@pytest.mark.parametrize("path", ["me", "users", "memberships", "teams", "applications", "tokens", "audit"])
def test_nobody_reads_nothing(client: Any, path: str) -> None:
    assert client.get(f"/api/v1/{path}/").status_code == 401
