"""Targets and events for them; receivers on real sockets: rsyslog with a certificate of its own, and a webhook."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.db import connections, transaction

from secguard.events.models import Event
from secguard.events.record import Kind, Line, story_of
from secguard.events.services.recording import record
from secguard.exports.models import ExportTarget
from secguard.exports.services import Start, TargetEdit, add_target

RSYSLOGD = shutil.which("rsyslogd") or next(filter(os.path.exists, ["/usr/sbin/rsyslogd"]), "")


@pytest.fixture
def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def tell(now: datetime) -> Callable[..., list[int]]:
    """So many events in one transaction, ``columns`` for all of them; returns their numbers."""

    def make(count: int = 1, **columns: Any) -> list[int]:
        facts = {"kind": Kind.PROCESS, "source": "falco", "title": "A shell was started", "at": now, **columns}
        lines = [Line(**{"story": story_of(n), "keep": True, **facts}) for n in range(count)]
        with transaction.atomic():
            record(lines, now)
            return sorted(Event.objects.order_by("-id").values_list("id", flat=True)[:count])

    return make


class FakeRun:
    """A job's run that holds its lease."""

    job_id = 1
    attempt = 1
    args: dict[str, Any] = {}

    def progress(self, text: str, done: int = 0, total: int = 0) -> None: ...

    def require_lease(self) -> None: ...


@pytest.fixture
def run() -> FakeRun:
    return FakeRun()


@pytest.fixture
def make_target(settings: Any) -> Callable[..., ExportTarget]:
    """A target at an address that the operator has named; ``target.secret`` is what its owner was shown."""

    def make(address: str, *, sink: str = "webhook", start: Start = Start.OLDEST, **edit: Any) -> ExportTarget:
        settings.WEBHOOK_HOSTS = [*settings.WEBHOOK_HOSTS, "127.0.0.1", "localhost"]
        asked = TargetEdit(**{"name": f"{sink} {address[-20:]}", "address": address, "format": "json", **edit})
        target, secret = add_target(asked, sink=sink, start=start, actor=None)
        target.secret = secret  # type: ignore[attr-defined]
        return target

    return make


# --- a webhook ---


@dataclass
class Receiver:
    """Takes what is posted. ``answers`` is how it answers next, the last one for ever: a status, ``stall`` (reads
    nothing until the test ends) or ``drop`` (closes in the middle). ``before_answer`` is told its number, from 1."""

    answers: list[int | str] = field(default_factory=lambda: [200])
    before_answer: Callable[[int], None] = lambda _: None
    taken: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    asked: int = 0
    port: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[int]:
        return [json.loads(line)["id"] for _, body in self.taken for line in body.decode().splitlines()]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.asked += 1
            answer = found.answers.pop(0) if len(found.answers) > 1 else found.answers[0]
            if answer == "stall":
                found.ended.wait(30)
                return
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if answer == "drop":
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            found.before_answer(found.asked)
            connections.close_all()  # this thread's own
            if answer == 200:
                found.taken.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(int(answer))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.port = server.server_address[1]
    yield found
    found.ended.set()
    server.shutdown()
    server.server_close()


# --- certificates ---


@dataclass
class Signed:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self.key.private_bytes(*form).decode()


def certificate(name: str, issuer: Signed | None = None) -> Signed:
    """A certificate for localhost, by ``issuer``; without one, a CA."""
    key, at = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if issuer:
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Signed(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


@pytest.fixture(scope="session")
def authority() -> Signed:
    return certificate("A CA of the test's own")


@pytest.fixture
def client_certificate(authority: Signed) -> Signed:
    return certificate("secguard", authority)


@pytest.fixture
def server_context(authority: Signed, tmp_path: Path) -> ssl.SSLContext:
    """TLS as a receiver on localhost speaks it."""
    own, file = certificate("localhost", authority), tmp_path / "receiver.pem"
    file.write_text(own.key_pem + own.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


# --- rsyslog ---


@dataclass
class Rsyslog:
    """The real one, on a port of loopback, writing each message as it came to a file."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    def start(self) -> None:
        command = [RSYSLOGD, "-n", "-f", str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "pid")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"rsyslog does not listen: {(self.folder / 'log').read_text()}")

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    @property
    def lines(self) -> list[str]:
        out = self.folder / "out"
        return out.read_text("utf-8").splitlines() if out.exists() else []

    def wait_for(self, count: int, seconds: float = 20) -> list[str]:
        until = time.monotonic() + seconds
        while len(self.lines) < count and time.monotonic() < until:
            time.sleep(0.05)
        return self.lines


@pytest.fixture
def rsyslog(request: pytest.FixtureRequest, authority: Signed, tmp_path: Path) -> Iterator[Rsyslog]:
    """``indirect`` parameter: an ``authMode`` (``anon``, ``x509/certvalid``), ``plain`` (no TLS), ``as documented``."""
    if not RSYSLOGD:
        if os.environ.get("CI"):
            pytest.fail("There is no rsyslogd; .ci/run installs Debian's packages rsyslog and rsyslog-gnutls.")
        pytest.skip("There is no rsyslogd here (Debian's packages rsyslog and rsyslog-gnutls).")
    own = certificate("localhost", authority)
    folder = tmp_path / "rsyslog"
    folder.mkdir()
    for name, text in (("ca.pem", authority.pem), ("own.pem", own.pem), ("own.key", own.key_pem)):
        (folder / name).write_text(text)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mode = getattr(request, "param", "anon")
    driver = "" if mode == "plain" else f'streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="{mode}"'
    if mode == "as documented":
        (folder / "rsyslog.conf").write_text(documented(folder, port))
    else:
        (folder / "rsyslog.conf").write_text(configured(folder, port, driver))
    found = Rsyslog(folder, port)
    found.start()
    yield found
    found.stop(signal.SIGKILL)


def documented(folder: Path, port: int) -> str:
    """What docs/siem.md shows, with the places of this test."""
    page = (Path(__file__).parents[2] / "docs" / "siem.md").read_text("utf-8")
    (shown,) = re.findall(r"^```rsyslog\n(.*?)^```", page, re.M | re.S)
    for there, here in (("/var/spool/rsyslog", folder), ("/etc/rsyslog", folder), ("/var/log/secguard", folder)):
        shown = shown.replace(there, str(here))
    return shown.replace('port="6514"', f'port="{port}" address="127.0.0.1"')


def configured(folder: Path, port: int, driver: str) -> str:
    return f"""
global(workDirectory="{folder}" maxMessageSize="16k" defaultNetstreamDriver="gtls"
       defaultNetstreamDriverCAFile="{folder}/ca.pem" defaultNetstreamDriverCertFile="{folder}/own.pem"
       defaultNetstreamDriverKeyFile="{folder}/own.key")
module(load="imtcp" {driver})
template(name="raw" type="string" string="%rawmsg%\\n")
ruleset(name="taken") {{ action(type="omfile" file="{folder}/out" template="raw") }}
input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="taken")
"""
