"""Ways in: the owner's first link, links, passwords, and the bound on guessing."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils import timezone

from secguard.accounts import credentials, services
from secguard.accounts.models import SignInAttempts, SignInLink, User
from secguard.accounts.services import attempts, ways_in
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, Unavailable
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db

PASSWORD = "quiet harbour lantern"
HERE = "192.0.2.1"


def secret_of(path: str | None) -> str:
    assert path is not None
    assert path.startswith(credentials.SIGN_IN_LINK_PATH)
    return parse_qs(urlsplit(path).query)["key"][0]


@pytest.fixture
def alice(make_person: MakePerson) -> Person:
    return make_person("alice", "administrator", password=PASSWORD)


def enter(name: str, password: str, address: str = HERE) -> User:
    return services.sign_in(None, name, password, address=address)


# --- the owner ---


def test_a_first_run_makes_an_owner_who_administers_and_reviews() -> None:
    secret = secret_of(services.create_owner())
    owner = User.objects.get()
    everywhere = {role.value for role, team in owner.grants() if team is None}
    assert everywhere == {"administrator", "security-reviewer", "developer"}
    assert secret not in str(list(SignInLink.objects.values()))
    assert services.use_sign_in_link(secret) == owner


def test_until_a_password_is_set_each_run_gives_a_new_link_and_ends_the_old() -> None:
    first, second = secret_of(services.create_owner()), secret_of(services.create_owner())
    with pytest.raises(NotFound):
        services.use_sign_in_link(first)
    owner = services.use_sign_in_link(second)
    services.set_password(owner.pk, PASSWORD, current=None)
    assert services.create_owner() is None
    assert User.objects.count() == 1


def test_no_owner_is_made_beside_another_administrator(alice: Person) -> None:
    assert services.create_owner() is None
    assert not User.objects.filter(username="owner").exists()


def test_sample_people_do_not_stand_in_for_the_owner(alice: Person) -> None:
    User.objects.filter(pk=alice.pk).update(is_sample=True)
    assert services.create_owner() is not None


def test_an_owner_who_was_deactivated_stays_out(alice: Person, make_person: MakePerson) -> None:
    owner = make_person("owner", "administrator", password=PASSWORD)
    services.deactivate(owner.pk, actor=alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert services.create_owner() is None


# --- links ---


def test_a_link_works_once(alice: Person, developer: Person) -> None:
    secret = secret_of(services.issue_sign_in_link(developer.pk, actor=alice))
    assert services.use_sign_in_link(secret) == developer
    with pytest.raises(NotFound, match="no longer valid"):
        services.use_sign_in_link(secret)
    assert list(AuditEntry.objects.order_by("sequence").values_list("action", "actor", "subject")) == [
        ("sign-in-link:create", "alice", "developer"),
        ("sign-in-link:use", "developer", "developer"),
    ]


def test_a_link_ends_after_a_day_or_with_its_person(alice: Person, developer: Person) -> None:
    secret = secret_of(services.issue_sign_in_link(developer.pk, actor=alice))
    left = SignInLink.objects.get().expires_at - timezone.now()
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    User.objects.filter(pk=developer.pk).update(is_active=False)
    with pytest.raises(NotFound):
        services.use_sign_in_link(secret)
    User.objects.filter(pk=developer.pk).update(is_active=True)
    SignInLink.objects.update(expires_at=timezone.now())
    with pytest.raises(NotFound):
        services.use_sign_in_link(secret)


def test_no_link_for_who_cannot_sign_in(alice: Person, developer: Person) -> None:
    User.objects.filter(pk=developer.pk).update(is_service=True)
    with pytest.raises(Conflict, match="tokens alone"):
        services.issue_sign_in_link(developer.pk, actor=alice)
    User.objects.filter(pk=developer.pk).update(is_service=False, is_active=False)
    with pytest.raises(Conflict, match="deactivated"):
        services.issue_sign_in_link(developer.pk, actor=alice)


# --- passwords ---


@pytest.mark.parametrize("weak", ["short", "password1234", "alice@example", "123456789012"])
def test_a_weak_password_is_refused_with_the_reason(alice: Person, weak: str) -> None:
    with pytest.raises(Invalid) as refused:
        services.set_password(alice.pk, weak, current=PASSWORD)
    assert refused.value.where == "password"
    assert not AuditEntry.objects.exists()


def test_changing_it_needs_the_current_one_and_is_on_record_without_it(alice: Person) -> None:
    with pytest.raises(NotAllowed, match="current password is wrong"):
        services.set_password(alice.pk, "another fine evening", current="guess")
    services.set_password(alice.pk, "another fine evening", current=PASSWORD)
    assert enter("alice", "another fine evening") == alice
    assert AuditEntry.objects.get().action == "password:set"
    assert AuditEntry.objects.get().details == {}


def test_guessing_the_current_one_from_an_open_session_is_bounded(alice: Person) -> None:
    for _ in range(ways_in.ATTEMPTS_AT_NAME):
        with pytest.raises(NotAllowed):
            services.set_password(alice.pk, "another fine evening", current="guess")
    with pytest.raises(Unavailable):
        services.set_password(alice.pk, "another fine evening", current=PASSWORD)


# --- signing in ---


def test_name_and_password_let_in_in_whatever_case_of_the_name(alice: Person) -> None:
    assert enter("alice", PASSWORD) == alice
    assert enter("Alice", PASSWORD) == alice


def test_every_refusal_is_in_the_same_words(alice: Person, developer: Person) -> None:
    said = set()
    for name, password in (("alice", "wrong"), ("nobody", PASSWORD), ("developer", PASSWORD), ("alice", "")):
        with pytest.raises(NotAllowed) as refused:
            enter(name, password)
        said.add(refused.value.detail)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    with pytest.raises(NotAllowed) as refused:
        enter("alice", PASSWORD)
    assert said | {refused.value.detail} == {"the name or the password is wrong"}


@pytest.mark.parametrize("name", ["alice", "nobody", "developer"])
def test_a_password_is_hashed_whoever_is_named(
    alice: Person, developer: Person, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from django.contrib.auth.hashers import get_hasher

    hashed = []
    hasher = type(get_hasher())
    original = hasher.encode
    monkeypatch.setattr(hasher, "encode", lambda self, *args: hashed.append(1) or original(self, *args))
    with pytest.raises(NotAllowed):
        enter(name, "wrong")
    assert len(hashed) == 1


def test_a_service_does_not_sign_in(alice: Person) -> None:
    User.objects.filter(pk=alice.pk).update(is_service=True)
    with pytest.raises(NotAllowed):
        enter("alice", PASSWORD)


def test_guessing_is_bounded_by_name_and_address(alice: Person) -> None:
    for _ in range(ways_in.ATTEMPTS_AT_NAME):
        with pytest.raises(NotAllowed):
            enter("alice", "wrong")
    with pytest.raises(Unavailable, match="15 minutes") as refused:
        enter("ALICE", PASSWORD)
    assert 0 < refused.value.retry_after <= 900
    # From elsewhere the owner of the name still gets in: nobody can lock somebody else out.
    assert enter("alice", PASSWORD, "192.0.2.2") == alice
    SignInAttempts.objects.update(since=timezone.now() - attempts.WINDOW)
    assert enter("alice", PASSWORD) == alice


@pytest.mark.parametrize(
    "others",
    [
        ["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::1", "[2001:db8::3]:4711"],
        ["::ffff:192.0.2.9", "192.0.2.9", "192.0.2.9:1", "192.0.2.9:2"],
    ],
)
def test_one_host_is_one_address_however_many_it_has(alice: Person, others: list[str]) -> None:
    for number in range(ways_in.ATTEMPTS_AT_NAME):
        with pytest.raises(NotAllowed):
            enter("alice", "wrong", others[number % len(others)])
    with pytest.raises(Unavailable):
        enter("alice", PASSWORD, others[0])
    assert enter("alice", PASSWORD, "2001:db8:0:1::1") == alice


def test_a_name_in_other_letters_is_no_other_name(alice: Person) -> None:
    spellings = ["alice", "ALICE", "al\u0131ce", "AL\u0131CE"]
    for number in range(ways_in.ATTEMPTS_AT_NAME):
        with pytest.raises(NotAllowed):
            enter(spellings[number % 4], "wrong")
    with pytest.raises(Unavailable):
        enter("alice", PASSWORD)


def test_a_right_password_forgets_the_wrong_ones(alice: Person) -> None:
    for _ in range(3):
        for _ in range(ways_in.ATTEMPTS_AT_NAME - 1):
            with pytest.raises(NotAllowed):
                enter("alice", "wrong")
        assert enter("alice", PASSWORD) == alice


def test_guessing_many_names_from_one_address_is_bounded(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways_in, "ATTEMPTS_FROM_ADDRESS", 5)
    for number in range(5):
        with pytest.raises(NotAllowed):
            enter(f"user{number}", "wrong")
    with pytest.raises(Unavailable):
        enter("alice", PASSWORD)


def test_what_was_tried_is_not_kept_in_words(alice: Person) -> None:
    with pytest.raises(NotAllowed):
        enter("my-password-by-mistake", "x")
    kept = str(list(SignInAttempts.objects.values()))
    assert "my-password" not in kept
    assert HERE not in kept
