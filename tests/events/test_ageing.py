"""What is past its time goes, and only that; the store measures itself and is bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from secguard.audit.models import AuditEntry
from secguard.errors import Invalid, NotAllowed
from secguard.events import keeping, partitions
from secguard.events.models import Event, Heard, Position, Retention, Stored, Tally
from secguard.events.record import Kind, Line
from secguard.events.services import ageing
from secguard.events.services.recording import record
from secguard.events.services.retention import set_days
from tests.fixtures_people import Person

Make = Callable[..., Line]
ON_POSTGRESQL = pytest.mark.skipif(connection.vendor != "postgresql", reason="partitions are PostgreSQL's")


def keep(lines: list[Line]) -> None:
    with transaction.atomic():
        record(lines, timezone.now())


def days_of(kind: Kind) -> list[int]:
    """How many days ago what is still there happened."""
    today = timezone.now().date()
    return sorted((today - day).days for day in Event.objects.filter(kind=kind).values_list("day", flat=True))


@pytest.fixture(autouse=True)
def _branches_are_whole(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test's partitions held is gone with it: a later one finds the default partitions alone."""
    yield
    if connection.vendor == "postgresql" and request.node.get_closest_marker("django_db").kwargs.get("transaction"):
        for branch in (*map(partitions.branch_of, Kind), Heard._meta.db_table):
            for name, _ in list(partitions._days_of(branch)):
                with connection.cursor() as cursor:
                    cursor.execute(f"DROP TABLE {name}")


@pytest.mark.django_db(transaction=True)
def test_each_kind_goes_after_its_own_days(line: Make) -> None:
    now = timezone.now()
    for kind in (Kind.PROCESS, Kind.FLOW, Kind.AUDIT):
        for days in (0, 6, 9, 29, 32):
            keep([line(f"{kind}-{days}", kind=kind, at=now - timedelta(days=days), story=f"{kind}")])  # type: ignore[arg-type]
    Retention.objects.create(kind="flow", days=8)
    ageing.age(now)
    assert days_of(Kind.PROCESS) == [0, 6, 9, 29]
    assert days_of(Kind.FLOW) == [0, 6]
    assert days_of(Kind.AUDIT) == [0, 6, 9, 29, 32]
    assert Tally.objects.count() == 15, "counts outlive what they count"


@pytest.mark.django_db(transaction=True)
def test_it_may_run_at_any_time_and_again(line: Make) -> None:
    keep([line(1, at=timezone.now() - timedelta(days=40)), line(2)])
    first, second = ageing.age(), ageing.age()
    assert first["measured"] == len(Kind)
    assert (second["dropped"], second["made"], second["measured"]) == (0, 0, 0)
    assert days_of(Kind.PROCESS) == [0]


@pytest.mark.django_db(transaction=True)
def test_fingerprints_go_after_nothing_can_arrive_again(line: Make) -> None:
    now = timezone.now()
    for days in (0, 8, 11):
        keep([line(days, at=now - timedelta(days=days))])
    ageing.age(now)
    ages = sorted((now.date() - day).days for day in Heard.objects.values_list("day", flat=True))
    assert ages == [0, 8]


@pytest.mark.django_db(transaction=True)
def test_counts_go_after_more_than_a_year(line: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ageing, "_AT_ONCE", 2)
    now = timezone.now()
    old = now - timedelta(days=keeping.TALLY_DAYS + 1)
    keep([line(n, at=old, story=f"{n}") for n in range(5)] + [line(9)])
    assert ageing.age(now)["tallies"] == 5
    assert Tally.objects.count() == 1


# --- the bound on SQLite ---


@pytest.fixture
def bounded(settings: Any) -> None:
    settings.MAX_EVENT_ROWS = 10


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "postgresql", reason="PostgreSQL drops partitions")
def test_sqlite_is_bounded_the_oldest_of_the_most_common_first(
    line: Make, bounded: None, monkeypatch: pytest.MonkeyPatch, administrator: Person
) -> None:
    monkeypatch.setattr(ageing, "_AT_ONCE", 3)
    now = timezone.now()
    keep([line(n, story=f"{n}", at=now - timedelta(minutes=n)) for n in range(20)])
    keep([line(f"a{n}", kind=Kind.AUDIT, story=f"a{n}") for n in range(3)])  # type: ignore[arg-type]
    assert ageing.age(now)["bounded"] == 13
    assert Event.objects.filter(kind=Kind.AUDIT).count() == 3
    left = Event.objects.filter(kind=Kind.PROCESS).order_by("-at").values_list("detail", flat=True)
    assert [detail["n"] for detail in left] == list(range(7))
    assert Position.objects.get(source=ageing.BOUNDED).after == {"process": 13}
    text = administrator.client.get("/events/storage/").content.decode()
    assert "holds at most 10 events" in text
    assert "13 of process" in text
    assert ageing.age(now)["bounded"] == 0


# --- partitions on PostgreSQL ---


def partition_of(kind: Kind, at: datetime) -> str:
    return f"{partitions.branch_of(kind)}_{at:%Y%m%d}"


