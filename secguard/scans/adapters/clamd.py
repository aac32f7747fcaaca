"""ClamAV's daemon, where there is one: files are streamed to it (clamd(8), "COMMANDS": zIDSESSION, zINSTREAM).

The daemon reads nothing from disk and needs no access to ours. Signatures are the daemon's own business.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from types import TracebackType

from secguard.errors import Unavailable

MAX_REPLY = 8192
CHUNK = 2**16
SECONDS = 60
_REPLY = re.compile(r"(?P<id>\d+): (?:stream|instream\([^)]*\)): (?P<what>.*)", re.S)


class Clamd:
    """One session with the daemon at ``host:port`` or at a unix socket's absolute path. A context manager.

    Every method raises ``Unavailable`` where the daemon does not answer as the protocol says.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._socket = self._connect()
        self._buffer = b""
        self._send(b"zIDSESSION\0")

    def __enter__(self) -> Clamd:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _t: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._socket.sendall(b"zEND\0")
        self._socket.close()

    def _connect(self) -> socket.socket:
        try:
            if self._address.startswith("/"):
                return _connect_to_file(self._address)
            host, _, port = self._address.rpartition(":")
            return socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS)
        except (OSError, ValueError) as e:
            raise self._refused(f"cannot be reached: {e}") from e

    def version(self) -> str:
        """The engine's and its signatures' version, as the daemon writes it."""
        self._send(b"zVERSION\0")
        return self._reply().partition(": ")[2][:100]

    def signature_in(self, content: bytes) -> str:
        """The name of the signature that matches ``content``; empty where none does, or where it is too large for
        the daemon (its StreamMaxLength)."""
        self._send(b"zINSTREAM\0")
        for start in range(0, len(content), CHUNK):
            part = content[start : start + CHUNK]
            self._send(struct.pack("!L", len(part)) + part)
        self._send(b"\0\0\0\0")
        return self._read_verdict(self._reply())

    def _read_verdict(self, reply: str) -> str:
        found = _REPLY.fullmatch(reply)
        what = found["what"] if found else reply
        if what == "OK" or "size limit exceeded" in what:
            return ""
        if found is None or not what.endswith(" FOUND"):
            raise self._refused(f"answered {reply[:200]!r}")
        return what.removesuffix(" FOUND")

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as e:
            raise self._refused(f"closed the connection: {e}") from e

    def _reply(self) -> str:
        while b"\0" not in self._buffer:
            try:
                part = self._socket.recv(4096)
            except OSError as e:
                raise self._refused(f"does not answer: {e}") from e
            if not part or len(self._buffer) > MAX_REPLY:
                raise self._refused("closed the connection" if not part else "answers without end")
            self._buffer += part
        reply, _, self._buffer = self._buffer.partition(b"\0")
        return reply.decode("utf-8", "replace")

    def _refused(self, why: str) -> Unavailable:
        return Unavailable(
            f"ClamAV's daemon at {self._address} {why}. Start it, or unset SECGUARD_CLAMD to scan without it.",
            code="clamd",
            retry_after=30,
        )


def _connect_to_file(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(SECONDS)
    try:
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made
