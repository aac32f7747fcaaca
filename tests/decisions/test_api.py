from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from secguard.decisions import services
from secguard.decisions.models import Decision
from secguard.policies.facts import Gate
from secguard.policies.services import judge

pytestmark = pytest.mark.django_db
NOTHING_TURNS = {
    "gates": [],
    "turns": [],
    "environments": [],
    "clusters": [],
    "looked": 0,
    "of": 0,
    "shared": 0,
}
URL = "/api/v1/decisions/"


def body(risk, repository, /, **changed):
    ends = timezone.now() + timedelta(days=30)
    return {
        "kind": "accept",
        "risk": risk.pk,
        "scope": {"repository": repository.name},
        "reason": "The flawed function is not called.",
        "expires_at": ends.isoformat(),
    } | changed


@pytest.fixture
def asked(developer, risk, repository, image):
    answer = developer.api.post(URL, body(risk, repository))
    assert answer.status_code == 201, answer.content
    return answer.json()


def test_a_request_is_a_document(asked, developer, risk, repository, application):
    assert asked["status"] == asked["effective_status"] == "requested"
    assert asked["risk"]["name"] == "CVE-2026-0001"
    assert asked["risk"]["severity"] == "high"
    assert asked["scope"] == {"repository": repository.name}
    assert parse_datetime(asked["approval"]["waits_until"]) == parse_datetime(asked["requested_at"]) + timedelta(days=3)
    assert asked["approval"] == {
        "status": "open",
        "waits_until": asked["approval"]["waits_until"],
        "then": "business-approver",
        "has_escalated": False,
        "required": {"security-reviewer": 1},
        "missing": {"security-reviewer": 1},
        "votes": [],
    }
    assert asked["appetite"] == {"version": 1, "row": "high"}
    assert asked["covers"] == {
        "images": 1,
        "repositories": 1,
        "applications": 1,
        "workloads": 0,
        "clusters": 0,
        "severities": {"high": 1},
        "reach": {**NOTHING_TURNS, "looked": 1, "of": 1},
    }
    assert asked["may"] == ["withdraw"]
    assert developer.api.get(f"{URL}{asked['id']}/").json() == asked


@pytest.mark.parametrize("kind", ["image", "repository", "application", "organisation"])
def test_every_scope_can_be_asked_for(operator, risk, repository, image, application, kind):
    value = {
        "image": image.digest,
        "repository": repository.name,
        "application": application.slug,
        "organisation": True,
    }[kind]
    answer = operator.api.post(URL, body(risk, repository, scope={kind: value}))
    assert answer.status_code == 201, answer.content
    assert answer.json()["scope"] == {kind: value}
    assert answer["Location"].endswith(f"{URL}{answer.json()['id']}/")


