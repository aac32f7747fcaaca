"""Far more flows than in any hour before: marked, and unmarked after a while."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.events.keeping import hour_of
from secguard.network.models import Hour
from secguard.network.services import keeping

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("hours", "usual", "lately", "marked"),
    [(48, 50, 251, True), (48, 50, 250, False), (23, 50, 900, False), (48, 1, 99, False), (48, 300, 900, False)],
)
def test_what_is_unusual(estate: Any, hours: int, usual: int, lately: int, marked: bool) -> None:
    edge = estate.edge(estate.workload("shop/web"), estate.workload("shop/db"))
    now = timezone.now()
    last = hour_of(now - timedelta(hours=1))
    Hour.objects.create(edge=edge, hour=last, count=lately)
    before = [Hour(edge=edge, hour=last - timedelta(hours=n + 1), count=usual) for n in range(hours)]
    Hour.objects.bulk_create(before)
    assert keeping.mark_unusual(now) == int(marked)
    edge.refresh_from_db()
    assert edge.anomaly == ("volume" if marked else "")
    assert keeping.mark_unusual(now) == 0
    keeping.mark_unusual(now + timedelta(days=8))
    edge.refresh_from_db()
    assert edge.anomaly == ""
