"""Sessions and second factors over REST: one's own, and what a token may not do to its owner."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.accounts.models import SecondFactor, SignedIn
from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db


def session(person: Any, key: str = "x", hours: int = 1) -> SignedIn:
    ends = timezone.now() + timedelta(hours=hours)
    return SignedIn.objects.create(
        user=person, session_key=key * 32, device="Firefox", address="192.0.2.*", way="password", ends_at=ends
    )


def test_one_sees_one_s_own_and_an_administrator_everybody_s(
    developer: Person, viewer: Person, administrator: Person
) -> None:
    mine, theirs = session(developer), session(viewer, "y")
    session(developer, "z", hours=-1)  # has ended
    assert [row["id"] for row in developer.api.get("/api/v1/sessions/").json()["results"]] == [mine.pk]
    assert {row["id"] for row in administrator.api.get("/api/v1/sessions/").json()["results"]} == {mine.pk, theirs.pk}
    found = administrator.api.get("/api/v1/sessions/?user=viewer").json()["results"]
    assert [(row["id"], row["user"], row["is_this_one"]) for row in found] == [(theirs.pk, "viewer", False)]
    assert "session_key" not in found[0]
    assert viewer.api.delete(f"/api/v1/sessions/{mine.pk}/").status_code == 404
    assert SignedIn.objects.filter(pk=mine.pk).exists()


def test_the_session_that_asks_stays_and_all_others_end(developer: Person) -> None:
    own = developer.client.session.session_key
    here = SignedIn.objects.create(
        user=developer, session_key=own, device="x", address="x", way="x", ends_at=timezone.now() + timedelta(hours=1)
    )
    session(developer, "y")
    row = developer.client.get(f"/api/v1/sessions/{here.pk}/").json()
    assert row["is_this_one"] is True
    assert developer.client.post("/api/v1/sessions/end/", {}, content_type="application/json").json() == {"ended": 1}
    assert [s.pk for s in developer.sessions.all()] == [here.pk]
    assert developer.api.post("/api/v1/sessions/end/", {}).json() == {"ended": 1}  # a token's own is none
    assert developer.client.get("/account/").status_code == 302


def test_factors_are_read_without_their_secrets_and_never_removed_here(developer: Person, viewer: Person) -> None:
    factor = SecondFactor.objects.create(user=developer, kind="totp", name="App", secret="sealed")
    told = developer.api.get("/api/v1/second-factors/").json()["results"]
    assert [set(row) for row in told] == [{"id", "kind", "name", "created_at", "last_used_at"}]
    assert viewer.api.get("/api/v1/second-factors/").json()["results"] == []
    for method in ("delete", "patch", "put"):
        assert getattr(developer.api, method)(f"/api/v1/second-factors/{factor.pk}/").status_code == 405
    assert developer.api.post("/api/v1/second-factors/", {}).status_code == 405
    assert SecondFactor.objects.filter(pk=factor.pk).exists()
