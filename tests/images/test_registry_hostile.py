"""The client against servers that lie, stall and point elsewhere: real sockets that answer what they are told to."""

from __future__ import annotations

import base64
import gzip
import io
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread

import pytest

from secguard.errors import Invalid, NotAllowed, NotFound, SecGuardError, TooLarge, Unavailable
from secguard.images.adapters.registry import RegistryAccess, RegistryClient
from secguard.images.adapters.verified import VerifiedFile
from secguard.images.manifest import OCI_MANIFEST, Descriptor
from secguard.outbound.connections import Patience
from tests.imagebuilding import image_of, sha256, tar_of

IMAGE = image_of(tar_of({"a": b"a"}))
BLOB = bytes(range(256)) * 12_000
LAYER = Descriptor("", sha256(BLOB), len(BLOB))
QUICK = Patience(connect=2, read=0.4, window=0.6, bytes_a_second=5_000)
Answer = Callable[[str], "bytes | Iterator[bytes]"]


class Server:
    """One listening socket. ``answer`` gets a request's text and gives what is sent; the connection then ends."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.requests: list[str] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self.socket.getsockname()[1]}"
        Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                block = connection.recv(65536)
                if not block:
                    return
                request += block
            self.requests.append(request.decode("latin-1"))
            sent = self.answer(self.requests[-1])
            for block in [sent] if isinstance(sent, bytes) else sent:
                connection.sendall(block)


def http(body: bytes = b"", status: str = "200 OK", **headers: str) -> bytes:
    lines = {"Content-Length": str(len(body)), "Connection": "close"}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value != "-")
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def manifest(**headers: str) -> bytes:
    return http(IMAGE.raw, Content_Type=OCI_MANIFEST, **headers)


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Server]]:
    running: list[Server] = []

    def start(answer: Answer) -> Server:
        running.append(Server(answer))
        return running[-1]

    yield start
    for server in running:
        server.socket.close()


Serve = Callable[[Answer], Server]


def client_of(server: Server, *allowed: str, **access: str) -> RegistryClient:
    return RegistryClient(
        RegistryAccess(server.host, uses_plain_http=True, allowed_hosts=allowed, **access),
        patience=QUICK,
        sleep=lambda _: None,
    )


def pulled(client: RegistryClient, layer: Descriptor = LAYER) -> bytes:
    into = io.BytesIO()
    client.blob("a/b", VerifiedFile(into, layer))
    return into.getvalue()


# Silence and slowness ---------------------------------------------------------------------------------------


def trickle(*, after: bytes = b"", byte: bytes = b"x") -> Iterator[bytes]:
    yield after
    while True:
        time.sleep(0.05)
        yield byte


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(lambda: iter(lambda: time.sleep(0.05) or b"", None), id="nothing at all"),
        pytest.param(lambda: trickle(after=b"HTTP/1.1 200 OK\r\nX-Slow: "), id="headers byte by byte"),
        pytest.param(
            lambda: trickle(after=b"HTTP/1.1 200 OK\r\nContent-Length: 3072000\r\n\r\n"), id="a body byte by byte"
        ),
        pytest.param(
            lambda: trickle(after=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", byte=b"0"),
            id="a chunk's size without end",
        ),
    ],
)
def test_a_server_that_stalls_is_given_up(serve: Serve, sent: Callable[[], Iterator[bytes]]) -> None:
    server = serve(lambda _: sent())
    with client_of(server) as client, pytest.raises(Unavailable, match=r"did not answer in time|broke"):
        pulled(client)
    assert len(server.requests) == 4, "it is asked again, and not for ever"


def test_a_server_that_breaks_off_is_gone_on_with(serve: Serve) -> None:
    starts: list[int] = []

    def answer(request: str) -> bytes:
        start = int(request.partition("Range: bytes=")[2].partition("-")[0] or 0)
        starts.append(start)
        rest = BLOB[start:]
        span = f"bytes {start}-{len(BLOB) - 1}/{len(BLOB)}"
        head = http(
            b"", "206 Partial Content" if start else "200 OK", Content_Range=span, Content_Length=str(len(rest))
        )
        return head + rest[:1_100_000]

    with client_of(serve(answer)) as client:
        assert pulled(client) == BLOB
    assert starts == sorted(set(starts)), "each attempt began where the former ended"
    assert len(starts) == 3


def test_a_server_that_always_breaks_off_is_given_up(serve: Serve) -> None:
    server = serve(lambda _: http(Content_Length=str(len(BLOB))) + BLOB[:1000])
    with client_of(server) as client, pytest.raises(Unavailable, match="broke"):
        pulled(client)
    assert len(server.requests) == 4


def test_faltering_is_waited_out_and_its_end_respected(serve: Serve) -> None:
    left = ["503 Service Unavailable", "429 Too Many Requests"]
    waits: list[float] = []
    server = serve(lambda _: http(b"", left.pop(), Retry_After="7") if left else manifest())
    access = RegistryAccess(server.host, uses_plain_http=True)
    with RegistryClient(access, patience=QUICK, sleep=waits.append) as client:
        assert client.resolve("a/b", "latest").digest == IMAGE.digest
    assert waits == [7, 7]


# Lies about what is sent ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "error", "words"),
    [
        (http(BLOB[:-1]), Invalid, "offers 3,071,999 bytes"),
        (http(BLOB + b"x"), Invalid, "offers 3,072,001 bytes"),
        (http(b"x" * len(BLOB)), Invalid, "exactly that digest"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + BLOB + b"more", Invalid, "longer than"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + BLOB[:-9], Unavailable, "ended the blob .* after"),
        (http(gzip.compress(bytes(10**8)), Content_Encoding="gzip"), Invalid, "compressed though it was asked not to"),
        (http(BLOB, "206 Partial Content"), Invalid, "answers 206"),
        (http(BLOB, "302 Found"), Invalid, "answers 302"),
        (http(b"nonsense", "418 Teapot"), Invalid, "answers 418 .* expected 200"),
        (b"nothing of HTTP\r\n\r\n", Unavailable, "broke"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", Unavailable, "broke"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", Unavailable, "broke"),
        (
            http(b'{"errors":[{"code":"BLOB_UNKNOWN","message":"gone"}]}', "404 Not Found"),
            NotFound,
            "BLOB_UNKNOWN gone",
        ),
        (http(b"[" * 60_000, "404 Not Found"), NotFound, "no /v2/a/b/blobs"),
    ],
)
def test_a_blob_that_is_not_what_was_named_is_refused(
    serve: Serve, sent: bytes, error: type[SecGuardError], words: str
) -> None:
    with client_of(serve(lambda _: sent)) as client, pytest.raises(error, match=words):
        pulled(client)


def test_a_part_that_was_not_asked_for_is_not_taken(serve: Serve) -> None:
    def answer(request: str) -> bytes:
        if "Range:" in request:
            return http(BLOB[5:], "206 Partial Content", Content_Range=f"bytes 5-{len(BLOB) - 1}/{len(BLOB)}")
        return http(BLOB)

    into = io.BytesIO(BLOB[:100])
    with client_of(serve(answer)) as client:
        client.blob("a/b", VerifiedFile(into, LAYER))
    assert into.getvalue() == BLOB


@pytest.mark.parametrize(
    ("sent", "error", "words"),
    [
        (http(b"<html>", Content_Type="text/html"), Invalid, "a web page"),
        (http(IMAGE.raw, Content_Type="application/vnd.oci.image.index.v1+json"), Invalid, "it is an image manifest"),
        (http(IMAGE.raw, Content_Type="image/png"), Invalid, "'image/png'; expected"),
        (http(b'{"schemaVersion":1}', Content_Type="application/json"), Invalid, "schema 1"),
        (http(b"x" * (4 * 2**20 + 1), Content_Type=OCI_MANIFEST), TooLarge, "more than 4,194,304 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (5 * 2**20), TooLarge, "more than 4,194,304 bytes"),
        (http(b"[" * 2**20, Content_Type=OCI_MANIFEST), TooLarge, "levels deep"),
        (http(gzip.compress(bytes(10**8)), Content_Encoding="gzip"), Invalid, "compressed though"),
        (manifest(Docker_Content_Digest="sha256:" + "0" * 64), Invalid, "whose digest is"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(
    serve: Serve, sent: bytes, error: type[SecGuardError], words: str
) -> None:
    with client_of(serve(lambda _: sent)) as client, pytest.raises(error, match=words):
        client.resolve("a/b", "latest")


def test_another_manifest_than_the_digest_is_refused(serve: Serve) -> None:
    asked = sha256(b"what was judged")
    server = serve(lambda _: manifest(Docker_Content_Digest=asked))
    with client_of(server) as client, pytest.raises(Invalid, match="altered or cut off"):
        client.resolve("a/b", asked)


def test_a_manifest_served_as_json_is_read_by_what_it_says(serve: Serve) -> None:
    server = serve(lambda _: http(IMAGE.raw, Content_Type="application/json; charset=utf-8"))
    with client_of(server) as client:
        assert client.resolve("a/b", "latest").media_type == OCI_MANIFEST


@pytest.mark.parametrize("path", ["", "/", "../x", "a//b", "a/../b", "A", "a b", "a?x=1", "a/b/", "x" * 256])
def test_an_odd_path_is_asked_of_nobody(serve: Serve, path: str) -> None:
    server = serve(lambda _: manifest())
    with client_of(server) as client, pytest.raises(Invalid, match="no repository's path"):
        client.resolve(path, "latest")
    assert not server.requests


@pytest.mark.parametrize("reference", ["", "a/b", "..%2f", "x y", "sha256:0", "a" * 129, "tag\r\nX: y"])
def test_an_odd_reference_is_asked_of_nobody(serve: Serve, reference: str) -> None:
    server = serve(lambda _: manifest())
    with client_of(server) as client, pytest.raises(Invalid, match="neither a tag nor a digest"):
        client.resolve("a/b", reference)
    assert not server.requests


# Elsewhere --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("http://169.254.169.254/latest/meta-data/", "not named in its configuration"),
        ("http://[::ffff:169.254.169.254]/", "not named in its configuration"),
        ("http://127.0.0.1:{other}/", "add '127.0.0.1:{other}' to its allowed hosts"),
        ("http://localhost:{port}/", "not named in its configuration"),
        ("http://2130706433:{port}/", "not named in its configuration"),
        ("file:///etc/passwd", "only https and http may be spoken"),
        ("gopher://{host}/", "only https and http may be spoken"),
        ("//evil.example/x", "not named in its configuration"),
        ("http://user:pass@{host}/", "credentials of its own"),
        ("http://{host}\\@evil.example/", "credentials of its own"),
        ("http://{host}@evil.example/", "credentials of its own"),
        ("http://[::1/", "no URL"),
        ("http://{host}:99999/", "no URL"),
    ],
)
def test_a_redirect_to_elsewhere_is_not_followed(serve: Serve, location: str, words: str) -> None:
    other = serve(lambda _: http(BLOB))
    names = {"other": other.host.partition(":")[2]}
    server = serve(lambda _: http(b"", "307 Temporary Redirect", Location=location.format(**names)))
    names |= {"host": server.host, "port": server.host.partition(":")[2]}
    with client_of(server) as client, pytest.raises(NotAllowed, match=words.format(**names)):
        pulled(client)
    assert not other.requests


def test_a_redirect_to_an_allowed_host_is_followed_without_credentials(serve: Serve) -> None:
    storage = serve(lambda _: http(BLOB))

    def answer(request: str) -> bytes:
        if "Authorization: Basic" not in request:
            return http(b"", "401 Unauthorized", WWW_Authenticate='Basic realm="x"')
        return http(b"", "307 Temporary Redirect", Location=f"http://{storage.host}/signed?key=1")

    server = serve(answer)
    with client_of(server, storage.host, username="robot", password="secret") as client:
        assert pulled(client) == BLOB
    assert "authorization" not in storage.requests[0].lower()
    assert storage.requests[0].startswith("GET /signed?key=1 ")


def test_redirects_in_a_circle_end(serve: Serve) -> None:
    server = serve(lambda _: http(b"", "302 Found", Location="/v2/again"))
    with client_of(server) as client, pytest.raises(Invalid, match="in a circle or more than 5 times"):
        pulled(client)
    assert len(server.requests) <= 6
    numbers = iter(range(100))
    server = serve(lambda _: http(b"", "302 Found", Location=f"/v2/{next(numbers)}"))
    with client_of(server) as client, pytest.raises(Invalid, match="more than 5 times"):
        pulled(client)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "realm", ["http://{evil}/token", "http://169.254.169.254/", "http://[::1", "file:///x", "", "token", "https://"]
)
def test_credentials_go_to_no_token_server_that_is_not_allowed(serve: Serve, realm: str) -> None:
    evil = serve(lambda _: http(b'{"token":"x"}'))
    bearer = f'Bearer realm="{realm.format(evil=evil.host)}",service="s",scope="repository:a/b:pull"'
    server = serve(lambda _: http(b"", "401 Unauthorized", WWW_Authenticate=bearer))
    with client_of(server, username="robot", password="secret") as client, pytest.raises(NotAllowed, match="points to"):
        client.resolve("a/b", "latest")
    assert not evil.requests
    assert all("Authorization" not in request for request in server.requests), "not asked for Basic: not sent"


def test_a_token_server_is_asked_for_reading_alone(serve: Serve) -> None:
    tokens = serve(lambda _: http(json.dumps({"token": "good", "expires_in": 60}).encode()))

    def answer(request: str) -> bytes:
        if "Authorization: Bearer good" in request:
            return manifest()
        scope = "repository:a/b:pull,push,delete registry:catalog:*,x repository:z:delete"
        return http(b"", "401 Unauthorized", WWW_Authenticate=f'Bearer realm="http://{tokens.host}/t",scope="{scope}"')

    with client_of(serve(answer), tokens.host, username="robot", password="secret") as client:
        assert client.resolve("a/b", "latest").digest == IMAGE.digest
    line = tokens.requests[0].partition("\r\n")[0]
    assert line == "GET /t?scope=repository%3Aa%2Fb%3Apull+registry%3Acatalog%3A%2A HTTP/1.1"
    assert base64.b64encode(b"robot:secret").decode() in tokens.requests[0]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (http(b"{}"), Invalid, "no token"),
        (http(b'{"token": "a\\r\\nX-Evil: 1"}'), Invalid, "no token"),
        (http(b'{"token": 7}'), Invalid, "no token"),
        (http(b"not json"), Invalid, "not JSON"),
        (http(b"x" * 200_000), TooLarge, "more than 131,072 bytes"),
        (http(b"", "403 Forbidden"), NotAllowed, "refuses the user 'robot'"),
        (http(b"", "500 Oops"), Unavailable, "token server .* answers 500"),
        (http(b'{"token": "wrong"}'), NotAllowed, "refuses the user 'robot'"),
        (http(b"", "302 Found", Location="http://169.254.169.254/"), Invalid, "answers 302"),
    ],
)
def test_a_token_server_that_misbehaves(serve: Serve, answer: bytes, error: type[SecGuardError], words: str) -> None:
    tokens = serve(lambda _: answer)
    bearer = f'Bearer realm="http://{tokens.host}/t"'
    server = serve(lambda _: http(b"", "401 Unauthorized", WWW_Authenticate=bearer))
    client = client_of(server, tokens.host, username="robot", password="secret")
    with client, pytest.raises(error, match=words):
        client.resolve("a/b", "latest")


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "fe80::1%eth0", "224.0.0.1", "0.0.0.0", "::", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"],
)
def test_a_name_at_an_address_that_no_registry_has_is_not_connected_to(address: str) -> None:
    access = RegistryAccess("registry.example", uses_plain_http=True)
    client = RegistryClient(access, resolver=lambda *_: [address], sleep=lambda _: None)
    with client, pytest.raises(NotAllowed, match="no address that may be connected to"):
        client.ping()


def test_a_public_name_at_a_private_address_is_not_connected_to() -> None:
    for address in ("127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fd00:ec2::254", "100.64.0.1"):
        client = RegistryClient(RegistryAccess("docker.io"), resolver=lambda *_, a=address: [a])
        with client, pytest.raises(NotAllowed, match="not named in full"):
            client.ping()


def test_the_address_that_was_checked_is_the_one_connected_to(serve: Serve) -> None:
    """A name that answers with a good address once and a bad one afterwards gains nothing by it."""
    server = serve(lambda _: manifest())
    answers = [["127.0.0.1"]]
    access = RegistryAccess(f"registry.example:{server.host.partition(':')[2]}", uses_plain_http=True)
    with RegistryClient(
        access, resolver=lambda *_: answers.pop() if answers else ["169.254.169.254"], sleep=lambda _: None
    ) as client:
        assert client.resolve("a/b", "latest").digest == IMAGE.digest
        assert f"Host: {access.host}" in server.requests[0]
        with pytest.raises(NotAllowed):
            client.resolve("a/b", "latest")
    assert len(server.requests) == 1


def test_the_environment_adds_no_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(lambda _: manifest())
    server = serve(lambda _: manifest())
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{proxy.host}")
    with client_of(server) as client:
        client.resolve("a/b", "latest")
    assert (len(server.requests), len(proxy.requests)) == (1, 0)


# Lists ------------------------------------------------------------------------------------------------------


def page(names: list[str], following: str = "") -> bytes:
    link = {"Link": f'<{following}>; rel="next"'} if following else {}
    return http(json.dumps({"name": "a/b", "tags": names}).encode(), **link)


@pytest.mark.parametrize("grows", [True, False])
def test_a_list_without_end_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch, grows: bool) -> None:
    monkeypatch.setattr("secguard.images.adapters.registry._MAX_PAGES", 20)
    server = serve(lambda _: page([f"t{len(server.requests) if grows else 0}"], "/v2/a/b/tags/list?last=t&n=1"))
    with client_of(server) as client, pytest.raises(TooLarge, match="does not end"):
        client.tags("a/b")
    assert len(server.requests) == (20 if grows else 2)


def test_a_next_page_elsewhere_stays_here(serve: Serve) -> None:
    evil = serve(lambda _: page(["evil"]))
    server = serve(lambda _: page(["t1"], f"http://{evil.host}/v2/a/b/tags/list?last=t1") if first() else page(["t2"]))
    asked: list[int] = []

    def first() -> bool:
        asked.append(1)
        return len(asked) == 1

    with client_of(server) as client:
        assert client.tags("a/b") == ["t1", "t2"]
    assert not evil.requests


@pytest.mark.parametrize("names", ["[1]", '["a/b"]', '["a\\nb"]', '"\\u0000"', "{}", "7"])
def test_a_list_with_what_is_no_tag_is_refused(serve: Serve, names: str) -> None:
    server = serve(lambda _: http(f'{{"tags": {names}}}'.encode()))
    with client_of(server) as client, pytest.raises(Invalid):
        client.tags("a/b")


def test_no_tags_are_an_empty_list(serve: Serve) -> None:
    with client_of(serve(lambda _: http(b'{"name": "a/b", "tags": null}'))) as client:
        assert client.tags("a/b") == []


def test_what_progress_raises_ends_the_transfer_and_keeps_what_came(serve: Serve) -> None:
    class Cancelled(Exception):
        pass

    def stop(_: int) -> None:
        raise Cancelled

    into = VerifiedFile(io.BytesIO(), LAYER)
    with client_of(serve(lambda _: http(BLOB))) as client, pytest.raises(Cancelled):
        client.blob("a/b", into, stop)
    assert 0 < into.size < len(BLOB)
