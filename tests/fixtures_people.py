"""Who every test may ask in: one person a role, their teams, and what their teams own.

Each person is a ``User`` that also has ``client`` (signed in, as in a browser) and ``api`` (with a token of its own).
``viewer``, ``developer`` and ``developer2`` work in ``team``, which owns ``application``; ``stranger`` develops in
``other_team``, which owns ``other_application``, and must see nothing of the first. The others have their role in the
whole organisation. ``make_person``, ``make_team`` and ``make_application`` make more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from django.test import Client

if TYPE_CHECKING:
    from rest_framework.test import APIClient

    from secguard.accounts.models import Application, Team, User

    class Person(User):
        """A user who is signed in both ways."""

        client: Client
        api: APIClient

        class Meta:
            abstract = True
else:
    Person = object  # tests name it in annotations; apps are not loaded yet when this file is


class MakePerson(Protocol):
    def __call__(self, username: str, *roles: str, team: Team | None = None, password: str = "") -> Person: ...


ROLE_OF = {
    "viewer": ("viewer", True),
    "developer": ("developer", True),
    "operator": ("operator", False),
    "reviewer": ("security-reviewer", False),
    "business_approver": ("business-approver", False),
    "administrator": ("administrator", False),
}
"""The actors by role: (role, whether in ``team`` alone)."""


@pytest.fixture
def make_team(db: None) -> Callable[[str], Team]:
    from django.utils.text import slugify

    from secguard.accounts.models import Team

    def make(name: str) -> Team:
        return Team.objects.create(name=name, slug=slugify(name))

    return make


@pytest.fixture
def make_application(db: None) -> Callable[..., Application]:
    from django.utils.text import slugify

    from secguard.accounts.models import Application

    def make(name: str, team: Team, **columns: Any) -> Application:
        return Application.objects.create(name=name, slug=slugify(name), team=team, **columns)

    return make


@pytest.fixture
def make_person(db: None) -> MakePerson:
    """(username, role, …, team=None: organisation-wide) to a person who is signed in both ways."""
    from secguard.accounts.models import Membership, User

    def make(username: str, *roles: str, team: Team | None = None, password: str = "") -> Person:
        user = User(username=username, display_name=username.title(), email=f"{username}@example.org")
        user.set_password(password or None)
        user.save()
        for role in roles:
            Membership.objects.create(user=user, role=role, team=team)
        user.client = Client()  # type: ignore[attr-defined]
        user.client.force_login(user)  # type: ignore[attr-defined]
        user.api = api_client(user, roles[0] if roles else "viewer")  # type: ignore[attr-defined]
        return user  # type: ignore[return-value]

    return make


def api_client(user: User, role: str, team: Team | None = None) -> APIClient:
    """A client that sends a real token of ``user`` with ``role``, in ``team`` alone if one is given."""
    from django.utils import timezone
    from rest_framework.test import APIClient

    from secguard.accounts import credentials
    from secguard.accounts.models import ApiToken

    raw = credentials.new_token()
    ApiToken.objects.create(
        user=user,
        name="tests",
        prefix=credentials.shown(raw),
        digest=credentials.digest(raw),
        role=role,
        team=team,
        expires_at=timezone.now() + timedelta(days=1),
    )
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {raw}")
    return client


@pytest.fixture
def team(make_team: Callable[[str], Team]) -> Team:
    return make_team("Payments")


@pytest.fixture
def other_team(make_team: Callable[[str], Team]) -> Team:
    return make_team("Logistics")


@pytest.fixture
def application(make_application: Callable[..., Application], team: Team) -> Application:
    return make_application("Shop", team)


@pytest.fixture
def other_application(make_application: Callable[..., Application], other_team: Team) -> Application:
    return make_application("Warehouse", other_team)


@pytest.fixture
def viewer(make_person: MakePerson, team: Team) -> Person:
    return make_person("viewer", "viewer", team=team)


@pytest.fixture
def developer(make_person: MakePerson, team: Team) -> Person:
    return make_person("developer", "developer", team=team)


@pytest.fixture
def developer2(make_person: MakePerson, team: Team) -> Person:
    return make_person("developer2", "developer", team=team)


@pytest.fixture
def stranger(make_person: MakePerson, other_team: Team) -> Person:
    return make_person("stranger", "developer", team=other_team)


@pytest.fixture
def operator(make_person: MakePerson) -> Person:
    return make_person("operator", "operator")


@pytest.fixture
def reviewer(make_person: MakePerson) -> Person:
    return make_person("reviewer", "security-reviewer")


@pytest.fixture
def business_approver(make_person: MakePerson) -> Person:
    return make_person("business_approver", "business-approver")


@pytest.fixture
def administrator(make_person: MakePerson) -> Person:
    return make_person("administrator", "administrator")


@contextmanager
def without_triggers() -> Iterator[None]:
    """Take the database's own laws up, as only its owner can: to empty tables, and to tamper as an intruder would."""
    from django.db import connection

    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            laws = cursor.fetchall()
            for name, _ in laws:
                cursor.execute(f'DROP TRIGGER "{name}"')
            put_back = [sql for _, sql in laws]
        else:
            cursor.execute("SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger WHERE NOT tgisinternal")
            tables = [row[0] for row in cursor.fetchall()]
            _settle(cursor)
            for table in tables:
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            put_back = [f"ALTER TABLE {table} ENABLE TRIGGER USER" for table in tables]
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                _settle(cursor)
            for statement in put_back:
                cursor.execute(statement)


def _settle(cursor: Any) -> None:
    """A table with deferred triggers that wait cannot be altered: they are run now, and deferred again after."""
    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    cursor.execute("SET CONSTRAINTS ALL DEFERRED")


@pytest.fixture(autouse=True, scope="session")
def _tables_can_be_emptied() -> Iterator[None]:
    """A test with real transactions ends by emptying every table, the append-only ones too."""
    from django.test import TransactionTestCase

    empty = TransactionTestCase._fixture_teardown

    def empty_without_triggers(case: TransactionTestCase) -> None:
        with without_triggers():
            empty(case)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_without_triggers)
        yield
