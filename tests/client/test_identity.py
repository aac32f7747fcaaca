"""The command finds the job's own token where a pipeline offers one, and exchanges it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from secguard.accounts.services import NewIdentity, create_ci_identity
from secguard.accounts.trust import Kind, Trust
from secguard.client import identities, identity
from secguard.client.rest import CouldNotTell, connect
from tests.accounts.issuing import AUDIENCE, running

URL = "https://sec.example.org"
MADE = {"access_token": "sgt_made-for-the-job", "token_type": "Bearer", "expires_in": 900}
GITHUB = {
    "ACTIONS_ID_TOKEN_REQUEST_URL": "https://actions.example.com/token?api-version=2",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-runner",
}


def asked(script: Any) -> dict[str, str]:
    (request,) = [r for r in script.requests if r.url.path == identity.EXCHANGE]
    return {name: values[0] for name, values in parse_qs(request.content.decode()).items()}


def connected(script: Any, env: dict[str, str]) -> Any:
    return connect({"SECGUARD_URL": URL} | env, httpx.MockTransport(script))


@pytest.fixture
def exchanging(script: Any) -> Any:
    script.on("POST", identity.EXCHANGE, MADE)
    script.on("GET", "/x", {"ok": True})
    return script


def test_gitlabs_token_is_exchanged(exchanging: Any, deadline: Any) -> None:
    server = connected(exchanging, {"SECGUARD_ID_TOKEN": "a.b.c", "SECGUARD_IDENTITY": "Shop"})
    server.get("/x", deadline())
    form = asked(exchanging)
    assert (form["grant_type"], form["subject_token_type"]) == (identity.GRANT_TYPE, identity.JWT)
    assert (form["subject_token"], form["scope"]) == ("a.b.c", "Shop")
    assert "Authorization" not in exchanging.requests[0].headers
    assert exchanging.requests[-1].headers["Authorization"] == f"Bearer {MADE['access_token']}"


def test_a_projected_file_is_read(exchanging: Any, tmp_path: Any) -> None:
    (tmp_path / "token").write_text("d.e.f\n")
    connected(exchanging, {"SECGUARD_ID_TOKEN_FILE": str(tmp_path / "token")})
    assert asked(exchanging)["subject_token"] == "d.e.f"


@pytest.mark.parametrize(
    ("env", "audience"),
    [({}, "https%3A%2F%2Fsec.example.org"), ({"SECGUARD_AUDIENCE": "a b&c"}, "a%20b%26c")],
)
def test_github_is_asked_for_a_token_for_us(exchanging: Any, env: dict[str, str], audience: str) -> None:
    exchanging.on("GET", "/token", {"value": "g.h.i"})
    connected(exchanging, GITHUB | env)
    first = exchanging.requests[0]
    assert str(first.url).startswith(f"https://actions.example.com/token?api-version=2&audience={audience}")
    assert first.headers["Authorization"] == "bearer of-the-runner"
    assert asked(exchanging)["subject_token"] == "g.h.i"


def test_a_token_of_ours_goes_first(exchanging: Any) -> None:
    connected(exchanging, {"SECGUARD_TOKEN": "sgt_mine", "SECGUARD_ID_TOKEN": "a.b.c", **GITHUB})
    assert not exchanging.requests


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(403),
        httpx.Response(200, json=[]),
        httpx.Response(200, text="x"),
        httpx.ReadError("gone"),
        {"value": 7},
    ],
)
def test_github_that_gives_none_is_told_without_its_secret(exchanging: Any, answer: Any) -> None:
    exchanging.on("GET", "/token", answer)
    with pytest.raises(CouldNotTell, match="GitHub gave no token") as told:
        connected(exchanging, GITHUB)
    assert "of-the-runner" not in str(told.value)


def test_github_is_asked_by_https_alone(exchanging: Any) -> None:
    with pytest.raises(CouldNotTell, match="no https address"):
        connected(exchanging, GITHUB | {"ACTIONS_ID_TOKEN_REQUEST_URL": "http://actions.example.com/token"})
    assert not exchanging.requests


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 20_000])
def test_a_file_that_holds_no_token_is_told(exchanging: Any, tmp_path: Any, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    for path in (tmp_path / "token", tmp_path / "none", tmp_path):
        with pytest.raises(CouldNotTell, match="SECGUARD_ID_TOKEN_FILE"):
            connected(exchanging, {"SECGUARD_ID_TOKEN_FILE": str(path)})


def test_a_refusal_is_told_in_the_servers_words(script: Any) -> None:
    problem = {"title": "Bad Request", "detail": "No CI identity trusts the issuer.", "error": "invalid_grant"}
    script.on("POST", identity.EXCHANGE, httpx.Response(400, json=problem))
    with pytest.raises(CouldNotTell, match="No CI identity trusts the issuer") as told:
        connected(script, {"SECGUARD_ID_TOKEN": "a.b.secret"})
    assert "secret" not in str(told.value)


def test_an_answer_without_a_token_is_told(script: Any) -> None:
    script.on("POST", identity.EXCHANGE, {"ok": True})
    with pytest.raises(CouldNotTell, match="none of its own"):
        connected(script, {"SECGUARD_ID_TOKEN": "a.b.c"})


def test_claims_on_the_command_line() -> None:
    assert identities.claims_of(["repository=acme/shop", "ref = refs/heads/a=b"]) == {
        "repository": "acme/shop", "ref": "refs/heads/a=b",
    }  # fmt: skip
    for pairs in (["x"], ["=y"], ["a=1", "a=2"]):
        with pytest.raises(CouldNotTell, match="NAME=PATTERN"):
            identities.claims_of(pairs)


def run(env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """The command as a job runs it: a process of its own, with nothing of this one's environment."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SECGUARD_", "ACTIONS_"))}
    return subprocess.run(
        [sys.executable, "-m", "secguard.cli", *words], env=own | env, capture_output=True, text=True, timeout=60
    )


