from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.scope import DecisionIndex, Place, ScopedDecision, ScopeKind, applicable, covers

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)
HERE = Place(image=1, repositories=frozenset({10, 11}), applications=frozenset({20}))
WIDTH = list(ScopeKind)


def decision(
    id: int, scope: ScopeKind, scope_id: int | None = None, *, days: int = 5, approved: int = -1, risk: int = 1
):
    return ScopedDecision(
        id=id,
        risk=risk,
        kind=DecisionKind.ACCEPT,
        scope=scope,
        scope_id=scope_id,
        approved_at=NOW + approved * DAY,
        expires_at=NOW + days * DAY,
    )


WIDE = decision(1, ScopeKind.ORGANISATION)
APPLICATION = decision(2, ScopeKind.APPLICATION, 20)
REPOSITORY = decision(3, ScopeKind.REPOSITORY, 11)
IMAGE = decision(4, ScopeKind.IMAGE, 1)


def test_the_narrowest_scope_wins():
    everything = [WIDE, APPLICATION, REPOSITORY, IMAGE]
    for narrowest in (IMAGE, REPOSITORY, APPLICATION, WIDE):
        assert applicable(everything, HERE, NOW) is narrowest
        everything.remove(narrowest)
    assert applicable([], HERE, NOW) is None


def test_other_places_are_not_covered():
    others = [
        decision(1, ScopeKind.IMAGE, 2),
        decision(2, ScopeKind.REPOSITORY, 1),
        decision(3, ScopeKind.APPLICATION, 11),
    ]
    assert applicable(others, HERE, NOW) is None
    assert not any(covers(d, HERE) for d in others)


def test_an_ended_decision_gives_way_to_a_wider_one():
    ended = decision(9, ScopeKind.IMAGE, 1, days=0)
    assert applicable([ended, WIDE], HERE, NOW) is WIDE
    assert applicable([ended], HERE, NOW) is None


def test_a_decision_not_yet_approved_by_then_does_not_count():
    assert applicable([decision(9, ScopeKind.IMAGE, 1, approved=1)], HERE, NOW) is None


def test_among_equals_the_latest_approved_wins_then_the_highest_id():
    first = decision(1, ScopeKind.REPOSITORY, 10, approved=-3)
    later = decision(2, ScopeKind.REPOSITORY, 11, approved=-2)
    assert applicable([later, first], HERE, NOW) is later
    twin = decision(3, ScopeKind.REPOSITORY, 10, approved=-2)
    assert applicable([twin, later], HERE, NOW) is twin


scopes = st.one_of(
    st.tuples(st.just(ScopeKind.ORGANISATION), st.none()),
    st.tuples(st.sampled_from(WIDTH[:3]), st.sampled_from([1, 10, 11, 20, 99])),
)
many = st.lists(st.tuples(scopes, st.integers(-3, 5), st.integers(-3, 2), st.integers(1, 3)), max_size=15).map(
    lambda rows: [
        decision(i, scope, id_, days=days, approved=approved, risk=risk)
        for i, ((scope, id_), days, approved, risk) in enumerate(rows)
    ]
)


@given(many)
def test_the_chosen_one_covers_holds_and_has_nothing_narrower_beside_it(decisions):
    chosen = applicable(decisions, HERE, NOW)
    fitting = [d for d in decisions if covers(d, HERE) and d.holds_at(NOW)]
    assert (chosen is None) is (not fitting)
    if chosen is not None:
        assert chosen in fitting
        assert WIDTH.index(chosen.scope) == min(WIDTH.index(d.scope) for d in fitting)
        rivals = [d for d in fitting if d.scope is chosen.scope]
        assert (chosen.approved_at, chosen.id) == max((d.approved_at, d.id) for d in rivals)


@given(many, st.randoms(use_true_random=False))
def test_the_index_says_the_same_whatever_the_order(decisions, random):
    expected = {
        risk: found
        for risk in (1, 2, 3)
        if (found := applicable([d for d in decisions if d.risk == risk], HERE, NOW)) is not None
    }
    random.shuffle(decisions)
    index = DecisionIndex(decisions, HERE, NOW)
    assert index.chosen() == expected
    assert index.of(4) is None


@given(many, st.integers(0, 10))
def test_a_decision_past_its_end_counts_for_nothing(decisions, days):
    later = NOW + days * DAY
    chosen = applicable(decisions, HERE, later)
    assert chosen is None or (chosen.expires_at is not None and later < chosen.expires_at)
