"""The rules of controls: state and end as a function of evidence, schedule and instant alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.decisions.controls import (
    COUNTS,
    SKEW,
    ControlEvent,
    ControlKind,
    ControlState,
    EvidenceKind,
    Known,
    Life,
    Says,
    Sighting,
    after,
    check_hours,
    check_seen,
    counts_until,
    crosses,
    due_at,
    first_end,
    gather,
    holds_until,
    leans_on,
    state,
    warning,
    word,
)
from secguard.errors import Conflict, Invalid

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LIFE = Life(kept_alive_by=EvidenceKind.HEARTBEAT, every=4 * HOUR, confirmed_at=NOW - DAY)


def saw(
    hours: float, says: Says = Says.HOLDS, kind: EvidenceKind = EvidenceKind.HEARTBEAT, late: float = 0
) -> Sighting:
    at = NOW + hours * HOUR
    return Sighting(kind=kind, says=says, seen_at=at, noted_at=at + late * HOUR)


def state_of(*sightings: Sighting, life: Life = LIFE, now: datetime = NOW) -> ControlState:
    return state(life, gather(life, sightings, now), now)


@pytest.mark.parametrize(
    ("sightings", "expected"),
    [
        ((), ControlState.STALE),
        ((saw(0),), ControlState.ALIVE),
        ((saw(-2.9),), ControlState.ALIVE),
        ((saw(-3),), ControlState.GOING_STALE),
        ((saw(-4),), ControlState.STALE),
        ((saw(1),), ControlState.STALE),
        ((saw(-1, late=2),), ControlState.STALE),
        ((saw(-1, kind=EvidenceKind.CHECK),), ControlState.STALE),
        ((saw(-1, Says.CONTRADICTS),), ControlState.CONTRADICTED),
        ((saw(-1, Says.CONTRADICTS), saw(0)), ControlState.ALIVE),
        ((saw(0, Says.CONTRADICTS), saw(0)), ControlState.CONTRADICTED),
        ((saw(-2, Says.CONTRADICTS, EvidenceKind.CHECK), saw(0)), ControlState.CONTRADICTED),
        (
            (saw(-2, Says.CONTRADICTS, EvidenceKind.CHECK), saw(-1, kind=EvidenceKind.CHECK), saw(0)),
            ControlState.ALIVE,
        ),
        ((saw(-2, Says.CONTRADICTS, EvidenceKind.OBSERVATION), saw(0)), ControlState.CONTRADICTED),
    ],
)
def test_a_state_is_read_off_the_evidence(sightings, expected):
    assert state_of(*sightings) is expected


def test_nobody_counts_on_what_is_not_confirmed_or_is_retired():
    proposed = Life(kept_alive_by=EvidenceKind.HEARTBEAT, every=4 * HOUR)
    later = Life(kept_alive_by=EvidenceKind.HEARTBEAT, every=4 * HOUR, confirmed_at=NOW + HOUR)
    retired = Life(kept_alive_by=EvidenceKind.HEARTBEAT, every=4 * HOUR, confirmed_at=NOW - DAY, retired_at=NOW)
    assert state_of(saw(0), life=proposed) is ControlState.PROPOSED
    assert state_of(saw(0), life=later) is ControlState.PROPOSED
    assert state_of(saw(0), life=retired) is ControlState.RETIRED
    assert state_of(saw(-1), life=retired, now=NOW - HOUR / 2) is ControlState.ALIVE
    for life in (proposed, later, retired):
        assert holds_until(life, gather(life, [saw(0)], NOW), NOW) is None


# --- no order of evidence, clock and schedule makes a stale control count ---

moments = st.integers(-500, 500).map(lambda minutes: NOW + timedelta(minutes=minutes))
sightings = st.lists(
    st.builds(
        Sighting,
        kind=st.sampled_from(EvidenceKind),
        says=st.sampled_from(Says),
        seen_at=moments,
        noted_at=moments,
    ),
    max_size=12,
)
lives = st.builds(
    Life,
    kept_alive_by=st.sampled_from(EvidenceKind),
    every=st.integers(60, 600).map(lambda minutes: timedelta(minutes=minutes)),
    confirmed_at=st.none() | moments,
    retired_at=st.none() | moments,
)


def counts(life: Life, evidence: list[Sighting], now: datetime) -> bool:
    return state(life, gather(life, evidence, now), now) in COUNTS


@given(lives, sightings, moments, st.randoms())
def test_the_order_in_which_evidence_comes_changes_nothing(life, evidence, now, random):
    shuffled = list(evidence)
    random.shuffle(shuffled)
    assert gather(life, shuffled, now) == gather(life, evidence, now)


@given(lives, sightings, moments)
def test_what_counts_was_seen_within_the_time_agreed_and_nothing_stands_against_it(life, evidence, now):
    if not counts(life, evidence, now):
        return
    known = [s for s in evidence if s.seen_at <= now and s.noted_at <= now]
    seen = [s for s in known if s.kind is life.kept_alive_by and s.says is Says.HOLDS]
    assert life.confirmed_at is not None
    assert life.confirmed_at <= now
    assert life.retired_at is None or now < life.retired_at
    assert any(now - life.every < s.seen_at <= now for s in seen)
    for against in (s for s in known if s.says is Says.CONTRADICTS):
        assert any(s.kind is against.kind and s.says is Says.HOLDS and s.seen_at > against.seen_at for s in known)


@given(lives, sightings, moments, moments)
def test_an_end_that_was_told_is_never_too_late(life, evidence, now, later):
    """What was told at ``now`` holds with no more evidence, and nothing counts past it."""
    ends = holds_until(life, gather(life, [s for s in evidence if s.noted_at <= now], now), now)
    assert (ends is not None) == counts(life, evidence, now)
    if ends is not None and later >= ends:
        known = [s for s in evidence if s.noted_at <= now and s.seen_at <= now]
        assert not counts(life, known, later)


@given(lives, sightings, moments, sightings)
def test_what_is_not_known_yet_changes_nothing(life, evidence, now, to_come):
    later = [s for s in to_come if s.noted_at > now or s.seen_at > now]
    assert gather(life, evidence + later, now) == gather(life, evidence, now)


@given(lives, sightings, moments, st.sampled_from(EvidenceKind))
def test_a_contradiction_never_helps(life, evidence, now, kind):
    against = Sighting(kind=kind, says=Says.CONTRADICTS, seen_at=now, noted_at=now)
    assert not counts(life, [*evidence, against], now)


@given(lives, sightings, moments)
def test_what_is_kept_beside_a_control_is_enough(life, evidence, now):
    """The last of each kind and word decides as all of them do: it is all that is read."""
    latest: dict[tuple[EvidenceKind, Says], Sighting] = {}
    for sighting in sorted((s for s in evidence if s.noted_at <= now and s.seen_at <= now), key=lambda s: s.seen_at):
        latest[sighting.kind, sighting.says] = sighting
    assert gather(life, latest.values(), now) == gather(life, evidence, now)


# --- what decisions make of it ---

ends = st.lists(st.none() | moments, max_size=5)


@given(st.none() | moments, ends, moments)
def test_a_decision_ends_with_its_first_control_and_does_not_come_back(held, controls, now):
    found = leans_on(held, controls, now)
    assert found is not None
    if held is not None and held <= now:
        assert found == held
    elif not controls or None in controls:
        assert found == now
    else:
        assert found == min(controls)
    assert counts_until(NOW, found) == min(NOW, found)
    assert counts_until(NOW, None) == NOW


def test_without_any_end_there_is_no_time_left():
    assert first_end([], NOW) == NOW
    assert first_end([NOW + HOUR, None], NOW) == NOW
    assert first_end([NOW + 2 * HOUR, NOW + HOUR], NOW) == NOW + HOUR


@given(moments, moments, st.integers(60, 600))
def test_lists_are_written_anew_where_an_end_moved_far_or_back(old, new, minutes):
    every = timedelta(minutes=minutes)
    if not crosses(old, new, every):
        assert timedelta(0) <= new - old < warning(every)
    assert crosses(None, new, every)


def test_due_is_counted_from_what_was_seen_last():
    assert due_at(LIFE, gather(LIFE, [saw(-9), saw(-5)], NOW)) == NOW - HOUR
    assert due_at(LIFE, Known()) is None


# --- what people send ---


def test_steps_that_do_not_follow_are_conflicts():
    assert after("proposed", ControlEvent.CONFIRM) == "confirmed"
    assert after("proposed", ControlEvent.RETIRE) == "retired"
    with pytest.raises(Conflict, match="is confirmed; only one that is proposed can be confirmed"):
        after("confirmed", ControlEvent.CONFIRM)
    with pytest.raises(Conflict, match="is retired; only one that is proposed or confirmed can be retired"):
        after("retired", ControlEvent.RETIRE)


@pytest.mark.parametrize("hours", [0, -1, 24 * 366 + 1])
def test_a_schedule_is_an_hour_to_a_year(hours):
    with pytest.raises(Invalid, match="expected are 1 to 8784"):
        check_hours(hours)


def test_nothing_was_seen_in_the_future_or_long_ago():
    assert check_seen(None, NOW) == NOW
    assert check_seen(NOW + SKEW, NOW) == NOW
    assert check_seen(NOW - DAY, NOW) == NOW - DAY
    with pytest.raises(Invalid, match="still to come"):
        check_seen(NOW + SKEW + timedelta(seconds=1), NOW)
    with pytest.raises(Invalid, match="more than a year ago"):
        check_seen(NOW - timedelta(days=400), NOW)


def test_an_unknown_word_names_the_known_ones():
    assert word(ControlKind, "process", "kind of control", "kind") is ControlKind.PROCESS
    with pytest.raises(Invalid, match="'magic' is no kind of control; expected is one of network-policy, ") as found:
        word(ControlKind, "magic", "kind of control", "kind")
    assert found.value.where == "kind"
