"""Pipelines without secrets, against an issuer on this host: a real server, real keys, and every way to spoil it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from secguard.accounts import services
from secguard.accounts.adapters import issuers
from secguard.accounts.models import ApiToken, CiIdentity, ExchangedAssertion, IssuerKeys, SignInAttempts, Team, User
from secguard.accounts.services import NewIdentity, ci_identities, create_ci_identity, issuer_keys
from secguard.accounts.services.ci_identities import ACCESS_TOKEN, GRANT_TYPE, TOKEN_TYPES
from secguard.accounts.trust import Kind, Trust
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed
from secguard.outbound.connections import Patience
from tests.accounts.issuing import AUDIENCE, Issuer, jwk, running, serve_json
from tests.fixtures_people import Person

pytestmark = pytest.mark.django_db
FORM = "application/x-www-form-urlencoded"
CLAIMS = {"repository": "acme/shop", "ref": "refs/heads/*"}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with running() as found:
        yield found


def trust_in(issuer: Issuer | str, **changes: Any) -> Trust:
    url = issuer if isinstance(issuer, str) else issuer.url
    return Trust(**({"kind": Kind.GITHUB, "issuer": url, "audience": AUDIENCE, "claims": CLAIMS} | changes))


@pytest.fixture
def identity(issuer: Issuer, team: Team) -> CiIdentity:
    return create_ci_identity(NewIdentity("Shop", trust_in(issuer), "developer", team), actor=None)


def ask(token: str, **changes: str | None) -> Any:
    form = {"grant_type": GRANT_TYPE, "subject_token": token, "subject_token_type": TOKEN_TYPES[0]} | changes
    sent = {name: value for name, value in form.items() if value is not None}
    return Client().post("/api/v1/token-exchange/", urlencode(sent), content_type=FORM, REMOTE_ADDR="192.0.2.7")


def test_a_jobs_token_is_exchanged_for_one_that_is_narrow_and_short(identity: CiIdentity, issuer: Issuer) -> None:
    answer = ask(issuer.token())
    assert answer.status_code == 200, answer.content
    assert answer["Cache-Control"] == "no-store"
    told = answer.json()
    assert told | {"access_token": "", "expires_in": 0} == {
        "access_token": "", "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 0, "scope": "Shop",
    }  # fmt: skip
    assert 890 <= told["expires_in"] <= 900
    api = APIClient(HTTP_AUTHORIZATION=f"Bearer {told['access_token']}")
    me = api.get("/api/v1/me/").json()
    assert (me["username"], me["is_service"]) == ("ci-shop", True)
    assert me["roles"] == [{"role": "developer", "team": "payments"}]


def test_the_token_dies_on_time(identity: CiIdentity, issuer: Issuer) -> None:
    api = APIClient(HTTP_AUTHORIZATION=f"Bearer {ask(issuer.token()).json()['access_token']}")
    assert api.get("/api/v1/me/").status_code == 200
    ApiToken.objects.filter(identity=identity).update(expires_at=timezone.now())
    assert api.get("/api/v1/me/").status_code == 401


def test_the_log_says_which_job_and_never_the_token(identity: CiIdentity, issuer: Issuer) -> None:
    raw = issuer.token()
    made = ask(raw).json()["access_token"]
    entry = AuditEntry.objects.get(action="token:exchange")
    assert (entry.actor, entry.team_id) == ("ci-shop", identity.team_id)
    assert entry.details["claims"]["ref"] == "refs/heads/main"
    assert entry.details["claims"]["run_id"] == "17"
    assert entry.details["uses"] == 1
    told = json.dumps([entry.details, entry.subject])
    assert raw not in told
    assert raw.rpartition(".")[2] not in told
    assert made not in told


def test_the_same_token_may_be_exchanged_again_and_is_counted(identity: CiIdentity, issuer: Issuer) -> None:
    raw = issuer.token()
    assert [ask(raw).status_code for _ in range(3)] == [200] * 3
    assert [e.details["uses"] for e in AuditEntry.objects.filter(action="token:exchange").order_by("sequence")] == [
        1,
        2,
        3,
    ]
    assert ExchangedAssertion.objects.get().uses == 3
    assert ask(issuer.token(jti="another job")).status_code == 200
    identity.refresh_from_db()
    assert identity.exchanges == 4
    assert identity.last_used_at is not None


def test_tokens_that_ended_are_forgotten(identity: CiIdentity, issuer: Issuer) -> None:
    ask(issuer.token())
    ExchangedAssertion.objects.update(ends_at=timezone.now() - timedelta(hours=1))
    ApiToken.objects.filter(identity=identity).update(expires_at=timezone.now() - timedelta(days=31))
    ask(issuer.token(jti="next"))
    assert ExchangedAssertion.objects.get().uses == 1
    assert services.prune_exchanged_tokens() == 1
    assert ApiToken.objects.filter(identity=identity).count() == 1


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"aud": "https://another.example"}, "no-identity-fits"),
        ({"aud": AUDIENCE + "/"}, "no-identity-fits"),
        ({"aud": None}, "no-identity-fits"),
        ({"repository": "acme/shop-2"}, "no-identity-fits"),
        ({"repository": "evil/acme/shop"}, "no-identity-fits"),
        ({"repository": "Acme/shop"}, "no-identity-fits"),
        ({"ref": "refs/pull/7/merge"}, "no-identity-fits"),
        ({"ref": None}, "no-identity-fits"),
        ({"exp": -600, "iat": -900}, "bad-token"),
        ({"nbf": 600}, "bad-token"),
        ({"iss": "https://issuer.example"}, "issuer-not-trusted"),
    ],
)
def test_a_token_that_says_something_else_is_refused(
    identity: CiIdentity, issuer: Issuer, changes: dict[str, Any], code: str
) -> None:
    now = int(time.time())  # a whole suite may have run since the cases were collected
    answer = ask(
        issuer.token(**{name: now + said if isinstance(said, int) else said for name, said in changes.items()})
    )
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["error"] == "invalid_grant"
    assert not ApiToken.objects.filter(identity=identity).exists()
    assert not AuditEntry.objects.filter(action="token:exchange").exists()


def test_an_issuer_that_differs_by_a_slash_is_another_one(identity: CiIdentity, issuer: Issuer) -> None:
    assert ask(issuer.token(iss=issuer.url + "/")).json()["code"] == "issuer-not-trusted"


def test_several_audiences_may_stand_in_a_token(identity: CiIdentity, issuer: Issuer) -> None:
    assert ask(issuer.token(aud=["https://another.example", AUDIENCE])).status_code == 200


def test_a_forged_signature_is_refused(identity: CiIdentity, issuer: Issuer) -> None:
    forged = issuer.token(private=rsa.generate_private_key(65537, 2048))
    assert ask(forged).json()["code"] == "bad-signature"


@pytest.mark.parametrize(
    ("changes", "error", "where"),
    [
        ({"grant_type": "password"}, "unsupported_grant_type", "grant_type"),
        ({"grant_type": None}, "invalid_request", "grant_type"),
        ({"subject_token": None}, "invalid_request", "subject_token"),
        ({"subject_token": "x" * 20_000}, "invalid_request", "subject_token"),
        ({"subject_token": "no.token.here"}, "invalid_grant", "subject_token"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request", "subject_token_type"),
        ({"requested_token_type": "urn:x"}, "invalid_request", "requested_token_type"),
    ],
)
def test_a_request_that_is_no_exchange_is_refused_as_oauth_says(
    db: None, changes: dict[str, str | None], error: str, where: str
) -> None:
    answer = ask("", **{"subject_token": "a.b.c"} | changes)
    assert (answer.status_code, answer.json()["error"], answer.json()["where"]) == (400, error, where)
    assert answer["Content-Type"] == "application/problem+json"
    assert all(" " <= c <= "~" and c not in '"\\' for c in answer.json()["error_description"])


def test_the_body_may_be_json_too(identity: CiIdentity, issuer: Issuer) -> None:
    form = {"grant_type": GRANT_TYPE, "subject_token": issuer.token(), "subject_token_type": TOKEN_TYPES[1]}
    assert APIClient().post("/api/v1/token-exchange/", form, format="json").status_code == 200


def test_where_several_fit_one_is_named(identity: CiIdentity, issuer: Issuer) -> None:
    create_ci_identity(NewIdentity("Reader", trust_in(issuer), "viewer"), actor=None)
    answer = ask(issuer.token())
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")
    assert "Reader, Shop" in answer.json()["detail"]
    assert ask(issuer.token(), scope="Reader").json()["scope"] == "Reader"
    assert ask(issuer.token(), scope="Nobody").json()["code"] == "no-identity-fits"


def test_refused_tokens_are_bounded_by_where_they_come_from(
    identity: CiIdentity, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ci_identities, "REFUSALS_FROM_ADDRESS", 3)
    assert [ask(issuer.token()).status_code for _ in range(4)] == [200] * 4  # what is exchanged costs nothing
    assert [ask("a.b.c").status_code for _ in range(4)] == [400, 400, 400, 503]
    assert ask(issuer.token())["Retry-After"]
    assert all(issuer.url not in row.key for row in SignInAttempts.objects.all())


# --- keys ---


def test_keys_are_fetched_once_and_kept(identity: CiIdentity, issuer: Issuer) -> None:
    for number in range(5):
        assert ask(issuer.token(jti=str(number))).status_code == 200
    assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


def test_a_new_key_is_looked_for_at_most_once_a_minute(identity: CiIdentity, issuer: Issuer) -> None:
    assert ask(issuer.token()).status_code == 200
    private = issuer.rotate("next")
    waits = ask(issuer.token(key_id="next", private=private))
    assert (waits.status_code, waits.json()["code"]) == (503, "keys-just-fetched")
    assert 1 <= int(waits["Retry-After"]) <= 60
    assert len(issuer.asked) == 2
    IssuerKeys.objects.update(asked_at=timezone.now() - timedelta(seconds=61))
    assert ask(issuer.token(key_id="next", private=private)).status_code == 200
    assert len(issuer.asked) == 4
    assert ask(issuer.token()).status_code == 503  # the former key is gone, and who names it costs no fetch
    assert len(issuer.asked) == 4


def test_names_of_keys_that_nobody_has_cost_the_issuer_nothing(identity: CiIdentity, issuer: Issuer) -> None:
    for number in range(20):
        assert ask(issuer.token(key_id=f"made-up-{number}")).status_code in (400, 503)
    assert len(issuer.asked) == 2


def test_kept_keys_count_while_the_issuer_is_away_and_not_for_ever(identity: CiIdentity, issuer: Issuer) -> None:
    assert ask(issuer.token()).status_code == 200
    issuer.answers["/keys"] = serve_json({}, 503)
    hour = timezone.now() - timedelta(hours=2)
    IssuerKeys.objects.update(fetched_at=hour, asked_at=hour)
    assert ask(issuer.token(jti="b")).status_code == 200
    assert ask(issuer.token(jti="b2")).status_code == 200  # also those who come while the issuer is not asked again
    assert ask(issuer.token(key_id="unknown", jti="b3")).status_code == 503
    day = timezone.now() - timedelta(hours=25)
    IssuerKeys.objects.update(fetched_at=day, asked_at=day)
    away = ask(issuer.token(jti="c"))
    assert (away.status_code, away.json()["code"]) == (503, "issuer-unavailable")


def stall(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b"{")
        handler.wfile.flush()
        time.sleep(0.05)


def redirect(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://169.254.169.254/latest/meta-data/")
    handler.end_headers()


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/keys", serve_json(b"x" * 300_000)),
        ("/keys", serve_json(b"[" * 100_000)),
        ("/keys", serve_json(b"[]")),
        ("/keys", serve_json({"keys": []})),
        ("/keys", serve_json({"keys": [{"kty": "oct", "kid": "one", "k": "c2VjcmV0"}]})),
        ("/keys", stall),
        ("/keys", redirect),
        ("/.well-known/openid-configuration", serve_json(b"<html>")),
        ("/.well-known/openid-configuration", serve_json({"issuer": "https://another.example", "jwks_uri": "x"})),
        ("/.well-known/openid-configuration", redirect),
        ("/.well-known/openid-configuration", serve_json({}, 500)),
    ],
)
def test_an_issuer_that_stalls_floods_or_points_elsewhere_is_given_up(
    identity: CiIdentity, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, path: str, answer: Any
) -> None:
    monkeypatch.setattr(issuers, "PATIENCE", Patience(connect=2, read=0.5, window=0.5, bytes_a_second=512))
    issuer.answers[path] = answer
    refused = ask(issuer.token())
    assert (refused.status_code, refused.json()["code"]) == (503, "issuer-unavailable")
    assert not ApiToken.objects.filter(identity=identity).exists()


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/keys",
        "https://169.254.169.254/keys",
        "https://10.0.0.8/keys",
        "https://[::1]/keys",
        "https://[::ffff:10.0.0.8]/keys",
        "https://localhost/keys",
        "file:///etc/passwd",
        "https://user:secret@127.0.0.1/keys",
        "gopher://127.0.0.1/",
        "https://127.0.0.1:99999/keys",
    ],
)
def test_an_issuer_leads_nowhere_inside_of_our_network(identity: CiIdentity, issuer: Issuer, target: str) -> None:
    issuer.answers["/.well-known/openid-configuration"] = serve_json({"issuer": issuer.url, "jwks_uri": target})
    refused = ask(issuer.token())
    assert (refused.status_code, refused.json()["code"]) == (503, "issuer-unavailable")
    assert "root:" not in refused.content.decode()


def test_while_one_asks_the_issuer_the_others_are_told_to_come_again(identity: CiIdentity, issuer: Issuer) -> None:
    IssuerKeys.objects.create(issuer=issuer.url, asked_at=timezone.now())  # by another process, just now
    second = ask(issuer.token())
    assert second.status_code == 503
    assert int(second["Retry-After"]) <= 5
    assert not issuer.asked
    IssuerKeys.objects.update(asked_at=timezone.now() - timedelta(minutes=2))  # which never came back
    assert ask(issuer.token()).status_code == 200


def test_waiting_for_an_issuer_costs_no_attempt(
    identity: CiIdentity, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ci_identities, "REFUSALS_FROM_ADDRESS", 3)
    issuer.answers["/keys"] = serve_json({}, 503)
    assert {ask(issuer.token()).json()["code"] for _ in range(6)} <= {"issuer-unavailable", "keys-just-fetched"}


def test_entered_keys_need_no_issuer_that_can_be_reached(team: Team) -> None:
    far = Issuer()
    far.url = "https://kubernetes.default.svc"
    asked = trust_in(far.url, kind=Kind.KUBERNETES, claims={"sub": "system:serviceaccount:ci:builder"})
    create_ci_identity(
        NewIdentity("Cluster", asked, "developer", team, keys={"keys": [jwk("ES256", "two")]}), actor=None
    )
    pod = {"namespace": "ci", "serviceaccount": {"name": "builder"}}
    token = far.token("ES256", "two", sub="system:serviceaccount:ci:builder", **{"kubernetes.io": pod})
    assert ask(token).json()["scope"] == "Cluster"
    assert ask(far.token("ES256", "two", sub="system:serviceaccount:ci:other")).status_code == 400
    assert ask(far.token("RS256", "one", sub="system:serviceaccount:ci:builder")).status_code == 400
    assert not IssuerKeys.objects.exists()


def test_keys_that_were_entered_for_one_identity_prove_nothing_for_another(
    identity: CiIdentity, issuer: Issuer
) -> None:
    mine = rsa.generate_private_key(65537, 2048)
    create_ci_identity(
        NewIdentity("Own", trust_in(issuer), "viewer", keys={"keys": [jwk("RS256", "own", mine)]}), actor=None
    )
    assert ask(issuer.token(key_id="own", private=mine)).json()["scope"] == "Own"
    assert ask(issuer.token()).json()["scope"] == "Shop"


# --- who sets it up ---


@pytest.mark.parametrize("role", ["administrator", "security-reviewer", "business-approver", "nobody"])
def test_no_pipeline_approves_or_administers(issuer: Issuer, role: str) -> None:
    with pytest.raises(Invalid) as refused:
        create_ci_identity(NewIdentity("Shop", trust_in(issuer), role), actor=None)
    assert refused.value.where == "role"


@pytest.mark.parametrize("minutes", [0, -1, 61, 10_000])
def test_a_token_lives_an_hour_at_most(issuer: Issuer, minutes: int) -> None:
    with pytest.raises(Invalid):
        create_ci_identity(NewIdentity("Shop", trust_in(issuer), "viewer", minutes=minutes), actor=None)


def test_only_administrators_of_the_organisation_trust_and_withdraw(
    identity: CiIdentity, issuer: Issuer, operator: Person, reviewer: Person, make_person: Any, team: Team
) -> None:
    of_team = make_person("of_team", "administrator", team=team)
    for person in (operator, reviewer, of_team):
        with pytest.raises(NotAllowed):
            create_ci_identity(NewIdentity("Other", trust_in(issuer), "viewer"), actor=person)
        with pytest.raises(NotAllowed):
            services.withdraw_ci_identity(identity.pk, actor=person)
    assert CiIdentity.objects.get().withdrawn_at is None
    assert not User.objects.filter(username="ci-other").exists()


def test_a_name_is_taken_once(identity: CiIdentity, issuer: Issuer) -> None:
    with pytest.raises(Conflict):
        create_ci_identity(NewIdentity("Shop", trust_in(issuer), "viewer"), actor=None)


def test_withdrawing_ends_every_token_and_frees_the_name(
    identity: CiIdentity, issuer: Issuer, administrator: Person
) -> None:
    api = APIClient(HTTP_AUTHORIZATION=f"Bearer {ask(issuer.token()).json()['access_token']}")
    services.withdraw_ci_identity(identity.pk, actor=administrator)
    assert api.get("/api/v1/me/").status_code == 401
    assert ask(issuer.token()).json()["code"] == "issuer-not-trusted"
    assert not IssuerKeys.objects.exists()
    with pytest.raises(Conflict):
        services.withdraw_ci_identity(identity.pk, actor=administrator)
    again = create_ci_identity(NewIdentity("Shop", trust_in(issuer), "viewer"), actor=administrator)
    assert again.user.username == "ci-shop"
    assert ask(issuer.token()).json()["scope"] == "Shop"
    told = AuditEntry.objects.filter(subject_type="ci-identity").order_by("sequence")
    assert [e.action.partition(":")[2] for e in told] == ["create", "withdraw", "create"]


def test_an_identity_that_is_withdrawn_meanwhile_gives_nothing(
    identity: CiIdentity, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = issuer_keys.verified

    def withdrawn_meanwhile(*args: Any) -> Any:
        claims = asked(*args)
        services.withdraw_ci_identity(identity.pk, actor=None)
        return claims

    monkeypatch.setattr(issuer_keys, "verified", withdrawn_meanwhile)
    assert ask(issuer.token()).json()["code"] == "no-identity-fits"
    assert not ApiToken.objects.filter(identity=identity).exists()


def test_a_service_that_was_deactivated_or_lost_its_role_gets_none(identity: CiIdentity, issuer: Issuer) -> None:
    identity.user.memberships.all().delete()
    assert ask(issuer.token()).status_code == 422
    services.deactivate(identity.user_id, actor=None)
    assert ask(issuer.token()).status_code == 409
    assert not ApiToken.objects.filter(identity=identity).exists()


def test_an_exchanged_token_makes_and_rotates_no_others(identity: CiIdentity, issuer: Issuer) -> None:
    api = APIClient(HTTP_AUTHORIZATION=f"Bearer {ask(issuer.token()).json()['access_token']}")
    made = ApiToken.objects.get(identity=identity)
    assert api.post("/api/v1/tokens/", {"name": "longer", "role": "developer"}).status_code == 403
    assert api.post(f"/api/v1/tokens/{made.pk}/rotate/").status_code == 403
    assert api.delete(f"/api/v1/tokens/{made.pk}/").status_code == 204  # a job may end its own before its time


# --- REST and pages ---


def document(by: Issuer, **changes: Any) -> dict[str, Any]:
    return {
        "name": "Shop", "kind": "github", "issuer": by.url, "audience": AUDIENCE, "claims": CLAIMS,
        "role": "developer", "team": "payments", "minutes": 10,
    } | changes  # fmt: skip


def test_identities_over_rest(administrator: Person, issuer: Issuer, team: Team) -> None:
    made = administrator.api.post("/api/v1/ci-identities/", document(issuer))
    assert made.status_code == 201, made.json()
    assert made.json()["claims"] == CLAIMS
    assert (made.json()["status"], made.json()["user"], made.json()["has_own_keys"]) == ("trusted", "ci-shop", False)
    assert ask(issuer.token()).json()["expires_in"] <= 600
    listed = administrator.api.get("/api/v1/ci-identities/").json()["results"]
    assert [row["exchanges"] for row in listed] == [1]
    gone = administrator.api.post(f"/api/v1/ci-identities/{made.json()['id']}/withdraw/")
    assert gone.json()["status"] == "withdrawn"


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"claims": {"repository": "acme/shop"}}, "claims"),
        ({"claims": {"repository": "*/shop", "ref": "x"}}, "claims"),
        ({"claims": {"repository": "^acme/shop$", "ref": "x"}}, "claims"),
        ({"claims": []}, "claims"),
        ({"audience": ""}, "audience"),
        ({"audience": "*"}, "audience"),
        ({"issuer": "http://issuer.example"}, "issuer"),
        ({"role": "administrator"}, "role"),
        ({"minutes": 61}, "minutes"),
        ({"jwks": {"keys": []}}, "jwks"),
        ({"jwks": "x"}, "jwks"),
        ({"team": "logistics-2"}, "team"),
    ],
)
def test_a_trust_that_is_too_wide_is_refused_at_saving(
    administrator: Person, issuer: Issuer, team: Team, changes: dict[str, Any], where: str
) -> None:
    refused = administrator.api.post("/api/v1/ci-identities/", document(issuer, **changes))
    assert refused.status_code == 422
    told = refused.json()
    assert where in (told.get("where", ""), *(e["where"].partition(".")[0] for e in told.get("errors", [])))
    assert not CiIdentity.objects.exists()


def test_the_pages_show_and_take_what_is_trusted(administrator: Person, issuer: Issuer, team: Team) -> None:
    client = administrator.client
    form = {
        "name": "Shop", "kind": "github", "issuer": issuer.url, "audience": AUDIENCE, "role": "developer",
        "team": team.pk, "minutes": "15", "claims": "repository = acme/shop\n\nref=refs/heads/*\n",
    }  # fmt: skip
    for claims, words in (("repository", "NAME = PATTERN"), ("repository = */shop\nref = x", "open to anybody")):
        refused = client.post("/settings/ci-identities/new/", form | {"claims": claims})
        assert refused.status_code == 422
        assert words in refused.content.decode()
    made = client.post("/settings/ci-identities/new/", form)
    assert made.status_code == 302, made.content.decode()
    ask(issuer.token())
    page = client.get(made["Location"]).content.decode()
    for words in ("refs/heads/*", "SECGUARD_AUDIENCE", "repo:acme/shop:ref:refs/heads/main", "Exchanged 1 time"):
        assert words in page
    assert "<script>" not in page
    assert "Shop" in client.get("/settings/ci-identities/?state=trusted").content.decode()
    gone = client.post(f"{made['Location']}withdraw/", follow=True).content.decode()
    assert "trusted no more" in gone
    assert "Shop" not in client.get("/settings/ci-identities/?state=trusted").content.decode().partition("<table")[2]


def test_a_team_sees_no_other_teams_identities(
    identity: CiIdentity, make_person: Any, team: Team, other_team: Team
) -> None:
    here, there = (make_person(f"admin-of-{t.slug}", "administrator", team=t) for t in (team, other_team))
    path = f"/api/v1/ci-identities/{identity.pk}/"
    assert (here.api.get(path).status_code, there.api.get(path).status_code) == (200, 404)
    assert there.api.get("/api/v1/ci-identities/").json()["results"] == []
    assert here.api.post(f"{path}withdraw/").status_code == 403
