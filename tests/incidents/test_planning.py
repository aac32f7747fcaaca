"""Whether incidents are looked at in time: kept, missing, not measured; never another team's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.measuring import DAY, names_behind, outcome, outcomes, run

pytestmark = pytest.mark.django_db


def incident(application: Any, **columns: Any) -> Any:
    from secguard.incidents.models import Incident

    number, now = Incident.objects.count(), timezone.now()
    values = {"created_at": now - 2 * DAY, "title": f"Incident {number}"} | columns
    return Incident.objects.create(
        key=f"k{number}", line="l", application=application, technique="T1059", kind="process", place="x",
        first_at=now, last_at=now, **values,
    )  # fmt: skip


def hear(cluster: str = "prod") -> None:
    from secguard.events.models import Sensor

    Sensor.objects.create(name=cluster, token_hash=f"{cluster:>064}", cluster=cluster, heard_at=timezone.now())


def test_that_there_is_none_says_something_only_where_a_sensor_is_heard(
    application: Any, other_application: Any
) -> None:
    run(application)
    run(other_application, cluster="elsewhere")
    hear("elsewhere")
    found = outcomes("incidents-answered", [application, other_application], timezone.now())
    assert [o.state for o in found] == ["unmeasured", "kept"]
    assert found[1].says == "No incident waits, and sensors tell of all that runs."
    assert found[1].changes_at is not None


def test_somebody_looks_at_each_within_a_day(
    application: Any, other_application: Any, reviewer: Any, stranger: Any
) -> None:
    now = timezone.now()
    hear()
    run(application)
    run(other_application)
    incident(application, status="acknowledged")
    incident(application, status="closed")
    young = incident(application, created_at=now - timedelta(hours=2))
    found = outcome("incidents-answered", application, now)
    assert (found.state, found.says) == ("kept", "All 2 incidents: looked at, or not a day old.")
    assert outcome("incidents-answered", application, young.created_at + DAY).state == "missing"
    bad = incident(application)
    incident(other_application, status="acknowledged")
    ours, theirs = outcomes("incidents-answered", [application, other_application], now)
    assert (ours.state, theirs.state) == ("missing", "kept")
    assert ours.says == "1 of 3 incidents: that nobody looked at for a day."
    assert names_behind(reviewer, ours.links[0][1], "Incident") == [bad.title]
    assert names_behind(stranger, ours.links[0][1], "Incident") == []
