from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
    in_force,
    material_change,
    parse_conditions,
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
