"""``secguard keys``: what is asked of the server, and that a private key goes there and nowhere else."""

from __future__ import annotations

import json

import httpx
import pytest

from secguard import cli, client_commands
from secguard.client.rest import Server

ROW = {
    "id": 3,
    "name": "production",
    "status": "active",
    "provider": "local",
    "fingerprint": "sha256:abc",
    "public_pem": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
    "reason": "",
}


class Fake:
    """Answers every question about keys with one row."""

    def __init__(self):
        self.asked = []
        self.rows = [ROW]

    def __call__(self, request):
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.method, request.url.path, dict(request.url.params), body))
        is_list = request.method == "GET" and request.url.path.count("/") == 4
        return httpx.Response(200, json={"results": self.rows, "next": None} if is_list else ROW)


@pytest.fixture
def fake(monkeypatch):
    made = Fake()
    server = Server(httpx.Client(base_url="http://server", transport=httpx.MockTransport(made)), "http://server")
    monkeypatch.setattr(client_commands, "connect", lambda: server)
    return made


def test_a_key_is_made_imported_or_made_in_the_token(fake, tmp_path, monkeypatch, capsys):
    (tmp_path / "k.pem").write_text("the private part")
    monkeypatch.setenv("SECGUARD_KEY_PASSWORD", "open")
    assert cli.main(["keys", "create", "production"]) == 0
    assert cli.main(["keys", "create", "production", "--import", str(tmp_path / "k.pem")]) == 0
    assert cli.main(["keys", "create", "production", "--pkcs11"]) == 0
    assert cli.main(["keys", "create", "production", "--label", "theirs"]) == 0
    assert [body for _, _, _, body in fake.asked] == [
        {"name": "production"},
        {"name": "production", "provider": "local", "private_key": "the private part", "password": "open"},
        {"name": "production", "provider": "pkcs11", "label": ""},
        {"name": "production", "provider": "pkcs11", "label": "theirs"},
    ]
    said = capsys.readouterr()
    assert "sha256:abc" in said.out
    assert "private part" not in said.out + said.err


def test_a_name_means_the_key_that_signs_and_a_number_any(fake):
    assert cli.main(["keys", "rotate", "production", "--overlap", "7"]) == 0
    assert cli.main(["keys", "revoke", "3", "--reason", "lost"]) == 0
    assert fake.asked == [
        ("GET", "/api/v1/signing-keys/", {"limit": "1", "name": "production", "status": "active"}, None),
        ("POST", "/api/v1/signing-keys/3/rotate/", {}, {"overlap_days": 7}),
        ("GET", "/api/v1/signing-keys/3/", {}, None),
        ("POST", "/api/v1/signing-keys/3/revoke/", {}, {"reason": "lost"}),
    ]


def test_a_name_that_nobody_has_is_told(fake, capsys):
    fake.rows = []
    assert cli.main(["keys", "retire", "nothing"]) == 2
    assert "No key 'nothing' signs" in capsys.readouterr().err


def test_the_public_part_is_printed_alone(fake, capsys):
    assert cli.main(["keys", "public", "production"]) == 0
    assert capsys.readouterr().out == ROW["public_pem"]


def test_others_are_trusted_and_no_more(fake, tmp_path):
    (tmp_path / "p.pem").write_text("public")
    where = ["--repositories", "reg.example/base/*"]
    assert cli.main(["keys", "trust", "Base", "--key", str(tmp_path / "p.pem"), *where]) == 0
    assert cli.main(["keys", "distrust", "9", "--reason", "over"]) == 0
    assert cli.main(["keys", "list", "--trusted"]) == 0
    assert [(path, body) for _, path, _, body in fake.asked] == [
        ("/api/v1/trusted-keys/", {"name": "Base", "public_key": "public", "repositories": "reg.example/base/*"}),
        ("/api/v1/trusted-keys/9/withdraw/", {"reason": "over"}),
        ("/api/v1/trusted-keys/", None),
    ]


def test_what_cannot_be_read_or_is_no_id_is_told(fake, tmp_path, capsys):
    (tmp_path / "big").write_bytes(b"x" * 20_000)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for source, words in (("missing", "cannot be read"), ("big", "no key"), ("binary", "no PEM")):
        assert cli.main(["keys", "create", "p", "--import", str(tmp_path / source)]) == 2
        assert words in capsys.readouterr().err
    assert cli.main(["keys", "distrust", "Base", "--reason", "x"]) == 2
    assert "no trust's id" in capsys.readouterr().err
    assert fake.asked == []
