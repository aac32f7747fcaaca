"""Deputies, requests that wait too long, votes in haste: who may decide what, at which instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from secguard.accounts import services as accounts
from secguard.accounts.models import Membership
from secguard.approvals.models import Absence, Vote
from secguard.approvals.services import end_absence, name_deputy
from secguard.audit.models import AuditEntry
from secguard.decisions import queries, services
from secguard.decisions.models import Decision
from secguard.decisions.services.appetite import DEFAULT
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.notifications.models import Notice

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def colleague(make_person):
    """Somebody who sees everything and approves nothing of their own right."""
    return make_person("colleague", "viewer")


@pytest.fixture
def away(reviewer, colleague):
    """The reviewer is away for a week; the colleague votes in their seat."""
    return name_deputy("colleague", starts_at=NOW, ends_at=NOW + 7 * DAY, actor=reviewer, now=NOW)


def appetite(administrator, **changed):
    text = DEFAULT.read_text(encoding="utf-8")
    for old, new in changed.values():
        assert old in text
        text = text.replace(old, new)
    services.create_appetite(text, actor=administrator, activate=True, now=NOW)


# --- deputies ---


def test_a_deputy_votes_in_the_seat_as_themselves(ask, developer, colleague, away, reviewer):
    decision = services.approve(ask(developer).pk, actor=colleague, now=NOW + DAY)
    assert decision.status == "approved"
    vote = Vote.objects.get()
    assert (vote.voter_id, vote.seat_of_id, vote.away_until) == (colleague.pk, reviewer.pk, NOW + 7 * DAY)
    said = colleague.api.get(f"/api/v1/decisions/{decision.pk}/").json()["approval"]["votes"][0]
    assert (said["voter"], said["for"], said["away_until"]) == ("colleague", "reviewer", "2026-12-01T12:00:00Z")
    page = colleague.client.get(f"/decisions/{decision.pk}/").content.decode()
    assert "for reviewer, away until" in page
    entry = AuditEntry.objects.get(action="decision:approve")
    assert (entry.actor, entry.details["for"]) == ("colleague", "reviewer")


@pytest.mark.parametrize("at", [NOW - timedelta(seconds=1), NOW + 7 * DAY, NOW + 8 * DAY])
def test_outside_the_time_a_deputy_is_nobody(ask, developer, colleague, away, at):
    decision = ask(developer, now=NOW - 2 * DAY)
    assert decision not in queries.waiting_for(colleague, at)
    with pytest.raises(NotAllowed):
        services.approve(decision.pk, actor=colleague, now=at)
    assert not Vote.objects.exists()


def test_back_early_is_back(ask, developer, colleague, away, reviewer):
    decision = ask(developer)
    assert decision in queries.waiting_for(colleague, NOW + DAY)
    end_absence(away.pk, actor=reviewer, now=NOW + DAY)
    assert decision not in queries.waiting_for(colleague, NOW + DAY)
    with pytest.raises(NotAllowed):
        services.approve(decision.pk, actor=colleague, now=NOW + DAY)
    with pytest.raises(Conflict):
        end_absence(away.pk, actor=reviewer, now=NOW + 2 * DAY)


def test_never_in_the_seat_of_who_asked_and_never_for_oneself(ask, make_person, colleague, application):
    asking = make_person("asking", "security-reviewer")
    name_deputy("colleague", starts_at=NOW, ends_at=NOW + DAY, actor=asking, now=NOW)
    theirs = ask(asking)
    with pytest.raises(NotAllowed):
        services.approve(theirs.pk, actor=colleague, now=NOW)


def test_a_deputy_who_asked_decides_nothing_of_it(ask, make_person, reviewer):
    deputy = make_person("deputy", "developer")
    name_deputy("deputy", starts_at=NOW, ends_at=NOW + DAY, actor=reviewer, now=NOW)
    with pytest.raises(NotAllowed) as refusal:
        services.approve(ask(deputy).pk, actor=deputy, now=NOW)
    assert refusal.value.code == "own-request"


def test_one_person_never_fills_two_seats(ask, developer, make_person, business_approver, administrator):
    """The deputy holds one of the two roles, the one who is away the other."""
    appetite(
        administrator,
        two=("approvers: {security-reviewer: 1}", "approvers: {security-reviewer: 1, business-approver: 1}"),
    )
    deputy = make_person("deputy", "security-reviewer")
    name_deputy("deputy", starts_at=NOW, ends_at=NOW + DAY, actor=business_approver, now=NOW)
    decision = services.approve(ask(developer).pk, actor=deputy, now=NOW)
    assert decision.status == "requested"
    assert Vote.objects.get().seat_of is None
    with pytest.raises(Conflict):
        services.approve(decision.pk, actor=deputy, now=NOW)


def test_a_seat_is_voted_in_once(ask, developer, colleague, away, reviewer, administrator):
    appetite(administrator, two=("approvers: {security-reviewer: 1}", "approvers: {security-reviewer: 2}"))
    decision = services.approve(ask(developer).pk, actor=colleague, now=NOW)
    with pytest.raises(Conflict) as refusal:
        services.approve(decision.pk, actor=reviewer, now=NOW)
    assert "in your seat while you were away" in refusal.value.detail


def test_a_right_that_the_absent_one_lost_is_lost(ask, developer, colleague, away, reviewer):
    decision = ask(developer)
    Membership.objects.filter(user=reviewer).delete()
    with pytest.raises(NotAllowed):
        services.approve(decision.pk, actor=colleague, now=NOW)


def test_a_deputy_for_one_team_reaches_no_other(ask, developer, make_person, team, other_team, stranger):
    theirs = make_person("theirs", "security-reviewer", team=other_team)
    Membership.objects.create(user=developer, role="viewer", team=other_team)
    name_deputy("stranger", starts_at=NOW, ends_at=NOW + DAY, actor=theirs, now=NOW)
    decision = ask(developer)
    with pytest.raises(NotFound):
        services.approve(decision.pk, actor=stranger, now=NOW)
    assert not queries.waiting_for(stranger, NOW).exists()


def test_whom_the_requester_made_able_counts_for_nobody(ask, make_person, away, colleague, reviewer):
    asking = make_person("asking", "administrator")
    Membership.objects.create(user=asking, role="developer")
    asking.__dict__.pop("_grants", None)
    decision = ask(asking, now=timezone.now(), expires_at=timezone.now() + DAY)
    accounts.grant(colleague.pk, "operator", actor=asking)
    with pytest.raises(NotAllowed) as refusal:
        services.approve(decision.pk, actor=colleague, now=NOW + 4 * DAY)
    assert refusal.value.code == "chosen-by-requester"


def test_chains_are_refused_both_ways(reviewer, colleague, away, make_person):
    third = make_person("third", "security-reviewer")
    Membership.objects.create(user=colleague, role="business-approver")
    colleague.refresh_from_db()
    for person, deputy in ((colleague, "third"), (third, "reviewer")):
        with pytest.raises(Conflict) as refusal:
            name_deputy(deputy, starts_at=NOW + DAY, ends_at=NOW + 9 * DAY, actor=person, now=NOW)
        assert refusal.value.code == "absence-chain"
    with pytest.raises(Conflict):
        name_deputy("third", starts_at=NOW + DAY, ends_at=NOW + 2 * DAY, actor=reviewer, now=NOW)
    later = name_deputy("third", starts_at=NOW + 7 * DAY, ends_at=NOW + 8 * DAY, actor=reviewer, now=NOW)
    assert later.deputy == third


def test_who_is_refused_as_a_deputy(reviewer, viewer, developer, make_person, stranger):
    def named(name, actor=reviewer, **when):
        times = {"starts_at": NOW, "ends_at": NOW + DAY} | when
        return name_deputy(name, actor=actor, now=NOW, **times)

    for name, kind in (("reviewer", Invalid), ("nobody", NotFound), ("stranger", Invalid)):
        with pytest.raises(kind):
            named(name)
    with pytest.raises(NotAllowed):
        named("reviewer", actor=make_person("watcher", "viewer"))
    for when in ({"ends_at": NOW}, {"ends_at": NOW + 91 * DAY}, {"starts_at": NOW - 2 * DAY, "ends_at": NOW - DAY}):
        with pytest.raises(Invalid):
            named("viewer", **when)
    assert not Absence.objects.exists()


def test_the_database_refuses_a_seat_that_is_nobodys_to_give(ask, developer, colleague, reviewer):
    decision = ask(developer)

    def insert(voter, seat):
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO approvals_vote (request_id, voter_id, seat_of_id, roles, choice, comment, created_at)"
                " VALUES (%s, %s, %s, %s, 'approve', '', %s)",
                [decision.approval_id, voter.pk, seat.pk, '["security-reviewer"]', NOW],
            )

    for voter, seat in ((colleague, reviewer), (colleague, developer), (colleague, colleague)):
        with pytest.raises(IntegrityError), transaction.atomic():
            insert(voter, seat)
    name_deputy("colleague", starts_at=NOW, ends_at=NOW + DAY, actor=reviewer, now=NOW)
    insert(colleague, reviewer)
    with pytest.raises(IntegrityError), transaction.atomic():
        Vote.objects.update(seat_of=None)


# --- what waits too long ---


def test_what_waits_too_long_goes_to_the_next_role_by_the_clock_alone(ask, developer, business_approver):
    decision = ask(developer)
    assert decision.approval.escalates_at == NOW + 3 * DAY
    before = NOW + 3 * DAY - timedelta(seconds=1)
    assert decision not in queries.waiting_for(business_approver, before)
    with pytest.raises(NotAllowed):
        services.approve(decision.pk, actor=business_approver, now=before)
    assert [w.decisions for w in queries.queue(business_approver, NOW + 3 * DAY)] == [(decision,)]
    assert services.approve(decision.pk, actor=business_approver, now=NOW + 3 * DAY).status == "approved"


def test_its_people_are_told_once(ask, developer, business_approver, reviewer, stranger):
    decision = ask(developer)
    assert services.escalate_due(NOW + DAY) == 0
    assert services.escalate_due(NOW + 3 * DAY) == 1
    assert services.escalate_due(NOW + 4 * DAY) == 0
    told = Notice.objects.filter(kind="decision-escalated")
    assert set(told.values_list("user__username", flat=True)) == {"business_approver", "reviewer"}
    assert AuditEntry.objects.filter(action="decision:escalate", subject_id=str(decision.pk)).count() == 1


def test_where_no_next_role_is_named_nobody_new_decides(ask, developer, business_approver, estate, repository):
    critical = estate.risk(severity=5)
    estate.image(repository, [critical])
    decision = ask(developer, risk_id=critical.pk)
    assert decision.approval.escalates_at == NOW + DAY
    with pytest.raises(NotAllowed):
        services.approve(decision.pk, actor=business_approver, now=NOW + 2 * DAY)
    assert services.escalate_due(NOW + DAY) == 1


# --- haste ---


@pytest.fixture
def asked_for_five(ask, developer, estate, repository, administrator):
    appetite(
        administrator, haste=("{approvals: 100, within_minutes: 10}", "{approvals: 3, within_minutes: 10, seconds: 5}")
    )
    risks = [estate.risk() for _ in range(5)]
    estate.image(repository, risks)
    return [ask(developer, risk_id=risk.pk).pk for risk in risks]


def test_too_many_by_one_person_count_with_a_second(asked_for_five, reviewer, make_person):
    statuses = [
        services.approve(pk, actor=reviewer, now=NOW + timedelta(seconds=n)).status
        for n, pk in enumerate(asked_for_five)
    ]
    assert statuses == ["approved"] * 3 + ["requested"] * 2
    last = asked_for_five[-1]
    vote = Vote.objects.get(request__decision=last)
    assert vote.second_look == "5 approvals within 10 minutes, more than 3"
    assert AuditEntry.objects.filter(action="decision:vote", details__second_look__startswith="4 approvals").exists()
    second = make_person("second", "security-reviewer")
    assert last in [d.pk for w in queries.queue(second, NOW + timedelta(minutes=1)) for d in w.decisions]
    assert services.approve(last, actor=second, now=NOW + timedelta(minutes=1)).status == "approved"


def test_all_at_once_is_as_fast_as_one_by_one(asked_for_five, reviewer):
    results = services.vote_many(asked_for_five, choice=services.voting.Choice.APPROVE, actor=reviewer, now=NOW)
    assert [d.status for d in results.values()] == ["approved"] * 3 + ["requested"] * 2


def test_slowly_is_no_haste(asked_for_five, reviewer):
    for n, pk in enumerate(asked_for_five):
        assert services.approve(pk, actor=reviewer, now=NOW + n * timedelta(minutes=4)).status == "approved"


@pytest.mark.parametrize(("looked", "found"), [(4, "requested"), (5, "approved")])
def test_what_is_severe_is_looked_at_first(asked_for_five, reviewer, looked, found):
    at = NOW + timedelta(hours=1)
    opened = at - timedelta(seconds=looked)
    assert services.approve(asked_for_five[0], actor=reviewer, now=at, opened_at=opened).status == found


def test_the_database_asks_for_the_second_person_too(asked_for_five, reviewer):
    for pk in asked_for_five:
        services.approve(pk, actor=reviewer, now=NOW)
    last = Decision.objects.get(pk=asked_for_five[-1]).approval
    with pytest.raises(IntegrityError, match="needs_second_look"), transaction.atomic():
        type(last).objects.filter(pk=last.pk).update(status="approved")


def test_the_voter_is_told_at_once(asked_for_five, reviewer):
    for pk in asked_for_five[:3]:
        services.approve(pk, actor=reviewer)
    reviewer.client.post(f"/decisions/{asked_for_five[3]}/vote/", {"choice": "approve"})
    page = reviewer.client.get(f"/decisions/{asked_for_five[3]}/").content.decode()
    assert "counts once one more person" in page
    assert "4 approvals within 10 minutes, more than 3" in page


# --- what reaches beyond the requester's teams ---


@pytest.fixture
def shared(image, other_repository):
    from secguard.images.models import ImageRepository

    ImageRepository.objects.create(image=image, repository=other_repository, first_seen_at=NOW)
    return image


def test_each_teams_approver_gives_its_part(ask, shared, developer, make_person, team, other_team, viewer):
    ours = make_person("ours", "security-reviewer", team=team)
    theirs = make_person("theirs", "security-reviewer", team=other_team)
    decision = ask(developer, scope=queries.find_scope(developer, "image", shared.digest))
    assert services.approve(decision.pk, actor=ours, now=NOW).status == "requested"
    assert [w.decisions for w in queries.queue(theirs, NOW)] == [(decision,)]
    assert queries.queue(make_person("ours-too", "security-reviewer", team=team), NOW) == []
    page = theirs.client.get(f"/decisions/queue/?decision={decision.pk}").content.decode()
    assert "logistics/api" in page
    assert "shop/api" not in page
    assert services.approve(decision.pk, actor=theirs, now=NOW).status == "approved"


def test_who_has_no_part_sees_none_of_it(ask, shared, developer, make_person, make_team):
    decision = ask(developer, scope=queries.find_scope(developer, "image", shared.digest))
    outsider = make_person("outsider", "security-reviewer", team=make_team("Elsewhere"))
    assert queries.queue(outsider, NOW) == []
    with pytest.raises(NotFound):
        services.approve(decision.pk, actor=outsider, now=NOW)
    assert outsider.api.get(f"/api/v1/decisions/{decision.pk}/").status_code == 404
