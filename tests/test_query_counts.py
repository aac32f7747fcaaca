"""The API's lists and documents: the same number of queries whatever the number of rows."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.dashboards.conftest import Organisation, organisation  # noqa: F401 - the fixture
from tests.dashboards.test_queries import assert_constant_queries
from tests.fixtures_reports import digest

pytestmark = pytest.mark.django_db

IMAGE = digest(12)
LISTS = (
    "images/", "repositories/", "findings/", "risks/", "scans/", "decisions/", "policies/", "policy-versions/",
    "absences/",
    "workloads/", "users/", "memberships/", "teams/", "applications/", "tokens/", "audit/", "audit/checkpoints/",
    "appetite/",
    "ci-identities/", "sessions/", "second-factors/",
    "registries/", "signing-keys/", "trusted-keys/", "feeds/", "imports/", "advisories/", "exposures/", "evaluations/",
    f"images/{IMAGE}/", f"images/{IMAGE}/findings/", f"images/{IMAGE}/components/", f"images/{IMAGE}/difference/",
    f"images/{IMAGE}/verdict/", f"images/{IMAGE}/signatures/", "images/?search=service", "risks/?search=openssl",
    "notifications/", "advisories/PYSEC-2026-1/affected/", "clusters/", "admission-decisions/", "break-glass/",
    "trackers/", "issues/", "export-targets/",
    "incidents/", "expectations/",
    "channels/", "forecast/", "environments/", "promotions/", f"images/{IMAGE}/history/", f"images/{IMAGE}/passport/",
    "simulations/", "vex-documents/", "vex-authors/", f"images/{IMAGE}/verdict/?at=2026-01-01T00:00:00Z",
)  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_the_api_asks_the_same_number_of_queries_at_any_size(
    path: str,
    organisation: Organisation,  # noqa: F811
    application: Any,
) -> None:
    api = organisation.people["reviewer" if path == "notifications/" else "administrator"].api
    assert_constant_queries(lambda: organisation.grow(application), [f"/api/v1/{path}"], api.get)


@pytest.mark.parametrize(
    "path",
    ["/compliance/frameworks/", "/compliance/frameworks/own-rules/", "/compliance/frameworks/own-rules/?on={day}",
     "/compliance/frameworks/own-rules/controls/1.1/", "/compliance/frameworks/own-rules/controls/1.1/?on={day}",
     "/api/v1/compliance/frameworks/own-rules/report/"],
)  # fmt: skip
def test_frameworks_ask_the_same_number_of_queries_at_any_size(
    path: str, application: Any, reviewer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from secguard.compliance import services
    from secguard.compliance.models import FrameworkVersion
    from tests.compliance.texts import SMALL

    def grow() -> None:
        """Two more applications, measured now and on the day before."""
        from secguard.accounts.models import Application

        for _ in range(2):
            n = Application.objects.count()
            Application.objects.create(
                name=f"{n}", slug=f"{n}", team=application.team, created_at=timezone.now() - timedelta(days=3)
            )
        for days in (1, 0):
            services.measure_everything(timezone.now() - timedelta(days=days))
            services.keep_days(timezone.now() - timedelta(days=days))

    monkeypatch.setattr("secguard.compliance.services.frameworks.shipped", dict)
    services.make_framework(SMALL, actor=reviewer)
    FrameworkVersion.objects.update(valid_from=timezone.now() - timedelta(days=9))
    day = f"{timezone.now() - timedelta(days=1):%Y-%m-%d}"
    assert_constant_queries(grow, [path.format(day=day)], reviewer.client.get)


@pytest.mark.parametrize("path", ["/planning/", "/planning/?waiting=true", "/planning/templates/"])
def test_planning_asks_the_same_number_of_queries_at_any_size(
    path: str, application: Any, developer: Any, reviewer: Any
) -> None:
    assert_constant_queries(lambda: _plan(application.team, developer), [path], reviewer.client.get)


def _plan(team: Any, developer: Any) -> None:
    """One more application with a checklist, a request that waits, and one more without; a template more."""
    from secguard.accounts.models import Application
    from secguard.planning import services
    from secguard.planning.models import PlanningTemplate

    n = Application.objects.count()
    one, _ = (Application.objects.create(name=f"{n}-{i}", slug=f"{n}-{i}", team=team) for i in (1, 2))
    services.choose_template(one.pk, "containers", actor=developer)
    services.ask_for_waiver(one.pk, "threats-modelled", "It holds nothing.", None, actor=developer)
    source = services.ensure_shipped().source.replace("name: containers", f"name: own-{n}")
    PlanningTemplate.objects.create(name=f"own-{n}", version=1, title="Own", source=source)


def test_a_checklist_asks_the_same_number_of_queries_whatever_was_said(
    application: Any, developer: Any, reviewer: Any
) -> None:
    from secguard.planning import services

    services.choose_template(application.pk, "containers", actor=developer)
    asked = [r.id for r in services.ensure_shipped().parsed.requirements if not r.check]

    def say() -> None:
        for _ in range(2):
            one = asked.pop()
            for text in ("Once.", "And again."):
                services.answer(application.pk, one, services.Said(is_kept=True, text=text), actor=developer)
            services.ask_for_waiver(application.pk, one, "It holds nothing.", None, actor=developer)

    assert_constant_queries(say, [f"/applications/{application.slug}/checklist/"], reviewer.client.get)


@pytest.mark.parametrize(
    "path",
    ["/network/", "/network/?namespace=shop&cluster=prod", "/network/edges/", "/network/policies/",
     "/api/v1/network/edges/", "/api/v1/network/policies/", "/api/v1/network/map/",
     "/network/segments/", "/network/rules/", "/network/segments/{segment}/", "/api/v1/network/segments/",
     "/api/v1/network/rules/", "/api/v1/network/matrix/"],
)  # fmt: skip
def test_the_network_asks_the_same_number_of_queries_at_any_size(
    path: str, application: Any, operator: Any, reviewer: Any
) -> None:
    from django.utils import timezone

    from secguard.network.lifecycle import ProposalEvent
    from secguard.network.policy import Form
    from secguard.network.segmentation import Effect
    from secguard.network.services import judging, proposing, ruling, segments
    from tests.network.conftest import Estate as Network

    made = Network()
    first = segments.create(segments.SegmentEdit("All", [{"namespace": "*"}]), None, actor=operator)
    end = f"application:{application.slug}"

    def speak() -> None:
        n = made.cluster.workloads.count()
        edit = segments.SegmentEdit(f"Segment {n}", [{"namespace": f"other-{n}"}])
        other = segments.create(edit, None, actor=operator)
        for one in (other, first):
            edit_rule = ruling.RuleEdit(end, f"segment:{one.pk}", f"tcp/{n + 1}", Effect.ALLOW, "It has to.")
            ruling.ask(edit_rule, actor=operator)
        web, db = made.workload(f"shop/web-{n}", application), made.workload(f"other-{n}/db", application)
        made.edge(web, db)
        made.edge(web, made.outside(f"{n}.example.org"))
        asked = proposing.propose(proposing.About(Form.KUBERNETES, web.pk), "", actor=operator)
        proposing.decide(asked.pk, ProposalEvent.APPROVE, actor=reviewer)
        judging.judge_all(timezone.now())

    client = reviewer.api if path.startswith("/api/") else reviewer.client
    assert_constant_queries(speak, [path.format(segment=first.pk)], client.get)


def test_reach_asks_the_same_number_of_queries_at_any_size(application: Any, reviewer: Any) -> None:
    from tests.network.conftest import Estate as Network

    made = Network()
    start = made.workload("shop/start", application)

    def speak() -> None:
        n = made.cluster.workloads.count()
        made.edge(start, made.workload(f"shop/db-{n}", application))

    speak()
    assert_constant_queries(speak, [f"/network/reach/{start.pk}/"], reviewer.client.get)
