"""One registry's HTTP: who we are, where it may send us, what we do when it falters. What is asked is in ``registry``.

Credentials go to the registry itself and to the token server that it names, where the configuration allows that host;
never along with a redirect to another one.
"""

from __future__ import annotations

import base64
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import httpx

from secguard.errors import Invalid, NotAllowed, SecGuardError, TooLarge, Unavailable
from secguard.images.adapters import challenge
from secguard.images.adapters.addresses import RegistryAccess, destination
from secguard.images.adapters.refusals import FULL, Refusal, no_entry
from secguard.outbound import connections
from secguard.outbound.addresses import Destination
from secguard.outbound.connections import CheckedTransport, Lines, Patience

_MOVED = frozenset({301, 302, 303, 307, 308})
_MOVED_WITH_BODY = frozenset({307, 308})
"""The others turn a write into a GET (RFC 9110 section 15.4)."""
_MAX_REDIRECTS = 5
_MAX_ATTEMPTS = 4
_MAX_WAIT = 60.0
_MAX_PROBLEM = 64 * 1024
_AGENT = "secguard"
_IN_VAIN = frozenset({"registry-certificate", FULL})
"""Asking again at once changes nothing."""
_T = TypeVar("_T")


Body = Callable[[], bytes | Iterable[bytes]]
"""What is sent, made anew for each time that it is sent: after signing in, or to where the registry points."""


class Attempts:
    """How often one thing was tried in vain, and the growing waits in between."""

    def __init__(self, pause: Callable[[float], None]) -> None:
        self._pause = pause
        self._failures = 0

    def failed(self, error: Unavailable, *, progressed: bool = False) -> None:
        """Wait for the next attempt, or raise ``error`` where there is none; anew from one that ``progressed`` on."""
        self._failures = 1 if progressed else self._failures + 1
        if self._failures >= _MAX_ATTEMPTS or error.code in _IN_VAIN:
            raise error
        wait = 2.0 ** (self._failures - 1) * (0.5 + random.random() / 2)  # noqa: S311 - jitter, no secret
        self._pause(min(max(wait, error.retry_after), _MAX_WAIT))


