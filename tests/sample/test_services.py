"""Loading and removing the sample: all of it comes, all of it goes, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.audit import services as audit
from secguard.errors import Conflict, NotAllowed
from tests.fixtures_reports import digest, flaw, report

pytestmark = pytest.mark.django_db
Counts = Callable[[], dict[str, int]]


def quiet(text: str, done: int, total: int) -> None:
    """Nobody looks at the progress."""


def test_it_comes_whole_and_goes_whole_beside_real_data(
    counts: Counts, real: Any, administrator: Any, reviewer: Any
) -> None:
    from secguard.accounts.models import User
    from secguard.audit.models import AuditEntry
    from secguard.dashboards.models import DailyFigure
    from secguard.decisions.models import Decision
    from secguard.findings.models import Exposure
    from secguard.images.models import Image
    from secguard.policies.models import Verdict
    from secguard.sample import services
    from secguard.workloads.models import Workload

    before = counts()
    mine = list(Exposure.objects.order_by("pk").values())
    verdicts = list(Verdict.objects.order_by("pk").values("image_id", "stage", "verdict"))
    services.load(actor=administrator, progress=quiet)
    with pytest.raises(Conflict) as refusal:
        services.load(actor=administrator, progress=quiet)
    assert refusal.value.code == "sample-loaded"
    assert Image.objects.filter(is_sample=True).count() > 140
    assert not Image.objects.get(digest=digest(1)).is_sample
    assert set(Decision.objects.values_list("status", flat=True)) == {
        "requested", "approved", "rejected", "withdrawn", "revoked", "ended",
    }  # fmt: skip
    assert set(Decision.objects.values_list("kind", flat=True)) == {"fix", "mitigate", "accept", "not_affected"}
    assert set(Decision.objects.values_list("scope_kind", flat=True)) == {
        "image", "repository", "application", "organisation",
    }  # fmt: skip
    assert {"its end came", "a fix appeared"} <= set(Decision.objects.values_list("end_reason", flat=True))
    soon = timezone.now() + timedelta(days=7)
    assert Decision.objects.in_force(timezone.now()).filter(expires_at__lte=soon).exists()
    teams = DailyFigure.objects.exclude(team_id=0).values("team_id").distinct().count()
    assert teams == 4
    assert 0 < Workload.objects.with_data().count() < Workload.objects.count()
    # A real reviewer votes on a sample request: it hangs on sample rows, and goes with them.
    from secguard.decisions import services as decisions

    waiting = Decision.objects.waiting().first()
    assert waiting is not None
    decisions.reject(waiting.pk, comment="Not here.", actor=reviewer)

    services.remove(actor=administrator)
    after = counts()

    assert {k: (before[k], n) for k, n in after.items() if n != before[k]} == {}
    assert list(Exposure.objects.order_by("pk").values()) == mine
    assert list(Verdict.objects.order_by("pk").values("image_id", "stage", "verdict")) == verdicts
    assert not User.objects.filter(is_sample=True).exists()
    actions = set(AuditEntry.objects.filter(actor="administrator").values_list("action", flat=True))
    assert {"sample:load", "sample:remove"} <= actions
    assert audit.verify().fault is None
    with pytest.raises(Conflict):
        services.remove(actor=administrator)


@pytest.fixture
def real(developer: Any, application: Any, run_jobs: Callable[[], int]) -> Any:
    """A real image with a finding, posted as ever; frameworks are those that come along."""
    from secguard.compliance import services as compliance

    compliance.ensure_shipped()
    image = {"reference": "reg.example/shop/web:1", "digest": digest(1)}
    raw = report(flaw("CVE-2026-0001", severity="critical", fixed_versions=["2"]), image=image)
    answer = developer.api.post("/api/v1/reports/", data=raw, content_type="application/json")
    assert answer.status_code in (200, 202), answer.content
    run_jobs()
    return answer


def test_what_broke_off_is_cleared_before_it_is_loaded_anew(loaded: str, administrator: Any) -> None:
    from secguard.images.models import Image
    from secguard.sample import queries, services
    from secguard.workloads.models import Cluster

    Cluster.objects.filter(is_sample=True).delete()
    assert queries.standing() is queries.Standing.PARTIAL
    assert "removed" in services.remove(actor=administrator)
    assert queries.standing() is queries.Standing.ABSENT
    assert not Image.objects.exists()


def test_real_things_that_were_given_to_the_sample_stay(loaded: str, administrator: Any, make_person: Any) -> None:
    from secguard.accounts.models import Application, Team, User
    from secguard.approvals.models import ApprovalRequest, Vote
    from secguard.images.models import Registry, Repository
    from secguard.sample import services

    sample = Application.objects.filter(is_sample=True).select_related("team")[0]
    own = Application.objects.create(name="Own", slug="own", team=sample.team)
    registry = Registry.objects.create(host="reg.example")
    repository = Repository.objects.create(registry=registry, path="a", name="reg.example/a", application=sample)
    asker = make_person("asker", "developer")
    request = ApprovalRequest.objects.create(requester=asker, required={"security-reviewer": 1})
    voter = User.objects.get(username="sample.nora")
    Vote.objects.create(request=request, voter=voter, roles=["security-reviewer"], choice="approve")

    words = services.remove(actor=administrator)
    repository.refresh_from_db()
    voter.refresh_from_db()
    assert repository.application is None
    assert Team.objects.get(pk=own.team_id).is_sample is False
    assert not voter.is_active
    assert f"team {own.team.name}" in words
    assert "sample.nora" in words
    assert Vote.objects.filter(request=request).exists()


@pytest.mark.parametrize("who", ["viewer", "developer", "operator", "reviewer", "business_approver", "stranger"])
def test_only_who_may_load_the_sample_does(who: str, request: pytest.FixtureRequest) -> None:
    from secguard.accounts.models import Team
    from secguard.sample import services

    person = request.getfixturevalue(who)
    teams = Team.objects.count()
    for attempt in (
        lambda: services.load(actor=person, progress=quiet),
        lambda: services.remove(actor=person),
        lambda: services.ask_to_load(actor=person),
        lambda: services.ask_to_remove(actor=person),
    ):
        with pytest.raises(NotAllowed):
            attempt()
    assert person.api.post("/api/v1/sample/").status_code == 403
    assert person.api.delete("/api/v1/sample/").status_code == 403
    assert person.client.post("/sample/", {"act": "load"}).status_code == 403
    assert Team.objects.count() == teams


def test_page_api_and_jobs(administrator: Any, run_jobs: Callable[[], int]) -> None:
    from secguard.jobs.models import Job

    assert b"Load the sample" in administrator.client.get("/sample/").content
    answer = administrator.client.post("/sample/", {"act": "load"})
    assert (answer.status_code, answer["Location"]) == (303, "/sample/")
    assert b"waiting for a worker" in administrator.client.get("/sample/", headers={"HX-Request": "true"}).content
    assert administrator.api.delete("/api/v1/sample/").status_code == 409
    run_jobs()
    assert Job.objects.get(kind="sample.load").status == "succeeded"
    assert b"Remove the sample" in administrator.client.get("/sample/").content
    assert "Sample data is loaded" in administrator.client.get("/").content.decode()
    assert administrator.api.post("/api/v1/sample/").status_code == 409
    assert administrator.api.get("/api/v1/sample/").json()["state"] == "loaded"
    assert administrator.api.delete("/api/v1/sample/").status_code == 202
    run_jobs()
    assert administrator.api.get("/api/v1/sample/").json()["state"] == "absent"
    assert administrator.client.post("/sample/", {"act": "sell"}).status_code == 422
