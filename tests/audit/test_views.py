"""The log as pages."""

from __future__ import annotations

import pytest
from django.db import transaction

from secguard.accounts.models import Team
from secguard.audit import services
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db


def write(subject: str, team: Team | None = None, **details: str) -> None:
    with transaction.atomic():
        services.record(
            "team:create",
            actor=None,
            subject_type="team",
            subject_id=1,
            subject=subject,
            team_id=team.pk if team else None,
            details=details,
        )


def test_the_list_shows_entries_and_the_head(reviewer: Person) -> None:
    write("Payments")
    page = reviewer.client.get("/audit/").content.decode()
    assert "Payments" in page
    assert str(services.head()) in page


def test_a_fragment_is_the_list_alone(reviewer: Person) -> None:
    write("Payments")
    fragment = reviewer.client.get("/audit/", headers={"HX-Request": "true"}).content.decode()
    assert "Payments" in fragment
    assert "<html" not in fragment


def test_filters_and_search_narrow_it(reviewer: Person) -> None:
    write("Payments")
    write("Logistics")
    assert "Payments" not in reviewer.client.get("/audit/?q=logis").content.decode()
    assert "Payments" in reviewer.client.get("/audit/?action=team:create&from=2020-01-01").content.decode()
    assert "Payments" not in reviewer.client.get("/audit/?to=2020-01-01").content.decode()


def test_the_csv_holds_what_the_list_finds(reviewer: Person) -> None:
    write("=cmd()", note="x")
    rows = b"".join(reviewer.client.get("/audit/?format=csv").streaming_content).decode()  # type: ignore[attr-defined]
    assert "'=cmd()" in rows
    assert "team:create" in rows


def test_markup_in_an_entry_stays_text(reviewer: Person) -> None:
    write("<script>alert(1)</script>", note="<img src=x>")
    for path in ("/audit/", "/audit/1/"):
        page = reviewer.client.get(path).content.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;" in page


def test_an_entry_shows_its_details_and_chain(reviewer: Person) -> None:
    write("Payments", comment="behind a wall")
    page = reviewer.client.get("/audit/1/").content.decode()
    assert "behind a wall" in page
    assert services.head().digest in page


def test_a_team_s_reader_sees_no_other_team_s(make_person: MakePerson, team: Team, other_team: Team) -> None:
    reader = make_person("reader", "operator", team=team)
    write("secret of others", other_team)
    write("our own", team)
    page = reader.client.get("/audit/").content.decode()
    assert "our own" in page
    assert "secret of others" not in page
    assert reader.client.get("/audit/1/").status_code == 404
    assert reader.client.get("/audit/2/").status_code == 200


def test_who_may_not_read_it_gets_403(developer: Person) -> None:
    write("Payments")
    for path in ("/audit/", "/audit/1/", "/audit/?format=csv"):
        response = developer.client.get(path)
        assert response.status_code == 403
        assert b"Payments" not in response.content
