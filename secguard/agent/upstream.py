"""The server, as the agent reaches it: asked with a short patience, and left alone for a moment while it is away."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from secguard.client.rest import CouldNotTell
from secguard.signing.dsse import MAX_BYTES as MAX_SNAPSHOT_BYTES

SNAPSHOT: Final = "/api/v1/clusters/own/snapshot/"
ANSWERS: Final = "/api/v1/clusters/own/answers/"
MAX_ANSWER_BYTES: Final = 4 * 2**20
LEAVE_ALONE: Final = 5.0
"""Seconds in which a server that did not answer is not asked: every question would wait for it in vain."""
FETCH_SECONDS: Final = 60.0
IDLE_SECONDS: Final = 1.5
"""How long a connection is kept for the next question; gunicorn closes them after two."""
KINDS: Final = ("AdmissionReview", "ImageReview", "ProviderResponse")


class Away(Exception):
    """The server does not answer; the words say how it failed."""


class Refused(Exception):
    """The server answers, and says no."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reply:
    """The server's answer to a question, to be passed on as it is."""

    status: int
    kind: str
    body: bytes


class Token:
    """The cluster's token, read anew when its file changes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[int, str] = (-1, "")

    def read(self) -> str:
        """Raises ``CouldNotTell`` where the file cannot be read or holds no token."""
        try:
            at = self._path.stat().st_mtime_ns
            if at != self._known[0]:
                self._known = (at, self._path.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not text"
            raise CouldNotTell(f"The token file {self._path} cannot be read: {why}.") from error
        token = self._known[1]
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise CouldNotTell(f"The file {self._path} holds no token; expected the cluster's own, sgk_….")
        return token


class Upstream:
    """Thread-safe: one pool of connections for all questions."""

    def __init__(self, url: str, token: Token, *, patience: float, ca: Path | None = None) -> None:
        self._token = token
        self._patience = patience
        verify: Any = True
        if ca is not None:
            verify = _trusting(ca)
        self._http = httpx.Client(
            base_url=url,
            verify=verify,
            headers={"User-Agent": "secguard-agent"},
            limits=httpx.Limits(max_connections=256, max_keepalive_connections=32, keepalive_expiry=IDLE_SECONDS),
            follow_redirects=False,
        )
        self._lock = threading.Lock()
        self._alone_until = 0.0
        self.why_away = ""
        """How the last question failed; empty while the server answers."""

    def close(self) -> None:
        self._http.close()

    def ask(self, path: str, query: str, body: bytes) -> Reply:
        """Passes a question on. Raises ``Away``, within its patience and at once while the server is left alone."""
        self._may_ask()
        deadline = time.monotonic() + self._patience
        try:
            reply = self._send(path, query, body, deadline)
        except (httpx.TransportError, TimeoutError) as error:
            raise self._away(f"{type(error).__name__}: {error}") from error
        if not _is_answer(reply):
            raise Away(f"it answered with status {reply.status}")
        self._is_back()
        return reply

    def _send(self, path: str, query: str, body: bytes, deadline: float) -> Reply:
        headers = {"Authorization": f"Bearer {self._token.read()}", "Content-Type": "application/json"}
        for attempt in range(2):
            left = max(0.05, deadline - time.monotonic())
            timeout = httpx.Timeout(left, connect=min(1.0, left))
            target = f"{path}?{query}" if query else path
            try:
                with self._http.stream("POST", target, content=body, headers=headers, timeout=timeout) as answer:
                    return Reply(answer.status_code, answer.headers.get("Content-Type", ""), _all_of(answer, deadline))
            except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
                # A connection that was kept was closed in this very instant; a fresh one tells.
                if attempt or time.monotonic() > deadline:
                    raise
        raise AssertionError("the second attempt returns or raises")

    def _may_ask(self) -> None:
        with self._lock:
            if self.why_away and time.monotonic() < self._alone_until:
                raise Away(self.why_away)
            if self.why_away:
                self._alone_until = time.monotonic() + LEAVE_ALONE  # this one tries; the others do not wait with it

    def _away(self, why: str) -> Away:
        with self._lock:
            self.why_away, self._alone_until = why[:300], time.monotonic() + LEAVE_ALONE
        return Away(why[:300])

    def _is_back(self) -> None:
        if self.why_away:
            with self._lock:
                self.why_away = ""

    def snapshot(self, tag: str) -> tuple[bytes, str] | None:
        """(the envelope, its tag); ``None`` where it is the one with ``tag`` still. Raises ``Away``, ``Refused``."""
        headers = {"If-None-Match": tag} if tag else {}
        answer = self._call("GET", SNAPSHOT, headers=headers)
        if answer.status_code == 304:
            return None
        return answer.content, answer.headers.get("ETag", "")

    def tell(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """Brings what was answered while the server was away. Raises ``Away``, ``Refused``."""
        self._call("POST", ANSWERS, json={"answers": list(answers)})

    def _call(self, method: str, path: str, headers: Mapping[str, str] | None = None, **request: Any) -> httpx.Response:
        sent = {"Authorization": f"Bearer {self._token.read()}", **(headers or {})}
        timeout = httpx.Timeout(FETCH_SECONDS, connect=self._patience)
        try:
            with self._http.stream(method, path, headers=sent, timeout=timeout, **request) as answer:
                body = _all_of(answer, time.monotonic() + FETCH_SECONDS, MAX_SNAPSHOT_BYTES)
        except (httpx.TransportError, TimeoutError) as error:
            raise self._away(f"{type(error).__name__}: {error}") from error
        if answer.status_code in (200, 201, 304):
            self._is_back()
            return httpx.Response(answer.status_code, headers={"ETag": answer.headers.get("ETag", "")}, content=body)
        if 400 <= answer.status_code < 500:
            raise Refused(answer.status_code, _detail(body) or f"status {answer.status_code}")
        raise Away(_detail(body) or f"it answered with status {answer.status_code}")


def _trusting(ca: Path) -> Any:
    import ssl  # noqa: PLC0415 - only for a CA of one's own

    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise CouldNotTell(f"The certificates in {ca} cannot be read: {error}.") from error


def _all_of(answer: httpx.Response, deadline: float, most: int = MAX_ANSWER_BYTES) -> bytes:
    """The unpacked body. Raises ``TimeoutError`` past the deadline or the bound: an endless answer is none."""
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if time.monotonic() > deadline or len(body) > most:
            raise TimeoutError("the answer did not end in time")
    return bytes(body)


def _is_answer(reply: Reply) -> bool:
    """Whether SecGuard itself answered: an answer to the question, or a refusal in its own form. A page of a proxy, an
    error, or "too many requests" leave the question open."""
    if reply.status == 200:
        try:
            found = json.loads(reply.body)
        except ValueError:
            return False
        return isinstance(found, dict) and found.get("kind") in KINDS
    return 400 <= reply.status < 500 and reply.status != 429 and reply.kind.startswith("application/problem+json")


def _detail(body: bytes) -> str:
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    return str(found.get("detail", ""))[:1000] if isinstance(found, dict) else ""
