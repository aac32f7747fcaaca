"""Connections to a host: to the address that was checked and no other, and never waiting without end.

httpx on a pool of httpcore whose sockets are ours. Names are resolved once for each connection and the answer is what
is connected to, so that a name cannot change its address in between (DNS re-binding). A peer that sends less than
``Patience.bytes_a_second`` is given up, whether in its headers, between chunks or in a body.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from weakref import WeakSet

import httpcore
import httpx

from secguard.errors import Invalid, NotAllowed
from secguard.outbound.addresses import Destination, permitted

Resolver = Callable[[str, int], list[str]]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a peer is waited for, in seconds, and how slow it may be (over each ``window``)."""

    connect: float = 10.0
    read: float = 30.0
    window: float = 60.0
    bytes_a_second: float = 1024.0


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, as the system's resolver orders them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[4][0]) for address in found))


@lru_cache(maxsize=32)  # reading the system's certificates takes a tenth of a second
def tls_context(ca_certificate: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificates and names checked; ``ca_certificate`` (PEM) is trusted besides the system's."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_certificate:
        try:
            context.load_verify_locations(cadata=ca_certificate)
        except (ssl.SSLError, ValueError) as error:
            raise Invalid(
                f"The CA certificate cannot be read ({error}); expected PEM, -----BEGIN CERTIFICATE-----.",
                code="bad-ca-certificate",
                where="ca_certificate",
            ) from None
    return context


class Stalled(httpcore.ReadTimeout):
    """The peer sends, but next to nothing."""


class Lines:
    """The open connections of one client, so that another thread can end them: whoever waits on one fails at once."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._open: WeakSet[httpcore.NetworkStream] = WeakSet()
        self.are_cut = threading.Event()

    def add(self, stream: httpcore.NetworkStream) -> None:
        """Raises ``ConnectError`` where they were cut already: nothing new begins."""
        with self._guard:
            if not self.are_cut.is_set():
                self._open.add(stream)
                return
        stream.close()
        raise httpcore.ConnectError("it was stopped from here")

    def cut(self) -> None:
        """End them, now and for good."""
        with self._guard:
            self.are_cut.set()
            for stream in self._open:
                # Closing alone wakes nobody; and not TLS' own end, which the thread that reads is in the middle of.
                with suppress(OSError):
                    socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)


_READ_BYTES = 2**20
"""Taken from a socket at once where so much is there: layers arrive with half the work."""


class _PacedStream(httpcore.NetworkStream):
    """A socket that times the peer: each request it carries starts the clock anew."""

    def __init__(self, stream: httpcore.NetworkStream, patience: Patience, lines: Lines) -> None:
        self._stream = stream
        self._patience = patience
        self._lines = lines
        self._begin()
        lines.add(self)

    def _begin(self) -> None:
        self._since = time.monotonic()
        self._received = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        patience = self._patience
        left = self._since + patience.window - time.monotonic()
        if left <= 0:
            if self._received < patience.window * patience.bytes_a_second:
                raise Stalled(f"{self._received} bytes in {patience.window:g} seconds")
            self._begin()
            left = patience.window
        data = self._stream.read(max(max_bytes, _READ_BYTES), min(left, patience.read))
        self._received += len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._begin()
        self._stream.write(buffer, self._patience.read)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._patience.connect)
        return _PacedStream(secured, self._patience, self._lines)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _CheckedBackend(httpcore.NetworkBackend):
    """Connects a pool to its one destination, at addresses that are permitted."""

    def __init__(self, to: Destination, patience: Patience, resolver: Resolver, lines: Lines) -> None:
        self._to = to
        self._patience = patience
        self._lines = lines
        self._resolver = resolver
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        if (host, port) != (self._to.host, self._to.port):  # two readings of one URL
            raise NotAllowed(f"{host}:{port} is not {self._to.host}:{self._to.port}, which was asked for.")
        try:
            found = self._resolver(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} has no address: {error}") from None
        failure: httpcore.NetworkError | httpcore.TimeoutException | None = None
        for address in permitted(found, self._to):
            try:
                stream = self._sockets.connect_tcp(address, port, self._patience.connect, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _PacedStream(stream, self._patience, self._lines)
        raise failure or httpcore.ConnectError(f"the name {host} has no address")


class _Body(httpx.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx():
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


class CheckedTransport(httpx.BaseTransport):
    """Sends single requests to one destination: no redirects, no cookies, no proxy of the environment."""

    def __init__(
        self,
        to: Destination,
        context: ssl.SSLContext,
        patience: Patience,
        resolver: Resolver = resolve,
        lines: Lines | None = None,
    ) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=16,
            keepalive_expiry=30.0,
            network_backend=_CheckedBackend(to, patience, resolver, lines or Lines()),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        with _as_httpx():
            response = self._pool.handle_request(
                httpcore.Request(
                    method=request.method,
                    url=url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            status_code=response.status,
            headers=response.headers,
            stream=_Body(response.stream),
            extensions=response.extensions,
            request=request,
        )

    def close(self) -> None:
        self._pool.close()


class _as_httpx:
    """Failures of httpcore as those of httpx, whose callers know no other."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, httpcore.TimeoutException):
            raise httpx.TimeoutException(str(error)) from error
        if isinstance(error, httpcore.ConnectError):
            raise httpx.ConnectError(str(error)) from error
        if isinstance(error, httpcore.ProtocolError):
            raise httpx.RemoteProtocolError(str(error)) from error
        if isinstance(error, httpcore.NetworkError | httpcore.ConnectionNotAvailable):
            raise httpx.ReadError(str(error)) from error
