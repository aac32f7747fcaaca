"""Send a batch over one connection of its own, and learn whether the receiver read all of it.

Syslog answers nothing, and that TCP acknowledged bytes says only that they lie in the receiver's kernel, where a
restart of its program loses them. So a batch ends with the end of its connection: we end our side (close_notify, RFC
5425 section 4.4, and FIN), and the receiver must end its own without a reset. A program that goes before it read all of
it cannot do that: its kernel resets a connection that is closed with unread bytes in it, or on which more bytes arrive
after it was closed (RFC 9293 section 3.6.1, RFC 2525 section 2.17).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from secguard.errors import Unavailable
from secguard.outbound import connections
from secguard.outbound.addresses import Destination, permitted
from secguard.outbound.connections import Resolver

MAX_ADDRESSES = 3
_CHUNK = 16_384
"""A TLS record: no receiver reads a part of one and loses the rest."""
_CLOSED = 7
"""TCP_CLOSE: both sides have ended, and everything was acknowledged (include/net/tcp_states.h)."""


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: for the connection, for each step of progress, and for a whole batch."""

    connect: float = 5.0
    step: float = 10.0
    whole: float = 40.0


class _Clock:
    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._until = time.monotonic() + patience.whole

    def step(self) -> float:
        """How long the next step may take; ``TimeoutError`` where no time is left."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the whole batch took too long")
        return min(left, self._patience.step)


def send(
    frames: Iterable[bytes],
    to: Destination,
    context: ssl.SSLContext | None,
    *,
    needs_close_notify: bool = False,
    resolver: Resolver = connections.resolve,
    patience: Patience = Patience(),
) -> None:
    """Send all of ``frames``; returns once the receiver has read them. ``context`` None: without TLS.

    Raises ``Unavailable`` where it is not known that all of them were read, ``NotAllowed`` where this server may not
    connect there. ``needs_close_notify``: over TLS the receiver must end with close_notify as the RFC says; where it
    may leave that out (rsyslog does), somebody on the way could forge its end.
    """
    clock = _Clock(patience)
    with _said(to), _connected(to, resolver, patience) as raw:
        sock = _secured(raw, to, context, clock)
        with contextlib.closing(sock):
            _write(sock, frames, clock)
            _end(sock, clock, needs_close_notify=needs_close_notify)


@contextlib.contextmanager
def _said(to: Destination) -> Iterator[None]:
    """What went wrong, in words for who set the target up."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise _away(
            to, f"its certificate is not trusted ({error.verify_message}); set the CA that signed it"
        ) from error
    except ssl.SSLError as error:
        raise _away(to, f"TLS failed ({_reason(error)})") from error
    except TimeoutError as error:
        raise _away(to, "it stalls: it accepted the connection but does not read, or does not close it") from error
    except OSError as error:
        raise _away(to, f"the connection failed ({error.strerror or type(error).__name__})") from error


def _reason(error: ssl.SSLError) -> str:
    return str(error.reason or "it ended").replace("_", " ").lower()


def _away(to: Destination, why: str) -> Unavailable:
    return Unavailable(f"{to.host}:{to.port} did not take it: {why}.", code="export-away")


@contextlib.contextmanager
def _connected(to: Destination, resolver: Resolver, patience: Patience) -> Iterator[socket.socket]:
    """A connection to the first address that answers, of those that may be connected to."""
    try:
        found = resolver(to.host, to.port)
    except (OSError, UnicodeError):
        raise _away(to, "its name has no address that could be found") from None
    failure: OSError | None = None
    for address in permitted(found, to)[:MAX_ADDRESSES]:
        try:
            sock = socket.create_connection((address, to.port), patience.connect)
        except TimeoutError:
            failure = ConnectionError("connecting took too long")
            failure.strerror = "connecting took too long"
        except OSError as error:
            failure = error
        else:
            with contextlib.closing(sock):
                yield sock
            return
    raise failure or ConnectionError("no address")


def _secured(raw: socket.socket, to: Destination, context: ssl.SSLContext | None, clock: _Clock) -> socket.socket:
    raw.settimeout(clock.step())
    return context.wrap_socket(raw, server_hostname=to.host) if context else raw


def _write(sock: socket.socket, frames: Iterable[bytes], clock: _Clock) -> None:
    waiting = bytearray()
    for frame in frames:
        waiting += frame
        while len(waiting) >= _CHUNK:
            _write_chunk(sock, waiting, clock)
    while waiting:
        _write_chunk(sock, waiting, clock)


def _write_chunk(sock: socket.socket, waiting: bytearray, clock: _Clock) -> None:
    sock.settimeout(clock.step())
    sent = sock.send(bytes(waiting[:_CHUNK]))
    del waiting[:sent]


def _end(sock: socket.socket, clock: _Clock, *, needs_close_notify: bool) -> None:
    """End our side, and wait until the receiver has read to that end and ended its own."""
    sock.settimeout(clock.step())
    if isinstance(sock, ssl.SSLSocket):
        try:
            sock = sock.unwrap()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            if needs_close_notify:
                raise
        sock.settimeout(clock.step())
    socket.socket.shutdown(sock, socket.SHUT_WR)
    _read_to_end(sock, clock)
    _was_not_reset(sock, clock)


def _read_to_end(sock: socket.socket, clock: _Clock) -> None:
    """Until the receiver's own end; what it says before is of no protocol of ours and is passed over."""
    while True:
        sock.settimeout(clock.step())
        if not socket.socket.recv(sock, 4_096):
            return


def _was_not_reset(sock: socket.socket, clock: _Clock) -> None:
    """Wait until all we sent, our end included, is acknowledged: an end of theirs that came first is followed by a
    reset where something of ours was not read."""
    while True:
        closed = _state(sock) == _CLOSED
        if error := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise ConnectionResetError(error, "it was reset before everything was read")
        if closed:
            return
        clock.step()
        time.sleep(0.005)


def _state(sock: socket.socket) -> int:
    found: int = struct.unpack_from("B", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8))[0]
    return found
