"""Real registries on this host: Debian's docker-registry, plain, behind TLS with a password, and behind a token server.

A test that asks for one is skipped where ``docker-registry`` is not installed (``apt-get install docker-registry``).
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from secguard.images.adapters.addresses import RegistryAccess
from tests.imagebuilding import BuiltImage, push

USER, PASSWORD = "robot", "only for tests"
# bcrypt of PASSWORD; docker-registry takes nothing else in an htpasswd file.
_HTPASSWD = f"{USER}:$2y$05$abcdefghijklmnopqrstuui3d48x2EmEcM8nS6p4.UqwA2W2X0bq2\n"
_READY_SECONDS = 20


@dataclass
class RunningRegistry:
    """A registry with how our client reaches it, and how a test writes to it."""

    access: RegistryAccess
    folder: Path
    process: subprocess.Popen[bytes]
    writer: httpx.Client
    asked: list[str] = field(default_factory=list)
    """What its token server was asked for: the scopes, with the user."""

    @property
    def host(self) -> str:
        return self.access.host

    def push(self, path: str, tag: str, image: BuiltImage) -> str:
        """Write an image under a tag; returns its digest."""
        push(self.writer, path, tag, image)
        return image.digest

    def blob_file(self, digest: str) -> Path:
        """Where it keeps a blob, for tests that damage one."""
        name = digest.partition(":")[2]
        return self.folder / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"


class CertificateAuthority:
    """A CA of the test's own, and certificates for 127.0.0.1 that it signs."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("tests' CA", self.key.public_key(), is_ca=True)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def write(self, folder: Path, *, is_expired: bool = False) -> tuple[Path, Path]:
        """A new certificate for 127.0.0.1 and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign("127.0.0.1", key.public_key(), is_ca=False, is_expired=is_expired)
        crt, pem = folder / "registry.crt", folder / "registry.key"
        crt.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        pem.write_bytes(private_pem(key))
        return crt, pem

    def _sign(
        self, name: str, key: ec.EllipticCurvePublicKey, is_ca: bool, is_expired: bool = False
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2 * is_expired)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests' CA")])
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .sign(self.key, hashes.SHA256())
        )


class TokenServer:
    """Docker's token authentication: USER with PASSWORD gets what is asked for, others may pull ``public/…``."""

    issuer, service = "tests' token server", "tests' registry"

    def __init__(self) -> None:
        self.authority = CertificateAuthority()
        self.asked: list[str] = []
        self.expires_in = 300
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                raw, status = server.answer(self.path, self.headers.get("authorization", ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *args: Any) -> None:
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.http.server_address[1]}"
        Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, path: str, authorization: str) -> tuple[bytes, int]:
        query = parse_qs(urlsplit(path).query)
        scopes = query.get("scope", [])
        who = ""
        if authorization.startswith("Basic "):
            who, _, password = base64.b64decode(authorization[6:]).decode().partition(":")
            if (who, password) != (USER, PASSWORD):
                return b'{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}', 401
        self.asked += [f"{who}@{scope}" for scope in scopes]
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            if who or (name.startswith("public/") and actions == "pull"):
                access.append({"type": kind, "name": name, "actions": actions.split(",")})
        return json.dumps({"token": self.token(who, access), "expires_in": self.expires_in}).encode(), 200

    def token(self, subject: str, access: list[dict[str, Any]]) -> str:
        """An ES256 JWT whose ``kid`` is the key's fingerprint as libtrust writes it."""
        now = int(time.time())
        claims = {"iss": self.issuer, "sub": subject, "aud": self.service, "exp": now + 300, "nbf": now - 10}
        key = self.authority.key
        der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        name = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
        kid = ":".join(name[i : i + 4] for i in range(0, len(name), 4))
        header = {"typ": "JWT", "alg": "ES256", "kid": kid}
        signed = f"{_b64(json.dumps(header).encode())}.{_b64(json.dumps({**claims, 'access': access}).encode())}"
        r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{signed}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


Start = Callable[..., RunningRegistry]


