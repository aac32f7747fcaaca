"""The bearer of a token over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from secguard.accounts import authentication, credentials, services
from secguard.accounts.models import ApiToken, Team, User
from tests.fixtures_people import MakePerson, Person, api_client

pytestmark = pytest.mark.django_db

ME = "/api/v1/me/"


def ask(value: str) -> Any:
    return Client().get(ME, headers={"Authorization": value})


def test_a_token_is_its_owner(developer: Person) -> None:
    document = developer.api.get(ME).json()
    assert document["username"] == "developer"
    assert document["roles"] == [{"role": "developer", "team": "payments"}]
    assert "report:post" in document["permissions"]
    assert "user:manage" not in document["permissions"]
    assert document["token"]["prefix"] == developer.tokens.get().prefix


def test_a_token_narrows_its_owner_to_its_role(make_person: MakePerson, team: Team, other_team: Team) -> None:
    both = make_person("both", "viewer", "administrator")
    document = both.api.get(ME).json()
    assert document["roles"] == [{"role": "viewer", "team": None}]
    assert both.api.post("/api/v1/teams/", {"name": "New team"}).status_code == 403
    within = api_client(both, "administrator", team)
    assert within.get("/api/v1/teams/").json()["count"] == 1
    assert within.patch(f"/api/v1/teams/{other_team.slug}/", {"name": "Mine"}).status_code == 404


def test_the_scheme_is_read_in_whatever_case(developer: Person) -> None:
    _, raw = services.create_token(developer.pk, "developer", actor=developer, name="x")
    assert ask(f"bearer {raw}").status_code == 200


def revoked(token: ApiToken) -> None:
    token.revoked_at = timezone.now()


def ended(token: ApiToken) -> None:
    token.expires_at = timezone.now()


def orphaned(token: ApiToken) -> None:
    User.objects.filter(pk=token.user_id).update(is_active=False)


@pytest.mark.parametrize("spoil", [revoked, ended, orphaned])
def test_a_token_that_is_over_is_refused_like_one_that_never_was(
    developer: Person, spoil: Callable[[ApiToken], None]
) -> None:
    token, raw = services.create_token(developer.pk, "developer", actor=developer, name="x")
    unknown = ask(f"Bearer {credentials.new_token()}")
    spoil(token)
    token.save()
    over = ask(f"Bearer {raw}")
    assert over.status_code == unknown.status_code == 401
    assert over.json()["detail"] == unknown.json()["detail"]
    assert over["WWW-Authenticate"] == 'Bearer realm="SecGuard"'
    assert over["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize(
    "value", ["Bearer", "Bearer ", "Bearer a b", "Bearer sgt_x", "Bearer \xff", "Bearer " + "x" * 9000]
)
def test_what_is_no_token_is_401(db: None, value: str) -> None:
    assert ask(value).status_code == 401


@pytest.mark.parametrize("value", ["", "Basic YWxpY2U6eA==", "Token sgt_x"])
def test_another_scheme_is_nobody(db: None, value: str) -> None:
    response = ask(value)
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_browser_s_session_reads_but_writes_with_a_csrf_token_alone(administrator: Person) -> None:
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(administrator)
    assert browser.get(ME).status_code == 200
    response = browser.post("/api/v1/teams/", {"name": "x"}, content_type="application/json")
    assert response.status_code == 403
    assert not Team.objects.exists()


def test_use_is_noted_at_most_once_a_minute(developer: Person, django_assert_num_queries: Any) -> None:
    token, raw = services.create_token(developer.pk, "developer", actor=developer, name="x")
    authentication.bearer(raw)
    token.refresh_from_db()
    noted = token.last_used_at
    assert noted is not None
    with django_assert_num_queries(1):
        authentication.bearer(raw)
    ApiToken.objects.filter(pk=token.pk).update(last_used_at=noted - timedelta(minutes=2))
    authentication.bearer(raw)
    token.refresh_from_db()
    assert token.last_used_at >= noted


def test_a_database_that_takes_no_writes_does_not_stop_a_read(
    developer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, raw = services.create_token(developer.pk, "developer", actor=developer, name="x")

    def locked(*args: object, **kwargs: object) -> int:
        raise OperationalError("database is locked")

    monkeypatch.setattr("django.db.models.query.QuerySet.update", locked)
    assert authentication.bearer(raw) is not None


def test_the_schema_says_how(client: Client, db: None) -> None:
    text = client.get("/api/schema/").content.decode()
    assert "bearerFormat" in text
