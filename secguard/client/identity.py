"""A token without a secret: what the pipeline's own system signs for this job is exchanged for one of the server's.

Where SECGUARD_TOKEN is not set, the job's token is looked for, in this order: SECGUARD_ID_TOKEN (GitLab's ``id_tokens``
put it there), the file that SECGUARD_ID_TOKEN_FILE names (Kubernetes projects one), and GitHub Actions' own request,
for which the job needs ``permissions: id-token: write``. No token is ever shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx

from secguard.client.rest import CouldNotTell, Deadline, Server

EXCHANGE = "/api/v1/token-exchange/"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
SECONDS = 60
MAX_BYTES = 16_384
_HERE = ("localhost", "127.0.0.1", "::1")


def job_token(env: Mapping[str, str], url: str, transport: httpx.BaseTransport | None = None) -> str:
    """The token that the pipeline's system signed for this job; empty where it offers none."""
    if given := env.get("SECGUARD_ID_TOKEN", "").strip():
        return given
    if path := env.get("SECGUARD_ID_TOKEN_FILE", "").strip():
        return _from_file(path)
    if env.get("ACTIONS_ID_TOKEN_REQUEST_URL") and env.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        return _from_github(env, env.get("SECGUARD_AUDIENCE", "").strip() or url, transport)
    return ""


def exchanged(server: Server, token: str, env: Mapping[str, str], deadline: Deadline | None = None) -> str:
    """The server's token for the job's. ``CouldNotTell`` with the server's words where it takes none."""
    form = {"grant_type": GRANT_TYPE, "subject_token": token, "subject_token_type": JWT}
    if scope := env.get("SECGUARD_IDENTITY", "").strip():
        form["scope"] = scope
    # Sent again while the server fetches its issuer's keys or starts: exchanging twice changes nothing.
    answer = server.send("POST", EXCHANGE, deadline or Deadline(SECONDS), data=form)
    made = answer.get("access_token")
    if not isinstance(made, str) or not made:
        raise CouldNotTell(f"{server.url} answers the exchange of the job's token with none of its own.")
    return made


def _from_file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CouldNotTell(f"SECGUARD_ID_TOKEN_FILE {path} cannot be read: {error.strerror}.") from error
    text = raw.decode("ascii", "replace").strip()
    if not text or len(raw) > MAX_BYTES or "\ufffd" in text:
        raise CouldNotTell(f"SECGUARD_ID_TOKEN_FILE {path} holds no token.")
    return text


def _from_github(env: Mapping[str, str], audience: str, transport: httpx.BaseTransport | None) -> str:
    """As GitHub documents it ("OpenID Connect reference"): its URL with the audience, its own bearer token."""
    address = env["ACTIONS_ID_TOKEN_REQUEST_URL"]
    parts = urlsplit(address)
    if parts.scheme != "https" and parts.hostname not in _HERE:
        raise CouldNotTell("ACTIONS_ID_TOKEN_REQUEST_URL is no https address; is this GitHub Actions?")
    joined = f"{address}{'&' if parts.query else '?'}audience={quote(audience, safe='')}"
    headers = {"Authorization": f"bearer {env['ACTIONS_ID_TOKEN_REQUEST_TOKEN']}", "Accept": "application/json"}
    try:
        with httpx.Client(transport=transport, timeout=20.0) as client:
            answer = client.get(joined, headers=headers)
            value = answer.json().get("value") if answer.is_success else None
    except (httpx.HTTPError, ValueError, AttributeError) as error:
        raise CouldNotTell(f"GitHub gave no token for this job ({type(error).__name__}).") from error
    if not isinstance(value, str) or not value:
        raise CouldNotTell(f"GitHub gave no token for this job (it answers {answer.status_code}).")
    return value
