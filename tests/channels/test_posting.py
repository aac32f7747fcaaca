"""Where nothing is posted to, and how long a receiver is waited for."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.channels.adapters import posting
from secguard.errors import Invalid, NotAllowed, Unavailable
from secguard.outbound.connections import Patience
from tests.channels.conftest import Receiver

pytestmark = pytest.mark.enable_socket
PUBLIC = "93.184.215.14"


def at(*addresses: str) -> Callable[[str, int], list[str]]:
    return lambda host, port: list(addresses)


INSIDE = (
    "127.0.0.1", "::1", "0.0.0.0", "::", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "fe80::1",
    "fd00:ec2::254", "100.64.0.1", "224.0.0.1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "240.0.0.1", "255.255.255.255",
)  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_inside_is_refused_when_it_is_saved_and_when_it_is_posted_to(address: str) -> None:
    with pytest.raises(Invalid, match="SECGUARD_WEBHOOK_HOSTS") as refused:
        posting.check("https://hooks.example.org/x", [], resolver=at(address))
    assert refused.value.where == "url"
    with pytest.raises(NotAllowed, match="no address that may be connected to"):
        posting.post("https://hooks.example.org/x", b"{}", {}, [], resolver=at(address))


@pytest.mark.parametrize("address", INSIDE[2:4] + INSIDE[7:9] + INSIDE[11:13])
def test_no_operator_opens_what_no_service_has(address: str) -> None:
    with pytest.raises(Invalid):
        posting.check("https://hooks.internal/x", ["hooks.internal"], resolver=at(address))


@pytest.mark.parametrize(
    "literal", ["127.0.0.1", "[::1]", "169.254.169.254", "[::ffff:10.0.0.1]", "0x7f000001", "127.1"]
)
def test_an_address_as_a_host_is_no_way_around(literal: str) -> None:
    with pytest.raises(Invalid):
        posting.check(f"https://{literal}/x", [])


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/x",
        "ftp://hooks.example.org/x",
        "file:///etc/passwd",
        "gopher://hooks.example.org/",
        "https://user:password@hooks.example.org/",
        "https://hooks.example.org/#part",
        "https://hooks.example.org:99999/",
        "https://",
        "hooks.example.org/x",
        "https://hooks.example.org/\r\nX: y",
        "https://hooks.example.org/a b",
        "https://bücher.example/x",
        "https://[::1/x",
        "https://hooks.example.org/" + "x" * 2_000,
    ],
)
def test_what_is_no_address_to_post_to_is_refused_in_words(url: str) -> None:
    with pytest.raises(Invalid, match=r"Expected one like https://") as refused:
        posting.check(url, ["other.example.org"], resolver=at(PUBLIC))
    assert refused.value.where == "url"


@given(st.text(max_size=80))
def test_any_text_is_taken_or_refused_in_words(text: str) -> None:
    with suppress(Invalid):
        assert posting.destination(f"https://{text}", []).scheme == "https"


def test_a_public_address_may_be_posted_to() -> None:
    to = posting.check("https://hooks.example.org:8443/x", [], resolver=at(PUBLIC))
    assert (to.host, to.port, to.is_named) == ("hooks.example.org", 8443, False)


def test_a_name_without_an_address_is_refused() -> None:
    def nowhere(host: str, port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(Invalid, match="no address that could be found"):
        posting.check("https://hooks.example.org/", [], resolver=nowhere)


def test_a_name_that_moves_inside_after_it_was_saved_is_not_connected_to(receiver: Receiver) -> None:
    url = f"https://hooks.example.org:{receiver.port}/x"
    posting.check(url, [], resolver=at(PUBLIC))
    with pytest.raises(NotAllowed):
        posting.post(url, b"{}", {}, [], resolver=at("127.0.0.1"))
    assert receiver.taken == []


def test_the_operators_host_is_for_its_port_alone(receiver: Receiver) -> None:
    assert posting.post(receiver.url, b"{}", {"webhook-id": "1"}, [receiver.host]).status == 200
    (taken,) = receiver.taken
    assert (taken.path, taken.body, taken.headers["webhook-id"]) == ("/hook/SECRET-PATH", b"{}", "1")
    assert taken.headers["content-type"] == "application/json"
    with pytest.raises(Invalid):
        posting.post(receiver.url, b"{}", {}, [f"127.0.0.1:{receiver.port + 1}"])


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answer = (302, {"Location": f"http://{receiver.host}/elsewhere"}, b"")
    with pytest.raises(Unavailable, match="a redirect, which is not followed"):
        posting.post(receiver.url, b"{}", {}, [receiver.host])
    assert [taken.path for taken in receiver.taken] == ["/hook/SECRET-PATH"]


def test_what_a_receiver_says_is_shown_short_and_plain(receiver: Receiver) -> None:
    receiver.answer = (400, {}, b"invalid_payload\r\n\x1b[31m" + b"x" * 100_000)
    with pytest.raises(Unavailable) as refused:
        posting.post(receiver.url, b"{}", {}, [receiver.host])
    assert refused.value.detail.startswith("127.0.0.1 did not take it: it answered 400: invalid_payload")
    assert len(refused.value.detail) < 300
    assert "\x1b" not in refused.value.detail
    assert "SECRET-PATH" not in refused.value.detail
    assert posting.status_of(refused.value) == 400


@pytest.mark.parametrize(("said", "seconds"), [("120", 120), ("99999", 3_600), ("-5", 0), ("soon", 0), ("٣", 0)])
def test_a_receiver_says_how_long_to_wait(receiver: Receiver, said: str, seconds: int) -> None:
    receiver.answer = (429, {"Retry-After": said.encode().decode("latin-1")}, b"")
    with pytest.raises(Unavailable) as refused:
        posting.post(receiver.url, b"{}", {}, [receiver.host])
    assert refused.value.retry_after == seconds


@pytest.fixture
def silent() -> Iterator[Callable[[bytes], int]]:
    """A server that says what it is given, and then nothing: the port it listens on."""
    sockets: list[socket.socket] = []

    def start(says: bytes) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                sockets.append(connection)
                connection.sendall(says)

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for one in sockets:
        one.close()


@pytest.mark.parametrize("says", [b"", b"HTTP/1.1 200", b"HTTP/1.1 500 no\r\nContent-Length: 50\r\n\r\nhalf"])
def test_a_receiver_that_falls_silent_is_given_up(silent: Callable[[bytes], int], says: bytes) -> None:
    port = silent(says)
    impatient = Patience(connect=0.2, read=0.2, window=0.2, bytes_a_second=1.0)
    with pytest.raises(Unavailable, match=r"did not answer in time|connection failed"):
        posting.post(f"http://127.0.0.1:{port}/", b"{}", {}, [f"127.0.0.1:{port}"], patience=impatient)


def test_what_is_no_http_is_told_as_a_failure(silent: Callable[[bytes], int]) -> None:
    port = silent(b"220 mail.example.org ESMTP\r\n\r\n")
    with pytest.raises(Unavailable, match="connection failed"):
        posting.post(f"http://127.0.0.1:{port}/", b"{}", {}, [f"127.0.0.1:{port}"])
