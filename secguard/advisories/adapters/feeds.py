"""A feed fetched into a file: https, bounded, asked for only where it changed, from the host that is named alone."""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from secguard.errors import Invalid, TooLarge, Unavailable

CONNECT_SECONDS = 15.0
STALL_SECONDS = 60.0
TOTAL_SECONDS = 3600.0
_CHUNK = 2**18
_AGENT = "secguard"

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Progress = Callable[[int, int], None]


class Fetched(NamedTuple):
    is_unchanged: bool
    etag: str = ""
    last_modified: str = ""


def fetch(
    url: str,
    into: Path,
    *,
    etag: str = "",
    last_modified: str = "",
    max_bytes: int,
    progress: Progress = lambda done, total: None,
    transport: httpx.BaseTransport | None = None,
) -> Fetched:
    """Write what lies at ``url`` into ``into``, unless the server says that it is what we have.

    No redirect is followed: a feed that moved is named, and a person decides. Raises ``Invalid`` for an address that
    may not be asked, ``TooLarge``, and ``Unavailable`` with what happened and what to do.
    """
    require_address(url)
    headers = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
    headers |= {"If-None-Match": etag} if etag else {}
    headers |= {"If-Modified-Since": last_modified} if last_modified else {}
    timeout = httpx.Timeout(STALL_SECONDS, connect=CONNECT_SECONDS)
    try:
        # Proxies and certificates as the environment says; a site behind a proxy has no other way out.
        with (
            httpx.Client(timeout=timeout, transport=transport) as client,
            client.stream("GET", url, headers=headers) as a,
        ):
            if a.status_code == httpx.codes.NOT_MODIFIED:
                return Fetched(True, etag, last_modified)
            _require_peer(a)
            _require_answer(a, url)
            _write(a, into, max_bytes, progress)
            return Fetched(False, a.headers.get("ETag", "")[:200], a.headers.get("Last-Modified", "")[:100])
    except httpx.HTTPError as error:
        raise Unavailable(
            f"{_host(url)} could not be asked ({type(error).__name__}: {error}). Can this host reach it, or is a "
            "mirror or a proxy (HTTPS_PROXY) to be set? A site without a way out imports files.",
            code="feed-unreachable",
            retry_after=900,
        ) from error


def require_address(url: str) -> None:
    """Raise ``Invalid`` unless ``url`` is https to a host by name, or by an address that is no one's own.

    http is taken from this host itself alone: a mirror beside the server. Link-local addresses (a cloud's metadata),
    multicast and unspecified ones are never asked, whatever name leads there.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise Invalid(f"{url[:200]!r} is no address: {error}.", code="feed-url", where="url") from error
    host = parts.hostname or ""
    local = host in ("localhost", "127.0.0.1", "::1")
    if not host or parts.username or parts.password or parts.scheme not in ("https", "http"):
        raise Invalid(
            f"{url[:200]!r} is not taken as a feed's address; expected https://host/path without a password.",
            code="feed-url",
            where="url",
        )
    if parts.scheme == "http" and not local:
        raise Invalid(f"{host} is named with http; a feed is fetched with https.", code="feed-url", where="url")
    for address in _addresses(host, port):
        _require_ordinary(host, address)


def _require_ordinary(host: str, address: Address) -> None:
    address = getattr(address, "ipv4_mapped", None) or address
    reserved = address.is_reserved and not address.is_loopback
    if address.is_link_local or address.is_multicast or address.is_unspecified or reserved:
        raise Invalid(
            f"{host} leads to {address}, which no feed may have (link-local, multicast or reserved).",
            code="feed-url",
            where="url",
        )


def _addresses(host: str, port: int) -> list[Address]:
    """What the name leads to; nothing where it is not known here (a proxy may know it)."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return [ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in found]


def _require_peer(answer: httpx.Response) -> None:
    """Who answered, whatever the name led to a moment before."""
    stream = answer.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream is not None else None
    if peer:
        _require_ordinary(_host(str(answer.url)), ipaddress.ip_address(str(peer[0]).partition("%")[0]))


def _require_answer(answer: httpx.Response, url: str) -> None:
    if answer.is_redirect:
        raise Unavailable(
            f"{_host(url)} sends on to {answer.headers.get('Location', '?')[:300]}: no redirect is followed. If "
            "that is where the feed lies now, set its address.",
            code="feed-moved",
            retry_after=3600,
        )
    if answer.status_code != httpx.codes.OK:
        raise Unavailable(
            f"{_host(url)} answers {answer.status_code} {answer.reason_phrase}. Is the address right?",
            code="feed-refused",
            retry_after=900,
        )


def _write(answer: httpx.Response, into: Path, max_bytes: int, progress: Progress) -> None:
    told = answer.headers.get("Content-Length", "")
    total, done, until = int(told) if told.isdigit() else 0, 0, time.monotonic() + TOTAL_SECONDS
    if total > max_bytes:
        raise _too_large(max_bytes)
    descriptor = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        for part in answer.iter_raw(_CHUNK):
            done += len(part)
            if done > max_bytes:
                raise _too_large(max_bytes)
            if time.monotonic() > until:
                raise Unavailable("The feed was not there after an hour.", code="feed-stalled", retry_after=3600)
            file.write(part)
            progress(done, total)
    if total and done != total:
        raise Unavailable(f"The feed broke off after {done:,} of {total:,} bytes.", code="feed-cut", retry_after=60)


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(
        f"The feed has more than {max_bytes:,} bytes, which is what one may have (SECGUARD_MAX_FEED_BYTES).",
        code="feed-too-large",
    )


def _host(url: str) -> str:
    return urlsplit(url).hostname or "The feed's host"
