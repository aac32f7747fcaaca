"""What is read by ids is read again later, so that whoever commits late is heard."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from secguard.events import sources
from secguard.events.sources import Pulled, Spans

BEGIN = datetime(2026, 11, 28, 12, tzinfo=UTC)


class Table:
    """Rows by ids, of which some are committed later than others with higher ids; every read of it is kept."""

    def __init__(self) -> None:
        self.committed: set[int] = set()
        self.after: dict[str, Any] = sources.begin_at(0)
        self.heard: set[int] = set()
        self.reads = 0

    def read(self, now: datetime, limit: int = 1_000) -> None:
        found = sources.spans(self.after, limit, now)
        new = sorted(pk for pk in self.committed if pk > found.new_after)[:limit]
        again = [pk for begin, end in found.again for pk in self.committed if begin < pk <= end]
        self.reads += len(new) + len(again)
        self.heard |= {*new, *again}
        self.after = sources.read_to(self.after, found, new, now)


@pytest.mark.parametrize("late", [timedelta(seconds=50), timedelta(minutes=14)])
def test_a_row_that_is_committed_late_is_heard(late: timedelta) -> None:
    table = Table()
    for second in range(0, 3_600, 10):
        if second == 10:
            table.committed |= {1, 2, 4, 5}
        if timedelta(seconds=second) >= late + timedelta(seconds=10):
            table.committed.add(3)
        table.read(BEGIN + timedelta(seconds=second))
    assert table.heard == {1, 2, 3, 4, 5}
    assert table.reads <= 3 * 5
    assert table.after["marks"] == []


def test_a_busy_table_is_read_three_times_and_its_position_stays_small() -> None:
    table, late = Table(), set(range(7, 3_600, 31))
    for second in range(0, 7_200, 10):
        if second < 3_600:
            table.committed |= {n for n in range(second, second + 10) if n and n not in late}
        table.committed |= {n for n in late if n + 30 <= second}
        table.read(BEGIN + timedelta(seconds=second))
        assert len(table.after["marks"]) < 50
    assert table.heard == set(range(1, 3_600))
    assert table.reads <= 3 * 3_600


def test_what_is_read_again_is_bounded() -> None:
    table = Table()
    table.committed = set(range(1, 10_001))
    table.read(BEGIN, limit=10_000)
    later = sources.spans(table.after, 100, BEGIN + timedelta(hours=1))
    assert later == Spans(10_000, ((0, 100), (0, 100)))


@pytest.fixture
def registered() -> Iterator[None]:
    sources.register("test", pull)
    yield
    sources.forget("test")


def pull(_after: sources.After, _limit: int, _now: datetime) -> Pulled:
    return Pulled([], {})


def test_a_name_is_taken_once(registered: None) -> None:
    sources.register("test", pull)
    with pytest.raises(ValueError, match="choose another name"):
        sources.register("test", lambda after, limit, now: Pulled([], {}))


@pytest.mark.parametrize("ref", ["", "nothing:1", "audit", "audit:", "audit:x", "audit:-1", "audit:²"])
def test_a_reference_that_nobody_knows_leads_nowhere(ref: str) -> None:
    class Event:
        digest, at = "", BEGIN

    assert sources.address_of(ref, Event()) == ""
