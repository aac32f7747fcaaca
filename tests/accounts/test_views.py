"""The pages: signing in, one's own account, settings, applications."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from secguard.accounts import services
from secguard.accounts.models import Application, Membership, Team, User
from secguard.accounts.services import ways_in
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db

PASSWORD = "quiet harbour lantern"


@pytest.fixture
def alice(make_person: MakePerson) -> Person:
    return make_person("alice", "administrator", "security-reviewer", password=PASSWORD)


def sign_in(client: Client, **changes: str) -> Any:
    return client.post("/sign-in/", {"username": "alice", "password": PASSWORD} | changes)


# --- ways in and out ---


def test_signing_in_leads_to_the_page_that_was_asked_for(alice: Person, client: Client) -> None:
    asked = client.get("/settings/teams/")
    assert asked["Location"] == "/sign-in/?next=/settings/teams/"
    assert b"/settings/teams/" in client.get(asked["Location"]).content
    assert sign_in(client, next="/settings/teams/")["Location"] == "/settings/teams/"
    assert client.get("/settings/teams/").status_code == 200


@pytest.mark.parametrize(
    "elsewhere", ["https://example.org/", "//example.org", "javascript:alert(1)", "\\\\example.org"]
)
def test_signing_in_never_leads_elsewhere(alice: Person, client: Client, elsewhere: str) -> None:
    assert sign_in(client, next=elsewhere)["Location"] == settings.LOGIN_REDIRECT_URL


def test_a_wrong_password_says_so_and_keeps_nothing_of_it(alice: Person, client: Client) -> None:
    response = sign_in(client, password="my other secret")
    assert response.status_code == 422
    assert b"the name or the password is wrong" in response.content
    assert b"my other secret" not in response.content
    assert settings.SESSION_COOKIE_NAME not in client.cookies


def test_guessing_ends_with_429_and_when_to_come_back(
    alice: Person, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways_in, "ATTEMPTS_AT_NAME", 2)
    for _ in range(2):
        assert sign_in(client, password="x").status_code == 422
    response = sign_in(client)
    assert response.status_code == 429
    assert 0 < int(response["Retry-After"]) <= 900


def test_signing_in_needs_the_form_s_own_token(alice: Person) -> None:
    assert sign_in(Client(enforce_csrf_checks=True)).status_code == 403


def test_behind_a_proxy_the_address_is_what_the_proxy_saw(rf: Any, settings: Any) -> None:
    from secguard.accounts.views.sign_in import client_address

    request = rf.get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="1.1.1.1, 203.0.113.9")
    settings.BEHIND_PROXY = False
    assert client_address(request) == "10.0.0.1"
    settings.BEHIND_PROXY = True
    assert client_address(request) == "203.0.113.9"


def test_looking_at_a_link_does_not_use_it_up(alice: Person, developer: Person, client: Client) -> None:
    link = services.issue_sign_in_link(developer.pk, actor=alice)
    for _ in range(2):
        page = client.get(link)
        assert page.status_code == 200
        assert "no-store" in page["Cache-Control"]
        assert b"developer" not in page.content
    secret = re.search(rb'name="key" value="([^"]+)"', client.get(link).content)
    assert secret is not None
    used = client.post("/sign-in/link/", {"key": secret[1].decode()})
    assert used["Location"] == "/account/password/"
    again = Client().post("/sign-in/link/", {"key": secret[1].decode()})
    assert again.status_code == 404


def test_after_a_link_comes_a_password_and_other_sessions_end(alice: Person, developer: Person, client: Client) -> None:
    link = services.issue_sign_in_link(developer.pk, actor=alice)
    client.post("/sign-in/link/", {"key": link.rpartition("=")[2]})
    assert b"Current password" not in client.get("/account/password/").content
    differing = client.post("/account/password/", {"password": PASSWORD, "again": "x"})
    assert differing.status_code == 422
    done = client.post("/account/password/", {"password": PASSWORD, "again": PASSWORD})
    assert done.status_code == 302
    assert client.get("/account/").status_code == 200
    assert developer.client.get("/account/").status_code == 302
    # Once it is set, changing it needs it.
    assert client.post("/account/password/", {"password": PASSWORD, "again": PASSWORD}).status_code == 422
    assert sign_in(Client(), username="developer").status_code == 302


@pytest.mark.parametrize("key", ["", "x", "é" * 43, "x" * 44])
def test_a_link_that_is_incomplete(client: Client, key: str) -> None:
    assert client.get("/sign-in/link/", {"key": key}).status_code == 404
    assert client.post("/sign-in/link/", {"key": key}).status_code == 404


def test_signing_out_ends_the_session(developer: Person) -> None:
    assert developer.client.get("/sign-out/").status_code == 405
    developer.client.post("/sign-out/")
    assert developer.client.get("/account/").status_code == 302


# --- one's own ---


def test_one_s_account_shows_roles_and_tokens_and_no_secret(developer: Person) -> None:
    page = developer.client.get("/account/").content.decode()
    token = developer.tokens.get()
    assert "Payments" in page
    assert token.prefix in page
    assert token.digest not in page
    saved = developer.client.post("/account/", {"display_name": "<b>Dev</b>", "email": ""})
    assert saved.status_code == 302
    assert "<b>Dev</b>" not in developer.client.get("/account/").content.decode()


def test_a_token_is_made_shown_once_rotated_and_revoked(developer: Person) -> None:
    made = developer.client.post("/account/tokens/new/", {"name": "CI", "role": "developer", "days": "90"})
    assert made.status_code == 201
    assert "no-store" in made["Cache-Control"]
    raw = re.search(r"sgt_[\w-]{43}", made.content.decode())
    assert raw is not None
    assert raw[0] not in developer.client.get("/account/").content.decode()
    pk = developer.tokens.get(name="CI").pk
    assert "Rotate it" in developer.client.get(f"/account/tokens/{pk}/rotate/").content.decode()
    rotated = developer.client.post(f"/account/tokens/{pk}/rotate/")
    assert rotated.status_code == 201
    new = developer.tokens.get(name="CI", revoked_at=None)
    assert developer.client.get(f"/account/tokens/{new.pk}/revoke/").status_code == 200
    assert developer.tokens.filter(name="CI", revoked_at=None).exists()
    assert developer.client.post(f"/account/tokens/{new.pk}/revoke/").status_code == 302
    assert developer.client.post(f"/account/tokens/{new.pk}/revoke/").status_code == 409


def test_a_token_offers_held_roles_alone(developer: Person) -> None:
    page = developer.client.get("/account/tokens/new/").content.decode()
    assert 'value="developer"' in page
    assert 'value="administrator"' not in page
    refused = developer.client.post("/account/tokens/new/", {"name": "x", "role": "administrator", "days": "90"})
    assert refused.status_code == 422


# --- settings ---


def test_people_are_added_invited_and_given_roles(alice: Person, team: Team) -> None:
    form = {"username": "carol", "role": "developer", "team": team.pk}
    added = alice.client.post("/settings/people/new/", form)
    carol = User.objects.get(username="carol")
    assert added["Location"] == f"/settings/people/{carol.pk}/"
    again = alice.client.post("/settings/people/new/", form)
    assert again.status_code == 422
    assert b"already" in again.content
    link = alice.client.post(f"/settings/people/{carol.pk}/sign-in-link/")
    assert b"/sign-in/link/?key=" in link.content
    alice.client.post(f"/settings/people/{carol.pk}/", {"role": "viewer", "team": ""})
    assert carol.memberships.filter(role="viewer", team=None).exists()
    membership = carol.memberships.get(role="viewer")
    assert b"Take it back" in alice.client.get(f"/settings/roles/{membership.pk}/revoke/").content
    alice.client.post(f"/settings/roles/{membership.pk}/revoke/")
    assert not Membership.objects.filter(pk=membership.pk).exists()
    alice.client.post(f"/settings/people/{carol.pk}/deactivate/")
    alice.client.post(f"/settings/people/{carol.pk}/reactivate/")
    carol.refresh_from_db()
    assert carol.is_active


def test_the_last_administrator_is_told_why_they_stay(alice: Person) -> None:
    response = alice.client.post(f"/settings/people/{alice.pk}/deactivate/")
    assert response.status_code == 409
    assert b"last administrator" in response.content


def test_pages_of_people_and_teams_show_one_s_own_alone(
    developer: Person, viewer: Person, stranger: Person, application: Application, other_application: Application
) -> None:
    other = other_application.team
    Membership.objects.create(user=viewer, role="operator", team=other)
    paths = (
        "/settings/",
        "/settings/?q=stranger",
        "/settings/?role=operator",
        "/settings/?format=csv",
        f"/settings/people/{viewer.pk}/",
        "/settings/teams/",
        "/settings/tokens/",
        "/applications/",
        "/applications/?team=logistics",
        "/account/",
        "/account/tokens/new/",
    )
    for path in paths:
        response = developer.client.get(path)
        assert response.status_code == 200, path
        body = b"".join(response) if response.streaming else response.content
        for hidden in (b">stranger", b"Logistics", b"Warehouse", b"\nstranger"):
            assert hidden not in body, (path, hidden)
    for path in (
        f"/settings/people/{stranger.pk}/",
        "/settings/teams/logistics/",
        "/applications/warehouse/",
        "/applications/warehouse/edit/",
        f"/account/tokens/{stranger.tokens.get().pk}/revoke/",
    ):
        assert developer.client.get(path).status_code == 404, path


def test_teams_and_applications_are_made_and_changed(alice: Person, developer: Person) -> None:
    assert alice.client.post("/settings/teams/new/", {"name": "Fraud"})["Location"] == "/settings/teams/fraud/"
    assert alice.client.post("/settings/teams/fraud/", {"name": "Fraud Detection"}).status_code == 302
    team = Team.objects.get(slug="fraud")
    form = {"name": "Scorer", "team": team.pk, "description": "<i>scores</i>", "is_exposed": "on"}
    assert alice.client.post("/applications/new/", form)["Location"] == "/applications/scorer/"
    page = alice.client.get("/applications/scorer/").content.decode()
    assert "&lt;i&gt;scores" in page
    edited = alice.client.post("/applications/scorer/edit/", form | {"name": "Scorer 2"})
    assert edited.status_code == 302
    application = Application.objects.get(slug="scorer")
    assert (application.name, application.is_exposed, application.is_production) == ("Scorer 2", True, False)
    assert alice.client.post("/applications/new/", form | {"name": "Scorer 2"}).status_code == 422
    assert developer.client.post("/settings/teams/new/", {"name": "x"}).status_code == 403


def test_a_list_alone_is_the_fragment(alice: Person) -> None:
    for path in ("/settings/", "/settings/teams/", "/settings/tokens/", "/applications/"):
        fragment = alice.client.get(path, headers={"HX-Request": "true"}).content
        assert b"<html" not in fragment, path


@pytest.mark.parametrize("path", ["/settings/", "/settings/teams/", "/settings/tokens/", "/applications/", "/account/"])
def test_queries_do_not_grow_with_the_rows(
    alice: Person, make_person: MakePerson, application: Application, path: str
) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert alice.client.get(path).status_code == 200
        return len(captured)

    queries()
    few = queries()
    for number in range(8):
        team = Team.objects.create(name=f"Team {number}", slug=f"team-{number}")
        Application.objects.create(name=f"Application {number}", slug=f"application-{number}", team=team)
        make_person(f"person{number}", "developer", "operator", team=team)
    # The bounded count is its own query once there is more than one page, and no other ever.
    assert queries() <= few + 1
