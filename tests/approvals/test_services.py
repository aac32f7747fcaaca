from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from secguard.accounts import services as accounts
from secguard.accounts.models import Membership, User
from secguard.accounts.roles import Role
from secguard.approvals.models import ApprovalRequest, Vote
from secguard.approvals.queries import open_for, outcomes, votes_of
from secguard.approvals.quorum import Choice, Outcome, Standing
from secguard.approvals.services import UNOWNED, Ballot, close, open_requests, vote
from secguard.errors import Conflict, Invalid, NotAllowed

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ONE = {Role.SECURITY_REVIEWER: 1}
TWO = {Role.SECURITY_REVIEWER: 1, Role.BUSINESS_APPROVER: 1}

pytestmark = pytest.mark.django_db


def opened(requester, required=None) -> ApprovalRequest:
    return open_requests([required or ONE], requester=requester, now=NOW)[0]


def cast(request, actor, choice=Choice.APPROVE, comment="seen", teams=frozenset()):
    return vote([Ballot(request.pk, teams)], actor=actor, choice=choice, comment=comment, now=NOW)[request.pk]


def test_one_vote_approves_where_one_is_needed(developer, reviewer):
    request = opened(developer)
    result = cast(request, reviewer)
    request.refresh_from_db()
    assert isinstance(result, Outcome)
    assert result.standing is Standing.APPROVED
    assert (request.status, request.closed_at) == ("approved", NOW)


def test_two_seats_need_two_people(developer, make_person):
    both = make_person("both", "security-reviewer", "business-approver")
    business = make_person("business", "business-approver")
    request = opened(developer, TWO)
    first = cast(request, both)
    assert first.standing is Standing.PENDING
    assert sum(first.missing.values()) == 1
    assert cast(request, business).standing is Standing.APPROVED


def test_the_requester_cannot_vote_even_with_every_role(make_person):
    owner = make_person("owner", "security-reviewer", "business-approver", "administrator")
    request = opened(owner)
    refusal = cast(request, owner)
    assert isinstance(refusal, NotAllowed)
    assert refusal.code == "own-request"
    assert not Vote.objects.exists()


def test_the_wrong_role_is_refused_by_name(developer, administrator):
    refusal = cast(opened(developer), administrator)
    assert isinstance(refusal, NotAllowed)
    assert "security-reviewer" in refusal.detail


def test_a_role_in_one_team_does_not_reach_into_another(developer, make_person, team, other_team):
    narrow = make_person("narrow", "security-reviewer", team=other_team)
    request = opened(developer)
    assert isinstance(cast(request, narrow, teams=frozenset({team.pk})), NotAllowed)
    assert isinstance(cast(request, narrow, teams=frozenset({other_team.pk})), Outcome)


def test_what_concerns_two_teams_needs_the_word_of_each(developer, make_person, team, other_team):
    both = frozenset({team.pk, other_team.pk})
    ours = make_person("ours", "security-reviewer", team=team)
    theirs = make_person("theirs", "security-reviewer", team=other_team)
    request = opened(developer)
    first = cast(request, ours, teams=both)
    assert first.standing is Standing.PENDING
    assert first.missing == {Role.SECURITY_REVIEWER: 1}
    assert isinstance(cast(request, make_person("ours-too", "security-reviewer", team=team), teams=both), Outcome)
    request.refresh_from_db()
    assert request.status == "open"
    assert cast(request, theirs, teams=both).standing is Standing.APPROVED


def test_one_team_alone_refuses_for_all(developer, make_person, team, other_team):
    request = opened(developer)
    theirs = make_person("theirs", "security-reviewer", team=other_team)
    found = cast(request, theirs, Choice.REJECT, teams=frozenset({team.pk, other_team.pk}), comment="not in ours")
    assert found.standing is Standing.REJECTED


def test_who_holds_the_role_everywhere_speaks_for_all(developer, reviewer, team, other_team):
    found = cast(opened(developer), reviewer, teams=frozenset({team.pk, other_team.pk}))
    assert found.standing is Standing.APPROVED


def test_what_nobody_owns_needs_an_organisation_wide_role(developer, make_person, team, reviewer):
    narrow = make_person("narrow", "security-reviewer", team=team)
    request = opened(developer)
    assert isinstance(cast(request, narrow, teams=frozenset({UNOWNED})), NotAllowed)
    assert isinstance(cast(request, narrow, teams=frozenset()), NotAllowed)
    assert isinstance(cast(request, reviewer, teams=frozenset({UNOWNED})), Outcome)


