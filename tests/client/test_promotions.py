"""``secguard promote``, ``promotions`` and ``recall``: what is asked of the server, and what is said of the answer."""

from __future__ import annotations

import json

import httpx
import pytest

from secguard import cli, client_commands
from secguard.client import rest
from secguard.client.rest import Server

DIGEST = "sha256:" + "ab" * 32
REASON = {
    "rule": "malware", "effect": "block", "message": "1 malware finding: Eicar.", "findings": [],
    "remedy": {"text": "Rebuild it.", "upgrades": [], "exception": {"risks": [3], "url": "http://server/decisions/new/"}},
}  # fmt: skip


class Fake:
    """One promotion, which is in the next of ``states`` whenever it is asked for."""

    def __init__(self):
        self.states, self.asked, self.more = ["running"], [], {}

    def document(self):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return {
            "id": 7, "status": state, "source": "reg.example/shop/web", "digest": DIGEST, "environment": "production",
            "destination": "live.example/shop/web", "tags": ["1.4"], "why": "", "reasons": [],
        } | self.more  # fmt: skip

    def __call__(self, request):
        path = request.url.path
        if request.method in ("POST", "DELETE"):
            self.asked.append((request.method, path, json.loads(request.content or b"{}")))
        if path.endswith("/recall/"):
            runs = [{"cluster": "here", "namespace": "shop", "kind": "Deployment", "name": "web"}]
            return httpx.Response(201, json={"digest": DIGEST, "is_recalled": True, "recall": {}, "runs": runs})
        if request.method == "GET" and path == "/api/v1/promotions/":
            return httpx.Response(200, json={"results": [self.document()], "next": None})
        return httpx.Response(201 if request.method == "POST" else 200, json=self.document())


@pytest.fixture
def fake(monkeypatch):
    made = Fake()
    server = Server(httpx.Client(base_url="http://server", transport=httpx.MockTransport(made)), "http://server")
    monkeypatch.setattr(client_commands, "connect", lambda: server)
    monkeypatch.setattr(rest.time, "sleep", lambda _: None)
    return made


def test_it_is_asked_for_and_waited_for(fake, capsys):
    fake.states = ["running", "running", "promoted"]
    assert cli.main(["promote", "reg.example/shop/web:1.4", "--to", "production", "--wait"]) == 0
    assert fake.asked == [("POST", "/api/v1/promotions/", {"image": "reg.example/shop/web:1.4", "to": "production"})]
    out = capsys.readouterr().out
    assert out.startswith("PROMOTED: reg.example/shop/web@sha256:")
    assert "live.example/shop/web (1.4)" in out


def test_who_does_not_wait_goes_on_at_once(fake, capsys):
    assert cli.main(["promote", "reg.example/shop/web:1.4", "--to", "production", "--tag", "a", "--tag", "b"]) == 0
    assert fake.asked[0][2]["tags"] == ["a", "b"]
    assert "ON ITS WAY" in capsys.readouterr().out


@pytest.mark.parametrize("waits", [[], ["--wait"]])
def test_a_refusal_says_why_and_the_way_out_and_exits_with_1(fake, capsys, waits):
    fake.states, fake.more = ["refused"], {"why": "The verdict is block.", "reasons": [REASON]}
    assert cli.main(["promote", "reg.example/shop/web:1.4", "--to", "production", *waits]) == 1
    out = capsys.readouterr().out
    for words in (
        "REFUSED",
        "The verdict is block.",
        "1 malware finding",
        "Rebuild it.",
        "http://server/decisions/new/",
    ):
        assert words in out


def test_one_that_failed_exits_with_2(fake, capsys):
    fake.states, fake.more = ["failed"], {"why": "The registry is away."}
    assert cli.main(["promote", "reg.example/shop/web:1.4", "--to", "production", "--wait"]) == 2
    assert "The registry is away." in capsys.readouterr().out


def test_time_that_is_up_is_told_with_where_to_look(fake, capsys):
    fake.states = ["waiting"]
    assert cli.main(["promote", "reg.example/shop/web:1.4", "--to", "production", "--wait", "0"]) == 2
    err = capsys.readouterr().err
    assert "waits for approval" in err
    assert "http://server/promotions/7/" in err


def test_votes_and_another_try(fake, capsys):
    assert cli.main(["promotions", "approve", "7", "--comment", "go"]) == 0
    assert cli.main(["promotions", "retry", "7"]) == 0
    assert [path for _, path, _ in fake.asked] == ["/api/v1/promotions/7/approve/", "/api/v1/promotions/7/retry/"]
    assert cli.main(["promotions", "withdraw", "x"]) == 2
    assert "no promotion's number" in capsys.readouterr().err
    assert cli.main(["promotions", "list"]) == 0
    assert "reg.example/shop/web" in capsys.readouterr().out


def test_a_recall_says_where_it_runs(fake, capsys):
    assert cli.main(["recall", DIGEST, "--reason", "A backdoor."]) == 0
    assert cli.main(["recall", DIGEST, "--reason", "A mistake.", "--lift"]) == 0
    assert [(method, body) for method, _, body in fake.asked] == [
        ("POST", {"reason": "A backdoor."}), ("DELETE", {"reason": "A mistake."}),
    ]  # fmt: skip
    out = capsys.readouterr().out
    assert "runs in here/shop/Deployment/web" in out
    assert "LIFTED" in out
