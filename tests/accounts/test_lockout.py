"""Guessing is bounded, and nobody's guesses keep the owner of an account out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from django.conf import settings
from django.core import signing
from django.test import Client, RequestFactory
from django.utils import timezone
from hypothesis import HealthCheck, example, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from secguard.accounts import services, totp
from secguard.accounts.models import SignInAttempts, User
from secguard.accounts.services import attempts, devices, second_factors, ways_in
from secguard.accounts.services.attempts import Pace
from secguard.errors import NotAllowed, Unavailable
from secguard.notifications.models import Notice, NoticeLine
from tests.accounts.test_second_factor import (
    PASSWORD,
    Key,
    add_app,
    add_passkey,
    code_of,
    codes_on,
    is_in,
    options_on,
    sign_in,
)
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db
SECOND = "/sign-in/second-factor/"
NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PUBLIC_URL", "http://localhost:8000")
    monkeypatch.setattr(settings, "PUBLIC_HOST", "localhost")


@pytest.fixture
def alice(make_person: MakePerson) -> Person:
    return make_person("alice", "administrator", password=PASSWORD)


@pytest.fixture
def home(alice: Person) -> Client:
    """A browser in which Alice has signed in by both steps; she is signed out again."""
    client = Client(REMOTE_ADDR="203.0.113.5")
    sign_in(client)
    client.secret, added = add_app(client)  # type: ignore[attr-defined]
    client.codes = codes_on(added)  # type: ignore[attr-defined]
    client.post("/sign-out/")
    return client


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    def move(moment: datetime) -> None:
        monkeypatch.setattr(timezone, "now", lambda: moment)

    return move


def hammer(times: int, *, begin: int = 0) -> list[int]:
    """Somebody with Alice's password tries codes, each from another address."""
    answers = []
    for number in range(begin, begin + times):
        client = Client(REMOTE_ADDR=f"198.51.{100 + number // 250}.{number % 250}")
        sign_in(client)
        answers.append(client.post(SECOND, {"current": "000000"}).status_code)
    return answers


# --- the second step ---


def test_from_one_address_codes_are_tried_as_often_as_a_slip_needs(alice: Person, home: Client) -> None:
    client = Client(REMOTE_ADDR="198.51.100.1")
    sign_in(client)
    answers = [client.post(SECOND, {"current": "000000"}) for _ in range(second_factors.ATTEMPTS + 1)]
    assert [a.status_code for a in answers] == [422] * second_factors.ATTEMPTS + [429]
    assert answers[-1]["Retry-After"]
    assert client.post(SECOND, {"current": code_of(home.secret)}).status_code == 429  # type: ignore[attr-defined]
    SignInAttempts.objects.update(since=timezone.now() - attempts.WINDOW)
    assert client.post(SECOND, {"current": code_of(home.secret)}).status_code == 302  # type: ignore[attr-defined]


def test_whoever_hammers_slows_strangers_and_shuts_out_nobody(alice: Person, home: Client) -> None:
    free = second_factors.STRANGERS.at_once
    assert hammer(free + 3) == [422] * free + [429] * 3
    elsewhere = Client(REMOTE_ADDR="192.0.2.77")
    sign_in(elsewhere)
    refused = elsewhere.post(SECOND, {"current": code_of(home.secret)})  # type: ignore[attr-defined]
    assert refused.status_code == 429
    assert "a passkey or a recovery code lets you in now" in refused.content.decode()
    # A recovery code is not to be guessed, so that it waits for nobody.
    assert elsewhere.post(SECOND, {"current": home.codes[0]}).status_code == 302  # type: ignore[attr-defined]
    # The browser in which she has signed in before knows nothing of all this.
    sign_in(home)
    assert home.post(SECOND, {"current": "000000"}).status_code == 422
    assert home.post(SECOND, {"current": code_of(home.secret)}).status_code == 302  # type: ignore[attr-defined]
    assert is_in(home)
    # And her coming in gave nobody new guesses.
    assert hammer(2, begin=100) == [429, 429]


def test_a_known_device_is_in_although_the_address_is_the_attackers_own(alice: Person, home: Client) -> None:
    attacker = Client(REMOTE_ADDR="203.0.113.5")
    sign_in(attacker)
    for _ in range(second_factors.ATTEMPTS + 1):
        last = attacker.post(SECOND, {"current": "000000"})
    assert last.status_code == 429
    sign_in(home)
    assert home.post(SECOND, {"current": code_of(home.secret)}).status_code == 302  # type: ignore[attr-defined]


