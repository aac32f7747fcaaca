"""``/api/v1/controls/`` and the pages of controls, as people and machines use them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from secguard.decisions import services
from secguard.decisions.models import Control, ControlEvidence, Decision

pytestmark = pytest.mark.django_db
URL = "/api/v1/controls/"


@pytest.fixture
def body(application):
    return {
        "name": "Rule 942100",
        "kind": "waf-or-ips-rule",
        "description": "Stops what looks like SQL.",
        "covers": {"application": application.slug},
        "kept_alive_by": "heartbeat",
        "every_hours": 24,
    }


@pytest.fixture
def control(body, developer, reviewer) -> Control:
    pk = developer.api.post(URL, body).json()["id"]
    assert reviewer.api.post(f"{URL}{pk}/confirm/").status_code == 200
    return Control.objects.get(pk=pk)


def test_a_control_from_proposal_to_heartbeat(body, developer, reviewer):
    made = developer.api.post(URL, body)
    assert made.status_code == 201
    document = made.json()
    assert made["Location"].endswith(f"{URL}{document['id']}/")
    assert (document["state"], document["owner"], document["may"]) == ("proposed", "Payments", ["evidence", "retire"])
    at = f"{URL}{document['id']}/"
    refused = developer.api.post(f"{at}confirm/")
    assert (refused.status_code, refused.json()["code"]) == (403, "not-allowed")
    assert reviewer.api.post(f"{at}confirm/").json()["state"] == "stale"
    beat = developer.api.post(f"{at}evidence/")
    assert beat.status_code == 201
    row = beat.json()
    assert (row["kind"], row["says"], row["by"], row["count"]) == ("heartbeat", "holds", "developer", 1)
    assert row["source"].startswith("token ")
    assert developer.api.post(f"{at}evidence/").json()["count"] == 2
    shown = developer.api.get(at).json()
    assert shown["state"] == "alive"
    assert shown["holds_until"] == shown["due_at"]
    assert [r["count"] for r in developer.api.get(f"{at}evidence/").json()["results"]] == [2]
    assert [c["id"] for c in developer.api.get(f"{URL}?state=alive").json()["results"]] == [document["id"]]
    assert developer.api.get(f"{URL}?state=stale").json()["results"] == []
    assert developer.api.get(f"{URL}?state=no").status_code == 400


def test_a_decision_names_its_controls(control, ask, developer, reviewer, repository, risk, image):
    end = (timezone.now() + timedelta(days=20)).isoformat()
    asked = {
        "kind": "mitigate",
        "risk": risk.pk,
        "scope": {"repository": repository.name},
        "reason": "The firewall drops it.",
        "expires_at": end,
    }
    refused = developer.api.post("/api/v1/decisions/", asked)
    assert (refused.status_code, refused.json()["code"]) == (422, "control-needed")
    developer.api.post(f"{URL}{control.pk}/evidence/")
    made = developer.api.post("/api/v1/decisions/", {**asked, "controls": [control.pk]}).json()
    assert [(c["name"], c["state"]) for c in made["controls"]] == [("Rule 942100", "alive")]
    assert made["counts_until"] == made["expires_at"]
    approved = reviewer.api.post(f"/api/v1/decisions/{made['id']}/approve/").json()
    assert approved["status"] == "approved"
    assert approved["counts_until"] < approved["expires_at"]
    assert developer.api.get(f"{URL}{control.pk}/").json()["leaning"] == 1
    gone = reviewer.api.post(f"{URL}{control.pk}/retire/", {"reason": "The firewall is gone."})
    assert (gone.status_code, gone.json()["leaning"]) == (200, 0)
    ended = developer.api.get(f"/api/v1/decisions/{made['id']}/").json()
    assert (ended["effective_status"], ended["end_reason"]) == (
        "ended",
        "control lapsed: Rule 942100 was retired: The firewall is gone.",
    )
    assert not Decision.objects.in_force(timezone.now()).exists()


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"covers": {}}, "covers"),
        ({"covers": {"application": "shop", "organisation": True}}, "covers"),
        ({"covers": {"organisation": False}}, "covers"),
        ({"every_hours": 0}, "every_hours"),
        ({"kind": "magic"}, "kind"),
        ({"watch": []}, "watch"),
        ({"kept_alive_by": "observation", "watch": {"observer": ["x"]}}, "watch"),
    ],
)
def test_a_bad_proposal_is_a_problem_with_its_place(body, developer, changed, where):
    answer = developer.api.post(URL, body | changed)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["where"].split(".")[0] == where if "errors" in answer.json() else True
    assert not Control.objects.exists()


@pytest.mark.parametrize("sent", [{"kind": "observation"}, {"says": "maybe"}, {"url": "file:///etc"}, {"digest": "x"}])
def test_bad_evidence_is_a_problem(control, developer, sent):
    assert developer.api.post(f"{URL}{control.pk}/evidence/", sent).status_code == 422
    assert not ControlEvidence.objects.exists()


def test_an_unknown_application_or_owner_is_not_found(body, developer, stranger, other_application):
    for changed in ({"covers": {"application": other_application.slug}}, {"owner": "stranger"}):
        answer = developer.api.post(URL, body | changed)
        assert answer.status_code == 404
        assert "Warehouse" not in answer.content.decode()


# --- pages ---


def test_the_list_says_what_needs_evidence_first(control, developer, estate, application):
    now = timezone.now()
    estate.control(application, developer, at=now, name="Network policy 7", kind="network-policy")
    developer.api.post(f"{URL}{control.pk}/evidence/", {"seen_at": (now - timedelta(days=2)).isoformat()})
    page = developer.client.get("/controls/").content.decode()
    assert page.index("Rule 942100") < page.index("Network policy 7")
    assert "Stale" in page
    assert "a heartbeat every 1 day" in page
    assert "Network policy 7" not in developer.client.get("/controls/?state=stale").content.decode()


def test_a_person_checks_and_sees_what_was_seen(body, developer, reviewer):
    pk = developer.api.post(URL, {**body, "kept_alive_by": "check", "every_hours": 720}).json()["id"]
    reviewer.client.post(f"/controls/{pk}/confirm/")
    page = developer.client.get(f"/controls/{pk}/").content.decode()
    assert "Rule 942100 has no evidence" in page
    sent = {"says": "holds", "note": "<b>Looked</b> at it.", "url": "https://wiki.example/942100"}
    assert developer.client.post(f"/controls/{pk}/evidence/", sent).status_code == 303
    page = developer.client.get(f"/controls/{pk}/").content.decode()
    assert "&lt;b&gt;Looked&lt;/b&gt; at it." in page
    assert 'rel="noopener noreferrer nofollow"' in page
    assert "Alive" in page
    bad = developer.client.post(f"/controls/{pk}/evidence/", {**sent, "url": "javascript:alert(1)"})
    assert bad.status_code == 422
    assert "is no address that can be kept" in bad.content.decode()


def test_proposing_on_a_page(developer, operator, application):
    sent = {
        "name": "Egress is closed",
        "kind": "network-policy",
        "covers": application.slug,
        "kept_alive_by": "check",
        "every": "2",
        "unit": "24",
        "owner": str(developer.pk),
    }
    assert developer.client.post("/controls/new/", sent).status_code == 303
    made = Control.objects.get()
    assert (made.every_hours, made.owner, made.application) == (48, developer, application)
    again = developer.client.post("/controls/new/", sent)
    assert again.status_code == 422
    assert "is called" in again.content.decode()
    watching = {**sent, "name": "Seen", "kept_alive_by": "observation", "watch": "[1]"}
    assert "Expected is an object in braces" in developer.client.post("/controls/new/", watching).content.decode()
    assert '<option value="*"' not in developer.client.get("/controls/new/").content.decode()
    assert '<option value="*"' in operator.client.get("/controls/new/").content.decode()


def test_the_request_form_offers_controls_that_cover_it(control, developer, reviewer, risk, image, estate, stranger):
    page = developer.client.get(f"/decisions/new/?risk={risk.pk}&kind=mitigate").content.decode()
    assert "Rule 942100 (Shop, stale)" in page
    developer.api.post(f"{URL}{control.pk}/evidence/")
    sent = {
        "risk": risk.pk,
        "kind": "mitigate",
        "scope": f"repository:{image.places.get().repository_id}",
        "reason": "The firewall drops it.",
        "until": (timezone.now() + timedelta(days=20)).date().isoformat(),
    }
    refused = developer.client.post("/decisions/new/", sent)
    assert refused.status_code == 422
    assert "none is named" in refused.content.decode()
    assert developer.client.post("/decisions/new/", {**sent, "controls": [control.pk]}).status_code == 303
    decision = Decision.objects.get()
    page = developer.client.get(f"/decisions/{decision.pk}/").content.decode()
    assert f'Its control lapses: <a href="/controls/{control.pk}/">' in page
    assert "has evidence until" in page
    services.approve(decision.pk, actor=reviewer)
    assert "with evidence of its controls" in developer.client.get(f"/decisions/{decision.pk}/").content.decode()
    assert "1 decision in force" in developer.client.get(f"/controls/{control.pk}/retire/").content.decode()
    assert stranger.client.get(f"/controls/{control.pk}/").status_code == 404


def test_an_old_decision_without_a_control_says_so(ask, developer, image):
    decision = ask(developer)
    Decision.objects.filter(pk=decision.pk)
    assert "It names no control" not in developer.client.get(f"/decisions/{decision.pk}/").content.decode()
