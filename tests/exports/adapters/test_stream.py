"""A batch counts as taken when the receiver's program read all of it, and never before."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from secguard.errors import NotAllowed, Unavailable
from secguard.exports.adapters import stream
from secguard.exports.adapters.stream import Patience
from secguard.outbound.addresses import Destination

pytestmark = pytest.mark.enable_socket
HASTY = Patience(connect=1, step=0.5, whole=3)


@pytest.fixture
def listen() -> Iterator[Callable[..., Destination]]:
    """Does ``serve`` with each connection, in a thread; gives where to connect."""
    opened = []

    def start(serve: Callable[[socket.socket], None], receive_bytes: int = 0) -> Destination:
        listener = socket.socket()
        if receive_bytes:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        opened.append(listener)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=[connection], daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        return Destination("syslog", "127.0.0.1", listener.getsockname()[1], True)

    yield start
    for listener in opened:
        listener.close()


def read_all(connection: socket.socket) -> bytes:
    read = b""
    while chunk := connection.recv(65_536):
        read += chunk
    return read


def send(frames: Any, to: Destination, context: Any = None, **options: Any) -> None:
    stream.send(frames, to, context, **{"patience": HASTY, **options})


def test_all_of_it_arrives(listen) -> None:
    taken: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection:
            taken.append(read_all(connection))

    frames = [b"%d," % n for n in range(100_000)]
    send(frames, listen(serve))
    assert taken == [b"".join(frames)]


@pytest.mark.parametrize("size", [1, 100, 3_000_000])
def test_a_receiver_that_goes_without_reading_took_nothing(listen, size: int) -> None:
    def serve(connection: socket.socket) -> None:
        time.sleep(0.1)
        connection.close()

    with pytest.raises(Unavailable, match="did not take it"):
        send([b"x" * size], listen(serve))


@pytest.mark.parametrize("pause", [0, 0.001, 0.01, 0.05])
def test_a_receiver_that_goes_after_a_part_took_nothing(listen, pause: float) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1_000)
        time.sleep(pause)
        connection.close()

    with pytest.raises(Unavailable):
        send([b"x" * 500] * 40, listen(serve))


def test_a_receiver_that_ends_its_side_before_the_last_part_arrives_took_nothing(listen) -> None:
    """Its end alone is no word for it: what it did not read is answered by a reset, after that end."""

    def serve(connection: socket.socket) -> None:
        connection.recv(100)
        connection.close()

    def slowly() -> Iterator[bytes]:
        yield b"x" * 16_384
        time.sleep(0.2)
        yield b"y" * 10

    with pytest.raises(Unavailable):
        send(slowly(), listen(serve))


def test_what_lies_in_the_kernel_of_a_stalled_program_is_not_taken(listen) -> None:
    with pytest.raises(Unavailable, match="it stalls"):
        send([b"short"], listen(lambda connection: time.sleep(5)))


def test_a_receiver_that_reads_nothing_of_much_stalls(listen) -> None:
    begun = time.monotonic()
    with pytest.raises(Unavailable, match="it stalls"):
        send([b"x" * 1_000] * 20_000, listen(lambda connection: time.sleep(8), receive_bytes=4_096))
    assert time.monotonic() - begun < 4


def test_a_receiver_that_reads_byte_by_byte_is_given_up(listen) -> None:
    def serve(connection: socket.socket) -> None:
        while connection.recv(512):
            time.sleep(0.1)

    begun = time.monotonic()
    with pytest.raises(Unavailable, match="it stalls"):
        send([b"x" * 1_000] * 20_000, listen(serve, receive_bytes=2_048))
    assert time.monotonic() - begun < 6


def test_a_program_that_is_killed_with_all_of_it_unread_took_nothing() -> None:
    """A real process: its kernel acknowledged every byte and our end too."""
    code = (
        "import socket, time\n"
        "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); print(s.getsockname()[1], flush=True)\n"
        "c, _ = s.accept(); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        to = Destination("syslog", "127.0.0.1", int(process.stdout.readline()), True)
        timer = threading.Timer(0.5, os.kill, [process.pid, signal.SIGKILL])
        timer.start()
        with pytest.raises(Unavailable, match="the connection failed"):
            send([b"x" * 1_000], to, patience=Patience(connect=1, step=5, whole=10))


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        to = Destination("syslog", "127.0.0.1", free.getsockname()[1], True)
    with pytest.raises(Unavailable, match="Connection refused"):
        send([b"x"], to)


def test_an_address_inside_is_refused_where_nobody_named_it(listen) -> None:
    to = listen(lambda connection: None)
    with pytest.raises(NotAllowed, match="loopback"):
        send([b"x"], Destination("syslog", to.host, to.port, False))


def test_a_name_without_an_address(listen) -> None:
    def resolver(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with pytest.raises(Unavailable, match="its name has no address"):
        send([b"x"], Destination("syslog", "nowhere.example.org", 6514, False), resolver=resolver)


# --- TLS ---


def client(authority: Any) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority.pem)


def over_tls(context: ssl.SSLContext, taken: list[bytes], *, says_goodbye: bool) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as secured:
                taken.append(read_all(secured))
                if says_goodbye:
                    secured.unwrap()
        except OSError:
            pass

    return serve


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("says_goodbye", [True, False])
def test_over_tls(listen, authority, server_context, version, says_goodbye: bool) -> None:
    server_context.maximum_version = version
    taken: list[bytes] = []
    frames = [b"%d," % n for n in range(50_000)]
    send(frames, listen(over_tls(server_context, taken, says_goodbye=says_goodbye)), client(authority))
    assert taken == [b"".join(frames)]


def test_an_end_that_anybody_could_forge_is_refused_where_that_was_asked(listen, authority, server_context) -> None:
    taken: list[bytes] = []
    silent = listen(over_tls(server_context, taken, says_goodbye=False))
    with pytest.raises(Unavailable, match="TLS failed"):
        send([b"x"], silent, client(authority), needs_close_notify=True)
    polite = listen(over_tls(server_context, taken, says_goodbye=True))
    send([b"x"], polite, client(authority), needs_close_notify=True)


def test_a_certificate_of_another_authority_is_refused(listen, server_context) -> None:
    taken: list[bytes] = []
    to = listen(over_tls(server_context, taken, says_goodbye=True))
    with pytest.raises(Unavailable, match="its certificate is not trusted"):
        send([b"x"], to, ssl.create_default_context())
    assert taken in ([], [b""])


def test_a_certificate_of_another_name_is_refused(listen, authority, server_context) -> None:
    to = listen(over_tls(server_context, [], says_goodbye=True))
    with pytest.raises(Unavailable, match="its certificate is not trusted"):
        send(
            [b"x"],
            Destination("syslog", "other.example.org", to.port, True),
            client(authority),
            resolver=lambda host, port: ["127.0.0.1"],
        )


def test_a_receiver_over_tls_that_goes_after_a_part_took_nothing(listen, authority, server_context) -> None:
    def serve(connection: socket.socket) -> None:
        secured = server_context.wrap_socket(connection, server_side=True)
        secured.recv(1_000)
        secured.close()

    with pytest.raises(Unavailable):
        send([b"x" * 500] * 4_000, listen(serve), client(authority))


def test_a_receiver_that_speaks_no_tls(listen, authority) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(1_000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()

    with pytest.raises(Unavailable, match=r"TLS failed|the connection failed"):
        send([b"x"], listen(serve), client(authority))
