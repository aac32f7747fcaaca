"""A scripted SecGuard server for the client: an httpx transport that plays the API of DESIGN section 5."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from secguard.client.rest import Deadline, Server, connect

DIGEST = "sha256:" + "ab" * 32
TOKEN = "sg_a-token-that-is-never-shown"

VERDICT: dict[str, Any] = {
    "image": "sha256:" + "ab" * 32,
    "reference": "registry.example.org/team/app:1.0",
    "stage": "build",
    "verdict": "block",
    "valid_until": "2026-11-25T00:00:00Z",
    "evaluated_at": "2026-11-24T00:00:00Z",
    "data_updated_at": "2026-11-23T00:00:00Z",
    "policy": {"name": "default", "version": 3},
    "counts": {"open": {"critical": 1, "high": 2}},
    "decisions": [],
    "reasons": [
        {
            "rule": "known-exploited",
            "effect": "block",
            "message": "Known to be exploited",
            "findings": [7],
            "remedy": {
                "upgrades": [{"package": "openssl", "from": "3.0.1", "to": "3.0.7", "fixes": ["CVE-2022-3602"]}],
                "exception": {"risks": [41]},
                "text": "Rebuild on the newest base image.",
            },
        },
        {"rule": "old-scan", "effect": "warn", "message": "The scan is 8 days old", "findings": [], "remedy": {}},
    ],
}
FINDING = {
    "id": 7,
    "severity": "critical",
    "name": "CVE-2022-3602",
    "purl": "pkg:deb/debian/openssl@3.0.1",
    "fixed_versions": ["3.0.7"],
}


class Script:
    """Answers by (method, path); notes every request. An answer is a response, an exception or a list of both."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], Any] = {}
        self.requests: list[httpx.Request] = []

    def on(self, method: str, path: str, *answers: Any) -> None:
        self.answers[method, path] = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        waiting = self.answers.get((request.method, request.url.path))
        if not waiting:
            return httpx.Response(404, json={"title": "Not found", "detail": f"no {request.url.path}"})
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def server(script: Script) -> Server:
    env = {"SECGUARD_URL": "https://sec.example.org/", "SECGUARD_TOKEN": TOKEN}
    return connect(env, httpx.MockTransport(script))


@pytest.fixture
def deadline() -> Callable[[float], Deadline]:
    """Deadlines on a clock that only sleeping moves."""

    def make(seconds: float = 30.0) -> Deadline:
        clock = [0.0]

        def sleep(length: float) -> None:
            clock[0] += length

        return Deadline(seconds, now=lambda: clock[0], sleep=sleep)

    return make
