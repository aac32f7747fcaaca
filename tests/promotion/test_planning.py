"""Whether images go through environments of their own: kept, missing, and nothing to an application without images."""

from __future__ import annotations

from typing import Any

import pytest

from secguard.promotion.models import Environment
from tests.measuring import image_in, outcome, outcomes, repository_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(application: Any) -> Any:
    image_in(repository_of(application))
    return application


def environment(name: str, position: int, repository: Any, prefix: str = "") -> None:
    Environment.objects.create(name=name, position=position, registry=repository.registry, path_prefix=prefix)


def test_two_environments_with_places_of_their_own(shop: Any, other_application: Any, viewer: Any) -> None:
    place = repository_of(shop)
    assert outcome("environments-separated", shop).says == "There is no environment; expected are at least 2."
    environment("test", 1, place, "test")
    assert outcome("environments-separated", shop).state == "missing"
    environment("production", 2, place, "prod")
    ours, theirs = outcomes("environments-separated", [shop, other_application])
    assert (ours.state, ours.says) == ("kept", "Images go through test, production, each with a place of its own.")
    assert theirs.state == "unmeasured"
    assert viewer.client.get(ours.links[0][1]).status_code == 200


def test_environments_that_share_a_place_are_not_apart(shop: Any) -> None:
    place = repository_of(shop)
    environment("test", 1, place, "shop")
    environment("production", 2, place, "shop")
    assert outcome("environments-separated", shop).state == "missing"
    environment("other", 3, repository_of(shop, host="elsewhere.example"), "shop")
    assert outcome("environments-separated", shop).state == "missing"
