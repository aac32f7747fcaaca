"""A kind of news of the tests' own, and a small mail server of real sockets that behaves as it is told."""

from __future__ import annotations

import email
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from email.message import EmailMessage
from email.policy import default
from typing import Any

import pytest

from secguard.environment import MailServer
from secguard.notifications import kinds
from secguard.notifications.digest import Line, weigh
from secguard.notifications.kinds import Kind

FLAW = Kind("test-flaw", "New flaws", "New flaw", 0, "/risks/open/")
WAITS = Kind("test-waits", "Requests that wait for you", "Waits for you", 20, "/decisions/queue/")


@pytest.fixture(autouse=True)
def known_kinds() -> Iterator[None]:
    """Two kinds, for the length of a test."""
    for kind in (FLAW, WAITS):
        kinds.register(kind)
    yield
    for kind in (FLAW, WAITS):
        kinds._kinds.pop(kind.name)


def line(key: str, **facts: Any) -> Line:
    flags = {name: value for name, value in facts.items() if name != "rank"}
    return Line(key=key, what=f"CVE-2026-{key}", where="shop/api", url=f"/risks/{key}/", weight=weigh(**facts), **flags)


class SmtpServer:
    """One that takes mail (RFC 5321), on a real socket. ``answers`` replaces what it says: {verb: reply};
    ``stalls_at`` names the verb after which it says nothing, until it is closed."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.senders: list[str] = []
        self.answers: dict[str, str] = {}
        self.stalls_at = ""
        self.stalled = threading.Event()
        self.connections = 0
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def letters(self) -> list[EmailMessage]:
        return [email.message_from_bytes(raw, policy=default) for raw in self.taken]  # type: ignore[misc]

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            stream = connection.makefile("rwb")
            if self._says(stream, "GREETING", "220 here"):
                while raw := stream.readline():
                    if not self._answer(stream, raw.decode().strip()):
                        return

    def _answer(self, stream: Any, command: str) -> bool:
        verb = command.partition(" ")[0].upper()
        if verb == "MAIL":
            self.senders.append(command)
        if verb != "DATA":
            return self._says(stream, verb, "221 bye" if verb == "QUIT" else "250 fine") and verb != "QUIT"
        if not self._says(stream, verb, "354 go on"):
            return False
        if "DATA" in self.answers:
            return True
        body = b""
        while not body.endswith(b"\r\n.\r\n"):
            chunk = stream.readline()
            if not chunk:
                return False
            body += chunk
        if "BODY" not in self.answers:
            self.taken.append(body[:-3].replace(b"\r\n..", b"\r\n."))
        return self._says(stream, "BODY", "250 taken")

    def _says(self, stream: Any, verb: str, usual: str) -> bool:
        if self.stalls_at == verb:
            self.stalled.set()
            self._over.wait(60)
            return False
        stream.write(f"{self.answers.get(verb, usual)}\r\n".encode())
        stream.flush()
        return True

    def close(self) -> None:
        self._over.set()
        self._socket.close()


@pytest.fixture
def make_smtp() -> Iterator[Callable[[], SmtpServer]]:
    made: list[SmtpServer] = []

    def make() -> SmtpServer:
        made.append(SmtpServer())
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.fixture
def smtp(make_smtp: Callable[[], SmtpServer], settings: Any) -> SmtpServer:
    """A mail server that this installation uses."""
    server = make_smtp()
    settings.SMTP = MailServer("127.0.0.1", server.port, security="none")
    settings.MAIL_FROM = "SecGuard <secguard@example.org>"
    settings.PUBLIC_URL, settings.PUBLIC_HOST = "https://secguard.example.org", "secguard.example.org"
    return server
