"""What an issuer publishes: its configuration and its keys (OpenID Connect Discovery 1.0).

Whom to ask is what an administrator entered; where that one points to is checked before anything is sent there. Both
answers are bounded in size and time, and no redirect is followed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from secguard.accounts import assertion
from secguard.errors import Invalid, NotAllowed, Unavailable
from secguard.outbound.addresses import Destination
from secguard.outbound.connections import CheckedTransport, Patience, tls_context

MAX_BYTES = 262_144
PATIENCE = Patience(connect=5.0, read=5.0, window=5.0, bytes_a_second=512.0)
TOTAL_SECONDS = 10.0
DISCOVERY = "/.well-known/openid-configuration"


def fetch_keys(issuer: str) -> list[dict[str, Any]]:
    """The keys that the issuer signs with now.

    Raises ``Unavailable`` with what happened: it cannot be reached, or answers with something else.
    """
    document = fetch_configuration(issuer)
    keys = get_json(endpoint(document, "jwks_uri", issuer), issuer)
    try:
        return assertion.read_keys(keys)
    except Invalid as error:
        raise _unavailable(issuer, f"its keys cannot be used. {error.detail}") from None


def fetch_configuration(issuer: str) -> dict[str, Any]:
    """The issuer's own description, once it names itself as it was asked for."""
    document = get_json(issuer.rstrip("/") + DISCOVERY, issuer)
    if document.get("issuer") != issuer:
        raise _unavailable(issuer, f"it calls itself {str(document.get('issuer'))[:100]!r}; the two must be the same")
    return document


def endpoint(document: Mapping[str, Any], name: str, issuer: str) -> str:
    """The address that the issuer's description has under ``name``."""
    found = document.get(name)
    if not isinstance(found, str) or not found or len(found) > 2_000:
        raise _unavailable(issuer, f"its description has no {name}")
    return found


def get_json(url: str, issuer: str) -> dict[str, Any]:
    """The JSON object at ``url``; private addresses only at the host that the issuer itself has."""
    return _ask("GET", url, issuer)


def post_form(url: str, issuer: str, form: Mapping[str, str], *, auth: tuple[str, str] | None = None) -> dict[str, Any]:
    """The JSON object that a form is answered with."""
    return _ask("POST", url, issuer, form=form, auth=auth)


def _ask(
    method: str,
    url: str,
    issuer: str,
    *,
    form: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> dict[str, Any]:
    transport = CheckedTransport(_destination(url, issuer), tls_context(""), PATIENCE)
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "secguard"}
    body = urlencode(form).encode() if form is not None else None
    headers |= {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}
    try:
        with (
            httpx.Client(transport=transport, headers=headers) as client,
            client.stream(method, url, content=body, auth=auth) as answer,
        ):
            raw = _read(answer, issuer)
            if answer.status_code != httpx.codes.OK:
                raise _unavailable(issuer, f"{_host(url)} answers {answer.status_code}{_said(raw)}")
    except NotAllowed as error:
        raise _unavailable(issuer, error.detail) from None
    except httpx.HTTPError as error:
        raise _unavailable(issuer, f"{_host(url)} could not be asked ({type(error).__name__}: {error})") from None
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _unavailable(issuer, f"{_host(url)} answers with something that is no JSON object")
    return found


def _read(answer: httpx.Response, issuer: str) -> bytes:
    until, raw = time.monotonic() + TOTAL_SECONDS, b""
    for part in answer.iter_raw():
        raw += part
        if len(raw) > MAX_BYTES:
            raise _unavailable(issuer, f"it answers with more than {MAX_BYTES:,} bytes")
        if time.monotonic() > until:
            raise _unavailable(issuer, f"its answer was not there after {TOTAL_SECONDS:g} seconds")
    return raw


def _said(raw: bytes) -> str:
    """OAuth's own word for a refusal (RFC 6749 section 5.2), where it is one."""
    try:
        word = json.loads(raw).get("error")
    except (ValueError, AttributeError, RecursionError):
        return ""
    return f" ({word[:60]})" if isinstance(word, str) and word.isprintable() else ""


def _destination(url: str, issuer: str) -> Destination:
    """Where ``url`` leads: to the issuer's own host, which may stand in this network, or to a public one by https."""
    asked, own = urlsplit(url), urlsplit(issuer)
    try:
        port = asked.port or (443 if asked.scheme == "https" else 80)
    except ValueError:
        raise _unavailable(issuer, f"it points to {url[:100]!r}, which is no address") from None
    is_own = bool(asked.hostname) and asked.hostname == own.hostname
    schemes = ("https", own.scheme) if is_own else ("https",)
    if asked.scheme not in schemes or not asked.hostname or asked.username is not None:
        raise _unavailable(issuer, f"it points to {url[:100]!r}; expected an https address")
    return Destination(asked.scheme, asked.hostname, port, is_named=is_own)


def _host(url: str) -> str:
    return urlsplit(url).hostname or "it"


def _unavailable(issuer: str, why: str) -> Unavailable:
    return Unavailable(f"The issuer {issuer} is of no help now: {why}.", code="issuer-unavailable", retry_after=60)
