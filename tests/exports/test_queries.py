"""The store is read in the order of its commits, and no row is passed over."""

from __future__ import annotations

import re
import threading
from datetime import date, timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from secguard.errors import NotAllowed, NotFound
from secguard.events.models import Event
from secguard.events.record import Kind, Line, story_of
from secguard.events.services.recording import record
from secguard.exports import queries
from secguard.exports.targets import Audience, Cursor

pytestmark = pytest.mark.django_db(transaction=True)


EVERYTHING = Audience()


def read(after: Cursor = queries.BEGINNING, audience: Audience = EVERYTHING, limit: int = 100) -> queries.Batch:
    return queries.read(Event.objects.all(), after, audience, limit, timezone.now())


def ids(batch: queries.Batch) -> list[int]:
    return [item.id for item in batch.items]


def test_page_after_page_everything_is_read_once(tell) -> None:
    told = [number for _ in range(4) for number in tell(25)]
    found, after = [], queries.BEGINNING
    while True:
        batch = read(after, limit=7)
        found += ids(batch)
        after = batch.cursor
        if not batch.more:
            break
    assert found == told
    assert ids(read(after)) == []


def test_a_row_that_is_committed_after_a_later_one_is_not_passed_over(tell, now) -> None:
    """Two transactions: the first takes its numbers, the second commits, then the first does."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer: the order of numbers is that of commits.")
    has_written, may_commit, committed = threading.Event(), threading.Event(), threading.Event()

    def slow() -> None:
        try:
            with transaction.atomic():
                record([Line(kind=Kind.FILE, source="slow", title="slow", at=now, story=story_of(1))], now)
                has_written.set()
                may_commit.wait(20)
        finally:
            connections.close_all()
            committed.set()

    thread = threading.Thread(target=slow)
    before = tell(1)
    thread.start()
    assert has_written.wait(20)
    quick = tell(1)
    first = read()
    assert ids(first) == before, "what is younger than the open transaction waits for it"
    assert not first.more
    may_commit.set()
    assert committed.wait(20)
    thread.join()
    second = read(first.cursor)
    late = Event.objects.get(source="slow").pk
    assert late < quick[0], "it took its number first"
    assert ids(second) == [late, *quick]


def test_a_transaction_of_another_database_holds_up_nothing(tell) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one database.")
    own = connection.settings_dict
    place = {"host": own["HOST"], "port": own["PORT"], "user": own["USER"], "password": own["PASSWORD"] or None}
    with psycopg.connect(**place, dbname="postgres") as elsewhere, psycopg.connect(**place, dbname=own["NAME"]) as here:
        elsewhere.execute("SELECT pg_current_xact_id()")
        told = tell(1)
        assert ids(read()) == told
        here.execute("SELECT pg_current_xact_id()")
        later = tell(1)
        assert ids(read()) == told
        here.rollback()
        assert ids(read()) == told + later


def test_a_transaction_that_is_rolled_back_holds_up_nothing(tell) -> None:
    tell(1)
    with transaction.atomic():
        tell(1)
        transaction.set_rollback(True)
    told = tell(1)
    assert ids(read())[-1:] == told


def test_from_now_on_means_what_is_not_committed_yet(tell, now) -> None:
    tell(3)
    if connection.vendor == "postgresql":
        own = connection.settings_dict
        place = {"host": own["HOST"], "port": own["PORT"], "user": own["USER"], "dbname": own["NAME"]}
        with psycopg.connect(**place, password=own["PASSWORD"] or None) as other:
            other.execute("SELECT pg_current_xact_id()")
            begun = queries.now_cursor(now)
            other.execute(
                "INSERT INTO events_event (day, at, received_at, kind, source, rule, title, severity, outcome, "
                "cluster, namespace, workload, host, digest, actor, story, ref, detail, count) "
                "SELECT day, at, received_at, kind, 'other', rule, title, severity, outcome, cluster, namespace, "
                "workload, host, digest, actor, story, ref, detail, count FROM events_event LIMIT 1"
            )
        assert [item.line.source for item in read(begun).items] == ["other"]
    else:
        begun = queries.now_cursor(now)
    told = tell(2)
    assert ids(read(begun))[-2:] == told
    assert len(read(begun).items) <= 3


def test_what_is_late_is_found_and_what_cannot_be_there_is_not_looked_for(tell, now) -> None:
    """A sensor's event is dated at most seven days before it came; the product's own may come a month late."""
    cursor = Cursor(0, 0, now.date())
    late = tell(1, at=now - timedelta(days=7))
    own = tell(1, kind=Kind.AUDIT, at=now - timedelta(days=29))
    assert ids(read(cursor)) == late + own


@pytest.mark.django_db(transaction=False)  # what is made here is gone with its transaction
def test_on_postgresql_only_the_partitions_of_late_days_are_opened(now) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no partitions.")
    from secguard.events import partitions

    today = now.date()
    for kind in (Kind.PROCESS, Kind.AUDIT):
        branch = partitions.branch_of(kind)
        have = {day for _, day in partitions._days_of(branch)}
        for offset in (*range(-10, 3), -29, -31, -60):
            if today + timedelta(days=offset) not in have:
                partitions._make(branch, today + timedelta(days=offset))

    def opened(day: date, kind: str) -> set[str]:
        rows = queries._after(Event.objects.all(), Cursor(1, 1, day), ()).order_by("txid", "id")[:10]
        return set(re.findall(f"on events_event_{kind}_([0-9]+)", rows.explain()))

    def days(*offsets: int) -> set[str]:
        return {f"{today + timedelta(days=offset):%Y%m%d}" for offset in offsets}

    assert opened(today, "process") == days(*range(-8, 2))
    assert opened(today, "audit") == days(*range(-10, 2), -29)
    assert opened(queries.BEGINNING.day, "process") == days(*range(-10, 2), -29, -31, -60)


@pytest.mark.parametrize(
    "audience",
    [
        Audience(),
        Audience(kinds=frozenset({"process", "malware"})),
        Audience(least_severity=3),
        Audience(is_wide=False),
        Audience(is_wide=False, teams=frozenset({5})),
        Audience(is_wide=False, teams=frozenset({5}), applications=frozenset({8}), least_severity=2),
        Audience(is_wide=False, applications=frozenset({9}), kinds=frozenset({"file"})),
    ],
)
def test_the_database_wants_what_the_rule_wants(tell, audience: Audience) -> None:
    for kind in (Kind.PROCESS, Kind.FILE, Kind.MALWARE):
        for severity in (0, 2, 5):
            for team, application in ((None, None), (5, 8), (6, 9)):
                tell(1, kind=kind, severity=severity, team_id=team, application_id=application)
    wanted = [row.pk for row in Event.objects.order_by("pk") if audience.wants(queries.line_of(row))]
    assert ids(read(audience=audience)) == wanted
    assert queries.waiting(queries.BEGINNING, audience)[0] == len(wanted)


def test_reading_costs_the_same_whatever_there_is(tell, django_assert_max_num_queries) -> None:
    tell(300, team_id=1)
    with django_assert_max_num_queries(4):
        assert len(read(limit=200).items) == 200


def test_a_restored_database_is_noticed(tell, make_target, run) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite's rows know no transaction.")
    from secguard.exports import services
    from secguard.exports.models import ExportTarget

    target = make_target("https://8.8.8.8/hook")
    assert not queries.is_ahead(queries.now_cursor(timezone.now()))
    ExportTarget.objects.filter(pk=target.pk).update(position_txid=10**15)
    assert services.look() == 0
    assert "restored into another server" in ExportTarget.objects.get(pk=target.pk).reason


def test_targets_are_for_who_sets_them_up(make_target, operator, developer, stranger) -> None:
    target = make_target("https://8.8.8.8/hook")
    assert queries.find(operator, target.pk) == target
    with pytest.raises(NotFound):
        queries.find(operator, 0)
    for person in (developer, stranger):
        with pytest.raises(NotAllowed):
            queries.find(person, target.pk)


def test_lag(make_target: Any, now: Any) -> None:
    target = make_target("https://8.8.8.8/hook")
    assert queries.lag(target, now) == timedelta(0)
    target.waiting_since = now - timedelta(minutes=5)
    assert queries.lag(target, now) == timedelta(minutes=5)
