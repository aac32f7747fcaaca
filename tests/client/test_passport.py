"""``secguard passport``: fetched, written, and checked without a server."""

from __future__ import annotations

import base64
import json

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from secguard import cli, client_commands
from secguard.client import rest
from secguard.client.rest import Server

DIGEST = "sha256:" + "ab" * 32
KIND = b"application/vnd.secguard.passport+json"
PASSPORT = {
    "image": {"digest": DIGEST},
    "issued_at": "2026-01-31T12:00:00Z",
    "issued_by": {"url": "https://secguard.example"},
    "verdicts": [{"stage": "build", "verdict": "pass", "holds": True, "replayed": False}],
}
KEY = ec.generate_private_key(ec.SECP256R1())


def pem(key) -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def envelope(payload: bytes | None = None, key=KEY) -> dict:
    payload = json.dumps(PASSPORT).encode() if payload is None else payload
    signed = b"DSSEv1 %d %s %d %s" % (len(KIND), KIND, len(payload), payload)
    sig = base64.b64encode(key.sign(signed, ec.ECDSA(hashes.SHA256()))).decode()
    return {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": KIND.decode(),
        "signatures": [{"keyid": "", "sig": sig}],
    }


@pytest.fixture
def verify(tmp_path):
    public = tmp_path / "public.pem"
    public.write_text(pem(KEY))

    def run(document: object, *words: str, key: str = str(public)) -> int:
        file = tmp_path / "passport.json"
        file.write_text(document if isinstance(document, str) else json.dumps(document))
        return cli.main(["passport", "verify", str(file), "--key", key, *words])

    return run


def test_a_signed_one_verifies_and_is_told(verify, capsys):
    assert verify(envelope()) == 0
    told = capsys.readouterr().out
    assert told.startswith("It verifies.")
    assert "build: pass; computed again it is NOT the same" in told
    assert verify(envelope(), "--json") == 0
    assert json.loads(capsys.readouterr().out) == PASSPORT


def test_a_changed_byte_and_another_key_do_not(verify, capsys):
    changed = envelope()
    changed["payload"] = base64.b64encode(json.dumps(PASSPORT).replace("pass", "warn").encode()).decode()
    assert verify(changed) == 1
    assert verify(changed | {"payload": base64.b64encode(b"{").decode()}) == 1
    assert verify(envelope(key=ec.generate_private_key(ec.SECP256R1()))) == 1
    assert verify(envelope() | {"signatures": []}) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("It does not verify.") == 4
    assert "It is not signed" in said.err


@pytest.mark.parametrize(
    "document",
    [
        "no JSON",
        "[]",
        "[" * 100_000,
        {},
        envelope() | {"payloadType": "application/vnd.in-toto+json"},
        envelope() | {"payload": "%"},
        envelope() | {"signatures": {}},
        envelope() | {"signatures": [{}] * 17},
        envelope() | {"signatures": [7]},
        envelope(b"[1]"),
    ],
)
def test_what_is_no_passport_cannot_be_told(verify, capsys, document):
    assert verify(document) == 2
    assert capsys.readouterr().out == ""


def test_a_key_of_another_kind_cannot_tell(verify, tmp_path):
    other = tmp_path / "other.pem"
    other.write_text(pem(ed25519.Ed25519PrivateKey.generate()))
    assert verify(envelope(), key=str(other)) == 2
    other.write_text("no key")
    assert verify(envelope(), key=str(other)) == 2
    assert verify(envelope(), key=str(tmp_path / "missing.pem")) == 2
    assert verify(envelope(), key="") == 2


def test_it_is_fetched_and_written_as_it_came(monkeypatch, tmp_path, capsys):
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path.endswith("/passport/"):
            assert request.url.params.get("key") == "production"
            return httpx.Response(200, json=envelope())
        return httpx.Response(200, json={"results": [{"digest": DIGEST}], "next": None})

    http = httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer))
    monkeypatch.setattr(client_commands, "connect", lambda: Server(http, "http://server"))
    monkeypatch.setattr(rest.time, "sleep", lambda _: None)
    file, public = tmp_path / "kept.json", tmp_path / "public.pem"
    public.write_text(pem(KEY))
    assert cli.main(["passport", "reg.example/shop/web:1", "--key", "production", "-o", str(file)]) == 0
    assert asked[-1] == f"/api/v1/images/{DIGEST}/passport/"
    assert capsys.readouterr().out == ""
    assert cli.main(["passport", "verify", str(file), "--key", str(public)]) == 0