@pytest.fixture(scope="session")
def start_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts one more registry: ``start_registry(auth=…, tls=(crt, key), notifications=…, access=…)``.

    ``folder`` is where it keeps all, ``storage`` and ``validation`` are more of its settings.
    """
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs docker-registry (Debian's package of that name)")
    running: list[RunningRegistry] = []

    def start(
        *,
        auth: dict[str, Any] | None = None,
        tls: tuple[Path, Path] | None = None,
        ca: str = "",
        notifications: dict[str, Any] | None = None,
        port: int = 0,
        folder: Path | None = None,
        storage: dict[str, Any] | None = None,
        validation: dict[str, Any] | None = None,
        **access: Any,
    ) -> RunningRegistry:
        folder = folder or tmp_path_factory.mktemp("registry")
        port = port or free_port()
        http: dict[str, Any] = {"addr": f"127.0.0.1:{port}", "secret": "tests"}
        if tls:
            http["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
        settings: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder)}, "delete": {"enabled": True}} | (storage or {}),
            "http": http,
        }
        settings |= {"auth": auth} if auth else {}
        settings |= {"notifications": notifications} if notifications else {}
        settings |= {"validation": validation} if validation else {}
        (folder / "config.yml").write_text(yaml.safe_dump(settings))
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
        allowed = RegistryAccess(f"127.0.0.1:{port}", uses_plain_http=not tls, ca_certificate=ca, **access)
        verify: ssl.SSLContext | bool = ssl.create_default_context(cadata=ca) if tls else False
        writer = httpx.Client(base_url=allowed.api, verify=verify, trust_env=False, timeout=30)
        registry = RunningRegistry(allowed, folder, process, writer)
        running.append(registry)
        _wait(registry)
        return registry

    yield start
    for registry in running:
        registry.writer.close()
        registry.process.kill()
        registry.process.wait()


def _wait(registry: RunningRegistry) -> None:
    ends = time.monotonic() + _READY_SECONDS
    while time.monotonic() < ends and registry.process.poll() is None:
        try:
            registry.writer.get("/v2/")
        except httpx.TransportError as error:
            if "certificate has expired" in str(error):
                return
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"docker-registry did not start: {(registry.folder / 'log').read_text()[-2000:]}")


@pytest.fixture(scope="session")
def real_image(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """An OCI layout of real packages: ``real_image("alpine")``, see ``scripts/make-test-images`` for the names.

    Skips where that image cannot be made here. It is made once a session; ``read_layout`` gives what can be pushed.
    """
    script = Path(__file__).parents[1] / "scripts" / "make-test-images"
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp("images")
            run = subprocess.run([sys.executable, script, folder, name], capture_output=True, text=True, check=False)
            if run.returncode:
                pytest.skip(f"scripts/make-test-images cannot make {name!r} here: {run.stderr[-300:]}")
            made[name] = folder / name
        return made[name]

    return make


@pytest.fixture(scope="session")
def plain_registry(start_registry: Start) -> RunningRegistry:
    """Plain HTTP, open to everybody."""
    return start_registry()


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="session")
def secure_registry(
    start_registry: Start, authority: CertificateAuthority, tmp_path_factory: pytest.TempPathFactory
) -> RunningRegistry:
    """TLS by the test's CA, and a user with a password."""
    folder = tmp_path_factory.mktemp("secure")
    (folder / "htpasswd").write_text(_HTPASSWD)
    auth = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    registry = start_registry(
        auth=auth, tls=authority.write(folder), ca=authority.pem, username=USER, password=PASSWORD
    )
    registry.writer.auth = httpx.BasicAuth(USER, PASSWORD)
    return registry


@pytest.fixture(scope="session")
def token_server() -> Iterator[TokenServer]:
    server = TokenServer()
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture(scope="session")
def token_registry(
    start_registry: Start, token_server: TokenServer, tmp_path_factory: pytest.TempPathFactory
) -> RunningRegistry:
    """Plain HTTP behind Docker's token authentication."""
    bundle = tmp_path_factory.mktemp("token") / "bundle.pem"
    bundle.write_text(token_server.authority.pem)
    token = {
        "realm": f"http://{token_server.host}/token",
        "service": token_server.service,
        "issuer": token_server.issuer,
        "rootcertbundle": str(bundle),
    }
    registry = start_registry(
        auth={"token": token}, username=USER, password=PASSWORD, allowed_hosts=(token_server.host,)
    )
    registry.asked = token_server.asked
    registry.writer.auth = _TokenAuth(token_server)
    return registry


class _TokenAuth(httpx.Auth):
    """Writes with a token that may do everything in the repository of the request."""

    def __init__(self, server: TokenServer) -> None:
        self._server = server

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        parts = request.url.path.split("/")
        at = next((i for i, part in enumerate(parts) if part in ("blobs", "manifests", "tags")), len(parts))
        access = [{"type": "repository", "name": "/".join(parts[2:at]), "actions": ["pull", "push"]}]
        request.headers["Authorization"] = f"Bearer {self._server.token('writer', access)}"
        yield request
