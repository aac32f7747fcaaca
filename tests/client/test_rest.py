from __future__ import annotations

import httpx
import pytest

from secguard.client.rest import CouldNotTell, NoSuchThing, connect

TOKEN = "sg_a-token-that-is-never-shown"


def test_the_token_goes_to_the_server_as_a_bearer(server, script, deadline):
    script.on("GET", "/x", {"ok": True})
    assert server.get("/x", deadline()) == {"ok": True}
    assert script.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    assert str(script.requests[0].url) == "https://sec.example.org/x"


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({}, "SECGUARD_TOKEN is not set"),
        ({"SECGUARD_TOKEN": "two words"}, "characters that no token has"),
        ({"SECGUARD_TOKEN": "a\nb"}, "characters that no token has"),
        ({"SECGUARD_TOKEN": "x", "SECGUARD_URL": "sec.example.org"}, "SECGUARD_URL is 'sec.example.org'"),
    ],
)
def test_an_environment_that_cannot_be(env, words):
    with pytest.raises(CouldNotTell, match=words):
        connect(env)


def test_a_server_that_is_starting_is_asked_again(server, script, deadline):
    script.on("GET", "/x", httpx.ConnectError("refused"), httpx.Response(503, headers={"Retry-After": "2"}), {"ok": 1})
    limit = deadline(30)
    assert server.get("/x", limit) == {"ok": 1}
    assert limit.left <= 28, "Retry-After was kept"


def test_a_server_that_stays_down_ends_with_words(server, script, deadline):
    script.on("GET", "/x", httpx.ConnectError("refused"))
    with pytest.raises(CouldNotTell, match=r"No answer from https://sec\.example\.org \(ConnectError: refused\)"):
        server.get("/x", deadline(10))
    assert len(script.requests) > 3


def test_a_post_that_may_have_arrived_is_not_sent_again(server, script, deadline):
    script.on("POST", "/x", httpx.ReadTimeout("slow"), {"made": 2})
    with pytest.raises(CouldNotTell, match="ReadTimeout"):
        server.post("/x", deadline())
    assert len(script.requests) == 1


def test_a_post_with_an_idempotency_key_is_sent_again(server, script, deadline):
    script.on("POST", "/x", httpx.ReadTimeout("slow"), {"made": 1})
    assert server.send("POST", "/x", deadline(), headers={"Idempotency-Key": "k"}) == {"made": 1}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(401, json={"detail": "x"}), r"does not know this token \(401\)"),
        (
            httpx.Response(403, json={"title": "Not allowed", "detail": "Needs report:post."}),
            r"Not allowed \(403\): Needs",
        ),
        (httpx.Response(422, json={"title": "Invalid", "detail": "d", "where": "$.a"}), r"\(at \$\.a\)"),
        (httpx.Response(400, json={"title": "I", "errors": [{"where": "kind", "detail": "no"}]}), "kind: no"),
        (httpx.Response(500, text="<html>"), "answers 500 Internal Server Error"),
        (httpx.Response(302, headers={"Location": "https://sso.example.org/"}), "sends on to 'https://sso"),
        (httpx.Response(200, text="<html>hello", headers={"Content-Type": "text/html"}), "text/html and not JSON"),
        (httpx.Response(200, json=[1]), "a JSON list; expected an object"),
    ],
)
def test_answers_that_are_none_say_why(server, script, deadline, answer, words):
    script.on("GET", "/x", answer)
    with pytest.raises(CouldNotTell, match=words) as caught:
        server.get("/x", deadline())
    assert TOKEN not in str(caught.value)


def test_what_is_not_there_is_told_apart(server, deadline):
    with pytest.raises(NoSuchThing, match=r"Not found \(404\): no /x"):
        server.get("/x", deadline())


def test_pages_are_followed_on_this_server_alone(server, script, deadline):
    script.on(
        "GET",
        "/rows",
        {"results": [{"n": 1}], "next": "https://evil.example.org/rows?cursor=2"},
        {"results": [{"n": 2}], "next": None},
    )
    assert server.pages("/rows", deadline(), most=10) == [{"n": 1}, {"n": 2}]
    assert {request.url.host for request in script.requests} == {"sec.example.org"}
    assert script.requests[1].url.query == b"cursor=2"


def test_no_more_pages_than_asked_for(server, script, deadline):
    script.on("GET", "/rows", {"results": [{"n": n} for n in range(5)], "next": "/rows?cursor=2"})
    assert len(server.pages("/rows", deadline(), most=7)) == 7
    assert len(script.requests) == 2


def test_a_path_in_the_servers_address_is_named_where_nothing_is_found(script, deadline):
    env = {"SECGUARD_URL": "https://sec.example.org/api/v1", "SECGUARD_TOKEN": "sgt_x"}
    server = connect(env, httpx.MockTransport(script))
    with pytest.raises(CouldNotTell, match=r"SECGUARD_URL is https://sec.example.org/api/v1: .* without a path"):
        server.get("/api/v1/images/", deadline())
