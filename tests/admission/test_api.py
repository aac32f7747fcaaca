"""Clusters and what they were answered, over REST."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from secguard.admission.models import ClusterGate
from secguard.audit.models import AuditEntry
from tests.admission.conftest import BAD, GOOD, UNKNOWN
from tests.fixtures_people import Person
from tests.fixtures_reports import digest

pytestmark = pytest.mark.django_db
PATH = "/api/v1/clusters/"
KEPT = "/api/v1/admission-decisions/"


def test_a_cluster_from_its_first_day_to_its_second_token(operator: Person) -> None:
    made = operator.api.post(PATH, {"name": "prod", "kind": "datacenter", "mode": "warn"})
    assert made.status_code == 201, made.content
    assert (made.json()["mode"], made.json()["has_token"], made.json()["effects"]["privileged"]) == (
        "warn",
        False,
        "warn",
    )
    own = f"{PATH}{made.json()['id']}/"
    first, second = (operator.api.post(f"{own}token/").json()["token"] for _ in range(2))
    assert first != second
    assert operator.api.get(own).json()["has_token"]
    assert first not in operator.api.get(own).content.decode()
    assert [e.details for e in AuditEntry.objects.filter(action="cluster:edit")] == [{"token": "renewed"}] * 2


def test_settings_are_changed_and_written_down(operator: Person) -> None:
    own = f"{PATH}{operator.api.post(PATH, {'name': 'prod'}).json()['id']}/"
    changes = {
        "mode": "observe",
        "namespaces": {"team-*": "enforce"},
        "effects": {"privileged": "block"},
        "paths": {"example.org/Batch": ["spec.jobs[].pod"]},
        "requires_digest": False,
        "kind": "laptop",
    }
    changed = operator.api.patch(own, changes).json()
    assert changed["effects"].pop("privileged") == "block"
    assert set(changed.pop("effects").values()) == {"warn", "off"}
    assert {name: changed[name] for name in changes if name != "effects"} == {
        name: value for name, value in changes.items() if name != "effects"
    }
    entry = AuditEntry.objects.get(action="cluster:edit")
    assert (entry.subject, entry.details) == ("prod", changes)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"mode": "off"}, "mode"),
        ({"kind": "moon"}, "kind"),
        ({"namespaces": {"A": "warn"}}, "namespaces"),
        ({"namespaces": {"a": "off"}}, "namespaces.a"),
        ({"effects": {"moon": "warn"}}, "effects"),
        ({"paths": {"a/Kind": ["spec..x"]}}, "paths.a/Kind"),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(operator: Person, change: dict[str, Any], where: str) -> None:
    own = f"{PATH}{operator.api.post(PATH, {'name': 'prod'}).json()['id']}/"
    answer = operator.api.patch(own, change)
    assert (answer.status_code, answer.json()["where"]) == (422, where)
    assert ClusterGate.objects.get().rules.mode == "enforce"


def test_a_cluster_is_set_up_once(operator: Person) -> None:
    operator.api.post(PATH, {"name": "prod"})
    assert operator.api.post(PATH, {"name": "prod"}).status_code == 409
    assert operator.api.post(PATH, {"name": " "}).status_code == 422


@pytest.mark.usefixtures("images")
def test_what_was_answered_to_whom_it_concerns(
    ask_pod: Callable[..., dict[str, Any]], developer: Person, stranger: Person, operator: Person
) -> None:
    ask_pod(GOOD, BAD, UNKNOWN)
    assert {r["outcome"] for r in operator.api.get(KEPT).json()["results"]} == {"allowed", "denied"}
    rows = developer.api.get(KEPT).json()["results"]
    assert sorted(r["reference"] for r in rows) == sorted([GOOD, BAD, UNKNOWN])  # all in the team's repository
    assert stranger.api.get(KEPT).json()["results"] == []
    (row,) = developer.api.get(f"{KEPT}?image={digest(2)}&outcome=denied&cluster=prod&namespace=shop").json()["results"]
    assert (row["image"], row["count"], row["requested_by"]) == (digest(2), 1, "ann")
    assert developer.api.get(f"/api/v1/evaluations/{row['evaluation']}/").json()["verdict"] == "block"
    assert developer.api.get(f"{KEPT}?outcome=denied&namespace=elsewhere").json()["results"] == []
