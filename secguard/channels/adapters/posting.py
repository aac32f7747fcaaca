"""Post one body to one address that people named: to an address that was checked, bounded in size and time.

Whoever sets up a channel chooses where this server connects. So an address inside the network is refused (cloud
credentials, databases, this server itself), when the channel is saved and again whenever something is sent, at the very
address that is connected to: a name may be given another one in between. The operator names the hosts inside that may
be posted to (SECGUARD_WEBHOOK_HOSTS).
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLong
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from secguard.errors import Invalid, NotAllowed, SecGuardError, Unavailable
from secguard.outbound import connections
from secguard.outbound.addresses import Destination, is_named_by, permitted
from secguard.outbound.connections import CheckedTransport, Patience, Resolver

MAX_URL = 2_000
MAX_ANSWER = 16 * 1024
"""Bytes of an answer that are read; only its first words are ever shown."""

PATIENCE = Patience(connect=5.0, read=10.0, window=10.0, bytes_a_second=MAX_ANSWER / 10)
"""Slower than that, an answer of ``MAX_ANSWER`` would take longer than the window."""

MAX_ADDRESSES = 3
LOOK_UP_SECONDS = 5.0
RETRY_AFTER = 60
LONGEST_RETRY = 3_600
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int


def destination(url: str, named_hosts: Sequence[str]) -> Destination:
    """Where ``url`` leads. Raises ``Invalid`` where nothing may be posted to it, whatever its address is.

    ``named_hosts`` are those (``host`` or ``host:port``) that the operator lets be inside the network, and be spoken to
    without TLS.
    """
    if len(url) > MAX_URL or any(not 32 < ord(c) < 127 for c in url):
        raise _bad("it is too long, or holds spaces or characters outside of ASCII (write xn--… for such a host)")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
        # Whoever connects reads it as well: it must be one address to both (010.8.8.8 is none to it).
        read = httpx.URL(url).host.rstrip(".") if host else ""
    except (ValueError, httpx.InvalidURL):
        raise _bad("it is no URL") from None
    if parts.scheme not in _PORTS or not host:
        raise _bad("it does not begin with https://host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise _bad("it holds a user name, a password or a fragment (#…)")
    if read != host:
        raise _bad("its host can be read in two ways")
    port = port or _PORTS[parts.scheme]
    is_named = is_named_by(named_hosts, host, port)
    if parts.scheme == "http" and not is_named:
        raise _bad("http:// would let everybody on the way read and change what is told")
    return Destination(parts.scheme, host, port, is_named)


def _bad(why: str) -> Invalid:
    return Invalid(
        f"The address cannot be posted to: {why}. Expected one like https://hooks.example.org/….",
        code="channel-url",
        where="url",
    )


def check(url: str, named_hosts: Sequence[str], *, resolver: Resolver = connections.resolve) -> Destination:
    """Where ``url`` leads, if something may be posted there now; asks for the host's addresses. Raises ``Invalid``."""
    to = destination(url, named_hosts)
    pool = ThreadPoolExecutor(1)
    try:
        permitted(pool.submit(resolver, to.host, to.port).result(LOOK_UP_SECONDS), to)
    except (OSError, UnicodeError, TooLong):
        raise Invalid(
            f"The name {to.host} has no address that could be found; expected a host that this server can reach.",
            code="channel-host",
            where="url",
        ) from None
    except NotAllowed as error:
        raise Invalid(f"{error.detail} {_WAY_OUT}", code="channel-inside", where="url") from None
    finally:
        pool.shutdown(wait=False)
    return to


_WAY_OUT = (
    "Only what is outside is asked and posted to; for a host inside the network the operator names it in "
    "SECGUARD_WEBHOOK_HOSTS."
)


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    named_hosts: Sequence[str],
    *,
    resolver: Resolver = connections.resolve,
    patience: Patience = PATIENCE,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Post JSON, or what ``headers`` say it is; returns once the receiver has taken it (2xx).

    Raises ``Invalid`` or ``NotAllowed`` where this may not be posted there, ``Unavailable`` where it may be tried again
    (``retry_after``: what the receiver asked for), with code ``gone`` where the receiver wants none any more (410).
    """
    to = destination(url, named_hosts)

    def few(host: str, port: int) -> list[str]:
        return resolver(host, port)[:MAX_ADDRESSES]

    transport = CheckedTransport(to, context or connections.tls_context(""), patience, few)
    sent = {"Content-Type": "application/json", "User-Agent": "SecGuard", "Accept-Encoding": "identity", **headers}
    try:
        with (
            httpx.Client(transport=transport, follow_redirects=False, trust_env=False) as client,
            client.stream("POST", url, content=body, headers=sent) as response,
        ):
            return _taken(response, to)
    except httpx.TimeoutException as error:
        raise _away(to, "it did not answer in time") from error
    except httpx.HTTPError as error:
        raise _away(to, f"the connection failed ({_words(str(error)) or type(error).__name__})") from error


def _taken(response: httpx.Response, to: Destination) -> Answer:
    """The answer where it is one of success; what it says is read only as far as it is shown."""
    status = response.status_code
    if 200 <= status < 300:
        return Answer(status)
    said = _beginning(response)
    if 300 <= status < 400:
        raise _away(to, f"it answered {status}, a redirect, which is not followed; set the final address", status)
    if status == httpx.codes.GONE:
        raise Unavailable(f"{to.host} answered 410: it wants no more of this.", code="gone", status=status)
    raise _away(to, f"it answered {status}" + (f": {said}" if said else ""), status, _retry_after(response))


def _beginning(response: httpx.Response) -> str:
    read = b""
    for chunk in response.iter_raw():
        read += chunk
        if len(read) >= MAX_ANSWER:
            break
    return _words(read[:MAX_ANSWER].decode("utf-8", "replace"))


def _words(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _retry_after(response: httpx.Response) -> int:
    """Seconds; the header's other form, a date, counts as not given (RFC 9110 section 10.2.3)."""
    asked = response.headers.get("retry-after", "")
    return min(int(asked), LONGEST_RETRY) if asked.isascii() and asked.isdigit() and len(asked) < 6 else 0


def _away(to: Destination, why: str, status: int = 0, retry_after: int = 0) -> Unavailable:
    return Unavailable(
        f"{to.host} did not take it: {why}.", code="channel-away", retry_after=retry_after, status=status
    )


def status_of(error: SecGuardError) -> int | None:
    """The HTTP status that the receiver answered with, where it answered."""
    found = error.extra.get("status")
    return found if isinstance(found, int) and found else None
