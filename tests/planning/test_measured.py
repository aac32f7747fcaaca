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
    from secguard.admission.models import ClusterGate
    from secguard.workloads.models import Cluster

    made = []
    for number in range(20):
        application = make_application(f"Application {number}", make_team(f"Team {number}"))
        image = image_in(repository_of(application), built_at=NOW)
        scan_of(image, "vulnerability", "secret")
        find_in(image, "secret")
        run(application, image, cluster=f"cluster-{number}", restrictions=["non-root"], listed_at=timezone.now())
        cluster = Cluster.objects.get(name=f"cluster-{number}")
        ClusterGate.objects.create(cluster=cluster, token_hash=f"{number:064}", heard_at=timezone.now())
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