class Exchange:
    """Sends requests to one registry; connections are kept until ``close``. Threads may share it."""

    def __init__(
        self,
        access: RegistryAccess,
        *,
        patience: Patience | None = None,
        resolver: connections.Resolver = connections.resolve,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.access = access
        self._patience = patience or Patience()
        self._resolver = resolver
        self._sleep = sleep
        self._context = connections.tls_context(access.ca_certificate)
        self._lines = Lines()
        self._transports: dict[tuple[str, str, int], CheckedTransport] = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._is_basic = False
        self._home = destination(access.api, access).origin

    def close(self) -> None:
        """End all connections."""
        for transport in self._transports.values():
            transport.close()
        self._transports.clear()

    def cut(self) -> None:
        """End what other threads wait for here, at once and for good: they fail with ``Unavailable``."""
        self._lines.cut()

    def attempts(self) -> Attempts:
        """To count the attempts at something by; none follows after ``cut``."""
        return Attempts(self._pause)

    def again(self, once: Callable[[], _T], progressed: Callable[[], bool] = lambda: False) -> _T:
        """What ``once`` returns; asked for again, with growing waits, while the registry falters.

        ``progressed`` says whether the last attempt brought something: then attempts are counted anew.
        """
        attempts = self.attempts()
        while True:
            try:
                return once()
            except Unavailable as error:
                attempts.failed(error, progressed=progressed())

    def _pause(self, seconds: float) -> None:
        if self._sleep is not None:
            self._sleep(seconds)
        if self._lines.are_cut.wait(0 if self._sleep else seconds):
            raise Unavailable(f"What was asked of {self.access.host} was stopped from here.", code="stopped")

    def get(self, path: str, scope: str, *, most: int, headers: Mapping[str, str] | None = None) -> httpx.Response:
        """A whole answer of at most ``most`` bytes, asked for again while the registry falters."""
        return self.again(lambda: self._read(path, scope, most, headers or {}))

    def head(self, path: str, scope: str, headers: Mapping[str, str]) -> httpx.Response:
        """The headers alone."""

        def once() -> httpx.Response:
            with self.stream("HEAD", path, scope, headers) as response:
                return response

        return self.again(once)

    def _read(self, path: str, scope: str, most: int, headers: Mapping[str, str]) -> httpx.Response:
        with self.stream("GET", path, scope, headers) as response:
            body = self.body(response, most)
            return httpx.Response(
                response.status_code, headers=response.headers, content=body, request=response.request
            )

    def write(
        self, method: str, path: str, scope: str, *, expected: tuple[int, ...], headers: Mapping[str, str], body: Body
    ) -> httpx.Response:
        """One attempt to change something: the answer's headers, where its status is an ``expected`` one.

        ``path`` is the API's, or the address that the registry named for an upload. Refusals as errors; it is the
        caller's to ask again, from the beginning.
        """
        url = urljoin(self.access.api, path)
        response = self._followed(method, url, scope, headers, body)
        try:
            if response.status_code == 401:
                response = self._signed_in(response, method, url, scope, headers, body)
            if response.status_code not in expected:
                self._refuse(response, urlsplit(url).path)
            return response
        finally:
            response.close()

    def body(self, response: httpx.Response, most: int) -> bytes:
        """The whole body. Raises ``TooLarge`` past ``most`` bytes, told or sent."""
        told = response.headers.get("content-length", "")
        received = bytearray()
        if not (told.isdigit() and int(told) > most):
            with self.words(str(response.url)):
                for block in response.iter_raw():
                    received += block
                    if len(received) > most:
                        break
                else:
                    return bytes(received)
        raise TooLarge(
            f"The registry {self.access.host} answers with more than {most:,} bytes where a document of at most that "
            "size belongs.",
            code="answer-too-large",
        )

    @contextmanager
    def stream(self, method: str, path: str, scope: str, headers: Mapping[str, str]) -> Iterator[httpx.Response]:
        """One attempt: the answer with its body unread, after redirects and signing in; refusals as errors."""
        url = urljoin(self.access.api, path)
        response = self._followed(method, url, scope, headers)
        try:
            if response.status_code == 401:
                response = self._signed_in(response, method, url, scope, headers)
            if response.status_code != (206 if "Range" in headers and response.status_code == 206 else 200):
                self._refuse(response, path)
            if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
                raise Invalid(
                    f"The registry {self.access.host} answers compressed though it was asked not to "
                    f"({response.headers['content-encoding'][:40]!r}). That hides the real bytes: it is not read.",
                    code="unasked-encoding",
                )
            yield response
        finally:
            response.close()

    # Redirects ------------------------------------------------------------------------------------------------------

    def _followed(
        self, method: str, url: str, scope: str, headers: Mapping[str, str], body: Body | None = None
    ) -> httpx.Response:
        moved = _MOVED if body is None else _MOVED_WITH_BODY
        seen = set()
        for _ in range(_MAX_REDIRECTS + 1):
            to = destination(url, self.access)
            response = self._send(method, url, to, {**headers, **self._authorization(to, scope)}, body)
            location = response.headers.get("location", "")
            if response.status_code not in moved or not location:
                return response
            response.close()
            seen.add(url)
            url = self._joined(url, location)
            if url in seen:
                break
        raise Invalid(
            f"The registry {self.access.host} redirects in a circle or more than {_MAX_REDIRECTS} times, at last to "
            f"{url[:200]!r}.",
            code="too-many-redirects",
        )

    def _joined(self, url: str, location: str) -> str:
        try:
            return urljoin(url, location)
        except ValueError:
            raise NotAllowed(
                f"The registry {self.access.host} points to {location[:200]!r}: that is no URL.",
                code="destination-not-allowed",
            ) from None

    def _send(
        self, method: str, url: str, to: Destination, headers: Mapping[str, str], body: Body | None = None
    ) -> httpx.Response:
        transport = self._transports.get(to.origin)
        if transport is None:
            fresh = CheckedTransport(to, self._context, self._patience, self._resolver, self._lines)
            transport = self._transports.setdefault(to.origin, fresh)
        with self.words(url):
            ours = {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
            content = None if body is None else body()
            return transport.handle_request(httpx.Request(method, url, headers={**ours, **headers}, content=content))

    # Signing in -----------------------------------------------------------------------------------------------------

    def _authorization(self, to: Destination, scope: str) -> dict[str, str]:
        if to.origin != self._home:
            return {}
        token, until = self._tokens.get(scope, ("", 0.0))
        if token and time.monotonic() < until:
            return {"Authorization": f"Bearer {token}"}
        return self._basic() if self._is_basic else {}

    def _basic(self) -> dict[str, str]:
        if not self.access.username:
            return {}
        pair = f"{self.access.username}:{self.access.password}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    def _signed_in(
        self,
        response: httpx.Response,
        method: str,
        url: str,
        scope: str,
        headers: Mapping[str, str],
        body: Body | None = None,
    ) -> httpx.Response:
        response.close()
        if _origin(str(response.url)) != self._home:
            self._no_entry(response)
        asked = {c.scheme: c.parameters for c in challenge.challenges(response.headers.get_list("www-authenticate"))}
        if "bearer" in asked:
            self._fetch_token(asked["bearer"], scope)
        elif "basic" in asked and self.access.username:
            self._is_basic = True
        else:
            self._no_entry(response)
        again = self._followed(method, url, scope, headers, body)
        if again.status_code == 401:
            again.close()
            self._tokens.pop(scope, None)
            self._no_entry(again)
        return again

    def _fetch_token(self, parameters: Mapping[str, str], scope: str) -> None:
        realm = parameters.get("realm", "")
        # A registry may ask us to ask for more than reading; that is asked for by nobody but who came to write.
        reading = [challenge.read_only(parameters.get("scope", "")) or scope]
        scopes = scope.split() if challenge.is_for_writing(scope) else reading
        asked = [("service", parameters.get("service", "")), *(("scope", one) for one in scopes)]
        query = urlencode([(name, value) for name, value in asked if value])
        url = f"{realm}{'&' if '?' in realm else '?'}{query}"
        to = destination(url, self.access)
        response = self._send("GET", url, to, self._basic())
        try:
            if response.status_code in (401, 403):
                self._no_entry(response)
            if response.status_code != 200:
                self._refuse(response, response.url.path, who=f"The token server {to.host}")
            token = challenge.token(self.body(response, 2**17))
        finally:
            response.close()
        # A little less than it holds, so that it does not end on the way.
        self._tokens[scope] = (token.value, time.monotonic() + token.seconds * 0.9)

    def _no_entry(self, response: httpx.Response) -> NoReturn:
        who, is_write = f"The registry {self.access.host}", response.request.method not in ("GET", "HEAD")
        raise no_entry(who, self.access.username, response.status_code, is_write=is_write)

    # Refusals -------------------------------------------------------------------------------------------------------

    def _refuse(self, response: httpx.Response, path: str, who: str = "") -> NoReturn:
        raw = b""
        with suppress(SecGuardError):
            raw = self.body(response, _MAX_PROBLEM)
        raise Refusal(
            who or f"The registry {self.access.host}",
            self.access.username,
            response.request.method,
            path,
            response.status_code,
            raw,
            _seconds(response.headers.get("retry-after", "")),
        ).error

    @contextmanager
    def words(self, url: str) -> Iterator[None]:
        """Failures of the network as ``Unavailable``, with what to do."""
        host = urlsplit(url).netloc
        try:
            yield
        except httpx.TimeoutException as error:
            raise Unavailable(
                f"{host} did not answer in time, or sent next to nothing ({error}). It is asked again later.",
                retry_after=1,
                code="registry-stalls",
            ) from None
        except httpx.ConnectError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise Unavailable(
                    f"The certificate of {host} is not trusted: {error}. {_remedy(str(error))}",
                    code="registry-certificate",
                ) from None
            raise Unavailable(
                f"No connection to {host}: {error}. Check its name and port, that it runs, and whether it speaks "
                f"{'HTTP without' if self.access.uses_plain_http else 'HTTPS with'} TLS as its settings say.",
                retry_after=1,
                code="registry-unreachable",
            ) from None
        except httpx.TransportError as error:
            raise Unavailable(
                f"The connection to {host} broke: {error}. It is tried again later.",
                retry_after=1,
                code="registry-broke-off",
            ) from None
        except httpx.InvalidURL as error:
            raise NotAllowed(
                f"The registry {self.access.host} points to {url[:200]!r}: that is no URL ({error})."
            ) from None


def _remedy(error: str) -> str:
    if "expired" in error or "not yet valid" in error:
        return "Renew it there; if it is in force, the clock of this host is wrong."
    return "Enter the CA that signed it in the registry's settings."


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)


def _seconds(text: str) -> int:
    return min(int(text), 3600) if text.isdigit() and len(text) < 6 else 1
