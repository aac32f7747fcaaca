"""Ends that are spread: evenly, over working days, the same each time, and never later than what was asked for."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.decisions import queries, services
from secguard.decisions.models import Decision
from secguard.decisions.spreading import spread
from secguard.errors import Invalid
from tests.decisions.conftest import NOW, Estate
from tests.fixtures_people import Person

FRIDAY = datetime(2026, 12, 18, 23, 59, 59, tzinfo=UTC)


def test_ten_over_a_week_are_two_a_day() -> None:
    found = Counter(end.date() for end in spread([FRIDAY] * 10, 5, NOW))
    assert found == {(FRIDAY - timedelta(days=n)).date(): 2 for n in range(5)}


def test_weekends_are_left_out() -> None:
    found = {end.date() for end in spread([FRIDAY] * 10, 10, NOW)}
    assert len(found) == 10
    assert all(day.weekday() < 5 for day in found)
    assert min(found) == datetime(2026, 12, 7).date()  # noqa: DTZ001


def test_what_is_alone_keeps_its_end() -> None:
    assert spread([FRIDAY], 10, NOW) == [FRIDAY]
    assert spread([FRIDAY, FRIDAY - timedelta(days=1)], 10, NOW) == [FRIDAY, FRIDAY - timedelta(days=1)]


def test_a_near_end_is_spread_over_the_days_that_are_left() -> None:
    now = FRIDAY - timedelta(days=2)
    assert {end.date().day for end in spread([FRIDAY] * 9, 30, now)} == {17, 18}


@given(
    st.lists(st.integers(-5, 400), max_size=60),
    st.integers(0, 60),
    st.integers(0, 365),
)
def test_whatever_is_asked_for(offsets: list[int], days: int, start: int) -> None:
    now = NOW + timedelta(days=start)
    ends = [now + timedelta(days=n, hours=1) for n in offsets]
    found = spread(ends, days, now)
    assert found == spread(ends, days, now)
    for asked, given_ in zip(ends, found, strict=True):
        assert given_ <= asked
        assert given_ == asked or (given_ > now and given_.weekday() < 5)
        assert given_.timetz() == asked.timetz()
    for end in set(ends):
        counts = Counter(g for a, g in zip(ends, found, strict=True) if a == end)
        assert max(counts.values()) - min(counts.values()) <= 1
        assert len(counts) <= max(days, 1)


# --- asked for in bulk ---


@pytest.fixture
def asks(estate: Estate, repository: Any, developer: Person) -> list[services.Ask]:
    risks = [estate.risk() for _ in range(6)]
    estate.image(repository, risks)
    scope = queries.find_scope(developer, "repository", repository.name)
    return [services.Ask(r.pk, "accept", scope, "known", NOW + timedelta(days=20)) for r in risks]


@pytest.mark.django_db
def test_requests_in_bulk_end_on_several_days(asks: list[services.Ask], developer: Person) -> None:
    made = services.request_many(asks, actor=developer, now=NOW, spread_days=3)
    ends = [d.expires_at for d in made if isinstance(d, Decision)]
    assert Counter(Counter(ends).values()) == {2: 3}
    assert max(ends) == asks[0].expires_at


@pytest.mark.django_db
def test_the_order_they_are_sent_in_changes_nothing(asks: list[services.Ask], developer: Person) -> None:
    services.request_many(asks[::-1], actor=developer, now=NOW, spread_days=3)
    backwards = dict(Decision.objects.values_list("risk_id", "expires_at"))
    services_asked = [a.risk_id for a in asks]
    expected = dict(zip(sorted(services_asked), spread([asks[0].expires_at] * 6, 3, NOW), strict=True))
    assert backwards == expected


@pytest.mark.django_db
def test_spreading_makes_nothing_right_that_the_appetite_refuses(asks: list[services.Ask], developer: Person) -> None:
    from dataclasses import replace

    late = [replace(ask, expires_at=NOW + timedelta(days=4_000)) for ask in asks]
    assert {type(r) for r in services.request_many(late, actor=developer, now=NOW, spread_days=5)} == {Invalid}
    with pytest.raises(Invalid, match="0 to 60"):
        services.request_many(asks, actor=developer, now=NOW, spread_days=61)


@pytest.mark.django_db
def test_over_rest_and_on_the_page(estate: Estate, repository: Any, developer: Person) -> None:
    from django.utils import timezone

    now = timezone.now()
    first, second = [estate.risk() for _ in range(4)], [estate.risk() for _ in range(4)]
    estate.image(repository, [*first, *second], at=now)
    body = {
        "kind": "accept", "risks": [r.pk for r in first], "scope": {"repository": repository.name}, "reason": "known",
        "expires_at": (now + timedelta(days=20)).isoformat(), "spread": 2,
    }  # fmt: skip
    answer = developer.api.post("/api/v1/decisions/bulk/", body).json()
    assert sorted(Counter(item["expires_at"] for item in answer["results"]).values()) == [2, 2]
    scope = queries.find_scope(developer, "repository", repository.name)
    many = "&".join(f"risk={r.pk}" for r in second)
    page = developer.client.get(f"/decisions/new/?{many}").content.decode()
    assert 'name="spread"' in page
    assert 'name="spread"' not in developer.client.get(f"/decisions/new/?risk={second[0].pk}").content.decode()
    until = (now + timedelta(days=20)).date().isoformat()
    sent = {"risk": [r.pk for r in second], "kind": "accept", "scope": scope.key, "reason": "known", "until": until}
    answer = developer.client.post("/decisions/new/", sent | {"spread": "4"})
    assert answer.status_code in (302, 303), answer.content.decode()[:2000]
    rows = Decision.objects.filter(risk__in=second)
    assert len(set(rows.values_list("expires_at", flat=True))) == 4
