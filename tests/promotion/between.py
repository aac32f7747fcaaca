"""What stands in front of a registry in tests of faults: it stalls, lies, loses and looks, where a test says so."""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import urlsplit

import httpx

from secguard.images.adapters.addresses import RegistryAccess
from secguard.images.manifest import ACCEPTED
from tests.fixtures_registries import RunningRegistry
from tests.imagebuilding import BuiltImage

_REQUEST = ("accept", "content-type", "content-length", "range", "authorization")
_ANSWER = (
    "content-type",
    "content-length",
    "content-range",
    "docker-content-digest",
    "oci-subject",
    "link",
    "www-authenticate",
)
_STALLED_SECONDS = 120
Lie = Callable[[str, httpx.Response], httpx.Response | None]
"""From ``METHOD path`` and the true answer, another answer; nothing where it is left."""


class Between:
    """Passes all on to a real registry. ``space`` is a folder there that nobody sees: each test has it to itself."""

    def __init__(self, behind: RunningRegistry, space: str = "") -> None:
        self._behind = behind
        self._client = httpx.Client(base_url=behind.access.api, trust_env=False, timeout=60)
        self._pattern, self._when, self._left = re.compile("(?!)"), "middle", 0
        self._go_on = Event()
        self.space = space
        self.stalled = Event()
        self.lies: list[Lie] = []
        self.asked: list[str] = []
        """Every ``METHOD path`` that came."""
        self.ranges: list[str] = []
        between = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 60

            def do(self) -> None:
                with suppress(OSError, httpx.TransportError):  # one of the two was killed
                    between.answer(self)
                self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do

            def log_message(self, *args: Any) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = False  # closing waits for them, and so for their sockets
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # whoever asked has hung up
        self.host = f"127.0.0.1:{self.http.server_address[1]}"
        Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def access(self) -> RegistryAccess:
        return RegistryAccess(self.host, uses_plain_http=True)

    def push(self, path: str, tag: str, image: BuiltImage) -> str:
        """Write an image under a tag, past all stalls and lies; returns its digest."""
        return self._behind.push(f"{self.space}/{path}" if self.space else path, tag, image)

    def close(self) -> None:
        self.go_on()
        self.http.shutdown()
        self.http.server_close()
        self._client.close()

    def reset(self, space: str) -> None:
        """As new, and with nothing in it."""
        self.go_on()
        self.space = space
        self.lies.clear()
        self.asked.clear()

    def stall(self, pattern: str, when: str = "middle", skip: int = 0) -> None:
        """The next request whose ``METHOD path`` matches (after ``skip`` others) stands still: ``before`` the registry
        hears of it, ``after`` it did, or in the ``middle`` of what is sent. One alone, until the next ``stall``."""
        self._go_on, self.stalled = Event(), Event()
        self._pattern, self._when, self._left = re.compile(pattern), when, skip

    def go_on(self) -> None:
        """What stands still goes on, and nothing stalls any more."""
        self._pattern = re.compile("(?!)")
        self._go_on.set()

    @contextmanager
    def looked_at(self, path: str, tag: str, seconds: float = 0.02) -> Iterator[list[str]]:
        """What a tag points to, each time that it is another, from now on; asked for all the time, past all lies."""
        seen, ended = [self.points(path, tag)], Event()

        def look() -> None:
            while not ended.wait(seconds):
                # While docker-registry writes a tag, it has none for a moment.
                if (now := self.points(path, tag)) not in ("", seen[-1]):
                    seen.append(now)

        thread = Thread(target=look, daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            ended.set()
            thread.join()

    def points(self, path: str, tag: str) -> str:
        """The digest under a tag at this moment, without stalls or lies; empty where there is none."""
        answer = self._client.head(self._real(f"/v2/{path}/manifests/{tag}"), headers={"Accept": ", ".join(ACCEPTED)})
        return answer.headers.get("docker-content-digest", "") if answer.status_code == 200 else ""

    # In the handler's threads -----------------------------------------------------------------------------------------

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        what = f"{request.command} {urlsplit(request.path).path}"
        self.asked.append(what)
        go_on, when = self._go_on, self._stalls(what)
        body = self._body(request, go_on if when == "middle" else None)
        if when == "before":
            self._stand(go_on)
            self._check_sender(request)
        kept = {n: v for n in _REQUEST if (v := request.headers.get(n))}
        if "range" in kept:
            self.ranges.append(kept["range"])
        answer = self._client.request(request.command, self._real(request.path), headers=kept, content=body)
        for lie in self.lies:
            answer = lie(what, answer) or answer
        if when == "after":
            self._stand(go_on)
        self._send(request, answer, go_on if when == "middle" else None)

    def _stalls(self, what: str) -> str:
        if not self._pattern.search(what):
            return ""
        if self._left:
            self._left -= 1
            return ""
        self._pattern = re.compile("(?!)")
        return self._when

    def _stand(self, go_on: Event) -> None:
        self.stalled.set()
        go_on.wait(_STALLED_SECONDS)

    def _check_sender(self, request: BaseHTTPRequestHandler) -> None:
        """What somebody sent who was killed meanwhile is not handed on: it had not left their machine."""
        is_over, _, _ = select.select([request.connection], [], [], 0)
        if is_over and not request.connection.recv(1, socket.MSG_PEEK):
            raise OSError("whoever asked was killed")

    def _body(self, request: BaseHTTPRequestHandler, go_on: Event | None) -> bytes | None:
        size = int(request.headers.get("content-length") or 0)
        if request.command in ("GET", "HEAD"):
            return None
        body = request.rfile.read(size // 2)
        if go_on is not None:
            self._stand(go_on)
        body += request.rfile.read(size - size // 2)
        if len(body) < size:
            raise OSError("whoever sent it was killed")
        return body

    def _send(self, request: BaseHTTPRequestHandler, answer: httpx.Response, go_on: Event | None) -> None:
        request.send_response(answer.status_code)
        for name in _ANSWER:
            if name in answer.headers:
                request.send_header(name, answer.headers[name])
        if "location" in answer.headers:
            request.send_header("Location", self._shown(answer.headers["location"]))
        request.end_headers()
        if request.command == "HEAD":
            return
        half = len(answer.content) // 2
        request.wfile.write(answer.content[:half])
        if go_on is not None and request.command == "GET":
            request.wfile.flush()
            self._stand(go_on)
        request.wfile.write(answer.content[half:])

    def _real(self, path: str) -> str:
        return path.replace("/v2/", f"/v2/{self.space}/", 1) if self.space and path != "/v2/" else path

    def _shown(self, location: str) -> str:
        parts = urlsplit(location)
        path = parts.path.replace(f"/v2/{self.space}/", "/v2/", 1) if self.space else parts.path
        return f"{path}?{parts.query}" if parts.query else path


def until(what: Callable[[], Any], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
