"""The landscape: every mark leads to as many rows as it speaks of; the job counts every application, and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from secguard.dashboards.models import ApplicationLandscape
from secguard.dashboards.services import count_all
from secguard.dashboards.stages import Stage, State
from secguard.dashboards.views.landscape import lights_of
from secguard.findings.severity import Severity
from tests.dashboards.test_views import overdue, rows_behind, text_of
from tests.incidents.conftest import event, take
from tests.network.conftest import Estate

pytestmark = pytest.mark.django_db


@pytest.fixture
def grown(organisation: Any, application: Any) -> Any:
    """Two workloads in one cluster that asks, of images that were judged and scanned a moment ago."""
    from secguard.admission.models import AdmissionDecision, ClusterGate
    from secguard.images.models import Image, Repository
    from secguard.workloads.models import Cluster

    for _ in range(2):
        organisation.grow(application)
    Image.objects.update(last_scanned_at=timezone.now())
    ClusterGate.objects.create(cluster=Cluster.objects.get(name="production"), token_hash="0" * 64)
    AdmissionDecision.objects.update(repository=Repository.objects.order_by("pk")[0], outcome="allowed")
    return organisation


def blocked_at_admission(block: bool = True) -> None:
    from secguard.images.models import Image
    from secguard.policies.models import Verdict
    from secguard.policies.services import verdict_of

    for image in Image.objects.exclude(workloads=None):
        verdict_of(image, "admit")
    Verdict.objects.filter(stage="admit").update(verdict="pass")
    if block:
        image = Image.objects.exclude(workloads=None).order_by("pk")[0]
        Verdict.objects.filter(stage="admit", image=image).update(verdict="block")


def answered(outcome: str) -> None:
    from secguard.admission.models import AdmissionDecision

    AdmissionDecision.objects.filter(pk=AdmissionDecision.objects.order_by("-pk")[0].pk).update(outcome=outcome)


def not_scanned() -> None:
    from secguard.images.models import Image

    old = Image.objects.exclude(workloads=None).order_by("pk")[0]
    Image.objects.filter(pk=old.pk).update(last_scanned_at=timezone.now() - timedelta(days=30))


def unknown_digest() -> None:
    from secguard.workloads.models import Container, Workload

    workload = Workload.objects.order_by("pk")[0]
    Container.objects.create(
        cluster=workload.cluster, workload=workload, namespace="shop", pod="p", name="c", digest="sha256:" + "0" * 64,
        seen_at=timezone.now(),
    )  # fmt: skip


def not_promoted() -> None:
    from secguard.admission.models import ClusterGate

    ClusterGate.objects.filter(cluster__name="production").update(environment="stage-1")


def seen(severity: Severity, rule: str) -> None:
    """One incident of the shop's first workload."""
    from secguard.events.models import Sensor

    sensor, _ = Sensor.objects.get_or_create(name="falco", cluster="production", token_hash="1" * 64)
    take(sensor, [event(rule=rule, severity=severity, workload="service-1", mitre=(rule,))], timezone.now())


def spoke(**columns: Any) -> None:
    """A workload of the application to another one of it."""
    from secguard.accounts.models import Application

    estate = Estate(f"cluster-of-{columns.get('anomaly', 'new')}")
    shop = Application.objects.get(slug="shop")
    ends = [estate.workload(f"shop/{name}", shop) for name in ("web", "db")]
    estate.edge(*ends, **columns)


def tomorrow() -> Any:
    return timezone.now() + timedelta(days=1)


