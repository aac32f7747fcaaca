"""Environments that want somebody else's yes."""

from __future__ import annotations

import pytest

from secguard.accounts.models import Membership
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.promotion import services
from secguard.promotion.models import Promotion

pytestmark = pytest.mark.django_db


@pytest.fixture
def waiting(estate, environment, promote, operator, reviewer, business_approver):
    environment("staging", approvers={"security-reviewer": 1, "business-approver": 1})
    estate.scanned()
    made = promote(f"{estate.name}:1.4", actor=operator)
    assert (made.status, made.steps) == ("waiting", {})
    return made


def test_it_waits_until_every_seat_is_filled_by_somebody_else(
    estate, waiting, operator, reviewer, business_approver, run_jobs
):
    detail = f"/api/v1/promotions/{waiting.pk}/"
    assert operator.api.get(detail).json()["approval"]["missing"] == {"security-reviewer": 1, "business-approver": 1}
    assert reviewer.notices.filter(kind="promotion-waiting").count() == 1
    answer = reviewer.api.post(f"{detail}approve/", {})
    assert (answer.status_code, answer.json()["status"]) == (200, "waiting")
    assert answer.json()["approval"]["missing"] == {"business-approver": 1}
    run_jobs()
    assert estate.points(estate.staged, "1.4") == ""
    assert business_approver.api.post(f"{detail}approve/", {}).json()["status"] == "running"
    run_jobs()
    assert operator.api.get(detail).json()["status"] == "promoted"
    assert estate.points(estate.staged, "1.4") == waiting.digest
    assert not reviewer.notices.unread().filter(kind="promotion-waiting").exists(), "it waits for nobody any more"
    votes = AuditEntry.objects.filter(action="promotion:vote").order_by("sequence")
    assert [v.actor for v in votes] == [reviewer.username, business_approver.username]


def test_nobody_approves_their_own_nor_without_the_role_nor_of_another_team(
    waiting, estate, environment, make_person, team, stranger, developer, administrator, other_team
):
    for actor in (developer, administrator):
        with pytest.raises(NotAllowed):
            services.approve(waiting.pk, actor=actor)
    with pytest.raises(NotFound):
        services.approve(waiting.pk, actor=stranger)
    with pytest.raises(NotFound):
        services.approve(waiting.pk, actor=make_person("far", "security-reviewer", team=other_team))
    both = make_person("both", "operator", "security-reviewer")
    services.withdraw(waiting.pk, actor=both)
    own = services.ask(services.Ask(f"{estate.name}:1.4", "staging"), actor=both)
    with pytest.raises(NotAllowed, match="own request"):
        services.approve(own.pk, actor=both)
    assert Promotion.objects.get(pk=own.pk).status == "waiting"


def test_one_rejection_ends_it_and_says_why(waiting, reviewer, operator, run_jobs):
    with pytest.raises(Invalid, match="comment"):
        services.reject(waiting.pk, comment=" ", actor=reviewer)
    services.reject(waiting.pk, comment="Not before Monday.", actor=reviewer)
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.status == "refused"
    assert "Not before Monday." in waiting.why
    assert operator.notices.filter(kind="promotion-ended").count() == 1
    with pytest.raises(Conflict, match="is refused"):
        services.approve(waiting.pk, actor=reviewer)


def test_a_role_that_is_lost_before_it_is_carried_out_stops_it(estate, waiting, reviewer, business_approver, run_jobs):
    for person in (reviewer, business_approver):
        services.approve(waiting.pk, actor=person)
    Membership.objects.filter(user=reviewer).delete()
    run_jobs()
    waiting.refresh_from_db()
    assert waiting.status == "refused"
    assert "security-reviewer" in waiting.why
    assert estate.points(estate.staged, "1.4") == ""


def test_approvals_are_named_in_what_is_attested(estate, waiting, reviewer, business_approver, run_jobs):
    from secguard.images.models import Repository
    from secguard.images.services import pusher_of
    from secguard.signing import dsse, statements
    from secguard.signing.adapters import attached

    for person in (reviewer, business_approver):
        services.approve(waiting.pk, actor=person)
    run_jobs()
    place = Repository.objects.select_related("registry").get(name=estate.staged)
    with pusher_of(place.registry) as client:
        found = [
            s for s in attached.read(client, place.path, waiting.digest) if s.predicate_type == statements.PROMOTION
        ]
    assert found
    said = statements.decode(found[0].signed.partition(dsse.IN_TOTO.encode() + b" ")[2].partition(b" ")[2])
    assert said.predicate["approvedBy"] == [reviewer.username, business_approver.username]
    assert said.predicate["environment"] == "staging"
    assert said.predicate["digest"] == waiting.digest
