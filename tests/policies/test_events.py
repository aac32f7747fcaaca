"""Verdicts become events of who owns the image."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.events import sources
from secguard.events.models import Event, Position
from secguard.events.record import Kind
from secguard.events.services import collecting
from secguard.policies import events
from secguard.policies.facts import Gate
from secguard.policies.models import Evaluation
from secguard.policies.services import judge
from tests.decisions.conftest import Estate, estate, repository  # noqa: F401 - fixtures
from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db


def gates(person: Any = None) -> list[Event]:
    rows = Event.objects.visible_to(person) if person else Event.objects.all()
    return list(rows.filter(kind=Kind.GATE).order_by("pk"))


@pytest.fixture
def image(estate: Estate, repository: Any) -> Any:  # noqa: F811
    return estate.image(repository, [estate.risk(severity=5, fix_available=True)], at=timezone.now())


def test_a_block_is_told_to_the_team_and_to_no_stranger(
    image: Any,
    repository: Any,  # noqa: F811
    viewer: Person,
    stranger: Person,
    administrator: Person,
) -> None:
    judge(image, [Gate.BUILD])
    assert collecting.collect()["gates"] == 1
    (event,) = gates()
    evaluation = Evaluation.objects.get()
    assert event.title == f"{events.WORDS[evaluation.verdict]} at the build gate: {repository.name}"
    assert (event.outcome, event.severity) == (evaluation.verdict, events.SEVERITIES[evaluation.verdict])
    assert (event.digest, event.application_id) == (image.digest, repository.application_id)
    assert event.ref == f"evaluation:{evaluation.pk}"
    assert sources.address_of(event.ref, event).startswith(f"/images/{image.digest}/history/?at=")
    assert [len(gates(p)) for p in (viewer, stranger, administrator)] == [1, 0, 1]
    assert viewer.client.get(sources.address_of(event.ref, event)).status_code == 200


def test_what_is_read_again_is_told_once(image: Any) -> None:
    judge(image, [Gate.BUILD, Gate.ADMIT])
    now = timezone.now()
    found = [collecting.collect(now + timedelta(minutes=n))["gates"] for n in (0, 2, 4, 16, 18)]
    assert found == [2, 0, 0, 0, 0]
    assert Position.objects.get(source="gates").after["marks"] == []


def test_one_that_is_committed_late_is_told(image: Any) -> None:
    """As if the row with the lower id had not been there when the higher one was read."""
    judge(image, [Gate.BUILD, Gate.ADMIT])
    late, higher = Evaluation.objects.order_by("pk").values_list("pk", flat=True)
    now, begin = timezone.now(), sources.begin_at(late - 1)
    read = sources.read_to(begin, sources.spans(begin, 9, now), [higher], now)
    Position.objects.create(source="gates", after=read)
    assert collecting.collect(now)["gates"] == 0
    assert collecting.collect(now + timedelta(minutes=2))["gates"] == 2
    assert f"evaluation:{late}" in {e.ref for e in gates()}


def test_an_image_of_two_applications_is_told_to_each_of_its_own_place(
    image: Any,
    repository: Any,  # noqa: F811
    estate: Estate,  # noqa: F811
    other_application: Any,
    viewer: Person,
    stranger: Person,
) -> None:
    theirs = estate.repository("logistics/api", other_application)
    image.places.create(repository=theirs)
    judge(image, [Gate.BUILD])
    assert collecting.collect()["gates"] == 2
    assert [e.detail["repository"] for e in gates(viewer)] == [repository.name]
    assert [e.detail["repository"] for e in gates(stranger)] == [theirs.name]


def test_an_image_of_nobody_is_told_to_who_sees_all(
    image: Any,
    repository: Any,  # noqa: F811
    viewer: Person,
    administrator: Person,
) -> None:
    type(repository).objects.update(application=None)
    judge(image, [Gate.BUILD])
    collecting.collect()
    assert [len(gates(p)) for p in (viewer, administrator)] == [0, 1]


def test_the_number_of_queries_is_constant(image: Any, estate: Estate, repository: Any) -> None:  # noqa: F811
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def queries() -> int:
        judge(estate.image(repository, [estate.risk()], at=timezone.now()), [Gate.BUILD])
        with CaptureQueriesContext(connection) as seen:
            events.pull(sources.begin_at(0), 100, timezone.now())
        return len(seen)

    assert queries() == queries() == queries()
