"""A draft tried over the promotions of a period, by environment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from tests.fixtures_people import Person
from tests.laboratory.test_simulations import BLOCK_LOW, document, estate, lines, tried  # noqa: F401 - fixtures

pytestmark = pytest.mark.django_db


@pytest.fixture
def promoted(estate: dict[str, Any], run_jobs: Callable[[], int], developer: Person) -> Callable[..., Any]:  # noqa: F811
    """Makes the record of a promotion of one of the estate's images, on what the gate said of it."""
    from secguard.images.models import Registry
    from secguard.policies.models import Evaluation
    from secguard.promotion.models import Environment, Promotion

    run_jobs()
    registry = Registry.objects.get_or_create(host="live.example")[0]

    def make(image: str, environment: str, *more: str, status: str = "promoted", **columns: Any) -> Any:
        position = Environment.objects.count() + 1
        target, _ = Environment.objects.get_or_create(
            name=environment, defaults={"registry": registry, "position": position}
        )
        images = [estate[name] for name in (image, *more)]
        judged = [Evaluation.objects.filter(image=i, stage="promote").order_by("pk")[0].pk for i in images]
        values = {"evaluation_ids": judged, "status": status, "requested_by": developer} | columns
        return Promotion.objects.create(
            digest=images[0].digest,
            image=images[0],
            asked_reference="x",
            source=images[0].places.get().repository,
            environment=target,
            destination_name="live.example/x",
            **values,
        )

    return make


BLOCK_LOW_PROMOTED = BLOCK_LOW.replace("[build, admit]", "[promote]")


def test_what_would_have_been_stopped_and_let_go_by_environment_team_and_workload(
    promoted: Callable[..., Any],
    reviewer: Person,
    tried: Any,  # noqa: F811
) -> None:
    promoted("low", "staging")
    promoted("low", "production")
    promoted("theirs", "production")
    refused = promoted("critical", "production", status="refused")
    found = tried(reviewer, source=BLOCK_LOW_PROMOTED)
    assert found["numbers"]["promotion"] == {"blocked": 3, "unblocked": 1}
    assert found["totals"]["promotions"] == 4
    assert {label: n["promotion"] for label, n in lines(found, "environment").items()} == {
        "production": {"blocked": 2, "unblocked": 1},
        "staging": {"blocked": 1},
    }
    assert lines(found, "team")["Payments"]["promotion"] == {"blocked": 2, "unblocked": 1}
    assert lines(found, "workload")["production/shop/Deployment run-low"]["promotion"] == {"blocked": 2}
    query = "origin=promotion&environment=production&change=unblocked"
    (row,) = reviewer.api.get(f"/api/v1/simulations/{found['id']}/rows/?{query}").json()["results"]
    assert (row["environment"], row["outcome"], row["was"], row["would"]) == ("production", "refused", "block", "pass")
    assert row["reasons"][0]["rule"] == "critical-with-fix"
    assert row["evaluation"] == refused.evaluation_ids[0]
    page = reviewer.client.get(f"/policy/simulations/{found['id']}/").content.decode()
    assert "Promotions of the period" in page
    assert "By environment of a promotion" in page
    assert "to production, refused" in reviewer.client.get(f"/policy/simulations/{found['id']}/rows/").content.decode()


def test_each_number_leads_to_its_rows(promoted: Callable[..., Any], reviewer: Person, tried: Any) -> None:  # noqa: F811
    for _ in range(2):
        promoted("low", "staging")
    found = tried(reviewer, source=BLOCK_LOW_PROMOTED)
    for table in found["tables"]:
        for line in table["lines"]:
            for change, number in line["numbers"].get("promotion", {}).items():
                asked = {**line["rows"], "origin": "promotion", "change": change}
                rows = reviewer.api.get(f"/api/v1/simulations/{found['id']}/rows/", asked).json()["results"]
                assert len(rows) == number == 2, (table["by"], line)


def test_an_index_stands_or_falls_with_its_worst_platform(
    promoted: Callable[..., Any],
    reviewer: Person,
    tried: Any,  # noqa: F811
) -> None:
    promoted("critical", "production", "low", status="refused")
    # The critical one is let go by the draft, the low one is not: it is stopped as it was.
    assert "promotion" not in tried(reviewer, source=BLOCK_LOW_PROMOTED)["numbers"]


def test_what_lies_outside_the_period_or_is_no_longer_kept_is_left_out(
    promoted: Callable[..., Any],
    reviewer: Person,
    tried: Any,  # noqa: F811
) -> None:
    promoted("low", "production", requested_at=timezone.now() - timedelta(days=3))
    promoted("low", "production", evaluation_ids=[10**9])
    promoted("low", "production", evaluation_ids=[])
    found = tried(reviewer, source=BLOCK_LOW_PROMOTED)
    assert "promotion" not in found["numbers"]
    assert found["totals"]["promotions"] == 1
    assert found["totals"]["promotions_left_out"] == 1


def test_a_team_sees_its_own_promotions(
    promoted: Callable[..., Any],
    reviewer: Person,
    developer: Person,
    stranger: Person,
    tried: Any,  # noqa: F811
) -> None:
    promoted("low", "production")
    promoted("theirs", "production")
    found = tried(reviewer, source=BLOCK_LOW_PROMOTED)
    assert document(developer, found["id"])["numbers"]["promotion"] == {"blocked": 1}
    assert document(stranger, found["id"])["numbers"]["promotion"] == {"blocked": 1}
    own = tried(stranger, source=BLOCK_LOW_PROMOTED)
    assert own["totals"]["promotions"] == 1
