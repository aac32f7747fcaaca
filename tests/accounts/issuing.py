"""An OpenID issuer on this host: a real HTTP server with real keys, whose answers a test can spoil."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE = "https://secguard.example"
GITHUB = {
    "sub": "repo:acme/shop:ref:refs/heads/main",
    "repository": "acme/shop",
    "repository_id": "1296269",
    "ref": "refs/heads/main",
    "ref_type": "branch",
    "event_name": "push",
    "run_id": "17",
    "job_workflow_ref": "acme/shop/.github/workflows/image.yml@refs/heads/main",
}
"""The claims of a job's token as GitHub documents them ("OpenID Connect reference")."""

_RSA = {bits: rsa.generate_private_key(65537, bits) for bits in (2048,)}
_SPARE = rsa.generate_private_key(65537, 2048)
PRIVATE: dict[str, Any] = {
    "RS256": _RSA[2048],
    "PS256": _RSA[2048],
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def jwk(algorithm: str, key_id: str, private: Any = None) -> dict[str, Any]:
    key = (private or PRIVATE[algorithm]).public_key()
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(key, as_dict=True)
    return {**made, "kid": key_id, "use": "sig", "alg": algorithm}


class Issuer:
    """``url`` issues; ``token`` signs; ``answers`` maps a path to what is served instead of the right thing."""

    def __init__(self) -> None:
        self.keys = [jwk("RS256", "one"), jwk("ES256", "two"), jwk("EdDSA", "three"), jwk("ES384", "four")]
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.asked: list[str] = []
        self.posted: list[dict[str, str]] = []
        self.url = ""

    def description(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
        }

    def token(self, algorithm: str = "RS256", key_id: str = "one", private: Any = None, **changes: Any) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 300, "jti": "a-job", **GITHUB}
        claims = {name: value for name, value in (claims | changes).items() if value is not None}
        return jwt.encode(claims, private or PRIVATE[algorithm], algorithm, headers={"kid": key_id})

    def rotate(self, key_id: str) -> Any:
        """A new key in the place of all; returns its private part."""
        private = rsa.generate_private_key(65537, 2048)
        self.keys = [jwk("RS256", key_id, private)]
        return private


def serve_json(document: Any, status: int = 200) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        raw = document if isinstance(document, bytes) else json.dumps(document).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(raw)))
        handler.end_headers()
        handler.wfile.write(raw)

    return answer


@contextmanager
def running() -> Iterator[Issuer]:
    issuer = Issuer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            issuer.asked.append(path)
            if path in issuer.answers:
                issuer.answers[path](self)
            elif path == "/.well-known/openid-configuration":
                serve_json(issuer.description())(self)
            elif path == "/keys":
                serve_json({"keys": issuer.keys})(self)
            else:
                serve_json({}, 404)(self)

        def do_POST(self) -> None:
            path = urlsplit(self.path).path
            raw = self.rfile.read(int(self.headers["Content-Length"])).decode()
            posted = {name: values[0] for name, values in parse_qs(raw).items()}
            issuer.posted.append({**posted, "authorization": self.headers.get("Authorization", "")})
            issuer.answers.get(path, serve_json({"error": "invalid_client"}, 401))(self)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    issuer.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
