"""The agent's own server: HTTPS for the cluster's API server, in threads, bounded in connections, bodies and time."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from secguard.agent.answering import KINDS, MAX_BYTES
from secguard.client.rest import CouldNotTell

MAX_CONNECTIONS: Final = 512
IDLE_SECONDS: Final = 60.0
HANDSHAKE_SECONDS: Final = 10.0
DRAIN_SECONDS: Final = 15.0
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

Respond = Callable[[str, str, bytes], tuple[int, str, bytes]]
"""(path, query, body) to (status, content type, body)."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "SecGuard", ""
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    server: Server

    def setup(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            self.request.settimeout(HANDSHAKE_SECONDS)
            self.request.do_handshake()
        super().setup()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._send(200, JSON, b'{"status": "ok"}')
        elif path == "/readyz":
            ready, words = self.server.ready()
            self._send(200 if ready else 503, JSON, json.dumps({"ready": ready, "detail": words}).encode())
        else:
            self._problem(404, f"There is nothing at {path[:100]}; questions are posted to {', '.join(KINDS)}.")

    def do_POST(self) -> None:
        with self.server.busy(self.connection):
            self._answer(*self.path.partition("?")[::2])

    def _answer(self, path: str, query: str) -> None:
        if path not in KINDS:
            return self._problem(404, f"There is nothing at {path[:100]}; expected one of {', '.join(KINDS)}.")
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdigit()):
            return self._problem(411, "Content-Length is missing or no number; send the body's length.")
        if int(text) > MAX_BYTES:
            return self._problem(413, f"The body has {int(text):,} bytes; at most {MAX_BYTES:,} are taken.")
        body = self.rfile.read(int(text))
        if len(body) != int(text):
            self.close_connection = True
            return None
        return self._send(*self.server.respond(path, query, body))

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.server.draining:
            self.send_header("Connection", "close")  # sets close_connection, too
        self.end_headers()
        self.wfile.write(body)

    def _problem(self, status: int, detail: str) -> None:
        self.close_connection = True  # what is left of the body would be read as the next request
        self._send(status, PROBLEM, json.dumps({"status": status, "detail": detail}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what the server could not answer the agent says itself."""


class Server(ThreadingHTTPServer):
    """Serves until ``drain``: then what is being answered is answered, and what is idle is closed."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self,
        address: tuple[str, int],
        respond: Respond,
        ready: Callable[[], tuple[bool, str]],
        context: ssl.SSLContext | None,
    ) -> None:
        self.respond, self.ready = respond, ready
        self.draining = False
        self._context = context
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._busy: set[socket.socket] = set()
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, address = super().get_request()
        if self._context is None:
            return plain, address
        # The handshake is the connection's own thread's: a client that is slow with it stops nobody else.
        return self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        with self._lock:
            self._open.add(request)
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread can be started
            self._forget(request)
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            self._open.discard(request)
        self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke, or that no handshake was made on: nobody is left to tell."""

    @contextlib.contextmanager
    def busy(self, request: socket.socket) -> Any:
        with self._lock:
            self._busy.add(request)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(request)

    def drain(self) -> bool:
        """Takes nothing new, and ends; True where everything that was asked was answered."""
        self.draining = True
        self.shutdown()
        self.socket.close()
        ends = time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < ends:
            with self._lock:
                idle, left = self._open - self._busy, bool(self._open)
            if not left:
                return True
            for request in idle:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(request, socket.SHUT_RD)  # an SSLSocket's own would go on in plain text
            time.sleep(0.05)
        return False


def certificate(cert: Path, key: Path) -> ssl.SSLContext:
    """A server's context; ``CouldNotTell`` where the files cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load(context, cert, key)
    return context


def load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Puts a renewed certificate into place; connections that stand keep theirs."""
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise CouldNotTell(f"The certificate {cert} with the key {key} cannot be used: {error}.") from error
