"""A draft tried over an estate and a period: what it would turn, and who sees which part of that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone

from tests.fixtures_people import Person
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db

BLOCK_LOW = """\
name: strict
rules:
  - id: nothing-low
    each: finding
    stages: [build, admit]
    when: finding.severity == "low"
    effect: block
    message: "{count} low in {reference}"
"""
PASS_ALL = """\
name: lenient
rules:
  - id: nothing
    each: image
    when: image.os == "plan9"
    effect: warn
    message: "It is Plan 9."
"""


def posted(post: Any, who: Person, application: Any, number: int, name: str, severity: str) -> Any:
    from secguard.images.models import Image

    image = {"reference": f"reg.example/{name}:1", "digest": digest(number)}
    found = flaw(f"CVE-2026-{number}", severity=severity, fixed_versions=["1.1.2"])
    post(report(found, image=image), who, application=application.slug)
    return Image.objects.get(digest=digest(number))


@pytest.fixture
def estate(post: Any, developer: Person, stranger: Person, application: Any, other_application: Any) -> dict[str, Any]:
    """One image with a critical flaw, one with a low one, and a low one of another team, which runs."""
    from secguard.workloads.models import Cluster, Workload

    found = {
        "critical": posted(post, developer, application, 1, "shop/web", "critical"),
        "low": posted(post, developer, application, 2, "shop/api", "low"),
        "theirs": posted(post, stranger, other_application, 3, "logistics/web", "low"),
    }
    cluster = Cluster.objects.create(name="production")
    for name, owner in (("low", application), ("theirs", other_application)):
        workload = Workload.objects.create(cluster=cluster, namespace="shop", name=f"run-{name}", application=owner)
        workload.images.add(found[name])
    return found


@pytest.fixture
def tried(run_jobs: Callable[[], int]) -> Callable[..., dict[str, Any]]:
    """Tries a draft as a person and returns the simulation's document once it is done."""

    def do(who: Person, **body: Any) -> dict[str, Any]:
        run_jobs()
        body = {"estate": True, "since": (timezone.now() - timedelta(days=1)).isoformat(), **body}
        body = {name: value for name, value in body.items() if value is not None}
        begun = who.api.post("/api/v1/policies/simulate/", body)
        assert begun.status_code == 202, begun.content
        run_jobs()
        return document(who, begun.json()["id"])

    return do


def document(who: Person, pk: int) -> dict[str, Any]:
    found: dict[str, Any] = who.api.get(f"/api/v1/simulations/{pk}/").json()
    return found


def lines(found: dict[str, Any], by: str) -> dict[str, Any]:
    (table,) = [t for t in found["tables"] if t["by"] == by]
    return {line["label"]: line["numbers"] for line in table["lines"]}


def test_who_would_be_blocked_and_unblocked_by_team_repository_gate_and_workload(
    estate: dict[str, Any], reviewer: Person, tried: Any
) -> None:
    found = tried(reviewer, source=BLOCK_LOW)
    assert (found["status"], found["problem"]) == ("done", "")
    assert found["numbers"]["estate"] == {"blocked": 2, "unblocked": 1}
    assert found["totals"]["images"] == 3
    assert lines(found, "team")["Payments"]["estate"] == {"blocked": 1, "unblocked": 1}
    assert lines(found, "team")["Logistics"]["estate"] == {"blocked": 1}
    assert lines(found, "repository")["reg.example/logistics/web"]["estate"] == {"blocked": 1}
    assert lines(found, "stage")["admit"]["estate"] == {"blocked": 2}
    assert lines(found, "stage")["promote"]["estate"] == {"unblocked": 1}
    assert lines(found, "workload") == {
        "production/shop/Deployment run-low": {"estate": {"blocked": 1}},
        "production/shop/Deployment run-theirs": {"estate": {"blocked": 1}},
    }


