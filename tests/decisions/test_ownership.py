"""Whose a decision is when what it is about changes hands, is shared, or is called otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from secguard.accounts import services as accounts
from secguard.accounts.models import Membership
from secguard.decisions import queries, services
from secguard.decisions.models import Decision
from secguard.errors import NotFound
from secguard.images.models import ImageRepository
from secguard.images.services import assign_repository
from secguard.scans.models import Scan
from tests.fixtures_people import api_client

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def scope(user, kind, value):
    return queries.find_scope(user, kind, value)


def sees(user, decision) -> bool:
    return Decision.objects.visible_to(user).filter(pk=decision.pk).exists()


# --- tokens and people who moved on ---


def test_a_token_takes_back_only_where_its_role_may_ask(ask, developer, reviewer, team, other_team):
    Membership.objects.create(user=developer, role="viewer", team=team)
    Membership.objects.create(user=developer, role="developer", team=other_team)
    waiting = ask(developer)
    reading, elsewhere = api_client(developer, "viewer"), api_client(developer, "developer", other_team)
    url = f"/api/v1/decisions/{waiting.pk}/"
    assert reading.get(url).json()["may"] == []
    assert reading.post(f"{url}withdraw/").status_code == 403
    assert elsewhere.get(url).status_code == 404
    assert elsewhere.post(f"{url}withdraw/").status_code == 404
    approved = services.approve(waiting.pk, actor=reviewer, now=LATER)
    assert reading.get(url).json()["may"] == []
    assert reading.post(f"{url}revoke/", {"reason": "x"}).status_code == 403
    approved.refresh_from_db()
    assert approved.status == "approved"
    assert "revoke" in developer.api.get(url).json()["may"]
    assert developer.api.post(f"{url}revoke/", {"reason": "We upgrade."}).status_code == 200


def test_who_left_the_team_is_a_stranger_to_what_they_asked_for(ask, developer, other_team):
    decision = ask(developer)
    Membership.objects.filter(user_id=developer.pk).update(team=other_team)
    developer.refresh_from_db()
    assert not sees(developer, decision)
    assert developer.api.get(f"/api/v1/decisions/{decision.pk}/").status_code == 404
    assert developer.client.get("/decisions/?mine=true").content.count(b"CVE-2026-0001") == 0
    with pytest.raises(NotFound):
        services.withdraw(decision.pk, actor=developer)


# --- hand-over ---


@pytest.mark.parametrize("how", ["application", "repository"])
@pytest.mark.parametrize("kind", ["image", "repository"])
def test_what_is_live_goes_to_the_new_owner(
    ask, developer, stranger, reviewer, operator, make_person, repository, image, other_application, team, how, kind
):
    decision = ask(developer, scope=scope(developer, kind, image.digest if kind == "image" else repository.name))
    assert not sees(stranger, decision)
    if how == "application":
        accounts.edit_application(repository.application.pk, actor=operator, team=other_application.team)
    else:
        assign_repository(repository.pk, other_application, actor=operator)
    decision.refresh_from_db()
    assert decision.team_id == other_application.team_id
    assert sees(stranger, decision)
    assert not sees(developer, decision)
    # The old team's own reviewer has no say any more; the new team's has, in the queue as well.
    old = make_person("old", "security-reviewer", team=team)
    new = make_person("new", "security-reviewer", team=other_application.team)
    with pytest.raises(NotFound):
        services.approve(decision.pk, actor=old, now=LATER)
    assert [w.decisions for w in queries.queue(new, LATER)] == [(decision,)]
    services.approve(decision.pk, actor=new, now=LATER)
    with pytest.raises(NotFound):
        services.revoke(decision.pk, reason="no", actor=old, now=LATER)
    assert services.revoke(decision.pk, reason="no", actor=new, now=LATER).status == "revoked"


def test_what_has_ended_stays_with_whom_it_was(ask, developer, stranger, operator, repository, other_application):
    decision = services.withdraw(ask(developer).pk, actor=developer)
    assign_repository(repository.pk, other_application, actor=operator)
    assert sees(developer, decision)
    assert not sees(stranger, decision)


def test_what_nobody_owns_any_more_is_the_organisations(ask, developer, stranger, reviewer, operator, repository):
    decision = services.approve(ask(developer).pk, actor=reviewer, now=LATER)
    assign_repository(repository.pk, None, actor=operator)
    decision.refresh_from_db()
    assert decision.team_id is None
    assert not sees(developer, decision)
    assert not sees(stranger, decision)
    assert sees(reviewer, decision)


def test_a_name_that_was_given_up_is_free_for_another_application(
    ask, developer, operator, estate, risk, image, application, make_application, team
):
    first = ask(developer, scope=scope(developer, "application", application.slug))
    accounts.edit_application(application.pk, actor=operator, name="Old shop")
    successor = make_application("Shop 2", team)
    accounts.edit_application(successor.pk, actor=operator, name="Shop")
    estate.image(estate.repository("shop/next", successor), [risk])
    second = ask(developer, scope=scope(developer, "application", successor.slug))
    assert (first.scope_label, second.scope_label) == ("Shop", "Shop")
    assert {first.application_id, second.application_id} == {application.pk, successor.pk}


# --- one digest in two teams' repositories ---


@pytest.fixture
def shared(image, other_repository):
    from secguard.findings.services import refresh_exposures

    ImageRepository.objects.create(image=image, repository=other_repository, first_seen_at=NOW)
    other_repository.newest_image = image
    other_repository.save(update_fields=["newest_image"])
    refresh_exposures(other_repository, at=NOW)
    return image


def covering(image, at=LATER):
    return {r: (d.id, d.scope_label) for r, d in queries.applicable_for_image(image.pk, at).items()}


def test_one_teams_decision_does_not_open_the_gate_for_anothers_image(
    ask, developer, stranger, reviewer, risk, shared, repository, other_repository
):
    mine = services.approve(ask(developer).pk, actor=reviewer, now=NOW)
    assert not sees(stranger, mine)
    assert covering(shared) == {}
    there = scope(stranger, "repository", other_repository.name)
    theirs = ask(stranger, scope=there, expires_at=NOW + timedelta(days=9))
    services.approve(theirs.pk, actor=reviewer, now=NOW)
    # Now both have decided: the first to end counts, and names neither team's repository to the other.
    assert covering(shared) == {risk.pk: (theirs.pk, "repository")}
    assert covering(shared, NOW + timedelta(days=9)) == {}


def test_the_verdict_on_a_shared_image_names_nobodys_repository(
    ask, developer, stranger, reviewer, shared, repository, other_repository
):
    scan_of(shared)
    for who, place in ((developer, repository), (stranger, other_repository)):
        asked = ask(who, scope=scope(who, "repository", place.name), expires_at=timezone.now() + timedelta(days=9))
        services.approve(asked.pk, actor=reviewer, now=NOW)
    for who, elsewhere in ((developer, other_repository), (stranger, repository)):
        said = who.api.get(f"/api/v1/images/{shared.digest}/verdict/?stage=build")
        assert said.status_code == 200
        assert len(said.json()["decisions"]) == 1
        assert elsewhere.name not in said.content.decode()


def test_a_verdict_says_why_the_decision_of_one_team_lets_nothing_pass(
    ask, developer, stranger, reviewer, shared, repository, other_repository
):
    scan_of(shared)
    services.approve(ask(developer, expires_at=timezone.now() + timedelta(days=9)).pk, actor=reviewer, now=NOW)
    for who, elsewhere in ((developer, other_repository), (stranger, repository)):
        said = who.api.get(f"/api/v1/images/{shared.digest}/verdict/?stage=build")
        (reason,) = said.json()["reasons"]
        assert "decided by one of the teams that have this very image, but not by each" in reason["remedy"]["text"]
        assert elsewhere.name not in said.content.decode()
    there = ask(
        stranger,
        scope=scope(stranger, "repository", other_repository.name),
        expires_at=timezone.now() + timedelta(days=9),
    )
    services.approve(there.pk, actor=reviewer, now=NOW)
    assert developer.api.get(f"/api/v1/images/{shared.digest}/verdict/?stage=build").json()["reasons"] == []


def scan_of(image):
    Scan.objects.create(
        image=image, reference=image.digest, scanner="trivy", status="finished", covers=["vulnerability"]
    )


def test_the_images_own_scope_and_the_organisations_cover_it_for_all(
    ask, developer, stranger, operator, reviewer, risk, shared, make_person, team
):
    of_image = ask(developer, scope=scope(developer, "image", shared.digest))
    assert sees(stranger, of_image)
    narrow = make_person("narrow", "security-reviewer", team=team)
    assert services.approve(of_image.pk, actor=narrow, now=NOW).status == "requested"
    assert covering(shared) == {}
    services.approve(of_image.pk, actor=reviewer, now=NOW)
    assert covering(shared) == {risk.pk: (of_image.pk, shared.digest)}
    services.revoke(of_image.pk, reason="x", actor=reviewer, now=NOW)
    wide = services.approve(ask(operator, scope=queries.ORGANISATION).pk, actor=reviewer, now=NOW)
    assert covering(shared) == {risk.pk: (wide.pk, "organisation")}


def test_two_repositories_of_one_team_need_one_decision(ask, developer, reviewer, risk, image, estate, application):
    registry = estate.repository("production/shop", application)
    unowned = estate.repository("mirror/shop", None)
    for place in (registry, unowned):
        ImageRepository.objects.create(image=image, repository=place, first_seen_at=NOW)
    mine = services.approve(ask(developer).pk, actor=reviewer, now=NOW)
    assert covering(image) == {risk.pk: (mine.pk, mine.scope_label)}
