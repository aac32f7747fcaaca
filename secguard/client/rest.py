"""Talking to a SecGuard server over its REST API (DESIGN section 5).

Every failure becomes ``CouldNotTell`` with words for the reader of a pipeline's log: what happened, and what to do.
The token is sent and never shown.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from secguard import environment

DEFAULT_URL = "http://localhost:8000"
# What a proxy or a starting server answers: asked again until the time is up.
TRY_AGAIN = frozenset({429, 502, 503, 504})
REFUSED_FOR_NOW = frozenset({429, 503})
FIRST_PAUSE = 0.25
LONGEST_PAUSE = 5.0
PAGE = 500


class CouldNotTell(Exception):
    """The question has no answer (exit code 2); the message says why, and what to do."""


class NoSuchThing(CouldNotTell):
    """The server does not know what was asked for, or does not show it to this token."""


@dataclass
class Deadline:
    """How long the whole command may take; ``now`` and ``sleep`` are the clock's."""

    seconds: float
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._end = self.now() + self.seconds

    @property
    def left(self) -> float:
        return max(0.0, self._end - self.now())

    def pauses(self) -> Iterator[None]:
        """Yields after growing pauses, until the time is up; the first comes at once."""
        pause = FIRST_PAUSE
        yield
        while self.left > 0:
            self.sleep(min(pause, self.left))
            pause = min(pause * 1.6, LONGEST_PAUSE)
            yield