def tables() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'events_%%'")
        return {name for (name,) in cursor.fetchall()}


@pytest.mark.django_db(transaction=True)
@ON_POSTGRESQL
def test_partitions_are_made_around_today_and_what_came_before_them_moves_in(line: Make) -> None:
    now = timezone.now()
    keep([line(1)])
    assert partition_of(Kind.PROCESS, now) not in tables()
    ageing.age(now)
    there = tables()
    for days in (-7, 0, 7):
        assert partition_of(Kind.PROCESS, now + timedelta(days=days)) in there
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {partition_of(Kind.PROCESS, now)}")
        assert cursor.fetchone()[0] == 1
    keep([line(2)])
    assert Event.objects.count() == 2


@pytest.mark.django_db(transaction=True)
@ON_POSTGRESQL
def test_whole_partitions_are_dropped_and_empty_ones_too(line: Make) -> None:
    now = timezone.now()
    partitions.ensure((now - timedelta(days=35)).date())
    keep([line(1, at=now - timedelta(days=35)), line(2, at=now - timedelta(days=29)), line(3)])
    assert ageing.age(now)["dropped"] >= 1
    there = tables()
    assert partition_of(Kind.PROCESS, now - timedelta(days=35)) not in there
    assert partition_of(Kind.PROCESS, now - timedelta(days=29)) in there
    assert partition_of(Kind.AUDIT, now - timedelta(days=29)) not in there, "nothing came into it"
    assert days_of(Kind.PROCESS) == [0, 29]


@pytest.mark.django_db(transaction=True)
@ON_POSTGRESQL
def test_a_reader_delays_a_drop_and_nothing_is_lost(line: Make) -> None:
    now = timezone.now()
    old = now - timedelta(days=35)
    for day in (old, now):  # making partitions takes longer than a reader waits below
        partitions.ensure(day.date())
    keep([line(1, at=old), line(2)])
    reading, done = threading.Event(), threading.Event()

    def read() -> None:
        try:
            with transaction.atomic():
                assert Event.objects.filter(day=old.date()).count() == 1
                reading.set()
                done.wait(300)
        finally:
            connections.close_all()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert reading.wait(30)
        ageing.age(now)
        assert days_of(Kind.PROCESS) == [0, 35], "it waits for who reads"
        keep([line(3, story="meanwhile")])
    finally:
        done.set()
        reader.join()
    ageing.age(now)
    assert days_of(Kind.PROCESS) == [0, 0]


# --- the measure ---


@pytest.mark.django_db(transaction=True)
def test_the_rate_is_of_whole_days(line: Make) -> None:
    now = timezone.now()
    keep([line(n, story=f"{n}") for n in range(50)])
    ageing.age(now)
    assert Stored.objects.get(kind="process").per_day is None, "today is not over"
    Stored.objects.all().delete()
    for day in (1, 2, 3, 4):
        keep([line(100 * day + n, story=f"{n}", at=now - timedelta(days=day)) for n in range(day)])
    ageing.age(now)
    stored = {s.kind: s for s in Stored.objects.all()}
    assert stored["process"].per_day == 10 / 4
    assert stored["flow"].per_day == 0
    assert stored["process"].bytes > 0


# --- retention ---


@pytest.mark.django_db
def test_days_are_set_by_who_may_and_the_log_says_so(administrator: Person, operator: Person) -> None:
    kept = set_days({Kind.PROCESS: 20, Kind.AUDIT: 400}, actor=administrator)
    assert (kept[Kind.PROCESS], kept[Kind.FLOW]) == (20, keeping.DEFAULT_DAYS[Kind.FLOW])
    assert [r.kind for r in Retention.objects.all()] == ["process"]
    entry = AuditEntry.objects.get(action="retention:edit")
    assert entry.details == {"process": {"from": 30, "to": 20}}
    set_days({Kind.PROCESS: 20}, actor=administrator)
    assert AuditEntry.objects.filter(action="retention:edit").count() == 1, "nothing changed"
    assert set_days({Kind.PROCESS: None}, actor=administrator)[Kind.PROCESS] == 30
    with pytest.raises(NotAllowed):
        set_days({Kind.PROCESS: 20}, actor=operator)


@pytest.mark.django_db
@pytest.mark.parametrize("days", [0, 7, 3_651])
def test_days_out_of_bounds_are_refused_whole(days: int, administrator: Person) -> None:
    with pytest.raises(Invalid, match="expected 8 to 3,650") as refused:
        set_days({Kind.FLOW: 9, Kind.PROCESS: days}, actor=administrator)
    assert refused.value.where == "process"
    assert not Retention.objects.exists()


@pytest.mark.django_db
def test_the_database_holds_the_bounds_too() -> None:
    from django.db import IntegrityError

    rows: list[dict[str, Any]] = [{"kind": "process", "days": 3}, {"kind": "nothing", "days": 30}]
    for row in rows:
        with pytest.raises(IntegrityError), transaction.atomic():
            Retention.objects.create(**row)
