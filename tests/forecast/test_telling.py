"""What is foreseen of real rows: computed, told in time, and to no other team."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any

import pytest
from django.utils import timezone

from secguard.decisions import services as decisions
from secguard.decisions.queries import find_scope
from secguard.findings.models import Exposure
from secguard.forecast.models import Turn
from secguard.forecast.services import compute, tell
from secguard.images.models import Image
from secguard.notifications.models import Notice
from secguard.policies.facts import Gate
from secguard.policies.services import judge
from secguard.scans.models import Scan
from secguard.workloads.models import Cluster, Workload
from tests.dashboards.test_queries import assert_constant_queries
from tests.decisions.conftest import Estate
from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db


@pytest.fixture
def accepted(estate: Estate, repository: Any, developer: Person, reviewer: Person) -> Any:
    """The newest image of the first team's repository passes: its one critical flaw is accepted for ten days."""
    now = timezone.now()
    risk = estate.risk("CVE-2026-7001", severity=5, fix_available=True)
    image = estate.image(repository, [risk], at=now)
    Scan.objects.create(
        image=image, reference=repository.name, scanner="trivy", status="finished", finished_at=now,
        covers=["vulnerability", "secret", "malware", "misconfiguration"], database_updated_at=now,
    )  # fmt: skip
    scope = find_scope(developer, "repository", repository.name)
    ask = decisions.Ask(risk.pk, "accept", scope, "not reached", now + timedelta(days=10))
    decision = decisions.approve(decisions.request_decision(ask, actor=developer).pk, actor=reviewer)
    assert decision.status == "approved"
    verdicts = judge(image, list(Gate))
    assert verdicts[Gate.BUILD].verdict != "block", "else there is nothing to foresee"
    return decision


def rows() -> dict[str, Any]:
    return {turn.stage: turn for turn in Turn.objects.all()}


def test_a_decision_that_ends_is_foreseen_at_the_gates_that_it_opens(accepted: Any, repository: Any) -> None:
    assert compute() > 0
    turn = rows()["build"]
    assert (turn.repository_id, turn.at, turn.decision_ids) == (repository.pk, accepted.expires_at, [accepted.pk])
    assert turn.flaws == ["CVE-2026-7001"]
    computed = turn.computed_at
    compute()
    assert rows()["build"].computed_at > computed
    assert Turn.objects.filter(stage="build").count() == 1


def test_what_was_decided_anew_is_no_longer_foreseen(
    accepted: Any, estate: Estate, repository: Any, developer: Person, reviewer: Person
) -> None:
    compute()
    scope = find_scope(developer, "application", repository.application.slug)
    ask = decisions.Ask(accepted.risk_id, "accept", scope, "still", timezone.now() + timedelta(days=29))
    wider = decisions.approve(decisions.request_decision(ask, actor=developer).pk, actor=reviewer)
    assert wider.status == "approved"
    judge(Image.objects.get(), list(Gate))
    compute()
    assert "build" not in rows()


def test_an_image_that_no_longer_leads_matters_only_where_it_runs(
    accepted: Any, estate: Estate, repository: Any, application: Any
) -> None:
    image = Image.objects.get()
    estate.image(repository, [], at=timezone.now())
    # Past its deadline: where it runs, only the decision lets it start again.
    Exposure.objects.update(due_at=timezone.now() - timedelta(days=1))
    judge(image, list(Gate))
    compute()
    assert rows() == {}
    workload = Workload.objects.create(cluster=Cluster.objects.create(name="c"), name="api", application=application)
    workload.images.add(image)
    compute()
    assert list(rows()) == ["admit"]


def told(person: Person) -> list[dict[str, Any]]:
    return [row.facts for n in Notice.objects.filter(user=person, kind="gate-turning") for row in n.lines.all()]


def test_the_owners_are_told_a_week_and_a_day_before(
    accepted: Any, repository: Any, developer: Person, viewer: Person, stranger: Person
) -> None:
    compute()
    end = accepted.expires_at
    assert tell(end - timedelta(days=9)) == 0
    assert tell(end - timedelta(days=6)) == 2
    assert tell(end - timedelta(days=5)) == 0
    assert tell(end - timedelta(hours=20)) == 2
    assert tell(end + timedelta(hours=1)) == 0
    first, second = told(developer)
    assert first["what"] == second["what"] == f"shop/api from {end:%A}, {end.day} {end:%B} on"
    assert first["note"] == "1 decision ends: CVE-2026-7001"
    assert "build" in first["where"]
    assert told(viewer) == told(developer)
    assert told(stranger) == []
    assert developer.client.get(first["url"]).status_code == 200


def test_the_days_are_the_operators_to_choose(accepted: Any, developer: Person, settings: Any) -> None:
    settings.FORECAST_DAYS = [3]
    compute()
    assert tell(accepted.expires_at - timedelta(days=6)) == 0
    assert tell(accepted.expires_at - timedelta(days=2)) == 1


def test_the_page_and_the_api_say_when_and_why_to_who_may_see_it(
    accepted: Any, developer: Person, stranger: Person, reviewer: Person
) -> None:
    compute()
    for person in (developer, reviewer):
        found = {row["stage"]: row for row in person.api.get("/api/v1/forecast/").json()["results"]}
        assert found["build"]["because"] == "1 decision ends: CVE-2026-7001"
        assert [d["id"] for d in found["build"]["decisions"]] == [accepted.pk]
        assert found["build"]["rules"][0]["message"]
        assert "CVE-2026-7001" in person.client.get("/forecast/").content.decode()
    assert stranger.api.get("/api/v1/forecast/").json()["results"] == []
    assert "CVE-2026-7001" not in stranger.client.get("/forecast/").content.decode()
    assert developer.api.get("/api/v1/forecast/?days=7").json()["results"] == []


def test_the_forecast_costs_the_same_however_long_it_is(
    accepted: Any, estate: Estate, application: Any, reviewer: Person
) -> None:
    numbers = count(1)
    turn_of = {"stage": "build", "rules": [["r", "m"]], "decision_ids": [accepted.pk], "flaws": ["CVE-2026-1"]}

    def grow() -> None:
        now = timezone.now()
        repository = estate.repository(f"shop/more-{next(numbers)}", application)
        image = estate.image(repository, [], at=now)
        Turn.objects.create(repository=repository, image=image, at=now + timedelta(days=2), computed_at=now, **turn_of)

    assert_constant_queries(grow, ["/forecast/"], reviewer.client.get)
    assert_constant_queries(grow, ["/api/v1/forecast/"], reviewer.api.get)
