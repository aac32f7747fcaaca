"""What a person may do and see, and how a token narrows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import IntegrityError, transaction
from hypothesis import given
from hypothesis import strategies as st

from secguard.accounts.models import ApiToken, Application, Membership, Team, User, narrowed
from secguard.accounts.roles import PERMISSIONS, Permission, Role
from tests.fixtures_people import MakePerson, Person

places = st.none() | st.integers(1, 3)
grants = st.lists(st.tuples(st.sampled_from(Role), places), max_size=6)


def person_with(held: list[tuple[Role, int | None]]) -> User:
    user = User(username="x")
    user.__dict__["_grants"] = held
    return user


@given(grants, st.sampled_from(Permission), st.integers(1, 3))
def test_permission_in_a_team_comes_from_that_team_or_the_organisation(
    held: list[tuple[Role, int | None]], permission: Permission, team: int
) -> None:
    user = person_with(held)
    expected = any(permission in PERMISSIONS[role] and place in (None, team) for role, place in held)
    assert user.can(permission, team) == expected
    teams = user.teams_with(permission)
    assert (teams is None or team in teams) == expected
    assert user.can(permission) == (teams is None or bool(teams))


@given(grants, st.sampled_from(Role), places, st.sampled_from(Permission), st.integers(1, 3))
def test_a_token_never_does_more_than_its_owner_nor_than_its_role_and_team(
    held: list[tuple[Role, int | None]], role: Role, team: int | None, permission: Permission, where: int
) -> None:
    owner, bearer = person_with(held), person_with(narrowed(held, role, team))
    if bearer.can(permission, where):
        assert owner.can(permission, where)
        assert permission in PERMISSIONS[role]
        assert team in (None, where)
    if bearer.teams_with(permission) is None:
        assert team is None


@pytest.mark.django_db
def test_whoever_is_deactivated_may_nothing(administrator: Person) -> None:
    User.objects.filter(pk=administrator.pk).update(is_active=False)
    administrator.refresh_from_db()
    assert administrator.grants() == []
    assert not administrator.can("user:manage")


@pytest.mark.django_db
def test_strangers_see_nothing_of_each_other(
    developer: Person, developer2: Person, stranger: Person, application: Application, other_application: Application
) -> None:
    assert list(Application.objects.visible_to(developer)) == [application]
    assert list(Team.objects.visible_to(stranger)) == [other_application.team]
    assert set(User.objects.visible_to(developer)) == {developer, developer2}
    assert set(User.objects.visible_to(stranger)) == {stranger}
    assert set(Membership.objects.visible_to(stranger)) == set(stranger.memberships.all())
    assert set(ApiToken.objects.visible_to(developer)) == set(developer.tokens.all())


@pytest.mark.django_db
def test_who_has_no_role_sees_themselves_alone(make_person: MakePerson, developer: Person) -> None:
    nobody = make_person("nobody")
    assert list(User.objects.visible_to(nobody)) == [nobody]
    assert not Application.objects.visible_to(nobody).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("again", ["DEVELOPER", "developer", "Developer"])
def test_names_that_differ_in_case_alone_are_one(developer: Person, again: str) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create(username=again)


@pytest.mark.django_db
@pytest.mark.parametrize("in_team", [True, False])
def test_a_role_is_held_once_in_one_place(make_person: MakePerson, team: Team, in_team: bool) -> None:
    where = team if in_team else None
    person = make_person("once", "viewer", team=where)
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(user=person, role="viewer", team=where)


@pytest.mark.django_db
def test_a_role_that_is_none_is_refused_by_the_database(developer: Person, make_team: Callable[[str], Team]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(user=developer, role="root")