STEPS: list[tuple[Callable[[], object], Stage, State, str, int]] = [
    (lambda: None, Stage.JUDGE, State.BAD, "blocked", 2),
    (lambda: overdue(3), Stage.JUDGE, State.BAD, "overdue", 3),
    (lambda: blocked_at_admission(False), Stage.ADMIT, State.GOOD, "", 0),
    (lambda: answered("denied"), Stage.ADMIT, State.ATTENTION, "refused", 1),
    (blocked_at_admission, Stage.ADMIT, State.BAD, "would_not_start", 1),
    (lambda: answered("broken-glass"), Stage.ADMIT, State.BAD, "broken_glass", 1),
    (lambda: None, Stage.RUN, State.GOOD, "", 0),
    (not_scanned, Stage.RUN, State.ATTENTION, "not_scanned", 1),
    (lambda: seen(Severity.LOW, "T1059"), Stage.RUN, State.ATTENTION, "incidents", 1),
    (unknown_digest, Stage.RUN, State.BAD, "unknown", 1),
    (not_promoted, Stage.RUN, State.BAD, "not_promoted", 2),
    (lambda: seen(Severity.CRITICAL, "T1071"), Stage.RUN, State.BAD, "severe_incidents", 1),
    (lambda: spoke(new_until=tomorrow()), Stage.TALK, State.ATTENTION, "new_edges", 1),
    (lambda: spoke(anomaly="ports", anomaly_at=timezone.now()), Stage.TALK, State.BAD, "odd_edges", 1),
]
"""One thing more goes wrong at each; what weighs most of a stage is what its mark says."""


def test_every_mark_leads_to_as_many_rows_as_it_speaks_of(grown: Any, application: Any) -> None:
    client = grown.people["administrator"].client
    for go_wrong, stage, state, behind, count in STEPS:
        go_wrong()
        count_all(timezone.now())
        row = ApplicationLandscape.objects.get(application=application)
        light = next(light for light in lights_of(row) if light.stage == stage)
        assert (light.state, row.behind.get(stage.value, "")) == (state, behind), (stage, light.why)
        if behind:
            assert light.why.startswith(f"{count} "), light.why
            assert rows_behind(client, light.url) == count, light.url
    assert row.incidents == 2
    page = text_of(client.get("/landscape/"))
    assert 'href="/incidents/all/?application=shop">2 incidents</a>' in page


def test_whose_application_it_is_sees_it_and_nobody_else(grown: Any, stranger: Any) -> None:
    count_all(timezone.now())
    assert "/applications/shop/" in text_of(grown.people["developer"].client.get("/landscape/"))
    for query in ("", "?application=shop", "?team=payments", "?format=csv", "?q=shop"):
        page = text_of(stranger.client.get(f"/landscape/{query}"))
        for secret in ("/applications/shop/", "Shop<", "Shop,", "Payments"):
            assert secret not in page, (query, secret)


def test_the_job_says_the_same_twice_and_asks_the_same_at_any_size(organisation: Any, application: Any) -> None:
    """Its row of an application is written over, and that of one that is gone goes with it."""
    from secguard.accounts.models import Application

    organisation.grow(application)
    with asked() as few:
        count_all(timezone.now())
    rows = dict(ApplicationLandscape.objects.values_list("application", "words"))
    count_all(timezone.now())
    assert dict(ApplicationLandscape.objects.values_list("application", "words")) == rows
    organisation.grow(application)
    organisation.grow(application)
    with asked() as many:
        counted = count_all(timezone.now())
    assert (counted, len(many)) == (Application.objects.count(), len(few))
    Application.objects.filter(slug="application-1").delete()
    assert ApplicationLandscape.objects.count() == Application.objects.count()


@contextmanager
def asked() -> Iterator[CaptureQueriesContext]:
    with CaptureQueriesContext(connection) as captured:
        yield captured


def test_a_worker_that_dies_half_way_leaves_what_was_counted_before(
    grown: Any, application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db.models import QuerySet

    count_all(timezone.now() - timedelta(minutes=10))
    before = list(ApplicationLandscape.objects.order_by("pk").values())
    write = QuerySet.bulk_create

    def die(*args: Any, **kwargs: Any) -> None:
        write(*args, **kwargs)
        raise SystemExit

    monkeypatch.setattr(QuerySet, "bulk_create", die)
    with pytest.raises(SystemExit):
        count_all(timezone.now())
    assert list(ApplicationLandscape.objects.order_by("pk").values()) == before