def test_a_role_lost_since_sign_in_does_not_count(developer, reviewer):
    assert reviewer.can("decision:approve")
    Membership.objects.filter(user_id=reviewer.pk).delete()
    assert isinstance(cast(opened(developer), reviewer), NotAllowed)


def test_an_earlier_vote_stops_counting_with_its_role(developer, reviewer, business_approver, make_person):
    request = opened(developer, TWO)
    cast(request, reviewer)
    Membership.objects.filter(user_id=reviewer.pk).delete()
    result = cast(request, business_approver)
    assert result.standing is Standing.PENDING
    assert result.missing == {Role.SECURITY_REVIEWER: 1}
    assert cast(request, make_person("second", "security-reviewer")).standing is Standing.APPROVED


def test_a_token_for_another_role_leaves_no_vote(developer, make_person):
    person = make_person("person", "security-reviewer", "developer")
    person.token = person.tokens.create(
        name="t", prefix="p", digest="d" * 64, role="developer", expires_at=NOW + timedelta(days=1)
    )
    person.__dict__.pop("_grants", None)
    assert isinstance(cast(opened(developer), person), NotAllowed)


@pytest.mark.parametrize("way", ["account", "role", "link"])
def test_whom_the_requester_made_able_since_asking_does_not_count(make_person, reviewer, administrator, way):
    asking = make_person("asking", "administrator")
    request = open_requests([TWO], requester=asking, now=timezone.now())[0]
    if way == "account":
        puppet = accounts.create_user("puppet", Role.SECURITY_REVIEWER, actor=asking)
    else:
        puppet = make_person("puppet", *(["security-reviewer"] if way == "link" else []))
    if way == "role":
        accounts.grant(puppet.pk, Role.SECURITY_REVIEWER, actor=asking)
    elif way == "link":
        accounts.issue_sign_in_link(puppet.pk, actor=asking)
    puppet = User.objects.get(pk=puppet.pk)
    refusal = cast(request, puppet)
    assert isinstance(refusal, NotAllowed)
    assert refusal.code == "chosen-by-requester"
    assert not Vote.objects.exists()
    # Another administrator's choice, and what the requester did before asking, is nobody's coat.
    other = accounts.create_user("other", Role.SECURITY_REVIEWER, actor=administrator)
    assert isinstance(cast(request, other), Outcome)
    later = open_requests([TWO], requester=asking, now=timezone.now())[0]
    assert isinstance(cast(later, puppet), Outcome)


def test_one_rejection_settles_it_and_needs_a_comment(developer, reviewer, business_approver):
    request = opened(developer, TWO)
    with pytest.raises(Invalid, match="needs a comment"):
        cast(request, reviewer, Choice.REJECT, comment="  ")
    assert cast(request, reviewer, Choice.REJECT).standing is Standing.REJECTED
    refusal = cast(request, business_approver)
    assert isinstance(refusal, Conflict)
    assert "rejected" in refusal.detail


def test_nobody_votes_twice(developer, reviewer):
    request = opened(developer, {Role.SECURITY_REVIEWER: 2})
    cast(request, reviewer)
    refusal = cast(request, reviewer)
    assert isinstance(refusal, Conflict)
    assert refusal.code == "voted-already"


def test_a_closed_request_takes_no_vote(developer, reviewer):
    request = opened(developer)
    close([request.pk], now=NOW)
    refusal = cast(request, reviewer)
    assert isinstance(refusal, Conflict)
    assert "closed" in refusal.detail


def test_a_requirement_without_seats_is_refused(developer):
    with pytest.raises(Invalid):
        open_requests([{Role.SECURITY_REVIEWER: 0}], requester=developer, now=NOW)


def test_voting_takes_as_many_statements_for_one_as_for_forty(developer, reviewer, django_assert_max_num_queries):
    requests = open_requests([ONE] * 40, requester=developer, now=NOW)
    with django_assert_max_num_queries(10):
        vote([Ballot(r.pk, frozenset()) for r in requests], actor=reviewer, choice=Choice.APPROVE, comment="", now=NOW)
    assert ApprovalRequest.objects.filter(status="approved").count() == 40