@pytest.mark.django_db(transaction=True)
def test_a_job_needs_no_secret_against_a_real_server(live_server: Any, team: Any) -> None:
    """A real issuer, a real server, the real command: trust, exchange, ask."""
    with running() as issuer:
        trust = Trust(Kind.GITHUB, issuer.url, AUDIENCE, {"repository": "acme/shop", "ref": "refs/heads/main"})
        create_ci_identity(NewIdentity("Shop", trust, "developer", team), actor=None)
        env = {"SECGUARD_URL": live_server.url, "SECGUARD_ID_TOKEN": issuer.token()}
        gate = run(env, "gate", "registry.example/none:1")
        assert (gate.returncode, "knows no image" in gate.stderr) == (2, True), gate.stderr
        assert run(env, "images").returncode == 0
        elsewhere = run(env | {"SECGUARD_ID_TOKEN": issuer.token(ref="refs/heads/feature")}, "images")
        assert (elsewhere.returncode, "fits no CI identity" in elsewhere.stderr) == (2, True), elsewhere.stderr


@pytest.mark.django_db(transaction=True)
def test_identities_are_set_up_by_the_command(live_server: Any, administrator: Any) -> None:
    raw = administrator.api._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer ")
    env = {"SECGUARD_URL": live_server.url, "SECGUARD_TOKEN": raw}
    create = ["identities", "create", "Shop", "--kind", "github", "--role", "developer"]
    wide = run(env, *create, "--claim", "repository=*")
    assert (wide.returncode, "fits everything" in wide.stderr) == (2, True), wide.stderr
    made = run(env, *create, "--claim", "repository=acme/shop", "--claim", "ref=refs/heads/main")
    assert (made.returncode, identities.ISSUERS["github"] in made.stdout) == (0, True), made.stderr
    assert "Shop" in run(env, "identities", "list").stdout
    assert run(env, "identities", "withdraw", "Shop").returncode == 0
    assert run(env, "identities", "withdraw", "Shop").returncode == 2