def test_a_passkey_waits_for_no_code(alice: Person, home: Client) -> None:
    key = Key()
    sign_in(home)
    home.post(SECOND, {"current": code_of(home.secret)})  # type: ignore[attr-defined]
    add_passkey(home, key)
    hammer(second_factors.STRANGERS.at_once + 1)
    elsewhere = Client(REMOTE_ADDR="192.0.2.77")
    sign_in(elsewhere)
    answer = key.show(options_on(elsewhere.get(SECOND)))
    assert elsewhere.post(SECOND, {"credential": answer}).status_code == 302


def test_a_day_of_guessing_is_bounded_by_a_number(
    alice: Person, home: Client, at: Callable[[datetime], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    monkeypatch.setattr(second_factors, "_is_right", lambda user, code, now: bool(tried.append(code)))
    for minute in range(0, 24 * 60, 3):  # each from an address of its own
        at(NOON + timedelta(minutes=minute))
        with pytest.raises((NotAllowed, Unavailable)):
            second_factors.check_code(alice, f"{minute:06}", address=f"2001:db8:{minute:x}::1")
    most = second_factors.STRANGERS.most(timedelta(days=1))
    assert most == 68
    assert most - 1 <= len(tried) <= most
    valid_at_once = 2 * totp.STEPS_AROUND + 1
    chance = Fraction(most * valid_at_once, 10**totp.DIGITS)
    assert chance == Fraction(204, 1_000_000)
    assert chance < Fraction(1, 4_900)
    per_device = second_factors.OWN_DEVICE.most(timedelta(days=1))
    assert per_device == 101  # of whoever stole the very browser


@with_settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at_once=st.integers(1, 5),
    every=st.integers(1, 50),
    gaps=st.lists(st.integers(0, 60), min_size=1, max_size=40),
)
@example(at_once=1, every=1, gaps=[0, 0, 1, 0])
def test_in_no_span_of_time_are_there_more_than_the_pace_says(at_once: int, every: int, gaps: list[int]) -> None:
    pace, moment, key = Pace(at_once, timedelta(minutes=every)), NOON, uuid.uuid4()
    taken, waits = [], []
    for gap in gaps:
        moment += timedelta(minutes=gap)
        try:
            attempts.spend(f"pace {key}", pace, moment, what="tries")
            taken.append(moment)
        except Unavailable as refused:
            waits.append(refused.retry_after)
    assert all(0 < wait <= every * 60 for wait in waits)  # it slows, and never shuts
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            assert last - first + 1 <= pace.most(taken[last] - taken[first])


def test_the_owner_is_told_of_wrong_codes_after_a_right_password(alice: Person, home: Client) -> None:
    hammer(3)
    line = NoticeLine.objects.get(user_id=alice.pk, kind="sign-in-code")
    assert "198.51.100.*" in line.facts["what"]
    assert "set another one" in line.facts["note"]
    notice = Notice.objects.get(user=alice)
    assert (notice.url, notice.team_id) == ("/account/password/", None)
    assert not Notice.objects.exclude(user=alice).exists()


def test_a_slip_of_hers_on_her_own_device_is_no_news(alice: Person, home: Client) -> None:
    sign_in(home)
    assert home.post(SECOND, {"current": "000000"}).status_code == 422
    assert not Notice.objects.exists()


def test_a_known_device_that_is_stolen_guesses_slowly(alice: Person, home: Client) -> None:
    sign_in(home)
    answers = [home.post(SECOND, {"current": "000000"}).status_code for _ in range(7)]
    assert answers == [422] * 5 + [429] * 2


# --- which device is known ---


def test_whoever_has_the_password_alone_makes_no_device_known(alice: Person) -> None:
    attacker = Client(REMOTE_ADDR="198.51.100.1")
    sign_in(attacker)  # before she has a second factor: known, but by one step
    request = RequestFactory().get("/")
    request.COOKIES = {name: morsel.value for name, morsel in attacker.cookies.items()}
    assert devices.known(request, alice)
    assert not devices.known(request, alice, by_both_steps=True)
    owner = Client(REMOTE_ADDR="203.0.113.5")
    sign_in(owner)
    add_app(owner)
    hammer(second_factors.STRANGERS.at_once)
    sign_in(attacker)
    assert attacker.post(SECOND, {"current": "000000"}).status_code == 429


def test_a_new_password_makes_strangers_of_all_other_devices(alice: Person, home: Client) -> None:
    other = Client(REMOTE_ADDR="203.0.113.9")
    sign_in(other)
    other.post(SECOND, {"current": code_of(home.secret)})  # type: ignore[attr-defined]
    new = "another long lantern"
    form = {"current": PASSWORD, "password": new, "again": new}
    assert other.post("/account/password/", form).status_code == 302
    alice.refresh_from_db()
    for client, expected in ((other, True), (home, False)):
        request = RequestFactory().get("/")
        request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
        assert bool(devices.known(request, alice, by_both_steps=True)) is expected
        assert bool(devices.known_to(request, "ALICE")) is expected


def test_the_cookie_is_ours_bound_to_its_people_and_ends(
    alice: Person, home: Client, operator: Person, at: Callable[[datetime], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    morsel = home.cookies[devices.cookie_name()]
    assert morsel["httponly"]
    assert morsel["samesite"] == "Lax"
    assert "alice" not in morsel.value
    request = RequestFactory().get("/")
    request.COOKIES[devices.cookie_name()] = morsel.value
    assert devices.known(request, alice, by_both_steps=True)
    assert not devices.known(request, User.objects.get(pk=operator.pk))
    assert not devices.known_to(request, "operator")
    made = signing.dumps(["x", [[alice.pk, "y", 1]]], salt="another")
    for forged in (
        morsel.value[::-1],
        "x" + morsel.value,
        made,
        "",
        "x" * 2000,
        "\x00",
        signing.dumps(5, salt=devices._SALT),
    ):
        request.COOKIES[devices.cookie_name()] = forged
        assert not devices.known(request, alice)
    request.COOKIES[devices.cookie_name()] = morsel.value
    monkeypatch.setattr("django.core.signing.time.time", lambda: (timezone.now() + devices.KNOWN_FOR * 1.1).timestamp())
    assert not devices.known(request, alice)


def test_a_browser_of_several_people_knows_each_and_at_most_five(alice: Person, make_person: MakePerson) -> None:
    client = Client()
    sign_in(client)
    for number in range(devices.MAX_PEOPLE):
        client.post("/sign-out/")
        make_person(f"bob{number}", "viewer", password=PASSWORD)
        sign_in(client, username=f"bob{number}")
    request = RequestFactory().get("/")
    request.COOKIES = {name: morsel.value for name, morsel in client.cookies.items()}
    assert not devices.known_to(request, "alice")
    assert len({devices.known_to(request, f"bob{number}") for number in range(devices.MAX_PEOPLE)}) == 1


# --- the first step ---


def enter(name: str, password: str, address: str, device: str = "") -> User:
    return services.sign_in(None, name, password, address=address, device=device)


def test_without_the_password_nobody_locks_its_owner_out(alice: Person, home: Client) -> None:
    """From the very address of hers, until it is refused whatever it sends."""
    attacker = Client(REMOTE_ADDR="203.0.113.5")
    for number in range(ways_in.ATTEMPTS_FROM_ADDRESS + 5):
        sign_in(attacker, username=f"user{number % 12}", password="wrong")
        refused = sign_in(attacker, password="wrong")
    assert refused.status_code == 429
    assert sign_in(Client(REMOTE_ADDR="203.0.113.5")).status_code == 429
    assert sign_in(home)["Location"] == SECOND


def test_many_addresses_guess_slower_and_a_new_one_of_the_owner_s_is_let_in(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways_in, "TRIED", 12)
    checked = 0
    for number in range(20):
        for _ in range(ways_in.ATTEMPTS_AT_NAME):
            try:
                enter("alice", "wrong", f"198.51.100.{number}")
            except NotAllowed:
                checked += 1
            except Unavailable:
                break
    first, second = ways_in.ATTEMPTS_AT_NAME, 2  # 12 at the pace of calm days, then three from each
    assert checked == first + second + 1 + 18 * ways_in.ATTEMPTS_AT_NAME_TRIED
    assert enter("alice", PASSWORD, "192.0.2.9") == alice
    assert enter("ALICE", PASSWORD, "203.0.113.5", "a-device") == alice


def test_the_bound_of_a_day_at_the_first_step(alice: Person) -> None:
    """Per address, whatever else: the numbers that docs/sign-in.md gives."""
    windows = timedelta(days=1) // attempts.WINDOW
    assert windows * ways_in.ATTEMPTS_AT_NAME == 960
    assert windows * ways_in.ATTEMPTS_AT_NAME_TRIED == 288
