"""What was measured, kept as intervals: any past day is answered as a plain replay of all measurements answers it, and
what nobody knew is never a pass."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count as count_up
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.accounts.models import Application, User
from secguard.compliance import queries, services
from secguard.compliance.framework import load
from secguard.compliance.models import FrameworkDay, FrameworkVersion, MeasureStanding
from secguard.compliance.queries import Moment, Scope
from secguard.compliance.standing import State, count, end_of, of_scope, tally
from secguard.planning.checks import CHECKS, Check, Outcome
from tests.compliance.texts import SMALL

pytestmark = pytest.mark.django_db
START = datetime(2026, 3, 1, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
NAMES = ("one", "two")
WORDS = {"kept": State.PASS, "missing": State.FAIL, "unmeasured": State.UNMEASURED}
TEXT = SMALL.replace("images-scanned, sbom-known", "one, two").replace("[sbom-known]", "[two]")
Said = tuple[str, int | None]
"""(state, hours until the clock alone may turn it)."""


class Script:
    """What the checks are going to say."""

    now: dict[tuple[str, int], Said]
    asked = count_up()

    def check(self, name: str) -> Check:
        return Check(name=name, about="It says what it is told to.", ask=lambda ids, at: self._say(name, ids, at))

    def _say(self, name: str, ids: Any, at: datetime) -> dict[int, Outcome]:
        found = {}
        for pk in ids:
            state, hours = self.now[name, pk]
            turn = None if hours is None else at + hours * HOUR
            says = f"It is {state} for the {next(self.asked)}. time."
            found[pk] = Outcome(state=state, says=says, same=state, changes_at=turn)  # type: ignore[arg-type]
        return found


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    made = Script()
    for name in NAMES:
        monkeypatch.setitem(CHECKS, name, made.check(name))
    return made


@pytest.fixture
def version() -> FrameworkVersion:
    return FrameworkVersion.objects.create(
        name="own-rules", number=1, title="Ours", text=TEXT, digest="-", added_at=START, valid_from=START - 90 * HOUR
    )


SAID = st.tuples(st.sampled_from([*WORDS, "kept"]), st.none() | st.integers(1, 60))
STEP = st.tuples(st.integers(1, 80), st.lists(SAID, min_size=6, max_size=6))


def worth(said: Said, at: datetime, asked: datetime) -> State:
    """Naively: what a measurement of ``asked`` says of ``at``."""
    state, hours = WORDS[said[0]], said[1]
    if asked - at >= 24 * HOUR:
        return State.UNMEASURED
    turned = hours is not None and at + hours * HOUR <= asked
    return State.UNMEASURED if turned and state is not State.FAIL else state


@given(st.lists(STEP, min_size=1, max_size=7))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_past_day_is_what_a_replay_of_every_measurement_says(
    script: Script, version: FrameworkVersion, make_team: Any, make_application: Any, steps: Any
) -> None:
    with transaction.atomic():
        teams = [make_team("First"), make_team("Second")]
        several = [make_application(f"A{n}", teams[n % 2], created_at=START - HOUR) for n in range(3)]
        at, told = START, []
        for hours, said in steps:
            at += hours * HOUR
            script.now = dict(zip([(n, a.pk) for n in NAMES for a in several], said, strict=True))
            services.measure([a.pk for a in several], at)
            told.append((at, dict(script.now)))
        script_end = at + 30 * HOUR
        services.keep_days(START)  # counting begins
        services.keep_days(script_end)
        everybody = Scope(user=User.who_sees_everything())
        day = START.date()
        while day < script_end.date():
            end = end_of(day)
            last = max((one for one in told if one[0] <= end), key=lambda one: one[0], default=None)
            replayed = [
                {} if last is None else {n: worth(last[1][n, a.pk], last[0], end) for n in NAMES} for a in several
            ]
            expected = count(load(TEXT), replayed)
            when = Moment(end, day, True)
            live = queries.measured_by_team(everybody, when, NAMES)
            assert count(load(TEXT), [one for rows in live.values() for one in rows]) == expected, day
            assert queries.standings([version], everybody, when)[version.pk].counts == expected, day
            control = load(TEXT).control("1.1")
            assert control is not None
            rows = queries.at_control(control, everybody, when)
            listed = [0, 0, 0, 0]
            for state in rows.values_list("state", flat=True):
                listed[state] += 1
            assert tuple(listed) == expected["1.1"], day
            theirs = Scope(user=User.who_sees_everything(), team=teams[0])
            of_team = queries.standings([version], theirs, when)[version.pk].counts
            rows = queries.at_control(control, theirs, when)
            assert sorted(rows.values_list("state", flat=True)) == [
                state for state in State for _ in range(of_team["1.1"][state])
            ]
            kept = FrameworkDay.objects.filter(day=day, is_closed=True)
            assert kept.count() == 3
            day += timedelta(days=1)
        transaction.set_rollback(True)


@given(st.lists(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(State)), max_size=6))
def test_a_pass_needs_every_application_and_every_check_to_pass(several: list[dict[str, State]]) -> None:
    counts = count(load(TEXT), several)
    for control in load(TEXT).controls:
        everything = [one.get(name) for one in several for name in control.checks]
        is_passed = bool(everything) and all(state is State.PASS for state in everything)
        assert (of_scope(counts[control.id]) is State.PASS) == is_passed
        assert sum(counts[control.id]) == len(several)
    assert sum(tally(counts)) == 3


def test_an_unchanged_estate_measured_again_writes_no_row(
    script: Script, version: FrameworkVersion, application: Any
) -> None:
    script.now = {("one", application.pk): ("kept", 40), ("two", application.pk): ("missing", 2)}
    for hour in range(4):
        services.measure([application.pk], START + hour * HOUR)
    rows = MeasureStanding.objects.order_by("measure")
    assert [(r.measure, r.since, r.until) for r in rows] == [("one", START, None), ("two", START, None)]
    assert rows[0].turns_at == START + 43 * HOUR
    script.now["two", application.pk] = ("kept", None)
    services.measure([application.pk], START + 4 * HOUR)
    assert [(r.state, r.until) for r in rows.filter(measure="two").order_by("since")] == [
        (State.FAIL, START + 4 * HOUR),
        (State.PASS, None),
    ]


def test_a_check_that_fails_is_not_measured(
    script: Script, version: FrameworkVersion, application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(ids: Any, at: datetime) -> Any:
        raise RuntimeError("no")

    script.now = {("two", application.pk): ("kept", None)}
    monkeypatch.setitem(CHECKS, "one", Check(name="one", about="It fails.", ask=broken))
    services.measure([application.pk], START)
    row = MeasureStanding.objects.get(measure="one")
    assert (row.state, row.says) == (State.UNMEASURED, "It could not be measured: see the server's log.")
    assert MeasureStanding.objects.get(measure="two").state == State.PASS


def test_the_same_number_of_statements_for_one_application_and_for_twenty(
    script: Script, version: FrameworkVersion, make_team: Any, make_application: Any
) -> None:
    several: list[Application] = [make_application(f"A{n}", make_team(f"T{n}")) for n in range(20)]
    script.now = {(n, a.pk): ("kept", 2) for n in NAMES for a in several}
    counts = []
    for ids in ([several[0].pk], [a.pk for a in several[1:]]):
        with CaptureQueriesContext(connection) as asked:
            services.measure(ids, START)
        counts.append(len(asked))
    assert counts[0] == counts[1]
    services.keep_days(START)
    days = []
    for end in (1, 20):
        MeasureStanding.objects.exclude(application__in=several[:end]).delete()
        with CaptureQueriesContext(connection) as asked:
            services.keep_days(START)
        days.append(len(asked))
    assert days[0] == days[1]
