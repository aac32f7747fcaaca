"""What no longer waits leaves the unread of everybody it waited for, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secguard.notifications.models import Notice
from secguard.notifications.services import Telling, mark_read, notify, settle
from tests.fixtures_people import Person
from tests.notifications.conftest import FLAW, WAITS, line

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def waits(*keys: str, **facts: Any) -> Telling:
    return Telling(WAITS.name, tuple(line(key, **facts) for key in keys))


def test_the_last_line_makes_the_notice_read_and_no_message_repeats_it(developer: Person, viewer: Person) -> None:
    notify([developer.pk, viewer.pk], waits("1"), now=NOW)
    assert settle(WAITS.name, ["1"], now=LATER) == 2
    for person in (developer, viewer):
        notice = Notice.objects.visible_to(person).get()
        assert (notice.seen_at, notice.told_at, notice.lines.count()) == (LATER, LATER, 1)
    assert settle(WAITS.name, ["1"], now=LATER) == 0


def test_what_still_waits_stays_and_leads(developer: Person) -> None:
    notify([developer.pk], waits("1", rank=5, known_exploited=True), now=NOW)
    notify([developer.pk], waits("2", "3", rank=2), now=NOW)
    settle(WAITS.name, ["1", "3", "4"], now=LATER)
    notice = Notice.objects.get()
    assert (notice.seen_at, notice.total, notice.weight, notice.url) == (None, 1, 2, "/risks/2/")
    assert notice.subject == "Waits for you: CVE-2026-2, in shop/api"
    assert list(notice.lines.values_list("key", flat=True)) == ["2"]


def test_other_kinds_and_what_was_read_are_left_alone(developer: Person) -> None:
    notify([developer.pk], waits("1", "2"), now=NOW)
    mark_read(Notice.objects.get().pk, actor=developer, now=NOW)
    notify([developer.pk], Telling(FLAW.name, (line("1"),)), now=NOW)
    assert settle(WAITS.name, ["1"], now=LATER) == 0
    assert sorted(Notice.objects.values_list("kind", "total", "seen_at")) == [
        (FLAW.name, 1, None),
        (WAITS.name, 2, NOW),
    ]


def test_settling_costs_the_same_however_many(make_person: Any, django_assert_max_num_queries: Any) -> None:
    people = [make_person(f"p{n}").pk for n in range(20)]
    notify(people, waits(*map(str, range(40))), now=NOW)
    with django_assert_max_num_queries(11):
        assert settle(WAITS.name, map(str, range(30)), now=LATER) == 20
    assert set(Notice.objects.values_list("total", flat=True)) == {10}
