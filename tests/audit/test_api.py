"""The log over HTTP: who reads what of it, filters, and the export."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from secguard.accounts.models import Membership, Team
from secguard.audit import services
from secguard.audit.chain import Head
from secguard.audit.models import AuditEntry, AuditHead
from secguard.audit_commands import verify_export
from tests.fixtures_people import MakePerson, Person, without_triggers

pytestmark = pytest.mark.django_db

URL = "/api/v1/audit/"


def write(action: str = "team:create", count: int = 1, **changes: Any) -> AuditEntry:
    line = {"actor": None, "subject_type": "team", "subject_id": 1, "subject": "Payments"} | changes
    with transaction.atomic():
        return [services.record(action, **line) for _ in range(count)][-1]


def sequences(response: Any) -> list[int]:
    assert response.status_code == 200, response.content
    return [row["sequence"] for row in response.json()["results"]]


def test_an_organisation_wide_reader_sees_all_newest_first(reviewer: Person, team: Team) -> None:
    write()
    write(team_id=team.pk)
    page = reviewer.api.get(URL).json()
    assert [row["sequence"] for row in page["results"]] == [2, 1]
    assert (page["count"], page["count_is_exact"]) == (2, True)
    assert set(page["results"][0]) == {field.name for field in AuditEntry._meta.fields}


def test_a_team_s_reader_sees_the_team_s_entries_alone(make_person: MakePerson, team: Team, other_team: Team) -> None:
    reader = make_person("reader", "operator", team=team)
    write()
    write(team_id=other_team.pk)
    own = write(team_id=team.pk)
    assert sequences(reader.api.get(URL)) == [own.sequence]
    assert reader.api.get(f"{URL}2/").status_code == 404
    assert reader.api.get(f"{URL}3/").json()["digest"] == own.digest
    exported = b"".join(reader.api.get(URL, {"format": "ndjson"}).streaming_content)
    assert exported.count(b"\n") == 1
    # A role that does not read the log, in a team, opens nothing of that team's.
    Membership.objects.create(user=reader, team=other_team, role="developer")
    assert sequences(reader.api.get(URL)) == [own.sequence]


@pytest.mark.parametrize("path", ["", "1/", "head/", "?format=ndjson"])
def test_who_may_not_read_it_is_told_so(developer: Person, stranger: Person, path: str) -> None:
    write()
    for person in (developer, stranger):
        response = person.api.get(URL + path)
        assert response.status_code == 403
        assert "audit:read" in response.json()["detail"]


def test_filters(reviewer: Person, developer: Person) -> None:
    write(actor=developer)
    write("decision:approve", actor=reviewer, subject_type="decision", subject_id=8, subject="accept CVE-2026-1")
    assert sequences(reviewer.api.get(URL, {"action": "decision:approve"})) == [2]
    assert sequences(reviewer.api.get(URL, {"actor": "developer"})) == [1]
    assert sequences(reviewer.api.get(URL, {"subject": "cve-2026"})) == [2]
    assert sequences(reviewer.api.get(URL, {"subject_type": "decision", "subject_id": "8"})) == [2]
    assert sequences(reviewer.api.get(URL, {"subject_type": "decision", "subject_id": "9"})) == []
    assert reviewer.api.get(URL, {"action": "decision:forget"}).status_code in (400, 422)


def test_a_span_of_time(reviewer: Person) -> None:
    first = write()
    for day in range(1, 4):
        AuditHead.objects.update(at=first.at + timedelta(days=day))
        write()
    second, third = (first.at + timedelta(days=day) for day in (1, 2))
    span = {"from": second.isoformat(), "to": (third + timedelta(seconds=1)).isoformat()}
    assert sequences(reviewer.api.get(URL, span)) == [3, 2]
    assert sequences(reviewer.api.get(URL, {"from": (first.at + timedelta(days=9)).isoformat()})) == []
    assert sequences(reviewer.api.get(URL, {"to": first.at.isoformat()})) == []
    assert reviewer.api.get(URL, {"from": "yesterday"}).status_code in (400, 422)


def test_pages_meet_exactly(reviewer: Person) -> None:
    write(count=5)
    page = reviewer.api.get(URL, {"limit": 2}).json()
    found = [row["sequence"] for row in page["results"]]
    while page["next"]:
        page = reviewer.api.get(page["next"]).json()
        found += [row["sequence"] for row in page["results"]]
    assert found == [5, 4, 3, 2, 1]


def test_queries_do_not_grow_with_the_log(reviewer: Person) -> None:
    write(count=3)
    reviewer.api.get(URL)
    with CaptureQueriesContext(connection) as few:
        reviewer.api.get(URL)
    write(count=30)
    with CaptureQueriesContext(connection) as many:
        reviewer.api.get(URL)
    assert len(few) == len(many)


def test_the_export_verifies_and_shows_tampering(administrator: Person, tmp_path: Path) -> None:
    write(count=3)
    head = administrator.api.get(f"{URL}head/").json()
    file = tmp_path / "audit.ndjson"
    response = administrator.api.get(URL, {"format": "ndjson"})
    assert response["Content-Type"] == "application/x-ndjson"
    file.write_bytes(b"".join(response.streaming_content))
    known = Head.parse(head["head"])
    assert verify_export(file, [known]).intact
    with without_triggers():
        AuditEntry.objects.filter(sequence=2).update(actor="mallory")
    file.write_bytes(b"".join(administrator.api.get(URL, {"format": "ndjson"}).streaming_content))
    fault = verify_export(file, [known]).fault
    assert fault is not None
    assert fault.sequence == 2


def test_nothing_is_written_over_http(administrator: Person) -> None:
    write()
    for method in ("post", "put", "patch", "delete"):
        assert getattr(administrator.api, method)(f"{URL}1/", {}).status_code == 405