def test_open_for_leaves_out_own_voted_closed_and_other_roles(developer, reviewer, business_approver):
    wanted, own, voted, closed = open_requests([ONE] * 4, requester=developer, now=NOW)
    ApprovalRequest.objects.filter(pk=closed.pk).update(status="closed")
    two = opened(developer, {Role.SECURITY_REVIEWER: 2})
    cast(two, reviewer)
    theirs = opened(reviewer)

    def waiting(user):
        asked = open_for(user, in_team=lambda team: Q(pk=team))
        return set(ApprovalRequest.objects.filter(asked).values_list("pk", flat=True))

    assert waiting(reviewer) == {wanted.pk, own.pk, voted.pk}
    assert theirs.pk not in waiting(reviewer)
    assert waiting(business_approver) == set()
    assert waiting(developer) == set()


def test_outcomes_say_what_is_missing_now(developer, reviewer):
    request = opened(developer, TWO)
    cast(request, reviewer)
    found = outcomes({request.pk: (request, frozenset())}, votes_of([request]))
    assert found[request.pk].missing == {Role.BUSINESS_APPROVER: 1}


# --- the database's own law (migration 0002) ---


def refused(sql: str, *params: object) -> str:
    with pytest.raises(IntegrityError) as found, transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, params)
    return str(found.value)


def insert_vote(request_id: int, voter_id: int, choice: str = "approve") -> tuple[str, tuple[object, ...]]:
    return (
        "INSERT INTO approvals_vote (request_id, voter_id, roles, choice, comment, created_at)"
        " VALUES (%s, %s, '[]', %s, '', '2026-11-24 12:00:00+00:00')",
        (request_id, voter_id, choice),
    )


def test_the_database_refuses_the_requesters_vote(reviewer):
    sql, params = insert_vote(opened(reviewer).pk, reviewer.pk)
    assert "nobody votes on their own request" in refused(sql, *params)


def test_the_database_refuses_a_vote_on_a_closed_request(developer, reviewer):
    request = opened(developer)
    close([request.pk], now=NOW)
    sql, params = insert_vote(request.pk, reviewer.pk)
    assert "needs an open approval request" in refused(sql, *params)


@pytest.mark.parametrize(
    "change",
    ["choice = 'approve'", "voter_id = %(other)s", "request_id = %(second)s", "comment = 'yes'", "roles = '[1]'"],
)
def test_the_database_refuses_to_change_a_vote(developer, reviewer, business_approver, change):
    request, second = opened(developer), opened(developer)
    cast(request, reviewer, Choice.REJECT)
    sql = change % {"other": business_approver.pk, "second": second.pk}
    assert "stays as it was cast" in refused(f"UPDATE approvals_vote SET {sql}")


def test_the_database_refuses_approved_without_enough_people(developer, reviewer):
    request = opened(developer, {Role.SECURITY_REVIEWER: 2})
    cast(request, reviewer)
    sql = f"UPDATE approvals_approvalrequest SET status = 'approved' WHERE id = {request.pk}"
    assert "needs its votes" in refused(sql)


def test_the_database_does_not_count_a_rejection_as_approval(developer, reviewer):
    request = opened(developer, TWO)
    sql, params = insert_vote(request.pk, reviewer.pk, "reject")
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
    approve = f"UPDATE approvals_approvalrequest SET status = 'approved' WHERE id = {request.pk}"
    assert "needs its votes" in refused(approve)


def test_the_database_refuses_a_request_that_begins_approved(developer):
    with pytest.raises(IntegrityError, match="approved by votes"), transaction.atomic():
        ApprovalRequest.objects.create(requester=developer, required={"security-reviewer": 1}, status="approved")


@pytest.mark.parametrize("change", ["required_votes = 1", "requester_id = %(other)s", "required = '{\"viewer\": 1}'"])
def test_the_database_refuses_to_ask_for_less(developer, stranger, change):
    request = opened(developer, TWO)
    sql = change % {"other": stranger.pk}
    assert "stays as it was asked" in refused(f"UPDATE approvals_approvalrequest SET {sql} WHERE id = {request.pk}")


ENDS = ("approved", "rejected", "closed")


@pytest.mark.parametrize(("end", "then"), [(e, t) for e in ENDS for t in ("open", *ENDS) if e != t])
def test_the_database_keeps_a_settled_request_settled(developer, reviewer, end, then):
    request = opened(developer)
    if end == "closed":
        close([request.pk], now=NOW)
    else:
        cast(request, reviewer, Choice.APPROVE if end == "approved" else Choice.REJECT)
    said = refused(f"UPDATE approvals_approvalrequest SET status = '{then}' WHERE id = {request.pk}")
    # To "approved" two laws say no; which one speaks first is the database's choice.
    assert "stays closed" in said or (then == "approved" and "needs its votes" in said)
