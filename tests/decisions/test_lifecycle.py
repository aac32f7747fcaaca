from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.decisions.lifecycle import (
    TRANSITIONS,
    Conditions,
    DecisionEvent,
    DecisionKind,
    DecisionStatus,
    RiskSnapshot,
    after,
    check_conditions,
    endings,
    in_force,
    material_change,
    parse_conditions,
    still_stands,
)
from secguard.errors import Conflict, Invalid
from secguard.findings.severity import Severity

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HIGH = RiskSnapshot(severity=Severity.HIGH, epss=0.02)
FINAL = set(DecisionStatus) - {DecisionStatus.REQUESTED, DecisionStatus.APPROVED}


@pytest.mark.parametrize(
    ("status", "event", "expected"),
    [
        ("requested", "approve", "approved"),
        ("requested", "reject", "rejected"),
        ("requested", "withdraw", "withdrawn"),
        ("requested", "end", "ended"),
        ("approved", "revoke", "revoked"),
        ("approved", "end", "ended"),
    ],
)
def test_the_steps_there_are(status, event, expected):
    assert after(status, DecisionEvent(event)) == expected
    assert len(TRANSITIONS) == 6


def test_a_wrong_step_names_the_state_found_and_the_one_expected():
    with pytest.raises(Conflict, match=r"is approved; only one that is requested can be withdrawn"):
        after("approved", DecisionEvent.WITHDRAW)


@given(st.lists(st.sampled_from(list(DecisionEvent)), max_size=8))
def test_what_is_settled_stays_settled(events):
    status = DecisionStatus.REQUESTED
    for event in events:
        try:
            following = after(status, event)
        except Conflict:
            continue
        assert status not in FINAL
        status = following


def test_in_force_from_its_start_until_before_its_end():
    assert in_force("approved", NOW, NOW + DAY, NOW)
    assert in_force("approved", None, None, NOW)
    assert not in_force("approved", NOW, NOW + DAY, NOW + DAY)
    assert not in_force("approved", NOW + DAY, None, NOW)


@given(st.sampled_from([s for s in DecisionStatus if s is not DecisionStatus.APPROVED]))
def test_only_an_approved_decision_is_ever_in_force(status):
    assert not in_force(status, NOW - DAY, NOW + DAY, NOW)


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (RiskSnapshot(severity=Severity.HIGH, epss=0.02, fix_available=True), "a fix appeared"),
        (RiskSnapshot(severity=Severity.HIGH, epss=0.02, known_exploited=True), "known exploitation began"),
        (RiskSnapshot(severity=Severity.CRITICAL, epss=0.02), "severity rose from high to critical"),
        (RiskSnapshot(severity=Severity.HIGH, epss=0.6), "EPSS rose from 0.02 to 0.6, past 0.5"),
    ],
)
def test_each_material_change_has_its_reason(now, reason):
    assert material_change(HIGH, now, Conditions()) == [reason]


def test_what_gets_better_or_was_so_before_changes_nothing():
    bad = RiskSnapshot(severity=Severity.CRITICAL, known_exploited=True, epss=0.9, fix_available=True)
    assert material_change(bad, bad, Conditions()) == []
    assert material_change(bad, HIGH, Conditions()) == []
    assert material_change(HIGH, RiskSnapshot(severity=Severity.HIGH, epss=None), Conditions()) == []


def test_the_kind_says_what_matters():
    fixed = RiskSnapshot(severity=Severity.CRITICAL, epss=0.9, fix_available=True)
    assert material_change(HIGH, fixed, Conditions(), DecisionKind.NOT_AFFECTED) == []
    assert "a fix appeared" not in material_change(HIGH, fixed, Conditions(), DecisionKind.FIX)
    assert "a fix appeared" in material_change(HIGH, fixed, Conditions(), DecisionKind.MITIGATE)
    assert "a fix appeared" in material_change(HIGH, fixed, Conditions(until_fix=True), DecisionKind.NOT_AFFECTED)
    assert "a fix appeared" not in material_change(HIGH, fixed, Conditions(until_fix=False), DecisionKind.ACCEPT)
    exploited = RiskSnapshot(severity=Severity.HIGH, known_exploited=True)
    assert material_change(HIGH, exploited, Conditions(), DecisionKind.NOT_AFFECTED) == ["known exploitation began"]


def test_the_agreed_epss_line_replaces_the_default_ones():
    rising = RiskSnapshot(severity=Severity.HIGH, epss=0.3)
    assert material_change(HIGH, rising, Conditions(max_epss=0.3)) == []
    assert material_change(HIGH, rising, Conditions(max_epss=0.2)) == ["EPSS is 0.3, above the agreed 0.2"]


def test_conditions_are_read_and_refused():
    assert parse_conditions(None) == Conditions()
    assert parse_conditions({"until_fix": True, "max_epss": 0.2}) == Conditions(until_fix=True, max_epss=0.2)
    for bad in (
        {"untilfix": True},
        {"max_epss": "much"},
        {"max_epss": 1.5},
        {"max_epss": -1},
        [],
        "x",
        {"until_fix": 1},
    ):
        with pytest.raises(Invalid):
            parse_conditions(bad)


