"""Whether a system outside is sent what happens: kept, missing, not measured; never by another team's target."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.measuring import NOW, outcome, outcomes

pytestmark = pytest.mark.django_db


def target(*, teams: Any = (), applications: Any = (), **columns: Any) -> Any:
    from secguard.exports.models import ExportTarget

    values = {"is_wide": not (teams or applications), "sent_at": NOW, "name": f"t{ExportTarget.objects.count()}"}
    made = ExportTarget.objects.create(
        sink="webhook",
        format="json",
        host="siem.example",
        sealed_url="x",
        sealed_secret="x",
        position_day=NOW.date(),
        **values | columns,
    )
    made.teams.set(teams)
    made.applications.set(applications)
    return made


def test_nothing_that_is_sent_is_missing(application: Any, administrator: Any) -> None:
    found = outcome("events-exported", application)
    assert (found.state, found.says) == ("missing", "Nothing is sent to a system outside, such as a SIEM.")
    assert administrator.client.get(found.links[0][1]).status_code == 200


def test_a_target_of_the_team_or_of_the_application_is_its_own(
    application: Any, other_application: Any, team: Any, make_application: Any
) -> None:
    sister = make_application("Sister", team)
    ours = target(applications=[application])
    several = [application, sister, other_application]
    assert [o.state for o in outcomes("events-exported", several)] == ["kept", "missing", "missing"]
    ours.teams.set([team])
    assert [o.state for o in outcomes("events-exported", several)] == ["kept", "kept", "missing"]
    target()
    found = outcomes("events-exported", several)
    assert [o.says[:6] for o in found] == ["2 of 2", "2 of 2", "1 of 1"]


@pytest.mark.parametrize(
    ("columns", "state"),
    [
        ({"sent_at": None}, "unmeasured"),
        ({"state": "paused"}, "missing"),
        ({"state": "stalled", "reason": "refused"}, "missing"),
        ({"waiting": 3, "waiting_since": NOW - timedelta(hours=1)}, "missing"),
        ({"waiting": 3, "waiting_since": NOW - timedelta(minutes=59)}, "kept"),
    ],
)
def test_only_one_that_takes_what_it_is_sent_counts(application: Any, columns: dict[str, Any], state: str) -> None:
    target(**columns)
    assert outcome("events-exported", application).state == state
