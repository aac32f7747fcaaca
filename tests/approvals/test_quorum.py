from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from secguard.accounts.roles import Role
from secguard.approvals.quorum import Choice, Standing, VoteFact, may_vote, outcome

REVIEWER, BUSINESS = Role.SECURITY_REVIEWER, Role.BUSINESS_APPROVER
REQUESTER = 1


def vote(voter: int, *roles: Role, choice: Choice = Choice.APPROVE, now: tuple[Role, ...] | None = None) -> VoteFact:
    held = frozenset(roles)
    return VoteFact(voter=voter, choice=choice, roles_then=held, roles_now=held if now is None else frozenset(now))


def test_one_seat_one_vote():
    assert outcome(REQUESTER, {REVIEWER: 1}, []).missing == {REVIEWER: 1}
    assert outcome(REQUESTER, {REVIEWER: 1}, [vote(2, REVIEWER)]).standing is Standing.APPROVED


def test_the_requester_never_counts():
    found = outcome(REQUESTER, {REVIEWER: 1}, [vote(REQUESTER, REVIEWER)])
    assert found.standing is Standing.PENDING
    assert found.counted == ()
    assert "asked for it themselves" in found.reasons[0]


def test_the_requesters_own_rejection_does_not_count_either():
    rejected = vote(REQUESTER, REVIEWER, choice=Choice.REJECT)
    assert outcome(REQUESTER, {REVIEWER: 1}, [rejected]).standing is Standing.PENDING


def test_a_person_with_two_roles_fills_one_seat():
    required = {REVIEWER: 1, BUSINESS: 1}
    both = vote(2, REVIEWER, BUSINESS)
    found = outcome(REQUESTER, required, [both])
    assert found.standing is Standing.PENDING
    assert sum(found.missing.values()) == 1
    assert outcome(REQUESTER, required, [both, vote(3, REVIEWER)]).standing is Standing.APPROVED
    assert outcome(REQUESTER, required, [both, vote(3, BUSINESS)]).standing is Standing.APPROVED


def test_a_vote_counts_only_while_the_role_is_held():
    lost = vote(2, REVIEWER, now=())
    gained = VoteFact(voter=3, choice=Choice.APPROVE, roles_then=frozenset(), roles_now=frozenset({REVIEWER}))
    found = outcome(REQUESTER, {REVIEWER: 1}, [lost, gained])
    assert found.standing is Standing.PENDING
    assert "no longer holds" in found.reasons[0]
    assert "held no role" in found.reasons[1]


def test_one_rejection_rejects():
    votes = [vote(2, REVIEWER), vote(3, REVIEWER), vote(4, REVIEWER, choice=Choice.REJECT)]
    found = outcome(REQUESTER, {REVIEWER: 2}, votes)
    assert found.standing is Standing.REJECTED
    assert "voter 4 rejected" in found.reasons


def test_the_same_person_does_not_count_twice():
    assert outcome(REQUESTER, {REVIEWER: 2}, [vote(2, REVIEWER), vote(2, REVIEWER)]).missing == {REVIEWER: 1}


def test_nothing_required_is_never_approved():
    assert outcome(REQUESTER, {}, [vote(2, REVIEWER)]).standing is Standing.PENDING
    assert outcome(REQUESTER, {REVIEWER: 0}, [vote(2, REVIEWER)]).standing is Standing.PENDING


def test_may_vote_says_why_not():
    assert "own request" in may_vote(1, 1, {REVIEWER: 1}, frozenset({REVIEWER}))
    assert "security-reviewer" in may_vote(2, 1, {REVIEWER: 1}, frozenset({BUSINESS}))
    assert may_vote(2, 1, {REVIEWER: 1}, frozenset({REVIEWER, BUSINESS})) == ""


roles = st.frozensets(st.sampled_from([REVIEWER, BUSINESS, Role.OPERATOR]))
votes_of_distinct = st.lists(
    st.builds(VoteFact, voter=st.integers(1, 6), choice=st.just(Choice.APPROVE), roles_then=roles, roles_now=roles),
    max_size=6,
    unique_by=lambda v: v.voter,
)
requirements = st.dictionaries(st.sampled_from([REVIEWER, BUSINESS]), st.integers(1, 2), min_size=1)


def fillable(required: dict[Role, int], people: list[frozenset[Role]]) -> bool:
    """By trying every assignment: the rule in its plainest form."""
    seats = [role for role, count in required.items() for _ in range(count)]
    return any(all(s in p for s, p in zip(seats, order, strict=True)) for order in permutations(people, len(seats)))


@given(requirements, votes_of_distinct)
def test_approved_exactly_when_distinct_people_can_fill_every_seat(required, votes):
    people = [v.roles_then & v.roles_now for v in votes if v.voter != REQUESTER]
    found = outcome(REQUESTER, required, votes)
    assert (found.standing is Standing.APPROVED) is fillable(required, people)
    assert (found.standing is Standing.APPROVED) is (not found.missing)


@given(requirements, votes_of_distinct, st.randoms(use_true_random=False))
def test_the_order_of_votes_does_not_matter(required, votes, random):
    shuffled = list(votes)
    random.shuffle(shuffled)
    assert outcome(REQUESTER, required, shuffled) == outcome(REQUESTER, required, votes)


@given(requirements, votes_of_distinct)
def test_the_requesters_vote_changes_nothing(required, votes):
    without = [v for v in votes if v.voter != REQUESTER]
    found, expected = outcome(REQUESTER, required, votes), outcome(REQUESTER, required, without)
    assert (found.standing, found.missing, found.counted) == (expected.standing, expected.missing, expected.counted)