def test_the_gates_of_the_period_are_replayed_from_their_stored_inputs(
    estate: dict[str, Any], reviewer: Person, tried: Any, run_jobs: Callable[[], int]
) -> None:
    from secguard.findings.models import Finding

    run_jobs()
    # What the images are like now does not count for what was judged then.
    Finding.objects.update(severity=1)
    found = tried(reviewer, source=BLOCK_LOW)
    assert found["numbers"]["gate"] == {"blocked": 2, "unblocked": 1}
    assert found["totals"]["evaluations"] == 12
    rows = reviewer.api.get(f"/api/v1/simulations/{found['id']}/rows/?origin=gate&change=unblocked").json()["results"]
    assert {row["stage"] for row in rows} == {"build", "promote"}
    assert rows[0]["reasons"][0]["rule"] == "critical-with-fix"
    assert rows[0]["was"] == "block"


def test_every_number_leads_to_its_rows(estate: dict[str, Any], reviewer: Person, tried: Any) -> None:
    found = tried(reviewer, source=BLOCK_LOW)
    for table in found["tables"]:
        for line in table["lines"]:
            for origin, changes in line["numbers"].items():
                for change, number in changes.items():
                    asked = {**line["rows"], "origin": origin, "change": change}
                    rows = reviewer.api.get(f"/api/v1/simulations/{found['id']}/rows/", asked).json()["results"]
                    assert len({row["image"] for row in rows}) == number, (table["by"], line, asked)


def test_nothing_gates_by_it(estate: dict[str, Any], reviewer: Person, tried: Any) -> None:
    from secguard.policies.models import Evaluation, PolicyVersion

    tried(reviewer, source=PASS_ALL)
    kept = PolicyVersion.objects.count(), Evaluation.objects.count()
    tried(reviewer, source=BLOCK_LOW)
    assert (PolicyVersion.objects.count(), Evaluation.objects.count()) == kept


# --- who sees what ---


def test_a_team_sees_its_own_part_and_no_count_of_others(
    estate: dict[str, Any], reviewer: Person, developer: Person, stranger: Person, tried: Any
) -> None:
    whole = tried(reviewer, source=BLOCK_LOW)
    for who, team, numbers in (
        (developer, "Payments", {"blocked": 1, "unblocked": 1}),
        (stranger, "Logistics", {"blocked": 1}),
    ):
        part = document(who, whole["id"])
        assert part["numbers"]["estate"] == numbers
        assert list(lines(part, "team")) == [team]
        assert len(lines(part, "workload")) == 1
        assert part["totals"] is None
        rows = who.api.get(f"/api/v1/simulations/{whole['id']}/rows/").json()["results"]
        assert all("logistics" in row["repository"] for row in rows) == (team == "Logistics")


def test_a_team_simulates_over_its_own_things_and_others_do_not_see_that(
    estate: dict[str, Any], developer: Person, developer2: Person, stranger: Person, reviewer: Person, tried: Any
) -> None:
    found = tried(developer, source=BLOCK_LOW)
    assert found["totals"]["images"] == 2
    assert found["numbers"]["estate"] == {"blocked": 1, "unblocked": 1}
    assert document(developer2, found["id"])["totals"] == found["totals"]
    assert stranger.api.get(f"/api/v1/simulations/{found['id']}/").status_code == 404
    assert stranger.api.get(f"/api/v1/simulations/{found['id']}/rows/").status_code == 404
    assert stranger.api.get("/api/v1/simulations/").json()["results"] == []
    assert document(reviewer, found["id"])["numbers"] == found["numbers"]


def test_a_workload_of_another_team_is_no_way_to_its_images(
    estate: dict[str, Any], reviewer: Person, developer: Person, tried: Any
) -> None:
    from secguard.workloads.models import Workload

    found = tried(reviewer, source=BLOCK_LOW)
    theirs = Workload.objects.get(name="run-theirs")
    theirs.images.add(estate["low"])
    rows = developer.api.get(f"/api/v1/simulations/{found['id']}/rows/", {"workload": theirs.pk}).json()
    assert rows["results"] == []


def test_a_digest_that_another_team_has_too_names_no_place(
    estate: dict[str, Any], post: Any, stranger: Person, reviewer: Person, other_application: Any, tried: Any
) -> None:
    shared = {"reference": "reg.example/logistics/copy:1", "digest": estate["low"].digest}
    post(report(flaw("CVE-2026-2", severity="low"), image=shared), stranger, application=other_application.slug)
    found = tried(reviewer, source=BLOCK_LOW)
    rows = stranger.api.get(f"/api/v1/simulations/{found['id']}/rows/").json()["results"]
    assert {row["repository"] for row in rows} == {"reg.example/logistics/web", "reg.example/logistics/copy"}
    assert "shop/api" not in str(rows)


