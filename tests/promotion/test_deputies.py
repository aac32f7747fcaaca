"""Promotions that wait for somebody who is away: their deputy sees them, votes in the seat, and it is said for whom."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from secguard.accounts.models import Team
from secguard.approvals.models import Vote
from secguard.approvals.services import end_absence, name_deputy
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, NotAllowed, NotFound
from secguard.promotion import queries, services
from secguard.promotion.models import Promotion
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db
LIST = "/api/v1/promotions/"


@pytest.fixture
def deputy(make_person: MakePerson) -> Person:
    """Somebody who sees everything and approves nothing of their own right."""
    return make_person("deputy", "viewer")


@pytest.fixture
def away(reviewer: Person, deputy: Person) -> int:
    """The reviewer is away; the deputy votes in their seat."""
    now = timezone.now()
    return name_deputy("deputy", starts_at=now, ends_at=now + timedelta(days=7), actor=reviewer, now=now).pk


@pytest.fixture
def waiting(asked: Callable[..., Promotion], away: int) -> Promotion:
    """For a reviewer and a business approver."""
    return asked(1, to="production")


def listed(person: Person) -> list[int]:
    """As their browser reads it; a token has its own role, which narrows what they stand in for."""
    answer = person.client.get(f"{LIST}?waiting_for=me")
    assert answer.status_code == 200, answer.content
    return [p["id"] for p in answer.json()["results"]]


def test_the_deputy_sees_what_waits_and_for_whom(
    waiting: Promotion, deputy: Person, reviewer: Person, stranger: Person, viewer: Person
) -> None:
    for person, found in ((deputy, [waiting.pk]), (reviewer, [waiting.pk]), (stranger, []), (viewer, [])):
        assert listed(person) == found, person
    for path in ("/promotions/", "/"):
        assert "for Deputy" not in deputy.client.get(path).content.decode()
        assert "for Reviewer, who is away" in deputy.client.get(path).content.decode(), path
        assert "who is away" not in reviewer.client.get(path).content.decode(), path
    page = deputy.client.get(f"/promotions/{waiting.pk}/").content.decode()
    assert "Your vote for Reviewer" in page
    assert "Your vote for" not in reviewer.client.get(f"/promotions/{waiting.pk}/").content.decode()
    assert stranger.client.get(f"/promotions/{waiting.pk}/").status_code == 404
    assert stranger.api.get(f"{LIST}{waiting.pk}/").status_code == 404
    assert deputy.api.get(f"{LIST}?waiting_for=me").json()["results"] == [], "by a viewer's token"
    approval = deputy.client.get(f"{LIST}{waiting.pk}/").json()["approval"]
    assert (approval["may_vote"], approval["votes_for"]) == (True, "reviewer")
    own = reviewer.client.get(f"{LIST}{waiting.pk}/").json()["approval"]
    assert (own["may_vote"], own["votes_for"]) == (True, None)


def test_the_deputy_is_told_of_it(waiting: Promotion, deputy: Person, reviewer: Person, stranger: Person) -> None:
    for person, count in ((deputy, 1), (reviewer, 1), (stranger, 0)):
        assert person.notices.filter(kind="promotion-waiting").count() == count, person


def test_the_deputy_votes_in_the_seat_as_themselves(waiting: Promotion, deputy: Person, reviewer: Person) -> None:
    answer = deputy.client.post(f"/promotions/{waiting.pk}/vote/", {"choice": "approve"})
    assert answer.status_code in (302, 303)
    vote = Vote.objects.get()
    assert (vote.voter_id, vote.seat_of_id) == (deputy.pk, reviewer.pk)
    told = deputy.client.get(f"{LIST}{waiting.pk}/").json()["approval"]
    assert told["missing"] == {"business-approver": 1}
    assert [(v["voter"], v["seat_of"], v["choice"]) for v in told["votes"]] == [("deputy", "reviewer", "approve")]
    assert (told["may_vote"], told["votes_for"]) == (False, None)
    assert "by Deputy for Reviewer, away until" in deputy.client.get(f"/promotions/{waiting.pk}/").content.decode()
    entry = AuditEntry.objects.get(action="promotion:vote")
    assert (entry.actor, entry.details["for"]) == ("deputy", "reviewer")
    assert listed(deputy) == listed(reviewer) == []
    with pytest.raises(Conflict, match="in your seat while you were away"):
        services.approve(waiting.pk, actor=reviewer)


def test_the_vote_of_the_one_who_is_away_leaves_the_deputy_none(
    waiting: Promotion, deputy: Person, reviewer: Person
) -> None:
    services.approve(waiting.pk, actor=reviewer)
    assert AuditEntry.objects.get(action="promotion:vote").details.get("for") is None
    assert listed(deputy) == []
    with pytest.raises(NotAllowed):
        services.approve(waiting.pk, actor=deputy)
    assert Vote.objects.count() == 1


def test_back_again_the_deputy_is_nobody(waiting: Promotion, deputy: Person, reviewer: Person, away: int) -> None:
    end_absence(away, actor=reviewer)
    assert listed(deputy) == []
    assert "Your vote" not in deputy.client.get(f"/promotions/{waiting.pk}/").content.decode()
    with pytest.raises(NotAllowed):
        services.approve(waiting.pk, actor=deputy)


def test_never_in_the_seat_of_who_asked_and_never_for_oneself(
    scanned: Callable[..., str], make_person: MakePerson
) -> None:
    """Four eyes: the deputy of who asked, and a deputy who asked themselves."""
    now = timezone.now()
    asking = make_person("asking", "operator", "security-reviewer")
    second = make_person("second", "operator")
    name_deputy("second", starts_at=now, ends_at=now + timedelta(days=1), actor=asking, now=now)
    theirs = services.ask(services.Ask(scanned(1), "production"), actor=asking)
    own = services.ask(services.Ask(scanned(2), "production"), actor=second)
    assert theirs.pk not in listed(second)
    assert own.pk not in listed(second)
    for promotion in (theirs, own):
        with pytest.raises(NotAllowed):
            services.approve(promotion.pk, actor=second)
    assert not Vote.objects.exists()


def test_one_person_never_fills_two_seats(
    waiting: Promotion, reviewer: Person, business_approver: Person, deputy: Person
) -> None:
    """The deputy of both roles' holders has one vote."""
    now = timezone.now()
    name_deputy("deputy", starts_at=now, ends_at=now + timedelta(days=1), actor=business_approver, now=now)
    assert services.approve(waiting.pk, actor=deputy).status == "waiting"
    assert listed(deputy) == []
    with pytest.raises(Conflict):
        services.approve(waiting.pk, actor=deputy)


def test_a_deputy_of_another_team_stands_in_for_nothing_here(
    asked: Callable[..., Promotion], make_person: MakePerson, other_team: Team, business_approver: Person
) -> None:
    now = timezone.now()
    theirs = make_person("theirs", "security-reviewer", team=other_team)
    far = make_person("far", "developer", team=other_team)
    name_deputy("far", starts_at=now, ends_at=now + timedelta(days=1), actor=theirs, now=now)
    made = asked(1, to="production")
    assert queries.waiting_for(far) == []
    assert listed(far) == []
    with pytest.raises(NotFound):
        services.approve(made.pk, actor=far)
    assert not far.notices.filter(kind="promotion-waiting").exists()
