"""Tokens: made by whom, as narrow as what, and ended how."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from secguard.accounts import credentials, services
from secguard.accounts.authentication import bearer
from secguard.accounts.models import ApiToken, Membership, Team, User
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db


@pytest.fixture
def robot(make_person: MakePerson) -> Person:
    """A service that develops in the whole organisation."""
    service = make_person("robot", "developer", "security-reviewer")
    User.objects.filter(pk=service.pk).update(is_service=True)
    service.is_service = True
    return service


def as_bearer(user: User, role: str, team: Team | None = None, days: int = 30) -> User:
    """``user`` as a request with a token of theirs has it."""
    _, raw = services.create_token(user.pk, role, actor=None, name="x", team=team, days=days)
    token = bearer(raw)
    assert token is not None
    return token.user


def test_a_token_is_shown_once_and_kept_as_a_hash(developer: Person) -> None:
    token, raw = services.create_token(developer.pk, "developer", actor=developer, name=" CI  of shop ")
    assert credentials.is_token(raw)
    assert (token.name, token.prefix, token.digest) == ("CI of shop", raw[:12], credentials.digest(raw))
    assert abs(token.expires_at - timezone.now() - timedelta(days=90)) < timedelta(minutes=1)
    entry = AuditEntry.objects.get(action="token:create")
    assert (entry.actor, entry.subject_id) == ("developer", str(token.pk))
    assert raw not in str(entry.as_entry())
    assert raw not in str(vars(ApiToken.objects.get(pk=token.pk)))


@pytest.mark.parametrize("days", [0, -1, 366])
def test_a_lifetime_out_of_bounds_is_refused(developer: Person, days: int) -> None:
    with pytest.raises(Invalid, match="1 to 365"):
        services.create_token(developer.pk, "developer", actor=developer, name="x", days=days)


@pytest.mark.parametrize("name", ["", "  ", "x" * 101])
def test_a_token_needs_a_name(developer: Person, name: str) -> None:
    with pytest.raises(Invalid, match="1 to 100 characters"):
        services.create_token(developer.pk, "developer", actor=developer, name=name)


def test_a_role_that_is_not_held_there_is_refused(developer: Person, other_team: Team) -> None:
    with pytest.raises(Invalid, match="does not hold operator"):
        services.create_token(developer.pk, "operator", actor=developer, name="x")
    with pytest.raises(Invalid, match="in team Logistics"):
        services.create_token(developer.pk, "developer", actor=developer, name="x", team=other_team)


def test_a_role_held_everywhere_can_be_narrowed_to_a_team(operator: Person, team: Team, other_team: Team) -> None:
    user = as_bearer(operator, "operator", team)
    assert user.can("application:edit", team.pk)
    assert not user.can("application:edit", other_team.pk)
    assert user.teams_with("application:edit") == {team.pk}


def test_a_person_s_tokens_are_their_own_to_make(administrator: Person, developer: Person, reviewer: Person) -> None:
    for actor in (administrator, reviewer):
        with pytest.raises(NotAllowed):
            services.create_token(developer.pk, "developer", actor=actor, name="x")


def test_an_administrator_makes_a_service_s_tokens_but_none_that_approves(
    administrator: Person, reviewer: Person, robot: Person
) -> None:
    token, _ = services.create_token(robot.pk, "developer", actor=administrator, name="x")
    assert token.user_id == robot.pk
    with pytest.raises(NotAllowed, match="person's word"):
        services.create_token(robot.pk, "security-reviewer", actor=administrator, name="x")
    with pytest.raises(NotAllowed):
        services.create_token(robot.pk, "developer", actor=reviewer, name="x")


def test_a_token_makes_none_that_may_more(make_person: MakePerson, team: Team, other_team: Team) -> None:
    both = make_person("both", "developer", "operator")
    narrow = as_bearer(both, "developer", team)
    with pytest.raises(Invalid, match="does not hold operator"):
        services.create_token(both.pk, "operator", actor=narrow, name="x")
    with pytest.raises(Invalid, match="in team Logistics"):
        services.create_token(both.pk, "developer", actor=narrow, name="x", team=other_team)
    made, _ = services.create_token(both.pk, "developer", actor=narrow, name="x")
    assert made.team == team


def test_a_token_makes_none_that_outlives_it(developer: Person) -> None:
    user = as_bearer(developer, "developer", days=3)
    made, _ = services.create_token(developer.pk, "developer", actor=user, name="x", days=300)
    assert user.token is not None
    assert made.expires_at == user.token.expires_at


def test_a_token_loses_what_its_owner_loses(developer: Person, administrator: Person) -> None:
    services.revoke(developer.memberships.get().pk, actor=administrator)
    assert developer.api.get("/api/v1/me/").json()["roles"] == []


def test_revoking_ends_it_now_and_once(developer: Person) -> None:
    token = developer.tokens.get()
    services.revoke_token(token.pk, actor=developer)
    assert developer.api.get("/api/v1/me/").status_code == 401
    with pytest.raises(Conflict, match="was revoked at"):
        services.revoke_token(token.pk, actor=developer)


def test_others_tokens_are_not_there_for_whoever_may_not_manage_them(
    developer: Person, developer2: Person, stranger: Person, administrator: Person
) -> None:
    token = developer.tokens.get()
    for actor in (developer2, stranger):
        with pytest.raises(NotFound):
            services.revoke_token(token.pk, actor=actor)
        with pytest.raises(NotFound):
            services.rotate_token(token.pk, actor=actor)
    services.revoke_token(token.pk, actor=administrator)


def test_a_token_ends_none_that_can_do_more(developer: Person, make_team: Callable[[str], Team], team: Team) -> None:
    elsewhere = make_team("Elsewhere")
    Membership.objects.create(user=developer, role="developer", team=elsewhere)
    Membership.objects.create(user=developer, role="viewer", team=team)
    pipeline, _ = services.create_token(developer.pk, "developer", actor=None, name="CI")
    for role, where in (("viewer", None), ("developer", elsewhere)):
        user = as_bearer(developer, role, where)
        with pytest.raises(NotAllowed, match="token:manage"):
            services.revoke_token(pipeline.pk, actor=user)
    narrow, _ = services.create_token(developer.pk, "developer", actor=None, name="x", team=team)
    user = as_bearer(developer, "developer")
    for token in (narrow, pipeline, user.token):
        assert token is not None
        services.revoke_token(token.pk, actor=user)


def test_rotating_replaces_with_the_same_lifetime(developer: Person) -> None:
    old, old_raw = services.create_token(developer.pk, "developer", actor=developer, name="CI", days=30)
    new, raw = services.rotate_token(old.pk, actor=developer)
    assert bearer(old_raw) is None
    assert bearer(raw) == new
    assert (new.name, new.role, new.expires_at - new.created_at) == ("CI", "developer", timedelta(days=30))
    entry = AuditEntry.objects.get(action="token:rotate")
    assert entry.details["replaces"] == old.prefix
    with pytest.raises(Conflict, match="was revoked"):
        services.rotate_token(old.pk, actor=developer)


def test_a_token_rotates_itself_and_no_other(developer: Person) -> None:
    user = as_bearer(developer, "developer")
    with pytest.raises(NotAllowed, match="rotates itself"):
        services.rotate_token(developer.tokens.exclude(pk=user.token.pk).get().pk, actor=user)  # type: ignore[union-attr]
    new, _ = services.rotate_token(user.token.pk, actor=user)  # type: ignore[union-attr]
    assert new.user_id == developer.pk


def test_an_administrator_sees_no_person_s_secret_by_rotating(administrator: Person, developer: Person) -> None:
    with pytest.raises(NotAllowed, match="only developer"):
        services.rotate_token(developer.tokens.get().pk, actor=administrator)


def test_a_token_that_ended_is_not_rotated(developer: Person) -> None:
    token = developer.tokens.get()
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now())
    with pytest.raises(Conflict, match="ended at"):
        services.rotate_token(token.pk, actor=developer)


def test_a_deactivated_user_gets_no_token(developer: Person, administrator: Person) -> None:
    services.deactivate(developer.pk, actor=administrator)
    with pytest.raises(Conflict, match="deactivated"):
        services.create_token(developer.pk, "developer", actor=None, name="x")


# --- on the server's own machine ---


def test_the_server_s_command_starts_from_nothing() -> None:
    token, raw = services.create_token_on_server("developer", username="alice")
    assert bearer(raw) == token
    assert (token.user.username, token.user.is_service) == ("alice", False)
    assert list(AuditEntry.objects.order_by("sequence").values_list("action", "actor")) == [
        ("user:create", "system"),
        ("token:create", "system"),
    ]


def test_the_server_s_command_gives_a_known_user_the_role_once(developer: Person, team: Team) -> None:
    services.create_token_on_server("security-reviewer", username="developer")
    services.create_token_on_server("security-reviewer", username="Developer")
    services.create_token_on_server("developer", username="developer", team=team)
    assert Membership.objects.filter(user=developer).count() == 2
    assert AuditEntry.objects.filter(action="membership:grant").count() == 1


def test_without_a_user_each_role_is_a_party_of_its_own() -> None:
    developer, _ = services.create_token_on_server("developer")
    reviewer, _ = services.create_token_on_server("security-reviewer")
    again, _ = services.create_token_on_server("developer")
    assert developer.user == again.user
    assert developer.user != reviewer.user
    assert developer.user.is_service
    assert developer.user.username == "developer"


def test_the_server_s_command_refuses_what_it_cannot_do(developer: Person) -> None:
    with pytest.raises(Invalid, match="no role"):
        services.create_token_on_server("root")
    User.objects.filter(pk=developer.pk).update(is_active=False)
    with pytest.raises(Conflict, match="deactivated"):
        services.create_token_on_server("developer", username="developer")