# --- admissions ---


def admitted(image: Any, estate: dict[str, Any], **columns: Any) -> Any:
    from secguard.admission.models import AdmissionDecision
    from secguard.policies.facts import Gate
    from secguard.policies.services import verdict_of
    from secguard.workloads.models import Cluster

    now = timezone.now()
    return AdmissionDecision.objects.create(
        key=digest(image.pk)[-64:], cluster=Cluster.objects.get(), namespace="shop", workload_kind="Deployment",
        workload_name="web", reference="x", digest=image.digest, image=image, outcome="allowed", mode="enforce",
        repository=image.places.get().repository, evaluation_id=verdict_of(image, Gate.ADMIT).evaluation_id,
        first_at=now, last_at=now, **columns,
    )  # fmt: skip


def test_what_clusters_were_answered_is_told_by_workload_as_often_as_it_was_asked(
    estate: dict[str, Any], reviewer: Person, stranger: Person, tried: Any
) -> None:
    admitted(estate["low"], estate, count=40)
    found = tried(reviewer, source=BLOCK_LOW)
    assert found["numbers"]["admission"] == {"blocked": 40}
    assert lines(found, "where") == {"production/shop/Deployment web": {"admission": {"blocked": 40}}}
    assert "admission" not in document(stranger, found["id"])["numbers"]


# --- a draft of the risk appetite ---


def test_a_draft_of_the_risk_appetite_moves_deadlines(
    estate: dict[str, Any], business_approver: Person, tried: Any
) -> None:
    from secguard.decisions.services.appetite import active_appetite
    from secguard.findings.models import Exposure

    three_days = timedelta(days=3)
    Exposure.objects.update(since=F("since") - three_days, due_at=F("due_at") - three_days)
    source = active_appetite()[0].source
    same = tried(business_approver, appetite=source.replace("name: default", "name: same"), since=None)
    assert same["numbers"] == {}
    strict = source
    for days in ("180", "90", "30", "14", "7"):
        strict = strict.replace(f"fix_within_days: {days}\n", "fix_within_days: 1\n")
    found = tried(business_approver, appetite=strict, since=None)
    assert found["kind"] == "appetite"
    assert found["numbers"]["estate"]["blocked"] >= 1
    assert {row["reasons"][0]["rule"] for row in rows_of(business_approver, found, "blocked")} == {"overdue"}


