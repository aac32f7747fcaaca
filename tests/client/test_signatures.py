"""``secguard sign`` and ``secguard signatures``: what is asked of the server, and what is said of the answer."""

from __future__ import annotations

import json

import httpx
import pytest

from secguard import cli, client_commands
from secguard.client import rest
from secguard.client.rest import Server

DIGEST = "sha256:" + "ab" * 32
ROW = {"id": 1, "standing": "trusted", "by": "production", "form": "tag", "repository": "reg.example/shop/api"}


class Fake:
    """Knows one image in ``places``; a job of its ends in the next of ``states``."""

    def __init__(self):
        self.places, self.states, self.asked = ["reg.example/shop/api"], ["succeeded"], []

    def __call__(self, request):
        path = request.url.path
        if request.method == "POST":
            self.asked.append(json.loads(request.content))
            return httpx.Response(202, json={"job": 7, "status": "queued", "error": ""})
        if path.endswith("/job/"):
            state = self.states.pop(0)
            return httpx.Response(200, json={"job": 7, "status": state, "error": "no entry" * (state == "failed")})
        if path.endswith("/signatures/"):
            return httpx.Response(200, json={"results": [ROW], "next": None})
        if path == "/api/v1/images/":
            return httpx.Response(200, json={"results": [{"digest": DIGEST}], "next": None})
        return httpx.Response(200, json={"repositories": [{"repository": name} for name in self.places]})


@pytest.fixture
def fake(monkeypatch):
    made = Fake()
    server = Server(httpx.Client(base_url="http://server", transport=httpx.MockTransport(made)), "http://server")
    monkeypatch.setattr(client_commands, "connect", lambda: server)
    monkeypatch.setattr(rest.time, "sleep", lambda _: None)
    return made


def test_an_image_is_signed_where_it_lies_and_waited_for(fake, capsys):
    fake.states = ["queued", "running", "succeeded"]
    assert cli.main(["sign", "reg.example/shop/api:1.0", "--key", "production"]) == 0
    assert fake.asked == [{"repository": "reg.example/shop/api", "key": "production"}]
    assert "production" in capsys.readouterr().out


def test_attestations_are_asked_for(fake):
    assert cli.main(["sign", DIGEST, "--key", "k", "--attest"]) == 0
    assert fake.asked == [{"repository": "reg.example/shop/api", "key": "k", "attest": True}]


def test_of_several_places_the_named_one_is_meant(fake, capsys):
    fake.places = ["other.example/api", "reg.example/shop/api"]
    assert cli.main(["sign", f"reg.example/shop/api@{DIGEST}", "--key", "k"]) == 0
    assert cli.main(["sign", DIGEST, "--key", "k"]) == 2
    assert "say which with --repository" in capsys.readouterr().err
    fake.states = ["succeeded"]
    assert cli.main(["sign", DIGEST, "--key", "k", "--repository", "other.example/api"]) == 0
    assert [body["repository"] for body in fake.asked] == ["reg.example/shop/api", "other.example/api"]


def test_a_job_that_failed_says_why(fake, capsys):
    fake.states = ["failed"]
    assert cli.main(["sign", DIGEST, "--key", "k"]) == 2
    assert "failed: no entry" in capsys.readouterr().err


def test_signatures_are_listed_and_looked_for(fake, capsys):
    assert cli.main(["signatures", DIGEST]) == 0
    assert fake.asked == []
    assert cli.main(["signatures", DIGEST, "--look", "--json"]) == 0
    assert fake.asked == [{"repository": "reg.example/shop/api"}]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["standing"] == "trusted"
