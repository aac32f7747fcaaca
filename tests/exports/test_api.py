"""Targets in the API; events pulled with a cursor."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from secguard.events.record import Kind
from secguard.exports.models import ExportTarget
from tests.exports.test_cef import parse as parse_cef
from tests.exports.test_ocsf import check as check_ocsf

pytestmark = pytest.mark.django_db(transaction=True)
PULL = "/api/v1/events/export/"


def pull(api: Any, **query: Any) -> tuple[list[dict[str, Any]], str, bool]:
    answer = api.get(PULL, query)
    assert answer.status_code == 200, answer.content
    rows = [json.loads(line) for line in answer.content.decode().splitlines()]
    return rows, answer["Next-Cursor"], answer["More-Events"] == "true"


def test_a_target_is_made_shown_and_changed(operator, application) -> None:
    body = {"name": "SOC", "address": "8.8.8.8:6514", "teams": [application.team.slug], "least_severity": "high"}
    made = operator.api.post("/api/v1/export-targets/", body)
    assert made.status_code == 201, made.content
    told = made.json()
    assert (told["sink"], told["format"], told["state"], told["secret"]) == ("syslog-tls", "ocsf", "running", "")
    assert (told["teams"], told["is_wide"], told["least_severity"]) == ([application.team.slug], False, "high")
    assert (told["waiting"], told["lag_seconds"], told["is_protected"]) == (0, 0, True)
    place = f"/api/v1/export-targets/{told['id']}/"
    changed = operator.api.patch(place, {"is_wide": True, "kinds": ["audit", "malware"]}).json()
    assert (changed["is_wide"], changed["teams"], changed["kinds"]) == (True, [], ["audit", "malware"])
    assert operator.api.post(f"{place}pause/").json()["state"] == "paused"
    assert operator.api.post(f"{place}pause/").status_code == 409
    assert operator.api.post(f"{place}resume/").json()["state"] == "running"
    assert operator.api.post(f"{place}move/", {"start": "oldest"}).json()["position"].startswith("0-0-")
    assert operator.api.get("/api/v1/export-targets/").json()["results"][0]["name"] == "SOC"
    assert operator.api.delete(place).status_code == 204


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"teams": ["no-such"]}, "teams"),
        ({"applications": ["no-such"]}, "applications"),
        ({"least_severity": "worst"}, "least_severity"),
        ({"format": "leef"}, "format"),
    ],
)
def test_what_is_not_known_is_refused(operator, body: dict[str, Any], where: str) -> None:
    answer = operator.api.post("/api/v1/export-targets/", {"name": "SOC", "address": "8.8.8.8:6514"} | body)
    assert answer.status_code == 422
    assert where in answer.content.decode()


def test_no_answer_tells_a_secret(operator, client_certificate) -> None:
    body = {"name": "hook", "sink": "webhook", "address": "https://8.8.8.8/TOKEN", "format": "json"}
    made = operator.api.post("/api/v1/export-targets/", body)
    secret = made.json()["secret"]
    pair = {"client_certificate": client_certificate.pem, "client_key": client_certificate.key_pem}
    operator.api.post("/api/v1/export-targets/", {"name": "tls", "address": "8.8.8.8:6514", **pair})
    told = operator.api.get("/api/v1/export-targets/").content.decode()
    assert '"shows_certificate":true' in told
    for hidden in ("TOKEN", secret, "PRIVATE KEY", "sealed"):
        assert hidden not in told
    assert operator.api.post(f"/api/v1/export-targets/{made.json()['id']}/secret/").json()["secret"] != secret


# --- pulling ---


def test_pulling_goes_on_where_it_ended(tell, operator) -> None:
    told = tell(25)
    found, after = [], {}
    while True:
        rows, cursor, more = pull(operator.api, limit=10, **after)
        found += [row["id"] for row in rows]
        after = {"after": cursor}
        if not more:
            break
    assert found == told
    later = tell(2, kind=Kind.MALWARE, severity=5)
    rows, cursor, _ = pull(operator.api, **after)
    assert [row["id"] for row in rows] == later
    assert (rows[0]["kind"], rows[0]["severity"], rows[0]["source"]) == ("malware", "critical", "falco")
    assert pull(operator.api, after=cursor)[0] == []


def test_pulling_may_begin_now(tell, operator) -> None:
    tell(3)
    rows, cursor, _ = pull(operator.api, after="now")
    assert rows == []
    told = tell(1)
    assert [row["id"] for row in pull(operator.api, after=cursor)[0]] == told


def test_each_sees_what_they_may(tell, operator, developer, stranger, reviewer, application, other_team) -> None:
    mine = tell(1, team_id=application.team_id, application_id=application.pk)
    theirs = tell(1, team_id=other_team.pk)
    nobodys = tell(1)
    log = tell(1, kind=Kind.AUDIT, team_id=application.team_id)

    def seen(person: Any) -> list[int]:
        return [row["id"] for row in pull(person.api)[0]]

    assert seen(operator) == mine + theirs + nobodys + log
    assert seen(reviewer) == mine + theirs + nobodys + log
    assert seen(developer) == mine
    assert seen(stranger) == theirs
    assert developer.api.get(PULL, {"team": other_team.slug}).status_code == 422


def test_pulling_what_is_wanted(tell, operator, application, other_team) -> None:
    tell(1, team_id=other_team.pk, severity=5)
    tell(1, team_id=application.team_id, severity=1)
    wanted = tell(1, team_id=application.team_id, application_id=application.pk, severity=4)
    query = {"team": application.team.slug, "least_severity": "high", "kind": "process"}
    assert [row["id"] for row in pull(operator.api, **query)[0]] == wanted
    assert pull(operator.api, application=application.slug)[0][0]["application"] == application.slug
    assert pull(operator.api, kind=["file", "malware"])[0] == []


def test_pulling_other_forms(tell, operator) -> None:
    told = tell(2, title="a|b=c")
    rows, _, _ = pull(operator.api, form="ocsf")
    for row in rows:
        check_ocsf(row)
    answer = operator.api.get(PULL, {"form": "cef"})
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert [int(parse_cef(line)[1]["externalId"]) for line in answer.content.decode().splitlines()] == told


@pytest.mark.parametrize(
    "query",
    [{"after": "x"}, {"limit": 0}, {"limit": 2_001}, {"form": "text"}, {"kind": "nonsense"}, {"least_severity": "x"}],
)
def test_a_pull_that_makes_no_sense_is_refused(operator, query: dict[str, Any]) -> None:
    assert operator.api.get(PULL, query).status_code == 422


def test_a_pull_costs_the_same_whatever_there_is(tell, operator, application) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            pull(operator.api, limit=2_000)
        return len(queries)

    tell(1, team_id=application.team_id, application_id=application.pk)
    cost()  # the token's first use is written down
    few = cost()
    tell(500, team_id=application.team_id, application_id=application.pk)
    assert cost() == few


# --- pages ---


def test_the_pages(operator, make_target, now) -> None:
    target = make_target("https://8.8.8.8/TOKEN", name="Splunk <b>")
    ExportTarget.objects.filter(pk=target.pk).update(
        state="stalled",
        reason="8.8.8.8 did not take it: it answered 500.",
        waiting=10_000,
        waiting_since=now,
        failures=3,
    )
    listed = operator.client.get("/exports/").content.decode()
    assert "Splunk &lt;b&gt;" in listed
    assert "at least" in listed
    assert "it answered 500" in listed
    page = operator.client.get(f"/exports/{target.pk}/").content.decode()
    assert "after 3 attempts" in page
    assert "TOKEN" not in page
    fields = {"name": "Splunk", "format": "ocsf", "least_severity": "3", "is_wide": "on", "kinds": ["audit"]}
    assert operator.client.post(f"/exports/{target.pk}/", fields).status_code == 302
    target.refresh_from_db()
    assert (target.name, target.format, target.kinds, target.least_severity) == ("Splunk", "ocsf", ["audit"], 3)


def test_a_stored_certificate_stays_when_nothing_else_was_entered(operator, make_target, client_certificate) -> None:
    pair = {"client_certificate": client_certificate.pem, "client_key": client_certificate.key_pem}
    target = make_target("8.8.8.8:6514", sink="syslog-tls", **pair)
    sealed = target.sealed_client_key
    fields = {"name": "New", "format": "ocsf", "least_severity": "0", "is_wide": "on", "address": "8.8.8.8:6514"}
    shown = fields | {"client_certificate": client_certificate.pem.replace("\n", "\r\n")}
    assert operator.client.post(f"/exports/{target.pk}/", shown).status_code == 302
    target.refresh_from_db()
    assert (target.name, target.sealed_client_key) == ("New", sealed)
    assert operator.client.post(f"/exports/{target.pk}/", fields).status_code == 302
    target.refresh_from_db()
    assert (target.client_certificate, target.sealed_client_key) == ("", "")


def test_a_new_webhook_s_secret_is_shown_once(operator) -> None:
    fields = {"name": "hook", "sink": "webhook", "address": "https://8.8.8.8/x", "format": "json", "start": "now"}
    made = operator.client.post("/exports/new/", fields | {"least_severity": "0", "is_wide": "on"})
    assert made.status_code == 201
    assert "whsec_" in made.content.decode()
    assert "no-store" in made["Cache-Control"]
    again = operator.client.get(f"/exports/{ExportTarget.objects.get().pk}/").content.decode()
    assert "whsec_" not in again


def test_the_form_says_what_is_wrong_beside_the_field(operator) -> None:
    fields = {"name": "x", "sink": "syslog-tls", "address": "10.0.0.1:6514", "format": "cef", "start": "now"}
    answer = operator.client.post("/exports/new/", fields | {"least_severity": "0", "is_wide": "on"})
    assert answer.status_code == 422
    assert "SECGUARD_WEBHOOK_HOSTS" in answer.content.decode()
