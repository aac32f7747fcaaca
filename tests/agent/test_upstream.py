"""The server as the agent reaches it: what counts as its answer, how long it is waited for, when it is left alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from secguard.agent import upstream
from secguard.agent.upstream import Away, Refused, Token, Upstream
from secguard.client.rest import CouldNotTell
from tests.agent.conftest import TOKEN

PATH = "/admission/v1/validate"
REVIEW = b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {"uid": "1"}}'
Answer = Callable[[BaseHTTPRequestHandler], None]


class Fake:
    """A server that answers as ``answer`` does; ``asked`` is (path, token, body) of each request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, bytes]] = []
        self.answer: Answer = reply(200, REVIEW)
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fake.asked.append((self.path, self.headers.get("Authorization"), body))
                fake.answer(self)

            do_GET = do_POST

            def log_message(self, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def reply(status: int, body: bytes, kind: str = "application/json", **headers: str) -> Answer:
    def send(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content-Type": kind, "Content-Length": str(len(body))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return send


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    yield made
    made.close()


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture
def ask(fake: Fake, token: Path) -> Iterator[Upstream]:
    made = Upstream(fake.url, Token(token), patience=1)
    yield made
    made.close()


def test_a_question_is_passed_on_with_the_token_and_its_answer_is_as_it_came(fake: Fake, ask: Upstream) -> None:
    found = ask.ask(PATH, "timeout=5s", b"{}")
    assert (found.status, found.kind, found.body) == (200, "application/json", REVIEW)
    assert fake.asked == [(f"{PATH}?timeout=5s", f"Bearer {TOKEN}", b"{}")]


@pytest.mark.parametrize("status", [403, 413, 422])
def test_a_refusal_of_secguards_own_is_an_answer(fake: Fake, ask: Upstream, status: int) -> None:
    fake.answer = reply(status, b'{"detail": "The token is none."}', "application/problem+json")
    assert ask.ask(PATH, "", b"{}").status == status


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, b"", "text/html"),
        (502, b"<html>", "text/html"),
        (503, b'{"detail": "The database did not answer."}', "application/problem+json"),
        (429, b'{"detail": "Slower."}', "application/problem+json"),
        (404, b"default backend - 404", "text/plain"),
        (403, b"<html>sign in", "text/html"),
        (302, b"", "text/html"),
        (200, b"<html>We are back soon", "text/html"),
        (200, b"{}", "application/json"),
        (200, b"[1", "application/json"),
    ],
)
def test_whatever_else_comes_leaves_the_question_open(
    fake: Fake, ask: Upstream, status: int, body: bytes, kind: str
) -> None:
    fake.answer = reply(status, body, kind, Location="https://elsewhere.example/")
    with pytest.raises(Away):
        ask.ask(PATH, "", b"{}")
    fake.answer = reply(200, REVIEW)
    assert ask.ask(PATH, "", b"{}").status == 200, "who answered badly is asked again at once"
    assert len(fake.asked) == 2, "and no redirect takes the token elsewhere"


def test_who_does_not_answer_is_left_alone_for_a_moment(
    fake: Fake, ask: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "LEAVE_ALONE", 0.5)
    fake.answer = lambda _: time.sleep(3)
    began = time.monotonic()
    with pytest.raises(Away, match="ReadTimeout"):
        ask.ask(PATH, "", b"{}")
    assert 0.9 < time.monotonic() - began < 2
    began = time.monotonic()
    with pytest.raises(Away):
        ask.ask(PATH, "", b"{}")
    assert time.monotonic() - began < 0.2
    assert len(fake.asked) == 1
    time.sleep(0.5)
    fake.answer = reply(200, REVIEW)
    assert ask.ask(PATH, "", b"{}").status == 200
    assert ask.why_away == ""


def test_an_answer_that_does_not_end_is_none(fake: Fake, ask: Upstream) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        for _ in range(30):
            request.wfile.write(b" ")
            request.wfile.flush()
            time.sleep(0.1)

    fake.answer = drip
    began = time.monotonic()
    with pytest.raises(Away):
        ask.ask(PATH, "", b"{}")
    assert time.monotonic() - began < 2


def test_an_answer_without_bound_is_none(fake: Fake, ask: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "MAX_ANSWER_BYTES", 1000)
    fake.answer = reply(200, b" " * 100_000)
    with pytest.raises(Away):
        ask.ask(PATH, "", b"{}")


def test_a_connection_that_was_closed_meanwhile_is_made_anew(fake: Fake, ask: Upstream) -> None:
    first = [True]

    def close_first(request: BaseHTTPRequestHandler) -> None:
        if first.pop() if first else False:
            request.close_connection = True  # ends without a word
            return
        reply(200, REVIEW)(request)

    fake.answer = close_first
    assert ask.ask(PATH, "", b"{}").status == 200
    assert len(fake.asked) == 2


def test_nobody_there_is_told_at_once(token: Path, fake: Fake) -> None:
    fake.close()
    with pytest.raises(Away, match="ConnectError"):
        Upstream(fake.url, Token(token), patience=1).ask(PATH, "", b"{}")


def test_a_snapshot_is_fetched_once_for_its_tag(fake: Fake, ask: Upstream) -> None:
    fake.answer = reply(200, b"envelope", ETag='W/"7"')
    assert ask.snapshot("") == (b"envelope", 'W/"7"')
    fake.answer = reply(304, b"")
    assert ask.snapshot('W/"7"') is None


def test_why_there_is_no_snapshot_is_told(fake: Fake, ask: Upstream) -> None:
    fake.answer = reply(409, b'{"detail": "There is no key that signs."}', "application/problem+json")
    with pytest.raises(Refused, match="no key that signs") as refused:
        ask.snapshot("")
    assert refused.value.status == 409
    fake.answer = reply(503, b"")
    with pytest.raises(Away):
        ask.snapshot("")


def test_answers_are_told(fake: Fake, ask: Upstream) -> None:
    fake.answer = reply(200, b'{"taken": 1, "known": 0}')
    ask.tell([{"uid": "1"}])
    path, _, body = fake.asked[0]
    assert (path, json.loads(body)) == ("/api/v1/clusters/own/answers/", {"answers": [{"uid": "1"}]})


def test_a_renewed_token_is_read_anew(fake: Fake, ask: Upstream, token: Path) -> None:
    ask.ask(PATH, "", b"{}")
    time.sleep(0.02)
    token.write_text("sgk_renewed")
    ask.ask(PATH, "", b"{}")
    assert [told for _, told, _ in fake.asked] == [f"Bearer {TOKEN}", "Bearer sgk_renewed"]


@pytest.mark.parametrize("text", ["", "two words", "ä", "\n"])
def test_a_file_without_a_token_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(CouldNotTell, match="holds no token"):
        Token(path).read()
    with pytest.raises(CouldNotTell, match="cannot be read"):
        Token(tmp_path / "none").read()
