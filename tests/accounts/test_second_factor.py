"""The second step, end to end: app, recovery codes, passkeys, lockout, and roles that ask for one."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone

from secguard.accounts import services, totp
from secguard.accounts.models import RecoveryCode, SecondFactor, SignedIn
from secguard.accounts.services import second_factors
from secguard.audit.models import AuditEntry
from tests.accounts.authenticating import PRESENT, Key
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db
PASSWORD = "quiet harbour lantern"
SECURITY = "/account/security/"


@pytest.fixture(autouse=True)
def _address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "PUBLIC_URL", "http://localhost:8000")
    monkeypatch.setattr(settings, "PUBLIC_HOST", "localhost")


@pytest.fixture
def alice(make_person: MakePerson) -> Person:
    return make_person("alice", "administrator", password=PASSWORD)


def sign_in(client: Client, **changes: str) -> Any:
    return client.post("/sign-in/", {"username": "alice", "password": PASSWORD} | changes)


def is_in(client: Client) -> bool:
    return bool(client.get("/account/").status_code == 200)


def code_of(secret: str, off: int = 0) -> str:
    return totp.code_at(secret, totp.step_of(timezone.now()) + off)


def add_app(client: Client, **changes: str) -> tuple[str, Any]:
    page = client.get(f"{SECURITY}app/").content.decode()
    found = re.search(r'<code class="text-mono text-break">([A-Z2-7]{32})</code>', page)
    assert found, page
    form = {"code": code_of(found[1], -1), "current": PASSWORD} | changes
    return found[1], client.post(f"{SECURITY}app/", form)


def codes_on(page: Any) -> list[str]:
    return re.findall(r"\b[a-z2-7]{4}(?:-[a-z2-7]{4}){3}\b", page.content.decode())


@pytest.fixture
def secret(alice: Person) -> str:
    client = Client()
    sign_in(client)
    found, added = add_app(client)
    assert added.status_code == 201, added.content.decode()
    return found


# --- the app ---


def test_an_app_is_added_with_its_first_code_and_gives_recovery_codes(alice: Person) -> None:
    client = Client()
    sign_in(client)
    _, wrong = add_app(client, code="000000x")
    assert wrong.status_code == 422
    _, guessed = add_app(client, current="not my password")
    assert (guessed.status_code, SecondFactor.objects.count()) == (422, 0)
    secret, added = add_app(client)
    assert (added.status_code, len(set(codes_on(added)))) == (201, second_factors.RECOVERY_CODES)
    factor = SecondFactor.objects.get()
    assert secret not in factor.secret
    assert not any(code in row.digest for code in codes_on(added) for row in RecoveryCode.objects.all())
    assert AuditEntry.objects.get(action="second-factor:add").details == {"kind": "totp", "name": "Authenticator app"}
    assert client.get(f"{SECURITY}app/").status_code == 409


def test_signing_in_asks_for_the_code_and_leads_on(alice: Person, secret: str) -> None:
    client = Client()
    first = sign_in(client, next="/settings/teams/")
    assert first["Location"] == "/sign-in/second-factor/"
    assert not is_in(client)
    assert client.get("/api/v1/me/").status_code == 401
    wrong = client.post("/sign-in/second-factor/", {"current": "123456x"})
    assert wrong.status_code == 422
    right = client.post("/sign-in/second-factor/", {"current": code_of(secret)})
    assert right["Location"] == "/settings/teams/"
    assert is_in(client)


def test_a_code_counts_once_wherever_it_comes_to(alice: Person, secret: str) -> None:
    code = code_of(secret)
    one, two = Client(), Client()
    for client in (one, two):
        sign_in(client)
        client.post("/sign-in/second-factor/", {"current": code})
    assert (is_in(one), is_in(two)) == (True, False)


def test_the_first_step_holds_for_ten_minutes_and_for_one_password(alice: Person, secret: str) -> None:
    client = Client()
    sign_in(client)
    session = client.session
    session["first-step-done"] = session["first-step-done"] | {"at": timezone.now().timestamp() - 601}
    session.save()
    assert client.post("/sign-in/second-factor/", {"current": code_of(secret)})["Location"] == "/sign-in/"
    sign_in(client)
    services.set_password(alice.pk, "another long lantern", current=PASSWORD)
    assert client.get("/sign-in/second-factor/")["Location"] == "/sign-in/"
    assert not is_in(client)


def test_nobody_comes_to_the_second_step_without_the_first(db: None) -> None:
    assert Client().get("/sign-in/second-factor/")["Location"] == "/sign-in/"
    assert Client().post("/sign-in/second-factor/", {"current": "1"})["Location"] == "/sign-in/"


def test_a_link_does_not_pass_the_second_step_by(alice: Person, secret: str) -> None:
    path = services.issue_sign_in_link(alice.pk, actor=None)
    client = Client()
    answer = client.post("/sign-in/link/", {"key": path.partition("key=")[2]})
    assert answer["Location"] == "/sign-in/second-factor/"
    assert not is_in(client)
    done = client.post("/sign-in/second-factor/", {"current": code_of(secret)})
    assert done["Location"] == "/account/password/"
    new = {"password": "another long lantern", "again": "another long lantern"}
    assert client.post("/account/password/", new).status_code == 302


def test_a_recovery_code_lets_in_once(alice: Person) -> None:
    client = Client()
    sign_in(client)
    _, added = add_app(client)
    code = codes_on(added)[3]
    for typed, lets_in in ((code.upper().replace("-", " "), True), (code, False)):
        fresh = Client()
        sign_in(fresh)
        fresh.post("/sign-in/second-factor/", {"current": typed})
        assert is_in(fresh) is lets_in
    page = client.get(SECURITY).content.decode()
    assert f"{second_factors.RECOVERY_CODES - 1} recovery codes left" in page


def test_new_recovery_codes_end_the_former(alice: Person) -> None:
    client = Client()
    sign_in(client)
    former = codes_on(add_app(client)[1])
    assert client.post(f"{SECURITY}recovery-codes/", {"current": "wrong password"}).status_code == 422
    now = codes_on(client.post(f"{SECURITY}recovery-codes/", {"current": PASSWORD}))
    assert len(now) == second_factors.RECOVERY_CODES
    assert not set(now) & set(former)
    fresh = Client()
    sign_in(fresh)
    assert fresh.post("/sign-in/second-factor/", {"current": former[0]}).status_code == 422
    assert fresh.post("/sign-in/second-factor/", {"current": now[0]}).status_code == 302


def test_removing_the_last_one_needs_the_password_and_ends_the_codes(alice: Person, secret: str) -> None:
    client = Client()
    sign_in(client)
    client.post("/sign-in/second-factor/", {"current": code_of(secret)})
    path = f"{SECURITY}factors/{SecondFactor.objects.get().pk}/remove/"
    assert client.post(path, {"current": "not this one"}).status_code == 422
    assert client.post(path, {"current": PASSWORD})["Location"] == SECURITY
    assert not SecondFactor.objects.exists()
    assert not RecoveryCode.objects.exists()
    assert AuditEntry.objects.filter(action="second-factor:remove").count() == 1
    assert sign_in(Client())["Location"] == "/"


def test_nobody_removes_anothers_and_an_administrator_all_of_them(
    alice: Person, secret: str, make_person: MakePerson, administrator: Person, operator: Person
) -> None:
    factor = SecondFactor.objects.get()
    assert operator.client.post(f"{SECURITY}factors/{factor.pk}/remove/").status_code == 404
    path = f"/settings/people/{alice.pk}/remove-second-factors/"
    assert operator.client.post(path).status_code == 403
    assert alice.client.post(path).status_code == 403
    assert administrator.client.post(path).status_code == 302
    assert not SecondFactor.objects.exists()
    entry = AuditEntry.objects.get(action="second-factor:remove")
    assert (entry.actor, entry.subject) == ("administrator", "alice")
    assert administrator.client.post(path).status_code == 409


# --- roles that ask for one ---


def test_a_role_may_ask_for_one(alice: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "REQUIRE_MFA", ["administrator"])
    client = Client()
    assert sign_in(client).status_code == 302
    assert client.get("/settings/")["Location"] == SECURITY
    refused = client.get("/api/v1/users/")
    assert (refused.status_code, refused.json()["code"]) == (403, "second-factor-needed")
    for header in ("Basic eDp4", "Bearerx y", "Bearer\xa0y", "Bearer\x1cy", "Bearer\x85y", "Token x", "x"):
        assert client.get("/api/v1/users/", HTTP_AUTHORIZATION=header).status_code == 403
    assert client.get("/api/v1/users/", HTTP_AUTHORIZATION="Bearer sgt_wrong").status_code == 401
    assert client.post("/settings/teams/new/", {"name": "Fraud"})["Location"] == SECURITY
    assert "Your role asks for one" in client.get(SECURITY).content.decode()
    secret, added = add_app(client)
    assert added.status_code == 201
    assert client.get("/settings/").status_code == 200
    assert (
        client.post(f"{SECURITY}factors/{SecondFactor.objects.get().pk}/remove/", {"current": PASSWORD}).status_code
        == 403
    )
    fresh = Client()
    sign_in(fresh)
    fresh.post("/sign-in/second-factor/", {"current": code_of(secret)})
    assert fresh.get("/settings/").status_code == 200


def test_a_role_that_is_given_later_asks_at_once(make_person: MakePerson, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "REQUIRE_MFA", ["operator"])
    bob = make_person("bob", "viewer", password=PASSWORD)
    client = Client()
    sign_in(client, username="bob")
    assert client.get("/settings/").status_code == 200
    services.grant(bob.pk, "operator", actor=None)
    assert client.get("/settings/")["Location"] == SECURITY


def test_tokens_and_others_are_not_asked(alice: Person, viewer: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "REQUIRE_MFA", ["administrator"])
    assert alice.api.get("/api/v1/users/").status_code == 200
    assert viewer.client.get("/settings/").status_code == 200


# --- passkeys ---


def options_on(page: Any) -> str:
    found = re.search(r'data-passkey-options="([^"]+)"', page.content.decode())
    assert found, page.content.decode()
    return html.unescape(found[1])


def add_passkey(client: Client, key: Key, **changes: str) -> Any:
    answer = key.make(options_on(client.get(f"{SECURITY}passkey/")))
    form = {"name": "Blue key", "credential": answer, "current": PASSWORD} | changes
    return client.post(f"{SECURITY}passkey/", form)


@pytest.fixture
def key(alice: Person) -> Key:
    key, client = Key(), Client()
    sign_in(client)
    added = add_passkey(client, key)
    assert added.status_code == 201, added.content.decode()
    assert len(codes_on(added)) == second_factors.RECOVERY_CODES
    return key


def test_a_passkey_is_the_second_step(alice: Person, key: Key) -> None:
    client = Client()
    sign_in(client)
    page = client.get("/sign-in/second-factor/")
    assert "Use your passkey" in page.content.decode()
    answer = key.show(options_on(page))
    assert client.post("/sign-in/second-factor/", {"credential": answer}).status_code == 302
    assert is_in(client)
    assert SecondFactor.objects.get().last_used_at is not None


def test_a_passkey_alone_signs_in(alice: Person, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "REQUIRE_MFA", ["administrator"])  # it is both steps
    client = Client()
    asked = client.post("/sign-in/passkey/", {"next": "/settings/teams/"})
    done = client.post("/sign-in/passkey/", {"credential": key.show(options_on(asked)), "next": "/settings/teams/"})
    assert done["Location"] == "/settings/teams/"
    assert client.get("/settings/teams/").status_code == 200
    assert SignedIn.objects.filter(way="passkey").count() == 1


def test_an_answer_counts_once_and_for_its_question(alice: Person, key: Key) -> None:
    client = Client()
    answer = key.show(options_on(client.post("/sign-in/passkey/")))
    assert client.post("/sign-in/passkey/", {"credential": answer}).status_code == 302
    client.post("/sign-out/")
    client.post("/sign-in/passkey/")
    assert client.post("/sign-in/passkey/", {"credential": answer}).status_code == 422
    assert Client().post("/sign-in/passkey/", {"credential": answer}).status_code == 422
    assert not is_in(client)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda key: setattr(key, "origin", "https://evil.example"),
        lambda key: setattr(key, "site", "evil.example"),
        lambda key: setattr(key, "flags", PRESENT),
        lambda key: setattr(key, "count", -1),
        lambda key: setattr(key, "handle", b"somebody else"),
        lambda key: setattr(key, "id", b"x" * 32),
        lambda key: setattr(key, "private", Key().private),
    ],
)
def test_an_answer_that_is_spoiled_lets_nobody_in(alice: Person, key: Key, spoil: Any) -> None:
    client = Client()
    options = options_on(client.post("/sign-in/passkey/"))
    spoil(key)
    refused = client.post("/sign-in/passkey/", {"credential": key.show(options)})
    assert refused.status_code == 422
    assert "not known here" in html.unescape(refused.content.decode())
    assert not is_in(client)


@pytest.mark.parametrize(
    "answer", ["{}", "[]", "x", '{"rawId": 5}', '{"id": "a", "rawId": "a", "response": {}}', "x" * 30_000]
)
def test_an_answer_of_any_shape_is_refused(alice: Person, key: Key, answer: str) -> None:
    client = Client()
    client.post("/sign-in/passkey/")
    assert client.post("/sign-in/passkey/", {"credential": answer}).status_code == 422
    sign_in(client)
    assert client.post("/sign-in/second-factor/", {"credential": answer}).status_code == 422
    client.force_login(alice)
    form = {"name": "x", "credential": answer, "current": PASSWORD}
    assert client.post(f"{SECURITY}passkey/", form).status_code == 422


def test_a_copied_key_is_noticed(alice: Person, key: Key) -> None:
    client = Client()
    client.post("/sign-in/passkey/", {"credential": key.show(options_on(client.post("/sign-in/passkey/")))})
    assert is_in(client)
    key.count -= 1
    other = Client()
    other.post("/sign-in/passkey/", {"credential": key.show(options_on(other.post("/sign-in/passkey/")))})
    assert not is_in(other)


def test_anothers_passkey_is_no_second_step(alice: Person, key: Key, make_person: MakePerson) -> None:
    make_person("bob", "viewer", password=PASSWORD)
    bobs, client = Key(), Client()
    sign_in(client, username="bob")
    assert add_passkey(client, bobs).status_code == 201
    other = Client()
    sign_in(other)
    answer = bobs.show(options_on(other.get("/sign-in/second-factor/")))
    assert other.post("/sign-in/second-factor/", {"credential": answer}).status_code == 422
    assert not is_in(other)


def test_a_deactivated_persons_passkey_lets_nobody_in(alice: Person, key: Key, administrator: Person) -> None:
    services.deactivate(alice.pk, actor=administrator)
    client = Client()
    client.post("/sign-in/passkey/", {"credential": key.show(options_on(client.post("/sign-in/passkey/")))})
    assert not is_in(client)


def test_a_passkey_is_added_once_and_with_a_check_of_who_it_is(alice: Person, key: Key) -> None:
    client = Client()
    client.force_login(alice)
    assert add_passkey(client, key).status_code == 422
    weak = Key()
    weak.flags = PRESENT
    assert add_passkey(client, weak).status_code == 422
    assert SecondFactor.objects.count() == 1


# --- where one is signed in ---


def test_sessions_are_listed_and_ended_one_or_all(alice: Person, operator: Person) -> None:
    firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
    one, two, three = (Client(HTTP_USER_AGENT=firefox, REMOTE_ADDR=f"192.0.2.{n}") for n in (7, 8, 9))
    for client in (one, two, three):
        sign_in(client)
    page = one.get(SECURITY).content.decode()
    assert page.count("Firefox on Linux") >= 3
    assert "192.0.2.*" in page
    assert "192.0.2.7" not in page
    assert "this one" in page
    mine, theirs = (SignedIn.objects.get(session_key=c.session.session_key) for c in (one, two))
    assert operator.client.post(f"{SECURITY}sessions/{theirs.pk}/end/").status_code == 404
    assert one.post(f"{SECURITY}sessions/{theirs.pk}/end/")["Location"] == SECURITY
    assert (is_in(one), is_in(two), is_in(three)) == (True, False, True)
    assert one.post(f"{SECURITY}sessions/end/")["Location"] == SECURITY
    assert (is_in(one), is_in(three)) == (True, False)
    assert list(SignedIn.objects.filter(user=alice)) == [mine]
    assert AuditEntry.objects.filter(action="session:end").count() == 2


def test_a_new_password_ends_the_others_and_keeps_this_one(alice: Person) -> None:
    one, two = Client(), Client()
    for client in (one, two):
        sign_in(client)
    form = {"current": PASSWORD, "password": "another long lantern", "again": "another long lantern"}
    assert one.post("/account/password/", form).status_code == 302
    assert (is_in(one), is_in(two)) == (True, False)
    row = SignedIn.objects.get(user=alice)
    assert row.session_key == one.session.session_key


def test_deactivating_and_signing_out_end_them(alice: Person, administrator: Person) -> None:
    one, two = Client(), Client()
    for client in (one, two):
        sign_in(client)
    one.post("/sign-out/")
    assert SignedIn.objects.filter(user=alice).count() == 1
    services.deactivate(alice.pk, actor=administrator)
    assert not SignedIn.objects.filter(user=alice).exists()
    assert not is_in(two)


def test_an_administrator_ends_somebodys_sessions(alice: Person, administrator: Person, operator: Person) -> None:
    client = Client()
    sign_in(client)
    path = f"/settings/people/{alice.pk}/end-sessions/"
    assert operator.client.post(path).status_code == 403
    assert "End 1 session" in administrator.client.get(f"/settings/people/{alice.pk}/").content.decode()
    assert administrator.client.post(path).status_code == 302
    assert not is_in(client)


def test_a_session_that_begins_to_sign_in_again_can_still_be_ended(alice: Person, secret: str) -> None:
    one, two = Client(), Client()
    for client in (one, two):
        sign_in(client)
        SecondFactor.objects.update(last_step=0)
        client.post("/sign-in/second-factor/", {"current": code_of(secret)})
    sign_in(two)  # the first step alone: it stays signed in
    assert is_in(two)
    assert SignedIn.objects.filter(session_key=two.session.session_key).exists()
    one.post(f"{SECURITY}sessions/end/")
    assert (is_in(one), is_in(two)) == (True, False)


def test_a_session_ends_twelve_hours_after_it_began_however_busy(alice: Person) -> None:
    client = Client()
    sign_in(client)
    row = SignedIn.objects.get(user=alice)
    session = client.session
    session["seen"] = timezone.now().timestamp() - 3_600
    session.save()
    SignedIn.objects.update(last_seen_at=timezone.now() - timedelta(hours=1))
    client.get("/account/")
    row.refresh_from_db()
    assert row.last_seen_at > timezone.now() - timedelta(minutes=1)
    from django.contrib.sessions.models import Session

    assert Session.objects.get(session_key=row.session_key).expire_date <= row.ends_at + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("", "unknown"),
        ("curl/8.5.0", "curl"),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1",
            "Safari on iPhone",
        ),
        ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
        ("<script>alert(1)</script>", "unknown"),
    ],
)
def test_a_device_is_called_as_people_know_it(agent: str, words: str) -> None:
    from secguard.accounts.services.sessions import device_of

    assert device_of(agent) == words


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("192.0.2.77", "192.0.2.*"),
        ("2001:db8:1:2::5", "2001:db8:1::*"),
        ("::ffff:192.0.2.77", "192.0.2.*"),
        ("x", "unknown"),
    ],
)
def test_an_address_is_shortened(address: str, shown: str) -> None:
    from secguard.accounts.services.sessions import shortened

    assert shortened(address) == shown