@pytest.mark.parametrize(
    ("changed", "status", "where"),
    [
        ({"kind": "ignore"}, 422, "kind"),
        ({"scope": {}}, 422, "scope"),
        ({"scope": {"image": "x", "repository": "y"}}, 422, "scope"),
        ({"scope": "all"}, 422, "scope"),
        ({"scope": {"cluster": "x"}}, 422, "scope"),
        ({"scope": {"organisation": False}}, 422, "scope"),
        ({"scope": {"image": "sha256:none"}}, 404, "scope.image"),
        ({"scope": {"repository": "nowhere/at-all"}}, 404, "scope.repository"),
        ({"scope": {"application": "nothing"}}, 404, "scope.application"),
        ({"reason": ""}, 422, "reason"),
        ({"risk": 10**9}, 404, "risk"),
        ({"risk": 2**70}, 422, "risk"),
        ({"expires_at": "soon"}, 422, "expires_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, 422, "expires_at"),
        ({"expires_at": "2199-01-01T00:00:00Z"}, 422, "expires_at"),
        ({"conditions": {"until": True}}, 422, "conditions"),
        ({"conditions": {"max_epss": 3}}, 422, "conditions"),
    ],
)
def test_bad_input_is_a_problem_that_names_its_place(developer, risk, repository, image, changed, status, where):
    answer = developer.api.post(URL, body(risk, repository, **changed))
    problem = answer.json()
    assert answer.status_code == status, problem
    assert answer["Content-Type"] == "application/problem+json"
    places = {problem.get("where", "")} | {e["where"] for e in problem.get("errors", [])}
    assert any(where in place for place in places), problem
    assert not Decision.objects.exists()


def test_the_whole_story_over_rest(asked, developer, reviewer, image):
    waiting = reviewer.api.get(f"{URL}?waiting=true").json()
    assert [d["id"] for d in waiting["results"]] == [asked["id"]]
    assert waiting["results"][0]["may"] == ["approve", "reject", "withdraw"]
    approved = reviewer.api.post(f"{URL}{asked['id']}/approve/", {"comment": "agreed"}).json()
    assert approved["status"] == "approved"
    assert [(v["voter"], v["choice"], v["comment"]) for v in approved["approval"]["votes"]] == [
        ("reviewer", "approve", "agreed")
    ]
    again = reviewer.api.post(f"{URL}{asked['id']}/approve/", {})
    assert again.status_code == 409
    assert "approved" in again.json()["detail"]
    revoked = reviewer.api.post(f"{URL}{asked['id']}/revoke/", {"reason": "A fix is out."}).json()
    assert (revoked["status"], revoked["end_reason"], revoked["ended_by"]) == ("revoked", "A fix is out.", "reviewer")


def test_reject_and_withdraw(asked, developer, reviewer, risk, repository):
    url = f"{URL}{asked['id']}/"
    assert reviewer.api.post(f"{url}reject/", {"comment": ""}).status_code == 422
    assert reviewer.api.post(f"{url}reject/", {"comment": "Upgrade."}).json()["status"] == "rejected"
    second = developer.api.post(URL, body(risk, repository)).json()["id"]
    assert developer.api.post(f"{URL}{second}/withdraw/").json()["status"] == "withdrawn"
    assert developer.api.post(f"{URL}{second}/withdraw/").status_code == 409


def test_asking_twice_is_a_conflict_that_names_the_first(asked, developer, risk, repository):
    answer = developer.api.post(URL, body(risk, repository))
    assert answer.status_code == 409
    assert answer.json()["decision"] == asked["id"]


def test_nobody_approves_their_own_by_api_bulk_or_second_token(reviewer, risk, repository, image):
    mine = reviewer.api.post(URL, body(risk, repository)).json()["id"]
    answer = reviewer.api.post(f"{URL}{mine}/approve/", {})
    assert (answer.status_code, answer.json()["code"]) == (403, "own-request")
    bulk = reviewer.api.post(f"{URL}bulk-vote/", {"choice": "approve", "decisions": [mine]}).json()
    assert (bulk["done"], bulk["refused"]) == (0, 1)
    assert bulk["results"][0]["problem"]["code"] == "own-request"
    from tests.fixtures_people import api_client

    second = api_client(reviewer, "security-reviewer")
    assert second.post(f"{URL}{mine}/approve/", {}).status_code == 403
    assert Decision.objects.get().status == "requested"


def test_conditions_that_end_it_are_kept_told_and_refused(developer, risk, repository, image):
    wanted = {"until_fixed": True, "max_severity": "high", "max_epss": 0.2}
    made = developer.api.post(URL, body(risk, repository, conditions=wanted))
    assert (made.status_code, made.json()["conditions"]) == (201, wanted)
    told = {e["by"]: e["when"] for e in made.json()["endings"]}
    assert told["fixed"] == "it is fixed there, in each repository for itself"
    assert told["severity"] == "severity rises above high"
    assert told["date"] == "its date comes"
    for bad in ({"max_severity": "awful"}, {"until_fixed": "maybe"}):
        assert developer.api.post(URL, body(risk, repository, conditions=bad)).status_code == 422


def test_the_blast_radius_says_what_would_turn(developer, estate, repository):
    bad = estate.risk(severity=5, known_exploited=True)
    image = estate.image(repository, [bad])
    judge(image, [Gate.BUILD])
    found = developer.api.get(f"{URL}blast-radius/?risk={bad.pk}&repository={repository.name}&kind=accept").json()
    (gate,) = found["reach"]["gates"]
    assert (gate["gate"], gate["was"], gate["repositories"]) == ("build", "block", 1)
    (turn,) = found["reach"]["turns"]
    assert (turn["repository"], turn["digest"]) == (repository.name, image.digest)
    answer = developer.api.get(f"{URL}blast-radius/?risk={bad.pk}&repository={repository.name}&kind=hide")
    assert (answer.status_code, answer.json()["where"]) == (422, "kind")


STATUS = {"anonymous": 401, "stranger": 404, "viewer": 403, "developer2": 403, "operator": 403, "administrator": 403}


@pytest.mark.parametrize(("who", "status"), STATUS.items())
def test_who_may_not_approve(asked, client, who, status, request):
    api = client if who == "anonymous" else request.getfixturevalue(who).api
    for verb, sent in (("approve", {}), ("reject", {"comment": "no"})):
        answer = (
            api.post(f"{URL}{asked['id']}/{verb}/", sent, content_type="application/json")
            if (who == "anonymous")
            else api.post(f"{URL}{asked['id']}/{verb}/", sent)
        )
        assert answer.status_code == status
    assert Decision.objects.get().status == "requested"


def test_a_stranger_sees_no_trace(asked, stranger, risk, repository, image, application):
    assert stranger.api.get(URL).json()["results"] == []
    assert stranger.api.get(URL).json()["count"] == 0
    assert stranger.api.get(f"{URL}{asked['id']}/").status_code == 404
    for verb, sent in (("withdraw", {}), ("revoke", {"reason": "x"}), ("approve", {}), ("reject", {"comment": "x"})):
        answer = stranger.api.post(f"{URL}{asked['id']}/{verb}/", sent)
        assert answer.status_code == 404
        assert "CVE" not in answer.content.decode()
    for scope in (f"repository={repository.name}", f"image={image.digest}", f"application={application.slug}"):
        assert stranger.api.get(f"{URL}blast-radius/?risk={risk.pk}&{scope}").status_code == 404
    wide = stranger.api.get(f"{URL}blast-radius/?risk={risk.pk}&organisation=true").json()
    nothing = {"images": 0, "repositories": 0, "applications": 0, "workloads": 0, "clusters": 0, "severities": {}}
    assert wide == {**nothing, "reach": NOTHING_TURNS}
    assert stranger.api.post(URL, body(risk, repository)).status_code == 404
    bulk = stranger.api.post(f"{URL}bulk-vote/", {"choice": "approve", "decisions": [asked["id"]]}).json()
    assert bulk["results"][0]["problem"]["status"] == 404


def test_an_image_of_two_teams_shows_each_its_own(
    developer, stranger, reviewer, estate, repository, other_repository, risk, image
):
    from secguard.images.models import ImageRepository

    ImageRepository.objects.create(image=image, repository=other_repository)
    mine = developer.api.get(f"{URL}blast-radius/?risk={risk.pk}&image={image.digest}").json()
    both = reviewer.api.get(f"{URL}blast-radius/?risk={risk.pk}&image={image.digest}").json()
    assert (mine["repositories"], mine["applications"], mine["images"]) == (1, 1, 1)
    assert (both["repositories"], both["applications"], both["images"]) == (2, 2, 1)
    from secguard.decisions import queries

    seen = queries.occurrences(risk, queries.ORGANISATION, developer)
    assert {o.repository for o in seen} == {repository.name}
    assert len(queries.occurrences(risk, queries.ORGANISATION, reviewer)) == 2


def test_running_workloads_count(developer, stranger, risk, repository, image, application, other_application):
    from secguard.workloads.models import Cluster, Workload

    cluster = Cluster.objects.create(name="production")
    for number, owner in enumerate((application, application, other_application)):
        workload = Workload.objects.create(
            cluster=cluster, name=f"w{number}", application=owner, gone_at=timezone.now() if number == 1 else None
        )
        workload.images.add(image)
    radius = developer.api.get(f"{URL}blast-radius/?risk={risk.pk}&repository={repository.name}").json()
    assert (radius["workloads"], radius["clusters"]) == (1, 1)


@pytest.mark.parametrize("query", ["", "risk=x&organisation=true", "risk=1", "risk=1&organisation=true&image=x"])
def test_blast_radius_says_what_it_expects(developer, query):
    assert developer.api.get(f"{URL}blast-radius/?{query}").status_code == 422


def test_several_at_once(developer, estate, repository, risk, image):
    other = estate.risk()
    estate.image(repository, [risk, other])
    sent = body(risk, repository)
    del sent["risk"]
    answer = developer.api.post(f"{URL}bulk/", sent | {"risks": [risk.pk, other.pk, risk.pk, 10**9]})
    assert answer.status_code == 200, answer.content
    document = answer.json()
    assert (document["done"], document["refused"]) == (2, 1)
    assert [r["risk"] for r in document["results"]] == [risk.pk, other.pk, 10**9]
    assert document["results"][2]["problem"]["status"] == 404


def test_filters(asked, developer, reviewer, estate, repository, risk):
    def ids(query, person=developer):
        answer = person.api.get(f"{URL}?{query}")
        assert answer.status_code == 200, answer.content
        return [d["id"] for d in answer.json()["results"]]

    one = [asked["id"]]
    for found in ("status=requested", "kind=accept", "scope=repository", f"risk={risk.pk}", "mine=true"):
        assert ids(found) == one, found
    for found in ("status=approved", "kind=fix", "scope=image", "risk=999", "mine=false", "waiting=true"):
        assert ids(found) == [], found
    assert ids(f"repository={repository.name}") == one
    assert ids("waiting=true", reviewer) == one
    reviewer.api.post(f"{URL}{asked['id']}/approve/", {})
    assert ids("waiting=true", reviewer) == []
    assert ids("status=approved") == one
    assert developer.api.get(f"{URL}?status=unknown").status_code in (400, 422)


def test_past_its_end_it_is_listed_as_ended(ask, developer, reviewer):
    now = timezone.now() - timedelta(days=3)
    decision = ask(developer, now=now, expires_at=now + timedelta(days=2))
    services.approve(decision.pk, actor=reviewer, now=now)
    assert developer.api.get(f"{URL}?status=approved").json()["results"] == []
    (found,) = developer.api.get(f"{URL}?status=ended").json()["results"]
    assert (found["status"], found["effective_status"], found["may"]) == ("approved", "ended", [])


def test_a_list_takes_the_same_queries_for_two_as_for_twenty(ask, developer, reviewer, estate, repository):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    risks = [estate.risk() for _ in range(20)]
    image = estate.image(repository, risks)
    from secguard.decisions import queries

    where = queries.find_scope(developer, "image", image.digest)

    def count() -> int:
        reviewer.api.get(URL)
        with CaptureQueriesContext(connection) as found:
            assert reviewer.api.get(URL).status_code == 200
        return len(found)

    for r in risks[:2]:
        services.approve(ask(developer, risk_id=r.pk).pk, actor=reviewer)
    ask(developer, risk_id=risks[2].pk, scope=where)
    few = count()
    for r in risks[3:]:
        ask(developer, risk_id=r.pk, scope=where)
    assert count() == few


# --- the risk appetite ---

APPETITE = "/api/v1/appetite/"


def test_the_appetite_is_read_by_all_and_written_by_the_business(
    viewer, stranger, developer, reviewer, business_approver
):
    document = viewer.api.get(f"{APPETITE}active/").json()
    assert document["number"] == 1
    assert document["rows"][0] == {
        "name": "exploited-critical",
        "when": {"severity": ["critical"], "known_exploited": True},
        "approvers": {"security-reviewer": 1, "business-approver": 1},
        "max_days": 14,
        "not_affected_max_days": None,
        "fix_within_days": 7,
        "escalate_after_hours": 24,
        "escalate_to": None,
    }
    source = document["source"].replace("max_days: 14", "max_days: 10")
    for person in (viewer, stranger, developer, reviewer):
        assert person.api.post(APPETITE, {"source": source}).status_code == 403
        assert person.api.post(f"{APPETITE}1/activate/").status_code == 403
    made = business_approver.api.post(APPETITE, {"source": source, "comment": "stricter", "activate": True})
    assert made.status_code == 201, made.content
    assert made.json()["is_active"] is True
    assert [r["number"] for r in viewer.api.get(APPETITE).json()["results"]] == [2, 1]
    assert business_approver.api.post(f"{APPETITE}1/activate/").json()["is_active"] is True
    assert business_approver.api.post(f"{APPETITE}9/activate/").status_code == 404


def test_a_broken_appetite_names_line_and_column(business_approver):
    answer = business_approver.api.post(APPETITE, {"source": "name: x\nrows:\n  - name: a\n    max_days: none\n"})
    assert answer.status_code == 422
    assert {"line", "column", "message"} <= set(answer.json()["errors"][0])