@dataclass
class Server:
    """A server's API, as one token sees it."""

    http: httpx.Client
    url: str

    def get(self, path: str, deadline: Deadline, **query: Any) -> dict[str, Any]:
        """The JSON object at ``path``."""
        return self.send("GET", path, deadline, params={k: v for k, v in query.items() if v not in (None, "")})

    def post(self, path: str, deadline: Deadline, document: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self.send("POST", path, deadline, json=dict(document or {}))

    def pages(self, path: str, deadline: Deadline, *, most: int, **query: Any) -> list[dict[str, Any]]:
        """The first ``most`` rows of a list, page by page."""
        page = self.get(path, deadline, limit=min(most, PAGE), **query)
        rows = list(page.get("results", []))
        while len(rows) < most and page.get("next"):
            page = self.send("GET", _same_server(str(page["next"])), deadline)
            rows += page.get("results", [])
        return rows[:most]

    def file(self, path: str, deadline: Deadline, **query: Any) -> httpx.Response:
        """The answer whose body is wanted byte for byte. Errors as of ``send``."""
        answer = self._answer("GET", path, deadline, params={k: v for k, v in query.items() if v not in (None, "")})
        if not answer.is_success:
            _document(answer, self.url)
        return answer

    def send(self, method: str, path: str, deadline: Deadline, **request: Any) -> dict[str, Any]:
        """One request, sent again while the server cannot be reached; returns the answer's JSON object.

        What may have reached the server is sent again only if that changes nothing: a GET, or a POST that carries an
        Idempotency-Key.
        """
        return _document(self._answer(method, path, deadline, **request), self.url)

    def _answer(self, method: str, path: str, deadline: Deadline, **request: Any) -> httpx.Response:
        safe = method == "GET" or "Idempotency-Key" in request.get("headers", {})
        last = "no answer"
        for _ in deadline.pauses():
            try:
                answer = self.http.request(method, path, timeout=max(5.0, deadline.left + 10), **request)
            except httpx.TransportError as error:
                last = f"{type(error).__name__}: {error}"
                if safe or isinstance(error, httpx.ConnectError):
                    continue
                break
            if answer.status_code in (TRY_AGAIN if safe else REFUSED_FOR_NOW) and deadline.left > 0:
                last = _words(answer)
                deadline.sleep(min(_retry_after(answer), deadline.left))
                continue
            return answer
        raise CouldNotTell(
            f"No answer from {self.url} ({last}). Is the server up, and is SECGUARD_URL right? "
            "A longer --wait tries for longer."
        )


def connect(env: Mapping[str, str] | None = None, transport: httpx.BaseTransport | None = None) -> Server:
    """A server from SECGUARD_URL and SECGUARD_TOKEN; ``CouldNotTell`` where the token is missing."""
    env = os.environ if env is None else env
    try:
        url = environment.web_url(env, "SECGUARD_URL", DEFAULT_URL)
    except environment.BadEnvironment as error:
        raise CouldNotTell(str(error)) from error
    token = env.get("SECGUARD_TOKEN", "").strip() or _exchanged(env, url, transport)
    if not token:
        raise CouldNotTell(
            "SECGUARD_TOKEN is not set, and this is no pipeline whose own token could be exchanged (SECGUARD_ID_TOKEN, "
            "SECGUARD_ID_TOKEN_FILE, or GitHub Actions with `id-token: write`). Make a token in the web page under "
            "Settings, Tokens, or on the server with: secguard token create --role developer --print"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise CouldNotTell("SECGUARD_TOKEN holds characters that no token has; was more than the token pasted?")
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "User-Agent": "secguard-cli"}
    return Server(httpx.Client(base_url=url, headers=headers, transport=transport), url)


_CARRIED: dict[str, str] = {}
"""Tokens that this process exchanged, by the server's address: one command asks once."""


def _exchanged(env: Mapping[str, str], url: str, transport: httpx.BaseTransport | None) -> str:
    """A token for the one that the pipeline's system signs for this job; empty where it offers none."""
    from secguard.client import identity  # noqa: PLC0415 - it stands on what is here

    if env is os.environ and url in _CARRIED:
        return _CARRIED[url]
    offered = identity.job_token(env, url, transport)
    if not offered:
        return ""
    headers = {"Accept": "application/json", "User-Agent": "secguard-cli"}
    with httpx.Client(base_url=url, headers=headers, transport=transport) as http:
        made = identity.exchanged(Server(http, url), offered, env)
    if env is os.environ:
        _CARRIED[url] = made
    return made


def _same_server(link: str) -> str:
    # Only path and query: a link never takes the token to another host.
    parts = urlsplit(link)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _document(answer: httpx.Response, url: str) -> dict[str, Any]:
    if answer.status_code == 401:
        raise CouldNotTell(
            f"{url} does not know this token (401): it is mistyped, expired or revoked. Make a new one and set "
            "SECGUARD_TOKEN."
        )
    if answer.status_code in (404, 410):
        raise NoSuchThing(_words(answer) + _about_path(url))
    if answer.is_redirect:
        raise CouldNotTell(
            f"{url} sends on to {answer.headers.get('Location', '?')!r}: set SECGUARD_URL to that server."
        )
    if not answer.is_success:
        raise CouldNotTell(_words(answer))
    if answer.status_code == 204 or not answer.content:
        return {}
    try:
        document = answer.json()
    except ValueError as error:
        kind = answer.headers.get("Content-Type", "no type")
        raise CouldNotTell(f"{url} answers with {kind} and not JSON: is SECGUARD_URL a SecGuard server?") from error
    if not isinstance(document, dict):
        raise CouldNotTell(f"{url} answers with a JSON {type(document).__name__}; expected an object.")
    return document


def _about_path(url: str) -> str:
    if not urlsplit(url).path:
        return ""
    return f" SECGUARD_URL is {url}: it is the server's address alone, without a path like /api/v1."


def _words(answer: httpx.Response) -> str:
    """An RFC 9457 problem's title, detail, place and errors; else the bare status."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        return f"The server answers {answer.status_code} {answer.reason_phrase}."
    text = f"{problem.get('title', 'Refused')} ({answer.status_code})"
    if problem.get("detail"):
        text += f": {problem['detail']}"
    if problem.get("where"):
        text += f" (at {problem['where']})"
    for error in problem.get("errors") or []:
        if isinstance(error, dict):
            place = error.get("where") or error.get("field") or error.get("pointer") or ""
            text += f"\n  {place}: {error.get('detail') or error.get('message') or error}"
    return text


def _retry_after(answer: httpx.Response) -> float:
    value = answer.headers.get("Retry-After", "")
    return float(value) if value.isdigit() else FIRST_PAUSE
