"""The proxy that stands in the cluster, in a real nginx: what it adds, whom it believes, and how it is renewed."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from secguard.client.certificate import Authority, Place, now
from tests.fixtures_registries import free_port

MANIFEST = Path(__file__).parents[2] / "deploy" / "kubernetes" / "proxy.yaml"
TOKEN = "sgk_only-for-tests"


def put(folder: Path, authority: Authority, place: Place) -> None:
    """A new certificate and key in ``folder``, as a secret's volume holds them."""
    folder.mkdir(exist_ok=True)
    secret = yaml.safe_load(authority.serving(place, 1, now()).secret(place, authority))
    for name, value in secret["data"].items():
        (folder / name).write_bytes(base64.b64decode(value))


class Upstream:
    """SecGuard's place, over TLS as ``localhost.a.svc``; it keeps what it was asked and answers ``{}``."""

    def __init__(self, folder: Path) -> None:
        self.place, self.asked = Place("a", "localhost"), list[tuple[str, str, str, int]]()
        put(folder, Authority.make(now()), self.place)
        self.ca = folder / "ca.crt"
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = len(self.rfile.read(int(self.headers["Content-Length"])))
                asked.append((self.path, self.headers["Authorization"], self.headers["Host"], length))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args: Any) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    made = Upstream(tmp_path / "upstream")
    yield made
    made.http.shutdown()
    made.http.server_close()


def written(folder: Path, upstream: Upstream, port: int, believed: Path) -> str:
    """The manifest's own configuration, with the addresses and files of this test."""
    (config,) = [d for d in yaml.safe_load_all(MANIFEST.read_text()) if d["kind"] == "ConfigMap"]
    text: str = config["data"]["admission.conf.template"]
    for former, here in {
        "https://${SECGUARD_HOST}": f"https://127.0.0.1:{upstream.port}",
        "${SECGUARD_HOST}": upstream.place.host,
        "${SECGUARD_CLUSTER_TOKEN}": TOKEN,
        "default /tls;": f"default {folder / 'tls'};",
        "listen 8443": f"listen 127.0.0.1:{port}",
        "/etc/ssl/certs/ca-certificates.crt": str(believed),
    }.items():
        assert former in text
        text = text.replace(former, here)
    assert "${" not in text
    paths = "".join(f"{n}_temp_path {folder}/{n};" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers, which read the key, are somebody else
    return f"{user} daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {paths} {text} }}"


Ask = Callable[..., tuple[int, str]]


@pytest.fixture
def start(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[[Path], Ask]]:
    """Starts the proxy, believing the file of authorities; asks it with a body, by the CA of its certificate."""
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        pytest.skip("needs nginx on the PATH (scripts/get-programs)")
    running: list[subprocess.Popen[bytes]] = []
    authority, port = Authority.make(now()), free_port()
    put(tmp_path / "tls", authority, Place())

    def ask(path: str, body: bytes = b"{}", ca: Authority = authority) -> tuple[int, str]:
        context = ssl.create_default_context(cadata=ca.pem.decode())
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        with plain, context.wrap_socket(plain, server_hostname=Place().host) as secured:
            serial = str(secured.getpeercert()["serialNumber"])  # type: ignore[index]
            connection = http.client.HTTPConnection("proxy")
            connection.sock = secured
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            return answer.status, serial

    def begin(believed: Path) -> Ask:
        config = tmp_path / "nginx.conf"
        config.write_text(written(tmp_path, upstream, port, believed))
        running.append(subprocess.Popen([program, "-e", "stderr", "-p", str(tmp_path), "-c", str(config)]))
        for _ in range(100):
            try:
                ask("/healthz")
            except ConnectionRefusedError:
                assert running[-1].poll() is None, "nginx did not start"
                time.sleep(0.05)
            else:
                return ask
        raise AssertionError("nginx does not answer")

    yield begin
    for process in running:
        process.terminate()
        process.wait(10)


def test_it_adds_the_token_and_passes_on_what_is_asked(start: Any, upstream: Upstream) -> None:
    ask = start(upstream.ca)
    large = json.dumps({"padding": "x" * 3_000_000}).encode()
    assert ask("/admission/v1/validate", large)[0] == 200
    assert ask("/admission/v1/mutate")[0] == 200
    bearer, host = f"Bearer {TOKEN}", upstream.place.host
    assert upstream.asked == [
        ("/admission/v1/validate", bearer, host, len(large)),
        ("/admission/v1/mutate", bearer, host, 2),
    ]


def test_nothing_else_of_secguard_is_reached_through_it(start: Any, upstream: Upstream) -> None:
    ask = start(upstream.ca)
    assert [ask(path)[0] for path in ("/api/v1/decisions/", "/", "/admission/v1/../../api/v1/images/")] == [404] * 3
    assert ask("/admission/v1/validate", b"x" * (9 * 2**20))[0] == 413
    assert upstream.asked == []


def test_the_token_goes_to_nobody_that_is_not_believed(start: Any, upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(Authority.make(now()).pem)
    assert start(tmp_path / "other.pem")("/admission/v1/validate")[0] == 502
    assert upstream.asked == []


def test_a_renewed_certificate_serves_without_a_restart(start: Any, upstream: Upstream, tmp_path: Path) -> None:
    ask = start(upstream.ca)
    other = Authority.make(now())
    _, before = ask("/healthz")
    put(tmp_path / "tls", other, Place())
    _, after = ask("/healthz", ca=other)
    assert before != after
