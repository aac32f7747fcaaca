"""What agents answered while the server was away: taken once, checked, and told as what it is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from secguard.admission import services
from secguard.admission.models import AdmissionDecision, AnsweredBy, SnapshotAnswer
from secguard.admission.services.delivered import REMEMBERED
from secguard.images.models import Image
from secguard.policies.facts import Gate
from secguard.policies.models import Evaluation
from secguard.policies.services import verdict_of
from secguard.workloads.models import Workload
from tests.admission.conftest import BAD, GOOD, UNKNOWN, pod, review
from tests.fixtures_people import Person
from tests.fixtures_reports import digest

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("images")]


def part(image: str = BAD, outcome: str = "denied", **changed: Any) -> dict[str, Any]:
    name = image.rpartition("@")[2]
    return {"image": image, "digest": name, "image_digest": name, "outcome": outcome, "reason": "1 malware."} | changed


def given(uid: str = "u-1", *parts: dict[str, Any], at: datetime | None = None, **changed: Any) -> dict[str, Any]:
    at = at or timezone.now() - timedelta(minutes=5)
    return {
        "uid": uid,
        "at": at.isoformat(),
        "snapshot_at": (at - timedelta(minutes=12)).isoformat(),
        "namespace": "shop",
        "kind": "Pod",
        "name": "web-1",
        "owner_kind": "Deployment",
        "owner_name": "web",
        "user": "ann",
        "mode": "enforce",
        "allowed": False,
        "parts": list(parts) or [part()],
    } | changed


def tell(gate: tuple[Any, str], *answers: Any, pk: Any = "own") -> Any:
    return Client().post(
        f"/api/v1/clusters/{pk}/answers/",
        {"answers": list(answers)},
        content_type="application/json",
        headers={"Authorization": f"Bearer {gate[1]}"},
    )


def test_an_answer_is_in_the_log_as_what_it_is(gate: tuple[Any, str]) -> None:
    evaluation = verdict_of(Image.objects.get(digest=digest(2)), Gate.ADMIT).evaluation
    answer = given("u-1", part(evaluation=evaluation.pk))
    assert tell(gate, answer).json() == {"taken": 1, "known": 0}
    row = AdmissionDecision.objects.select_related("repository", "image").get()
    assert (row.answered_by, row.snapshot_at, row.last_at) == (
        AnsweredBy.AGENT, datetime.fromisoformat(answer["snapshot_at"]), datetime.fromisoformat(answer["at"])
    )  # fmt: skip
    assert (row.outcome, row.reason, row.requested_by, row.uid, row.count) == ("denied", "1 malware.", "ann", "u-1", 1)
    assert (row.image and row.image.digest, row.evaluation_id) == (digest(2), evaluation.pk)
    assert row.repository is not None
    assert row.repository.name == "reg.example/shop/web"


def test_it_is_told_twice_and_counts_once(gate: tuple[Any, str]) -> None:
    answers = [given("u-1"), given("u-2"), given("u-2")]
    assert tell(gate, *answers).json() == {"taken": 2, "known": 1}
    assert tell(gate, *answers, given("u-3")).json() == {"taken": 1, "known": 3}
    (row,) = AdmissionDecision.objects.all()
    assert (row.count, row.uid) == (3, "u-3")
    assert SnapshotAnswer.objects.count() == 3


def test_it_is_never_one_with_what_was_answered_here(gate: tuple[Any, str], ask_pod: Any) -> None:
    ask_pod(BAD)
    here = AdmissionDecision.objects.get()
    tell(gate, given("u-2", part(reason=here.reason, evaluation=here.evaluation_id), owner_kind="Pod"))
    assert AdmissionDecision.objects.count() == 2


def test_what_was_let_through_belongs_to_the_inventory(gate: tuple[Any, str]) -> None:
    tell(gate, given("u-1", part(GOOD, "allowed", reason=""), allowed=True), given("u-2"))
    workload = Workload.objects.get()
    assert (workload.kind, workload.name, workload.namespace) == ("Deployment", "web", "shop")
    assert [i.digest for i in workload.images.all()] == [digest(1)]


def test_an_evaluation_of_another_image_is_none_of_it(gate: tuple[Any, str]) -> None:
    other = Evaluation.objects.filter(image__digest=digest(1)).order_by("pk")[0]
    tell(gate, given("u-1", part(evaluation=other.pk)), given("u-2", part(evaluation=2**60)))
    assert set(AdmissionDecision.objects.values_list("evaluation_id", flat=True)) == {None}


def test_what_is_too_old_to_tell_apart_is_left_out(gate: tuple[Any, str]) -> None:
    SnapshotAnswer.objects.create(cluster=gate[0].cluster, uid="x", answered_at=timezone.now() - 2 * REMEMBERED)
    assert tell(gate, given(at=timezone.now() - REMEMBERED)).json() == {"taken": 0, "known": 1}
    assert not AdmissionDecision.objects.exists()
    assert not SnapshotAnswer.objects.exists(), "and what is that old is forgotten"


@pytest.mark.parametrize(
    ("changed", "where"),
    [
        ({"at": (timezone.now() + timedelta(days=1)).isoformat()}, "at"),
        ({"parts": [part(outcome="broken-glass")]}, "outcome"),
        ({"parts": [part(digest="latest")]}, "digest"),
        ({"mode": "off"}, "mode"),
        ({"uid": ""}, "uid"),
        ({"at": "2026-11-27T18:00:00+99:99"}, "at"),
        ({"parts": [part()] * 1002}, "parts"),
        ({"parts": "all"}, "parts"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place_and_keeps_nothing(
    gate: tuple[Any, str], changed: dict[str, Any], where: str
) -> None:
    found = tell(gate, given("u-1"), given("u-2") | changed)
    assert found.status_code in (400, 422)
    assert where in found.content.decode()
    assert not AdmissionDecision.objects.exists()


def test_no_more_than_a_batch_is_taken_at_once(gate: tuple[Any, str]) -> None:
    many = [given(f"u-{n}") for n in range(services.MAX_ANSWERS + 1)]
    assert tell(gate, *many).status_code in (400, 422)
    assert tell(gate, *many[:-1]).json()["taken"] == services.MAX_ANSWERS


def test_its_queries_do_not_grow_with_the_answers(gate: tuple[Any, str], django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(24):
        tell(gate, *(given(f"u-{n}", name=f"web-{n}") for n in range(100)))
    assert AdmissionDecision.objects.get().count == 100


def test_only_the_cluster_itself_tells(gate: tuple[Any, str], administrator: Person, stranger: Person) -> None:
    path, body = f"/api/v1/clusters/{gate[0].pk}/answers/", {"answers": [given()]}
    assert [p.api.post(path, body, format="json").status_code for p in (administrator, stranger)] == [403, 403]
    assert Client().post(path, body, content_type="application/json").status_code == 401
    other = services.add_gate("test", services.GateEdit(), actor=None)
    assert tell(gate, given(), pk=other.pk).status_code == 404
    assert not AdmissionDecision.objects.exists()


def test_each_team_sees_its_own(gate: tuple[Any, str], developer: Person, stranger: Person) -> None:
    tell(gate, given())
    rows = developer.api.get("/api/v1/admission-decisions/").json()["results"]
    assert [(r["answered_by"], bool(r["snapshot_at"])) for r in rows] == [("agent", True)]
    assert stranger.api.get("/api/v1/admission-decisions/").json()["results"] == []


def test_the_page_says_that_it_was_answered_from_a_snapshot(gate: tuple[Any, str], operator: Person, ask: Any) -> None:
    tell(gate, given("u-1"), given("u-2", part(GOOD, reason="Away."), snapshot_at=None))
    texts = {
        row.snapshot_at is None: operator.client.get(f"/admissions/{row.pk}/").content.decode()
        for row in AdmissionDecision.objects.all()
    }
    assert "by the cluster’s agent, from a snapshot of" in texts[False]
    assert "by the cluster’s agent, without a snapshot" in texts[True]
    ask("validate", review(pod(BAD)))
    here = AdmissionDecision.objects.get(answered_by="server")
    assert "agent" not in operator.client.get(f"/admissions/{here.pk}/").content.decode()


def test_the_database_takes_no_snapshot_of_the_server(gate: tuple[Any, str], ask_pod: Any) -> None:
    ask_pod(BAD)
    with pytest.raises(IntegrityError), transaction.atomic():
        AdmissionDecision.objects.update(snapshot_at=timezone.now())


def test_what_it_was_about_may_be_gone_or_never_have_been_known(gate: tuple[Any, str]) -> None:
    assert tell(gate, given("u-1", part(UNKNOWN))).json()["taken"] == 1
    row = AdmissionDecision.objects.get()
    assert (row.image_id, row.digest) == (None, digest(9))
