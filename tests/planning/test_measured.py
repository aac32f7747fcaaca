"""Every measured check: registered, asked for many applications at once, and named by the shipped template as it is."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.measuring import NOW, countings, every, find_in, image_in, repository_of, run, scan_of

pytestmark = pytest.mark.django_db


def test_each_check_is_registered_by_its_app() -> None:
    from secguard.planning.checks import CHECKS
    from secguard.planning.counting import COUNTED

    assert every().keys() <= CHECKS.keys()
    assert countings().keys() == COUNTED.keys()
    assert all(check.name == name and check.about for name, check in CHECKS.items())


@pytest.fixture
def applications(make_team: Any, make_application: Any) -> list[Any]:
    """Twenty of as many teams, each with images, workloads and findings."""
    from secguard.admission.models import AdmissionDecision, ClusterGate
    from secguard.events.models import Sensor
    from secguard.images.models import Index, IndexImage
    from secguard.incidents.models import Incident
    from secguard.network.models import Applied, Heard, Peer
    from secguard.runtime.models import Baseline
    from secguard.workloads.models import Cluster, Container

    made, now = [], timezone.now()
    at: dict[str, Any] = {"first_at": now, "last_at": now}
    for number in range(20):
        application = make_application(f"Application {number}", make_team(f"Team {number}"))
        base = image_in(repository_of(application))
        image = image_in(repository_of(application), built_at=NOW, base_image=base)
        scan_of(image, "vulnerability", "secret")
        find_in(image, "secret")
        name = f"cluster-{number}"
        workload = run(application, image, cluster=name, restrictions=["non-root"], listed_at=now)
        cluster = Cluster.objects.get(name=name)
        ClusterGate.objects.create(cluster=cluster, token_hash=f"{number:064}", heard_at=now)
        Container.objects.create(workload=workload, cluster=cluster, pod="p", name="c", image=image, seen_at=now)
        index = Index.objects.create(digest=f"sha256:{number:064}")
        IndexImage.objects.create(index=index, image=image, platform="linux/amd64")
        AdmissionDecision.objects.create(
            key=f"{number}", cluster=cluster, image=image, outcome="allowed", mode="enforce", **at
        )
        Sensor.objects.create(name=name, cluster=name, token_hash=f"{number:064}", heard_at=now)
        Heard.objects.create(cluster=name, since=now, last_at=now, policies_at=now)
        Peer.objects.create(sort="workload", cluster=name, namespace="shop", name="w", workload=workload, **at)
        Applied.objects.create(
            cluster=name, namespace="shop", name="deny", form="kubernetes", first_at=now, reported_at=now,
            document={"kind": "NetworkPolicy", "metadata": {"name": "deny", "namespace": "shop"},
                      "spec": {"podSelector": {"matchLabels": {"app": "web"}}}},
        )  # fmt: skip
        Baseline.objects.create(image=image, learning_since=now)
        Incident.objects.create(key=name, line="l", application=application, technique="x", kind="process", **at)
        made.append(application)
    return made


def test_the_same_number_of_statements_for_one_application_and_for_twenty(applications: list[Any]) -> None:
    """And few of them: no check costs more than eight."""
    more = {}
    for name, check in every().items():
        counts = []
        for several in (applications[:1], applications):
            with CaptureQueriesContext(connection) as asked:
                found = check.ask([a.pk for a in several], NOW)
            assert set(found) == {a.pk for a in several}, name
            counts.append(len(asked))
        if counts[0] != counts[1] or counts[1] > 8:
            more[name] = counts
    assert not more


def test_nothing_is_kept_for_an_application_that_has_nothing(application: Any, administrator: Any) -> None:
    """What is about people and documents alone is measured all the same; nothing else is."""
    of_people = {"owner-known", "second-factors", "team-told", "approvers-enough", "appetite-in-force", "audit-chained"}
    of_people |= {"audit-checkpointed", "events-exported", "log-retained"}
    states = {name: check.ask([application.pk], NOW)[application.pk].state for name, check in every().items()}
    assert {name for name, state in states.items() if state != "unmeasured"} <= of_people


def test_no_applications_are_no_outcomes() -> None:
    assert all(check.ask([], NOW) == {} for check in every().values())
