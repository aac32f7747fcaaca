"""``secguard workloads sync``: what is sent of a list of pods, and what is said of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from secguard import cli, client_commands
from secguard.client.rest import CouldNotTell, Deadline, Server
from secguard.client.workloads import sync

POD = {
    "kind": "Pod",
    "metadata": {"name": "web-1", "namespace": "shop", "annotations": {"a": "hush"}},
    "spec": {"containers": [{"name": "web", "image": "reg.example/web:1", "env": [{"name": "P", "value": "hush"}]}]},
    "status": {"phase": "Running", "containerStatuses": [{"imageID": "x", "name": "web"}]},
}


class Fake:
    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json={"running": 1, "new": 1, "gone": 0, "unknown": ["reg.example/web:1"]})

    @property
    def server(self) -> Server:
        return Server(httpx.Client(base_url="http://server", transport=httpx.MockTransport(self)), "http://server")


def test_a_file_goes_without_what_is_not_read(tmp_path: Path) -> None:
    fake, file = Fake(), tmp_path / "pods.json"
    file.write_text(json.dumps({"kind": "List", "items": [POD]}))
    done = sync(fake.server, str(file), Deadline(5), cluster="prod", namespace="shop")
    assert done["running"] == 1
    (request,) = fake.requests
    assert dict(request.url.params) == {"cluster": "prod", "namespace": "shop"}
    assert b"hush" not in request.content
    assert json.loads(request.content)["items"][0]["spec"]["containers"] == [
        {"name": "web", "image": "reg.example/web:1"}
    ]


def test_the_command_names_what_nobody_knows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = Fake()
    monkeypatch.setattr(client_commands, "connect", lambda: fake.server)
    stream: Any = io.TextIOWrapper(io.BytesIO(json.dumps({"kind": "List", "items": [POD]}).encode()))
    monkeypatch.setattr("sys.stdin", stream)
    assert cli.main(["workloads", "sync", "--cluster", "prod"]) == 0
    said = capsys.readouterr()
    assert "running" in said.out
    assert "not known here: reg.example/web:1" in said.err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "List"}'])
def test_what_is_no_list_is_not_sent(text: str, tmp_path: Path) -> None:
    fake, file = Fake(), tmp_path / "pods.json"
    file.write_text(text)
    with pytest.raises(CouldNotTell, match="kubectl get pods"):
        sync(fake.server, str(file), Deadline(5), cluster="prod", namespace="")
    assert fake.requests == []
    with pytest.raises(CouldNotTell, match="cannot be read"):
        sync(fake.server, str(tmp_path / "none"), Deadline(5), cluster="prod", namespace="")
