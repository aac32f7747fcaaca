"""Promotions become events: each state once."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from secguard.events import sources
from secguard.events.models import Event
from secguard.events.record import Kind
from secguard.events.services import collecting
from secguard.promotion.models import Environment, Promotion
from tests.decisions.conftest import Estate, estate, repository  # noqa: F401 - fixtures
from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db


@pytest.fixture
def promotion(repository: Any, operator: Person) -> Promotion:  # noqa: F811
    live = Environment.objects.create(name="live", position=1, registry=repository.registry)
    return Promotion.objects.create(
        digest="sha256:" + "a" * 64, source=repository, environment=live, asked_reference=repository.name,
        destination_name="live/shop/api", tags=["1"], requested_by=operator,
    )  # fmt: skip


def outcomes(person: Any = None) -> list[str]:
    rows = Event.objects.visible_to(person) if person else Event.objects.all()
    return [e.outcome for e in rows.filter(kind=Kind.PROMOTION).order_by("pk")]


def test_each_state_is_told_once(promotion: Promotion, repository: Any) -> None:  # noqa: F811
    assert [collecting.collect()["promotions"] for _ in range(2)] == [1, 0]
    Promotion.objects.update(status="refused", finished_at=timezone.now(), why="1 flaw.")
    assert [collecting.collect()["promotions"] for _ in range(2)] == [1, 0]
    assert outcomes() == ["running", "refused"]
    event = Event.objects.get(outcome="refused")
    assert event.title == f"Refused: {repository.name} to live"
    assert (event.detail["why"], event.actor) == ("1 flaw.", "operator")
    assert sources.address_of(event.ref, event) == f"/promotions/{promotion.pk}/"


def test_a_stranger_is_told_nothing(promotion: Promotion, viewer: Person, stranger: Person) -> None:
    collecting.collect()
    assert outcomes(viewer) == ["running"]
    assert outcomes(stranger) == []