def rows_of(who: Person, found: dict[str, Any], change: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = who.api.get(f"/api/v1/simulations/{found['id']}/rows/?change={change}").json()[
        "results"
    ]
    return rows


# --- bounds ---


def test_a_fault_in_the_draft_is_told_before_anything_runs(reviewer: Person) -> None:
    answer = reviewer.api.post("/api/v1/policies/simulate/", {"source": "name: x", "estate": True})
    assert answer.status_code == 422
    both = reviewer.api.post("/api/v1/policies/simulate/", {"source": BLOCK_LOW, "appetite": "x"})
    assert both.status_code == 422


@pytest.mark.parametrize("days", [400, -1])
def test_the_period_is_bounded_and_past(reviewer: Person, days: int) -> None:
    since = (timezone.now() - timedelta(days=days)).isoformat()
    answer = reviewer.api.post("/api/v1/policies/simulate/", {"source": BLOCK_LOW, "since": since})
    assert (answer.status_code, answer.json()["code"]) == (422, "simulation-period")


def test_nobody_has_many_at_once(reviewer: Person, developer: Person) -> None:
    body = {"source": BLOCK_LOW, "estate": True}
    for expected in (202, 202, 409):
        assert reviewer.api.post("/api/v1/policies/simulate/", body).status_code == expected
    assert developer.api.post("/api/v1/policies/simulate/", body).status_code == 202


def test_more_rows_than_are_kept_is_said(
    estate: dict[str, Any], reviewer: Person, tried: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secguard.laboratory.services import replaying

    monkeypatch.setattr(replaying, "MAX_ROWS", 3)
    found = tried(reviewer, source=BLOCK_LOW)
    assert found["totals"]["is_complete"] is False
    assert len(reviewer.api.get(f"/api/v1/simulations/{found['id']}/rows/").json()["results"]) == 3


def test_one_that_takes_too_long_is_given_up_with_words(
    estate: dict[str, Any], reviewer: Person, tried: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secguard.laboratory.services import replaying

    monkeypatch.setattr(replaying, "MAX_SECONDS", -1)
    found = tried(reviewer, source=BLOCK_LOW)
    assert found["status"] == "failed"
    assert "shorter period" in found["problem"]


def test_one_is_called_off_by_who_asked_or_edits_the_policy(
    reviewer: Person, developer: Person, developer2: Person, run_jobs: Callable[[], int]
) -> None:
    begun = developer.api.post("/api/v1/policies/simulate/", {"source": BLOCK_LOW, "estate": True}).json()
    path = f"/api/v1/simulations/{begun['id']}/cancel/"
    assert developer2.api.post(path).status_code == 403
    assert developer.api.post(path).json()["status"] == "cancelled"
    run_jobs()
    assert document(reviewer, begun["id"])["status"] == "cancelled"
    assert reviewer.api.post(path).status_code == 409


def test_the_job_may_run_twice(estate: dict[str, Any], reviewer: Person, tried: Any, run_jobs: Any) -> None:
    from secguard.jobs import services as job_services
    from secguard.laboratory.models import Simulation
    from secguard.laboratory.services import SIMULATE

    found = tried(reviewer, source=BLOCK_LOW)
    Simulation.objects.filter(pk=found["id"]).update(status="waiting")
    job_services.enqueue(SIMULATE, {"simulation": found["id"]}, key="again")
    run_jobs()
    assert document(reviewer, found["id"])["numbers"] == found["numbers"]


def test_old_ones_are_removed(estate: dict[str, Any], reviewer: Person, tried: Any, run_jobs: Any) -> None:
    from secguard.jobs import services as job_services
    from secguard.laboratory.models import Simulation, Turned
    from secguard.laboratory.services import FORGET

    found = tried(reviewer, source=BLOCK_LOW)
    Simulation.objects.filter(pk=found["id"]).update(expires_at=timezone.now() - timedelta(seconds=1))
    job_services.enqueue(FORGET, {}, key="all")
    run_jobs()
    assert (Simulation.objects.count(), Turned.objects.count()) == (0, 0)


def test_an_estate_costs_as_many_queries_however_many_images_a_batch_holds(
    estate: dict[str, Any], post: Any, developer: Person, application: Any, django_assert_max_num_queries: Any
) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from secguard.images.models import Image
    from secguard.policies.queries import facts_for

    def asked() -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            facts_for(list(Image.objects.all()), timezone.now())
        return len(seen)

    before = asked()
    for number in range(4, 9):
        posted(post, developer, application, number, f"shop/more-{number}", "high")
    assert asked() == before


def test_several_images_are_read_as_each_one_is(estate: dict[str, Any], accept_risk: Any) -> None:
    from secguard.images.models import Image
    from secguard.policies.queries import facts_for

    accept_risk()
    now = timezone.now()
    images = list(Image.objects.all())
    together = facts_for(images, now)
    assert together == {image.pk: facts_for([image], now)[image.pk] for image in images}
    assert sum(f.decision is not None for facts in together.values() for f in facts.findings) == 1


@pytest.fixture
def accept_risk(developer: Person, reviewer: Person, business_approver: Person) -> Callable[[], None]:
    def do() -> None:
        from secguard.findings.models import Risk

        body = {
            "kind": "accept", "risk": Risk.objects.get(vulnerability__name="CVE-2026-1").pk,
            "scope": {"repository": "reg.example/shop/web"}, "reason": "It is not reachable from outside.",
            "expires_at": (timezone.now() + timedelta(days=5)).isoformat(),
        }  # fmt: skip
        pk = developer.api.post("/api/v1/decisions/", body).json()["id"]
        for person in (reviewer, business_approver):
            person.api.post(f"/api/v1/decisions/{pk}/approve/", {"comment": "seen"})

    return do
