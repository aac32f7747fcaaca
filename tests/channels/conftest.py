"""A webhook of somebody else, on a real socket, that behaves as it is told; channels to it; a kind of news to tell."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import pytest

from secguard.channels.models import Channel
from secguard.channels.services import ChannelEdit, add_channel
from secguard.notifications import kinds
from secguard.notifications.digest import Line, weigh
from secguard.notifications.kinds import Kind

FLAW = Kind("test-flaw", "New flaws in what you run", "New flaw", 0, "/risks/open/", shared="New flaws")
WAITS = Kind("test-waits", "Requests that wait for you", "Waits for you", 20, "/decisions/queue/", at_once=True)


@pytest.fixture(autouse=True)
def known_kinds() -> Iterator[None]:
    for kind in (FLAW, WAITS):
        kinds.register(kind)
    yield
    for kind in (FLAW, WAITS):
        kinds._kinds.pop(kind.name)


def line(key: str, rank: int = 4, **facts: Any) -> Line:
    weight = weigh(rank=rank, is_running=facts.get("is_running", False))
    return Line(key=key, what=f"CVE-2026-{key}", where="shop/api", url=f"/risks/{key}/", weight=weight, **facts)


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """Takes what is posted. ``answer`` is (status, headers, body) of every reply."""

    answer: tuple[int, dict[str, str], bytes] = (200, {}, b"ok")
    taken: list[Received] = field(default_factory=list)
    port: int = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.host}/hook/SECRET-PATH"


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """A receiver that the operator has named."""
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.taken.append(Received(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
            status, headers, said = found.answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(said)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.port = server.server_address[1]
    settings.WEBHOOK_HOSTS = [found.host]
    settings.PUBLIC_URL = "https://secguard.example.org"
    yield found
    server.shutdown()
    server.server_close()


class MakeChannel(Protocol):
    def __call__(self, name: str = ..., *, team: Any = ..., format_: str = ..., kinds: Any = ...) -> Channel: ...


@pytest.fixture
def make_channel(receiver: Receiver, db: None) -> MakeChannel:
    """A channel to the receiver; ``channel.secret`` is what its owner was shown."""

    def make(name: str = "chat", *, team: Any = None, format_: str = "secguard", kinds: Any = ()) -> Channel:
        edit = ChannelEdit(name, receiver.url, kinds)
        channel, secret = add_channel(edit, format_=format_, team=team, actor=None)
        channel.next_at = channel.created_at - timedelta(hours=1)  # the tests' clock stands where they were read
        channel.save(update_fields=["next_at"])
        channel.secret = secret  # type: ignore[attr-defined]
        return channel

    return make
