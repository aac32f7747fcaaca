"""``secguard vex-import``: what is sent where, and what is said of it."""

from __future__ import annotations

import httpx
import pytest

from secguard import cli, client_commands
from secguard.client import vexin
from secguard.client.rest import Server

DIGEST = "sha256:" + "ab" * 32
ITEM = {
    "outcome": "requested",
    "vulnerability": "CVE-2026-1",
    "scope": "image",
    "scope_label": DIGEST,
    "decision": 7,
    "problem": None,
}


@pytest.fixture
def server(monkeypatch):
    """What the server was sent, and what it answers."""
    seen: list[httpx.Request] = []
    answer = {"results": [ITEM], "told": [{"why": "fixed: told", "count": 2}], "statements": 3, "requested": 1}

    def take(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if request.content == b"untrusted":
            return httpx.Response(403, json={"title": "Not allowed", "detail": "The author 'x' is trusted nowhere."})
        return httpx.Response(200, json=answer)

    made = Server(httpx.Client(base_url="http://server", transport=httpx.MockTransport(take)), "http://server")
    monkeypatch.setattr(client_commands, "connect", lambda: made)
    return seen, answer


@pytest.mark.parametrize(
    ("arguments", "path"),
    [([], "/api/v1/vex/"), (["--image", DIGEST], f"/api/v1/images/{DIGEST}/vex/")],
)
def test_the_bytes_are_sent_as_they_are(server, capsys, tmp_path, arguments, path):
    file = tmp_path / "vex.json"
    file.write_bytes(b'{"a": 1}\n')
    assert cli.main(["vex-import", str(file), "--until", "2026-12-31T00:00:00Z", *arguments]) == 0
    (request,) = server[0]
    assert (request.url.path, request.content) == (path, b'{"a": 1}\n')
    assert request.url.params["expires_at"] == "2026-12-31T00:00:00Z"
    out = capsys.readouterr().out
    assert f"asked for: CVE-2026-1 in image {DIGEST} (decision 7)" in out
    assert "nothing to ask, 2 times: fixed: told" in out


def test_a_refused_decision_is_told_and_ends_with_two(server, capsys, tmp_path):
    problem = {"detail": "Too \x1b[31mlong."}
    server[1]["results"] = [ITEM | {"outcome": "refused", "decision": None, "problem": problem}]
    file = tmp_path / "vex.json"
    file.write_bytes(b"{}")
    assert cli.main(["vex-import", str(file)]) == 2
    out = capsys.readouterr().out
    assert "refused: CVE-2026-1" in out
    assert "\x1b" not in out


def test_what_cannot_be_sent_or_taken_is_told(server, capsys, tmp_path, monkeypatch):
    assert cli.main(["vex-import", str(tmp_path / "none.json")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    file = tmp_path / "vex.json"
    file.write_bytes(b"untrusted")
    assert cli.main(["vex-import", str(file)]) == 2
    assert "trusted nowhere" in capsys.readouterr().err
    monkeypatch.setattr(vexin, "MAX_BYTES", 4)
    assert cli.main(["vex-import", str(file)]) == 2
    assert "Split it" in capsys.readouterr().err
