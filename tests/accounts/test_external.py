"""Signing in by a provider, against one on this host: the whole code flow, in a client without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.test import Client

from secguard.accounts import services
from secguard.accounts.models import ExternalIdentity, Membership, SignedIn, Team, User
from secguard.accounts.providers import BadProviders, Provider, read
from secguard.audit.models import AuditEntry
from tests.accounts.issuing import PRIVATE, Issuer, running, serve_json
from tests.fixtures_people import MakePerson, Person

pytestmark = pytest.mark.django_db
CLIENT = "secguard"
FILE = """\
providers:
  - name: company
    label: Company account
    kind: oidc
    issuer: {issuer}
    client_id: secguard
    client_secret_file: {secret}
    scopes: openid profile email groups
    {more}
    groups:
      security: [{{role: security-reviewer}}]
      payments: [{{role: developer, team: payments}}, {{role: viewer}}]
      admins: [{{role: administrator}}]
      lost: [{{role: developer, team: no-such-team}}]
"""


class Company(Issuer):
    """Who signs in next, and what the code that was given out stands for."""

    def __init__(self) -> None:
        super().__init__()
        self.person: dict[str, Any] = {
            "sub": "0042", "preferred_username": "carol", "name": "Carol C.", "email": "carol@example.org",
            "groups": ["security", "payments", "choir"],
        }  # fmt: skip
        self.asked_for: dict[str, str] = {}
        self.spoil: dict[str, Any] = {}
        self.by: Any = None
        self.tokens: list[str] = []

    def id_token(self) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": self.asked_for["nonce"]}
        claims = {name: v for name, v in (claims | self.person | self.spoil).items() if v is not None}
        return jwt.encode(claims, self.by or PRIVATE["RS256"], "RS256", headers={"kid": "one"})

    def give_token(self, handler: BaseHTTPRequestHandler) -> None:
        posted = self.posted[-1]
        challenge = base64.urlsafe_b64encode(hashlib.sha256(posted["code_verifier"].encode()).digest()).rstrip(b"=")
        basic = "Basic " + base64.b64encode(b"secguard:a+client%27s+secret").decode()
        right = posted["code"] == "a-code" and posted["authorization"] == basic
        if not right or challenge.decode() != self.asked_for["code_challenge"]:
            serve_json({"error": "invalid_grant"}, 400)(handler)
            return
        self.tokens.append(self.id_token())
        serve_json({"access_token": "x", "token_type": "Bearer", "id_token": self.tokens[-1]})(handler)


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, team: Team) -> Iterator[Company]:
    with running() as plain:
        found = Company()
        found.__dict__ |= {"url": plain.url, "answers": plain.answers, "posted": plain.posted, "asked": plain.asked}
        plain.answers["/token"] = found.give_token
        configure(found, tmp_path, monkeypatch)
        yield found


def configure(company: Company, folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> Provider:
    (folder / "secret").write_text("a client's secret\n")
    providers = read(FILE.format(issuer=company.url, secret=folder / "secret", more=more))
    monkeypatch.setattr(settings, "SIGN_IN_PROVIDERS", providers)
    return providers[0]


def begin(client: Client, company: Company, to: str = "/") -> dict[str, str]:
    """Go there; what the provider was asked."""
    answer = client.get("/sign-in/company/", {"next": to})
    assert answer["Location"].startswith(f"{company.url}/authorize?"), answer["Location"]
    company.asked_for = {n: v[0] for n, v in parse_qs(urlsplit(answer["Location"]).query).items()}
    return company.asked_for


def come_back(client: Client, company: Company, **changes: str) -> Any:
    query = {"code": "a-code", "state": company.asked_for["state"], "iss": company.url} | changes
    return client.get("/sign-in/company/callback/", query)


def sign_in(client: Client, company: Company, **changes: str) -> Any:
    begin(client, company)
    return come_back(client, company, **changes)


def is_in(client: Client) -> bool:
    return bool(client.get("/account/").status_code == 200)


def roles_of(name: str) -> set[tuple[str, str]]:
    rows = Membership.objects.filter(user__username=name).select_related("team")
    return {(m.role, m.team.slug if m.team else "") for m in rows}


def words_after(client: Client) -> str:
    return client.get("/sign-in/").content.decode()


def test_the_whole_flow_makes_an_account_with_the_roles_of_its_groups(company: Company) -> None:
    client = Client()
    assert "Sign in with Company account" in words_after(client)
    asked = begin(client, company, "/settings/teams/")
    assert asked | {"state": "", "nonce": "", "code_challenge": ""} == {
        "response_type": "code", "client_id": CLIENT, "scope": "openid profile email groups", "state": "", "nonce": "",
        "redirect_uri": f"{settings.PUBLIC_URL}/sign-in/company/callback/", "code_challenge": "",
        "code_challenge_method": "S256",
    }  # fmt: skip
    assert come_back(client, company)["Location"] == "/settings/teams/"
    assert is_in(client)
    carol = User.objects.get(username="carol")
    assert (carol.display_name, carol.email, carol.has_usable_password()) == ("Carol C.", "carol@example.org", False)
    assert roles_of("carol") == {("security-reviewer", ""), ("developer", "payments"), ("viewer", "")}
    assert SignedIn.objects.get(user=carol).way == "Company account"
    told = json.dumps(list(AuditEntry.objects.values_list("details", flat=True)))
    assert "0042" in told
    assert not any(token in told for token in company.tokens)


def test_roles_follow_the_groups_at_each_sign_in_and_leave_what_people_gave(company: Company) -> None:
    sign_in(Client(), company)
    carol = User.objects.get(username="carol")
    services.grant(carol.pk, "operator", actor=None)
    company.person["groups"] = ["payments"]
    sign_in(Client(), company)
    assert roles_of("carol") == {("developer", "payments"), ("viewer", ""), ("operator", "")}
    changes = AuditEntry.objects.filter(action__startswith="membership:", details__provider="company")
    assert [e.details["role"] for e in changes.filter(action="membership:revoke")] == ["security-reviewer"]
    assert User.objects.count() == 1


def test_who_has_lost_every_group_is_not_let_in_and_keeps_no_role(company: Company) -> None:
    client = Client()
    sign_in(client, company)
    company.person["groups"] = []
    again = Client()
    assert sign_in(again, company)["Location"] == "/sign-in/"
    assert "none of your groups" in words_after(again)
    assert roles_of("carol") == set()
    assert not is_in(again)
    assert "carol" in client.get("/account/").content.decode()  # the former session sees nothing any more
    assert client.get("/api/v1/images/").json()["results"] == []


@pytest.mark.parametrize("groups", [[], ["choir"], ["lost"], None, "security2", [{"a": 1}, 7]])
def test_nobody_without_a_group_that_gives_a_role_is_let_in(company: Company, groups: Any) -> None:
    company.person["groups"] = groups
    client = Client()
    assert sign_in(client, company)["Location"] == "/sign-in/"
    assert not is_in(client)
    assert not Membership.objects.exists()


def test_the_last_administrator_keeps_the_role(company: Company) -> None:
    company.person["groups"] = ["admins"]
    sign_in(Client(), company)
    company.person["groups"] = ["payments"]
    client = Client()
    sign_in(client, company)
    assert "last administrator" in words_after(client)
    assert ("administrator", "") in roles_of("carol")


def test_a_local_account_of_that_name_is_not_given_away(
    company: Company, make_person: MakePerson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carol = make_person("Carol", "administrator", password="quiet harbour lantern")
    client = Client()
    sign_in(client, company)
    assert "already" in words_after(client)
    assert not is_in(client)
    assert not ExternalIdentity.objects.exists()
    configure(company, tmp_path, monkeypatch, "links_by_name: true")
    sign_in(client, company)
    assert is_in(client)
    assert ExternalIdentity.objects.get().user_id == carol.pk
    assert ("administrator", "") in roles_of("Carol")


@pytest.mark.parametrize("name", [None, "", "Carol Ünal"])
def test_only_the_name_itself_links_and_not_what_stands_in_for_it(
    company: Company, make_person: MakePerson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    make_person("carol", "administrator", password="quiet harbour lantern")
    configure(company, tmp_path, monkeypatch, "links_by_name: true")
    company.person |= {"preferred_username": name, "email": "carol@elsewhere.example"}
    client = Client()
    sign_in(client, company)
    assert not is_in(client)
    assert not ExternalIdentity.objects.exists()


def test_the_local_account_still_signs_in_when_the_provider_is_away(company: Company, make_person: MakePerson) -> None:
    make_person("glass", "administrator", password="quiet harbour lantern")
    company.answers["/.well-known/openid-configuration"] = serve_json({}, 503)
    client = Client()
    assert client.get("/sign-in/company/")["Location"] == "/sign-in/"
    assert "is of no help now" in words_after(client)
    client.post("/sign-in/", {"username": "glass", "password": "quiet harbour lantern"})
    assert is_in(client)


def test_a_person_is_known_by_the_subject_and_not_by_the_name(company: Company) -> None:
    sign_in(Client(), company)
    company.person |= {"preferred_username": "carol-married", "email": "new@example.org"}
    client = Client()
    sign_in(client, company)
    assert "carol" in client.get("/account/").content.decode()
    company.person |= {"sub": "0043", "preferred_username": "carol"}
    other = Client()
    sign_in(other, company)
    assert not is_in(other)


def test_who_was_deactivated_stays_out(company: Company, administrator: Person) -> None:
    sign_in(Client(), company)
    services.deactivate(User.objects.get(username="carol").pk, actor=administrator)
    client = Client()
    sign_in(client, company)
    assert not is_in(client)
    assert "deactivated" in words_after(client)


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "another"},
        {"state": ""},
        {"code": "a-stolen-code"},
        {"code": ""},
        {"code": "x" * 5_000},
        {"iss": "https://another.example"},
        {"error": "access_denied"},
    ],
)
def test_an_answer_that_is_not_ours_lets_nobody_in(company: Company, changes: dict[str, str]) -> None:
    client = Client()
    assert sign_in(client, company, **changes)["Location"] == "/sign-in/"
    assert not is_in(client)
    assert not User.objects.exists()
    assert company.asked_for["nonce"] not in words_after(client)


@pytest.mark.parametrize(
    "spoil",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another-client"},
        {"aud": [CLIENT, "another-client"]},
        {"aud": [CLIENT, "another-client"], "azp": "another-client"},
        {"iss": "https://another.example"},
        {"exp": 946_684_800},
        {"iat": None},
        {"sub": None},
        {"preferred_username": "sÿstem", "email": None, "sub": "a b"},
    ],
)
def test_a_token_that_does_not_hold_lets_nobody_in(company: Company, spoil: dict[str, Any]) -> None:
    company.spoil = spoil
    client = Client()
    assert sign_in(client, company)["Location"] == "/sign-in/"
    assert not is_in(client)
    assert not User.objects.exists()


def test_a_token_by_another_key_or_none_lets_nobody_in(company: Company) -> None:
    company.by = rsa.generate_private_key(65537, 2048)
    client = Client()
    sign_in(client, company)
    assert not is_in(client)
    company.answers["/token"] = serve_json({"access_token": "x"})
    sign_in(client, company)
    assert not is_in(client)


def test_an_answer_counts_once_and_in_the_browser_that_asked(company: Company) -> None:
    client, thief = Client(), Client()
    begin(client, company)
    assert come_back(thief, company)["Location"] == "/sign-in/"
    assert not is_in(thief)
    come_back(client, company)
    assert is_in(client)
    client.post("/sign-out/")
    come_back(client, company)
    assert not is_in(client)


def test_the_second_step_may_be_ours(company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "REQUIRE_MFA", ["security-reviewer"])
    client = Client()
    sign_in(client, company)
    assert client.get("/settings/").status_code == 200  # the provider's own is relied on
    configure(company, tmp_path, monkeypatch, "second_factor: ours")
    client = Client()
    sign_in(client, company)
    assert client.get("/settings/")["Location"] == "/account/security/"


def test_where_it_leads_is_here(company: Company) -> None:
    client = Client()
    begin(client, company, "https://evil.example/")
    assert come_back(client, company)["Location"] == "/"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "mapping"),
        ("providers: []", "list of providers"),
        ("providers: [{name: a, label: A, kind: ldap, issuer: x}]", "ldap"),
        ("providers: [{name: a, label: A, kind: oidc, issuer: 'http://a.example', client_id: x}]", "no https address"),
        ("providers: [{name: link, label: A, kind: oidc, issuer: 'https://a.example', client_id: x}]", "cannot stand"),
        ("providers: [{name: A B, label: A, kind: oidc, issuer: 'https://a.example', client_id: x}]", "cannot stand"),
        ("providers: [{name: a, label: A, kind: oidc, issuer: 'https://a.example'}]", "client_id"),
        ("providers: [{name: a, label: A, kind: saml, issuer: x}]", "sso_url"),
        (
            "providers: [{name: a, label: A, kind: oidc, issuer: 'https://a.example', client_id: x, scopes: email}]",
            "openid",
        ),
        (
            "providers: [{name: a, label: A, kind: oidc, issuer: 'https://a.example', client_id: x, secret: y}]",
            "no key",
        ),
        (
            "providers: [{name: a, label: A, kind: oidc, issuer: 'https://a.example', client_id: x, "
            "groups: {g: [{role: boss}]}}]",
            "boss",
        ),
        (
            "providers: [{name: a, label: A, kind: oidc, issuer: 'https://a.example', client_id: x, "
            "groups: {g: boss}}]",
            "expected a group",
        ),
    ],
)
def test_a_file_that_cannot_be_is_refused_with_its_line(text: str, words: str) -> None:
    with pytest.raises(BadProviders, match=words):
        read(text)


def test_two_providers_have_two_names() -> None:
    one = "{name: a, label: A, kind: oidc, issuer: 'https://a.example', client_id: x}"
    assert len(read(f"providers: [{one}]")) == 1
    with pytest.raises(BadProviders, match="same name"):
        read(f"providers: [{one}, {one}]")
