"""People and their roles: who may, what is refused, what is on record."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from secguard.accounts import services
from secguard.accounts.models import ApiToken, Membership, SignInLink, Team, User
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, SecGuardError
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db


def recorded(action: str) -> AuditEntry:
    return AuditEntry.objects.get(action=action)


# --- require ---


def test_require_asks_for_the_place(make_person: MakePerson, team: Team, other_team: Team) -> None:
    reviewer = make_person("team_reviewer", "security-reviewer", team=team)
    services.require(reviewer, "decision:approve", team_id=team.pk)
    services.require(reviewer, "decision:approve", anywhere=True)
    for place in ({"team_id": other_team.pk}, {}):
        with pytest.raises(NotAllowed) as refused:
            services.require(reviewer, "decision:approve", **place)
        assert "decision:approve" in refused.value.detail
        assert "business-approver" in refused.value.detail
        assert "holds: security-reviewer" in refused.value.detail


def test_require_in_the_organisation_holds_everywhere(reviewer: Person, team: Team) -> None:
    services.require(reviewer, "decision:approve")
    services.require(reviewer, "decision:approve", team_id=team.pk)


def test_require_lets_the_system_do_everything_and_nobody_nothing() -> None:
    from django.contrib.auth.models import AnonymousUser

    services.require(None, "user:manage")
    with pytest.raises(NotAllowed, match="signed in"):
        services.require(AnonymousUser(), "image:read", anywhere=True)


def test_require_names_the_token(administrator: Person) -> None:
    token = administrator.tokens.get()
    token.role = "viewer"
    administrator.token = token
    administrator.__dict__.pop("_grants", None)
    with pytest.raises(NotAllowed, match=token.prefix):
        services.require(administrator, "user:manage")


# --- users ---


def test_a_new_user_has_one_role_and_cannot_sign_in_yet(administrator: Person, team: Team) -> None:
    user = services.create_user("carol", "developer", actor=administrator, team=team)
    assert [(m.role, m.team) for m in user.memberships.all()] == [("developer", team)]
    assert not user.has_usable_password()
    entry = recorded("user:create")
    assert (entry.actor, entry.subject, entry.team_id) == ("administrator", "carol", team.pk)
    assert entry.details == {"role": "developer", "is_service": False, "team": "payments"}


@pytest.mark.parametrize("name", ["", " carol", "ca rol", "carol\n", "-carol", "cаrol", "system", "System", "c" * 151])
def test_a_name_that_would_deceive_is_refused(administrator: Person, name: str) -> None:
    with pytest.raises(Invalid) as refused:
        services.create_user(name, "viewer", actor=administrator)
    assert refused.value.where == "username"


def test_a_name_is_taken_in_whatever_case(administrator: Person, developer: Person) -> None:
    with pytest.raises(Conflict, match="DEVELOPER"):
        services.create_user("DEVELOPER", "viewer", actor=administrator)
    assert not AuditEntry.objects.exists()


def test_an_unknown_role_lists_the_known(administrator: Person) -> None:
    with pytest.raises(Invalid, match="security-reviewer"):
        services.create_user("carol", "root", actor=administrator)


@pytest.mark.parametrize("who", ["viewer", "developer", "stranger", "operator", "reviewer", "business_approver"])
def test_only_administrators_manage_people(request: pytest.FixtureRequest, who: str, developer2: Person) -> None:
    actor: Person = request.getfixturevalue(who)
    acts = [
        lambda: services.create_user("carol", "viewer", actor=actor),
        lambda: services.grant(developer2.pk, "viewer", actor=actor),
        lambda: services.revoke(developer2.memberships.get().pk, actor=actor),
        lambda: services.deactivate(developer2.pk, actor=actor),
        lambda: services.reactivate(developer2.pk, actor=actor),
        lambda: services.edit_user(developer2.pk, actor=actor, display_name="x", email=""),
        lambda: services.issue_sign_in_link(developer2.pk, actor=actor),
    ]
    for act in acts:
        with pytest.raises(NotAllowed):
            act()
    assert not AuditEntry.objects.exists()


def test_a_team_s_administrator_manages_that_team_alone(
    make_person: MakePerson, team: Team, other_team: Team, stranger: Person
) -> None:
    lead = make_person("lead", "administrator", team=team)
    services.create_user("carol", "developer", actor=lead, team=team)
    services.grant(stranger.pk, "viewer", actor=lead, team=team)
    for place in (other_team, None):
        with pytest.raises(NotAllowed):
            services.create_user("dave", "developer", actor=lead, team=place)
        with pytest.raises(NotAllowed):
            services.grant(stranger.pk, "operator", actor=lead, team=place)
    with pytest.raises(NotAllowed):
        services.revoke(stranger.memberships.get(team=other_team).pk, actor=lead)
    with pytest.raises(NotAllowed):
        services.deactivate(stranger.pk, actor=lead)


def test_one_s_own_name_is_one_s_own_to_change(developer: Person) -> None:
    services.edit_user(developer.pk, actor=developer, display_name="Dev", email="dev@example.org")
    assert recorded("user:edit").details["after"] == {"display_name": "Dev", "email": "dev@example.org"}
    services.edit_user(developer.pk, actor=developer, display_name="Dev", email="dev@example.org")
    assert AuditEntry.objects.count() == 1


# --- roles ---


def test_granting_twice_is_one_role_and_one_entry(administrator: Person, developer: Person, team: Team) -> None:
    first = services.grant(developer.pk, "operator", actor=administrator, team=team)
    assert services.grant(developer.pk, "operator", actor=administrator, team=team) == first
    assert recorded("membership:grant").details == {"role": "operator", "team": "payments"}


def test_nobody_grants_to_themselves(administrator: Person) -> None:
    with pytest.raises(NotAllowed, match="themselves"):
        services.grant(administrator.pk, "security-reviewer", actor=administrator)


def test_a_role_taken_back_is_gone_at_once(administrator: Person, developer: Person) -> None:
    services.revoke(developer.memberships.get().pk, actor=administrator)
    developer.refresh_from_db()
    assert not developer.can("report:post")
    assert recorded("membership:revoke").details["role"] == "developer"
    with pytest.raises(NotFound):
        services.revoke(10**9, actor=administrator)


def test_the_last_administrator_stays(administrator: Person, make_person: MakePerson) -> None:
    membership = administrator.memberships.get()
    service = make_person("robot", "administrator")
    User.objects.filter(pk=service.pk).update(is_service=True)
    for act in (
        lambda: services.revoke(membership.pk, actor=administrator),
        lambda: services.deactivate(administrator.pk, actor=administrator),
        lambda: services.deactivate(administrator.pk, actor=None),
    ):
        with pytest.raises(Conflict, match="last administrator"):
            act()
    second = make_person("second", "administrator")
    services.revoke(membership.pk, actor=second)
    with pytest.raises(Conflict, match="last administrator"):
        services.deactivate(second.pk, actor=None)


@pytest.mark.django_db(transaction=True)
def test_two_administrators_cannot_end_each_other_at_once(make_person: MakePerson) -> None:
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        pytest.skip("SQLite in memory has no locks to wait for; the suite's run on PostgreSQL does this")
    one, two = make_person("one", "administrator"), make_person("two", "administrator")
    together, outcomes = threading.Barrier(2), []

    def end(target: User, actor: User) -> None:
        together.wait()
        try:
            services.deactivate(target.pk, actor=actor)
            outcomes.append("done")
        except SecGuardError as error:
            outcomes.append(type(error).__name__)
        finally:
            connection.close()

    threads = [threading.Thread(target=end, args=pair) for pair in ((one, two), (two, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert User.objects.filter(is_active=True, memberships__role="administrator").count() == 1
    assert sorted(outcomes) in (["Conflict", "done"], ["NotAllowed", "done"])


# --- ending and coming back ---


def test_deactivation_ends_sessions_tokens_and_links(administrator: Person, developer: Person) -> None:
    services.issue_sign_in_link(developer.pk, actor=administrator)
    assert developer.client.get("/account/").status_code == 200
    services.deactivate(developer.pk, actor=administrator)
    assert developer.client.get("/account/").status_code == 302
    assert developer.api.get("/api/v1/me/").status_code == 401
    assert not SignInLink.objects.exists()
    assert not ApiToken.objects.usable(timezone.now()).filter(user=developer).exists()
    assert recorded("user:deactivate").details == {"tokens_revoked": 1}
    with pytest.raises(Conflict, match="already"):
        services.deactivate(developer.pk, actor=administrator)
    with pytest.raises(Conflict, match="deactivated"):
        services.grant(developer.pk, "viewer", actor=administrator)


def test_reactivation_brings_roles_back_and_no_session_nor_token(administrator: Person, developer: Person) -> None:
    services.deactivate(developer.pk, actor=administrator)
    services.reactivate(developer.pk, actor=administrator)
    developer.refresh_from_db()
    assert developer.can("report:post")
    assert developer.client.get("/account/").status_code == 302
    assert developer.api.get("/api/v1/me/").status_code == 401
    with pytest.raises(Conflict, match="active already"):
        services.reactivate(developer.pk, actor=administrator)


def test_whom_there_is_not(administrator: Person) -> None:
    calls: list[Any] = [
        lambda: services.deactivate(10**9, actor=administrator),
        lambda: services.reactivate(10**9, actor=administrator),
        lambda: services.grant(10**9, "viewer", actor=administrator),
        lambda: services.issue_sign_in_link(10**9, actor=administrator),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    assert Membership.objects.count() == 1
