"""Whether sensors are heard where an application runs, and the log is kept: kept, missing, not measured."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.measuring import DAY, NOW, names_behind, outcome, outcomes, run

pytestmark = pytest.mark.django_db


def sensor(cluster: str, **columns: Any) -> None:
    from secguard.events.models import Sensor

    number = Sensor.objects.count()
    values = {"heard_at": NOW - timedelta(hours=1)} | columns
    Sensor.objects.create(name=f"s{number}", token_hash=f"{number:064}", cluster=cluster, **values)


def test_nothing_is_measured_where_nothing_runs(application: Any, other_application: Any) -> None:
    sensor("prod")
    run(application, gone_at=NOW)
    run(other_application)
    assert [o.state for o in outcomes("sensors-heard", [application, other_application])] == ["unmeasured", "kept"]


def test_a_sensor_of_each_cluster_is_heard_within_a_day(
    application: Any, other_application: Any, viewer: Any, stranger: Any
) -> None:
    sensor("prod")
    run(application)
    found = outcome("sensors-heard", application)
    assert (found.state, found.changes_at) == ("kept", NOW + timedelta(hours=23))
    assert outcome("sensors-heard", application, NOW + timedelta(hours=23)).state == "missing"
    silent = run(application, cluster="edge")
    run(other_application)
    ours, theirs = outcomes("sensors-heard", [application, other_application])
    assert (ours.state, theirs.state) == ("missing", "kept")
    assert ours.says == "1 of 2 workloads: in a cluster of which no sensor was heard within a day."
    assert silent.name in names_behind(viewer, ours.links[0][1], "Workload")
    assert names_behind(stranger, ours.links[0][1], "Workload") == []


@pytest.mark.parametrize(
    "columns", [{"heard_at": None}, {"heard_at": NOW - DAY}, {"is_active": False}, {"takes_events": False}]
)
def test_a_sensor_that_is_silent_stopped_or_of_flows_alone_is_none(application: Any, columns: dict[str, Any]) -> None:
    sensor("prod", **columns)
    run(application)
    assert outcome("sensors-heard", application).state == "missing"


def test_of_which_cluster_a_sensor_without_one_tells_is_not_known(application: Any) -> None:
    sensor("")
    run(application)
    found = outcome("sensors-heard", application)
    assert (found.state, found.changes_at) == ("unmeasured", NOW + timedelta(hours=23))


def test_the_log_is_kept_in_full_for_a_year(application: Any, reviewer: Any) -> None:
    from secguard.events.models import Retention

    found = outcome("log-retained", application)
    assert (found.state, "400 days" in found.says) == ("kept", True)
    assert reviewer.client.get(found.links[0][1]).status_code == 200
    Retention.objects.create(kind="process", days=30)
    assert outcome("log-retained", application).state == "kept"
    Retention.objects.create(kind="gate", days=364)
    found = outcome("log-retained", application)
    assert (found.state, found.says) == ("missing", "Kept in full for fewer than 365 days: gate 364 days.")
