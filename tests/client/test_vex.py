"""``secguard vex``: what is asked of the server, and where the answer goes."""

from __future__ import annotations

import json

import httpx
import pytest

from secguard import cli, client_commands
from secguard.client.rest import Server

DIGEST = "sha256:" + "ab" * 32
DOCUMENT = {"@id": "urn:x", "statements": [{"impact_statement": "Größe ist egal."}]}


@pytest.fixture
def asked(monkeypatch):
    """The addresses that the server was asked at."""
    found: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        found.append(str(request.url).removeprefix("http://server"))
        if request.url.params.get("repository") == "none":
            return httpx.Response(404, json={"title": "Not found", "detail": "There is no repository none."})
        return httpx.Response(200, json=DOCUMENT)

    server = Server(httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer)), "http://server")
    monkeypatch.setattr(client_commands, "connect", lambda: server)
    return found


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        ([DIGEST], f"/api/v1/images/{DIGEST}/vex/?format=openvex"),
        ([], "/api/v1/vex/?format=openvex"),
        (["--repository", "reg.example/shop/api"], "/api/v1/vex/?format=openvex&repository=reg.example%2Fshop%2Fapi"),
        (["--application", "shop", "--format", "csaf"], "/api/v1/vex/?format=csaf&application=shop"),
    ],
)
def test_it_asks_for_what_was_named_and_prints_the_document(asked, capsys, arguments, address):
    assert cli.main(["vex", *arguments]) == 0
    assert [httpx.URL(a).params for a in asked] == [httpx.URL(address).params]
    assert httpx.URL(asked[0]).path == httpx.URL(address).path
    out = capsys.readouterr().out
    assert json.loads(out) == DOCUMENT
    assert "Größe" in out


def test_it_writes_a_file(asked, capsys, tmp_path):
    assert cli.main(["vex", DIGEST, "-o", str(tmp_path / "vex.json")]) == 0
    assert json.loads((tmp_path / "vex.json").read_text(encoding="utf-8")) == DOCUMENT
    assert capsys.readouterr().out == ""


def test_what_is_not_there_is_told(asked, capsys):
    assert cli.main(["vex", "--repository", "none"]) == 2
    assert "There is no repository none." in capsys.readouterr().err


def test_one_thing_at_a_time(asked, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["vex", DIGEST, "--application", "shop"])
    assert ended.value.code == 2
    assert asked == []
