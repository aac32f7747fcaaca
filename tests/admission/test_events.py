"""Admission decisions become events: the first in full, what was counted since as a count."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from secguard.admission.models import AdmissionDecision
from secguard.events import sources
from secguard.events.models import Event, Tally
from secguard.events.record import Kind
from secguard.events.services import collecting
from secguard.workloads.models import Cluster
from tests.decisions.conftest import Estate, estate, repository  # noqa: F401 - fixtures
from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def denied(repository: Any) -> AdmissionDecision:  # noqa: F811
    cluster, now = Cluster.objects.create(name="prod"), timezone.now()
    return AdmissionDecision.objects.create(
        key="0" * 64, cluster=cluster, namespace="shop", workload_kind="Deployment", workload_name="api",
        reference=f"{repository.name}:1", digest=DIGEST, repository=repository, outcome="denied", mode="enforce",
        reason="1 flaw.", first_at=now, last_at=now, requested_by="kubelet",
    )  # fmt: skip


def told() -> int:
    found = collecting.collect()["admissions"]
    assert not AdmissionDecision.objects.exclude(told__gte=1).exists()
    return found


def total() -> int:
    return sum(t.count for t in Tally.objects.filter(kind=Kind.ADMISSION))


def test_a_refusal_is_told_in_full(denied: AdmissionDecision, viewer: Person, stranger: Person) -> None:
    assert told() == 1
    event = Event.objects.get(kind=Kind.ADMISSION)
    assert event.title == f"Denied: {denied.reference}"
    assert (event.cluster, event.namespace, event.workload, event.digest) == ("prod", "shop", "api", DIGEST)
    assert (event.outcome, event.actor, event.detail["reason"]) == ("denied", "kubelet", "1 flaw.")
    assert sources.address_of(event.ref, event) == f"/admissions/{denied.pk}/"
    assert [Event.objects.visible_to(p).filter(kind=Kind.ADMISSION).count() for p in (viewer, stranger)] == [1, 0]


def test_a_count_that_grew_is_told_by_what_it_grew(denied: AdmissionDecision) -> None:
    told()
    AdmissionDecision.objects.update(count=8)
    assert told() == 1
    assert told() == 0
    assert total() == 8
    AdmissionDecision.objects.update(count=9)
    told()
    assert total() == 9


def test_what_fails_after_the_rows_were_noted_is_told_again(
    denied: AdmissionDecision, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ValueError("in the middle")

    with monkeypatch.context() as broken:
        broken.setattr(collecting, "record", fail)
        assert "admissions" not in collecting.collect()
    denied.refresh_from_db()
    assert denied.told == 0
    assert told() == 1


def test_one_of_no_repository_is_told_to_who_sees_all(
    denied: AdmissionDecision, viewer: Person, administrator: Person
) -> None:
    AdmissionDecision.objects.update(repository=None)
    told()
    assert [Event.objects.visible_to(p).filter(kind=Kind.ADMISSION).count() for p in (viewer, administrator)] == [0, 1]
