"""What happened is written once, in full or counted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from secguard.events import keeping
from secguard.events.models import Event, Heard, Tally
from secguard.events.record import Kind, Line
from secguard.events.services import recording

pytestmark = pytest.mark.django_db
Make = Callable[..., Line]


def record(lines: list[Line], now: datetime) -> list[Line]:
    with transaction.atomic():
        return recording.record(lines, now)


def test_one_is_kept_as_it_was_told(line: Make, now: datetime) -> None:
    told = line(1, digest="sha256:" + "a" * 64, workload_id=7, team_id=3, outcome="blocked", severity=4)
    assert record([told], now) == [told]
    event = Event.objects.get()
    assert (event.title, event.digest, event.workload_id, event.team_id) == (told.title, told.digest, 7, 3)
    assert (event.at, event.received_at, event.day) == (now, now, now.date())
    assert (event.detail, event.outcome, event.severity) == ({"n": 1}, "blocked", 4)


def test_the_same_again_is_not_counted_again(line: Make, now: datetime) -> None:
    first = [line(n) for n in range(3)]
    record(first, now)
    assert record([line(1), line(7), line(2), line(7)], now) == [line(7)]
    assert Tally.objects.get().count == 4


def test_what_tells_no_time_is_known_past_midnight(line: Make, now: datetime) -> None:
    record([line(1)], now)
    tomorrow = now + timedelta(days=1)
    assert record([line(1, at=tomorrow)], tomorrow) == []


def test_what_repeats_is_counted(line: Make, now: datetime) -> None:
    lines = [line(n, at=now + timedelta(seconds=n)) for n in range(100)]
    record(lines[:3], now)
    record(lines[3:50], now)
    record(lines[50:], now)
    assert Event.objects.count() == keeping.IN_FULL
    tally = Tally.objects.get()
    assert (tally.count, tally.first_at, tally.last_at) == (100, now, lines[-1].at)


def test_each_hour_is_counted_by_itself(line: Make, now: datetime) -> None:
    record([line(n, at=now + timedelta(hours=n % 2)) for n in range(20)], now)
    assert [t.count for t in Tally.objects.all()] == [10, 10]
    assert Event.objects.count() == 2 * keeping.IN_FULL


def test_what_must_be_kept_is(line: Make, now: datetime) -> None:
    record([line(n, kind=Kind.AUDIT, keep=True, fingerprint=None) for n in range(20)], now)
    assert Event.objects.count() == 20


def test_the_worst_severity_stands(line: Make, now: datetime) -> None:
    record([line(1, severity=2)], now)
    record([line(2, severity=5)], now)
    record([line(3, severity=1)], now)
    assert Tally.objects.get().severity == 5


def test_hostile_texts_are_kept(line: Make, now: datetime) -> None:
    record([line(1, title="a\0b" + "x" * 999, detail={"k\0": ["\ud800", {"z": "\0"}]})], now)
    event = Event.objects.get()
    assert event.title.startswith("ab")
    assert len(event.title) == 300
    assert event.detail == {"k": ["?", {"z": ""}]}


def test_statements_do_not_grow(line: Make, now: datetime) -> None:
    def statements(lines: list[Line]) -> int:
        with CaptureQueriesContext(connection) as seen:
            record(lines, now)
        return len(seen)

    few = statements([line(n, story=f"{n}") for n in range(2)])
    assert statements([line(n, story=f"{n}") for n in range(1_000, 3_000)]) == few


def test_fingerprints_are_uuids(line: Make, now: datetime) -> None:
    told = line(1)
    record([told], now)
    assert Heard.objects.get().fingerprint == told.fingerprint
    assert isinstance(told.fingerprint, UUID)