def test_a_condition_that_is_broken_already_is_refused():
    with pytest.raises(Invalid, match="would end at once"):
        check_conditions(Conditions(max_epss=0.01), HIGH, DecisionKind.ACCEPT)
    check_conditions(Conditions(max_epss=0.02), HIGH, DecisionKind.ACCEPT)


snapshots = st.builds(
    RiskSnapshot,
    severity=st.sampled_from(Severity),
    known_exploited=st.booleans(),
    epss=st.none() | st.floats(0, 1),
    fix_available=st.booleans(),
)


@given(snapshots, st.sampled_from(DecisionKind))
def test_without_conditions_nothing_changes_while_nothing_changes(snapshot, kind):
    assert material_change(snapshot, snapshot, Conditions(), kind) == []
    check_conditions(Conditions(), snapshot, kind)


@pytest.mark.parametrize("kind", list(DecisionKind))
def test_what_would_end_it_is_what_ends_it(kind: DecisionKind) -> None:
    """Each thing that is told ends it when it happens, and nothing that ends it is left untold."""
    start = RiskSnapshot(severity=Severity.HIGH, epss=0.05, exposed=False)
    changes = {
        "known exploitation begins": {"known_exploited": True},
        "a fix appears": {"fix_available": True},
        "severity rises above high": {"severity": Severity.CRITICAL},
        "it becomes reachable from outside": {"exposed": True},
        "EPSS reaches 0.1 or 0.5": {"epss": 0.2},
        "EPSS rises above 0.3": {"epss": 0.4},
    }
    for conditions in (
        Conditions(),
        Conditions(until_fix=True),
        Conditions(until_fix=False, max_epss=0.3),
        Conditions(max_severity="high"),
    ):
        told = [e.when for e in endings(start, start, conditions, kind)]
        ends = {
            words
            for words, change in changes.items()
            if material_change(start, msgspec.structs.replace(start, **change), conditions, kind)
        }
        named = "EPSS rises above 0.3" if conditions.max_epss else "EPSS reaches 0.1 or 0.5"
        other = "EPSS reaches 0.1 or 0.5" if conditions.max_epss else "EPSS rises above 0.3"
        assert set(told) == ends - {other}
        assert (named in told) == (kind is not DecisionKind.NOT_AFFECTED or conditions.max_epss is not None)


def test_what_is_so_already_ends_nothing() -> None:
    worst = RiskSnapshot(severity=Severity.CRITICAL, known_exploited=True, epss=0.9, fix_available=True, exposed=True)
    assert endings(worst, worst, Conditions(), DecisionKind.ACCEPT) == []


@pytest.mark.parametrize(
    ("conditions", "kind", "line"),
    [
        (Conditions(), DecisionKind.ACCEPT, "high"),
        (Conditions(), DecisionKind.NOT_AFFECTED, None),
        (Conditions(max_severity="high"), DecisionKind.NOT_AFFECTED, "high"),
        (Conditions(max_severity="high"), DecisionKind.FIX, "high"),
    ],
)
def test_a_chosen_severity_line_ends_every_kind(conditions, kind, line):
    worse = RiskSnapshot(severity=Severity.CRITICAL)
    told = [e.when for e in endings(HIGH, HIGH, conditions, kind) if e.by == "severity"]
    assert told == ([f"severity rises above {line}"] if line else [])
    assert bool(material_change(HIGH, worse, conditions, kind)) is bool(line)


def test_a_severity_line_below_what_is_known_is_refused_and_an_unknown_word_is():
    with pytest.raises(Invalid, match="severity is high, above the agreed low"):
        check_conditions(Conditions(max_severity="low"), HIGH, DecisionKind.NOT_AFFECTED)
    for word in ("critical", "unknown", "awful"):
        with pytest.raises(Invalid, match="expected is one of negligible, low, medium, high"):
            parse_conditions({"max_severity": word})


def test_each_ending_says_how_far_off_it_is():
    now = msgspec.structs.replace(HIGH, epss=0.03)
    found = {e.by: e.now for e in endings(HIGH, now, Conditions(until_fixed=True), DecisionKind.ACCEPT)}
    assert found == {
        "exploitation": "not known to be exploited",
        "fix": "no fix known yet",
        "fixed": "it stands there",
        "severity": "high now",
        "epss": "EPSS 0.03 of 0.1",
    }
    gone = {e.by: e.now for e in endings(HIGH, None, Conditions(until_fixed=True, max_epss=0.2), DecisionKind.FIX)}
    assert (gone["fixed"], gone["epss"]) == ("no newest image has it", "EPSS 0.02 of 0.2")


@given(st.booleans(), st.none() | st.datetimes(), st.datetimes())
def test_what_came_back_is_not_what_was_agreed_about(stands, returned_at, asked_at):
    holds = still_stands(asked_at, stands, returned_at)
    assert holds == (stands and not (returned_at is not None and returned_at > asked_at))
