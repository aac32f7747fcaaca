"""``secguard controls``: what is asked of the server, and what is printed."""

from __future__ import annotations

import json

import httpx
import pytest

from secguard import cli, client_commands
from secguard.client.controls import hours_of
from secguard.client.rest import CouldNotTell, Server

ROW = {"id": 3, "name": "Rule 942100", "state": "alive", "covers": {"application": "shop"}, "leaning": 2}


@pytest.fixture
def asked(monkeypatch):
    """What the server was asked; it answers with one control."""
    seen = []

    def answer(request):
        seen.append((request.method, request.url.path, json.loads(request.content) if request.content else None))
        is_list = request.method == "GET" and request.url.path == "/api/v1/controls/"
        return httpx.Response(200, json={"results": [ROW], "next": None} if is_list else ROW)

    server = Server(httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer)), "http://server")
    monkeypatch.setattr(client_commands, "connect", lambda: server)
    return seen


def run(*words):
    args = cli.parser().parse_args(["controls", *words])
    return args.run(args)


def test_a_list_says_how_each_stands(asked, capsys):
    assert run("list", "--state", "alive") == 0
    assert "3   alive  Rule 942100" in capsys.readouterr().out
    assert asked[0][:2] == ("GET", "/api/v1/controls/")


def test_proposing_says_all_of_it(asked):
    words = (
        "--kind",
        "process",
        "--application",
        "shop",
        "--alive-by",
        "heartbeat",
        "--every",
        "2d",
        "--owner",
        "olga",
    )
    assert run("add", "Freeze", *words) == 0
    assert asked == [
        (
            "POST",
            "/api/v1/controls/",
            {
                "name": "Freeze",
                "kind": "process",
                "description": "",
                "covers": {"application": "shop"},
                "kept_alive_by": "heartbeat",
                "every_hours": 48,
                "watch": {},
                "owner": "olga",
            },
        )
    ]


def test_evidence_is_a_heartbeat_unless_said_otherwise(asked):
    assert run("evidence", "3") == 0
    assert run("evidence", "3", "--kind", "check", "--says", "contradicts", "--note", "Off.") == 0
    assert run("retire", "3", "--reason", "gone") == 0
    assert run("confirm", "3") == 0
    path = "/api/v1/controls/3/"
    assert asked == [
        ("POST", f"{path}evidence/", {"kind": "heartbeat", "says": "holds"}),
        ("POST", f"{path}evidence/", {"kind": "check", "says": "contradicts", "note": "Off."}),
        ("POST", f"{path}retire/", {"reason": "gone"}),
        ("POST", f"{path}confirm/", {}),
    ]


@pytest.mark.parametrize("text", ["", "h", "12", "1.5h", "-3d", "٣d", "1000000h"])
def test_a_time_is_hours_or_days(text):
    with pytest.raises(CouldNotTell, match="12h, 30d"):
        hours_of(text)


def test_hours_and_days():
    assert (hours_of("12h"), hours_of("30d")) == (12, 720)
