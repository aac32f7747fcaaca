"""One request to a tracker: to an address that was checked, bounded in size and time, its refusals as ours.

Redirects are not followed: the credentials go to the host that was named, and to no other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from secguard.channels.adapters import posting
from secguard.errors import Invalid, NotAllowed, NotFound, SecGuardError, Unavailable
from secguard.outbound import connections
from secguard.outbound.connections import CheckedTransport, Patience, Resolver
from secguard.trackers.wording import cleaned

MAX_ANSWER = 8 * 2**20
"""Fifty issues of GitHub's longest text."""

MAX_REFUSAL = 64 * 1024
SECONDS = 30.0
"""For one answer as a whole."""

PATIENCE = Patience(connect=5.0, read=10.0, window=10.0, bytes_a_second=1024.0)
MAX_ADDRESSES = 3
LONGEST_WAIT = 3_600
LIMITED_WAIT = 60
"""Where a limit was passed and nothing says for how long (GitHub asks for a minute at least)."""


def check(url: str, named_hosts: Sequence[str]) -> str:
    """``url`` without its last slash, if it may be asked; else ``Invalid``. Asks for the host's addresses."""
    try:
        posting.check(url, named_hosts)
    except Invalid as error:
        raise Invalid(error.detail, code="tracker-url", where="base_url") from None
    if "?" in url:
        raise Invalid("The address holds a question mark; expected one like https://api.github.com.", where="base_url")
    return url.rstrip("/")


class Client:
    """Asks one API. A context manager: connections end with it."""

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        named_hosts: Sequence[str],
        *,
        resolver: Resolver = connections.resolve,
        patience: Patience = PATIENCE,
        seconds: float = SECONDS,
    ) -> None:
        self._base = base_url.rstrip("/")
        to = posting.destination(self._base, named_hosts)
        self._host = to.host
        self._seconds = seconds
        transport = CheckedTransport(
            to, connections.tls_context(""), patience, lambda host, port: resolver(host, port)[:MAX_ADDRESSES]
        )
        sent = {"User-Agent": "SecGuard", "Accept-Encoding": "identity", **headers}
        self._http = httpx.Client(transport=transport, follow_redirects=False, trust_env=False, headers=sent)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self._http.close()

    def ask(self, method: str, path: str, sent: Any = None, *, query: Mapping[str, str] | None = None) -> Any:
        """The JSON of a success (None where it has none).

        Raises ``NotFound`` (404), ``Invalid`` (another refusal that trying again would not change; code ``gone`` for
        410), and ``Unavailable`` where it may be tried again: code ``tracker-limited`` (with ``retry_after``),
        ``tracker-login`` or ``tracker-away``.
        """
        until = time.monotonic() + self._seconds
        try:
            with self._http.stream(method, self._base + path, json=sent, params=query) as response:
                if 200 <= response.status_code < 300:
                    return self._document(self._read(response, MAX_ANSWER, until))
                said = self._read(response, MAX_REFUSAL, until, cut=True)
        except httpx.TimeoutException as error:
            raise self._away("it did not answer in time") from error
        except httpx.HTTPError as error:
            why = cleaned(str(error), 200) or type(error).__name__
            raise self._away(f"the connection failed ({why})") from error
        except NotAllowed as error:
            raise self._away(error.detail) from error
        raise self._refusal(response, _words(said))

    def _read(self, response: httpx.Response, most: int, until: float, *, cut: bool = False) -> bytes:
        read = bytearray()
        for chunk in response.iter_raw():
            read += chunk
            if len(read) > most:
                if cut:
                    break
                raise self._away(f"its answer is larger than {most:,} bytes")
            if time.monotonic() > until:
                raise self._away(f"its answer took longer than {self._seconds:g} seconds")
        return bytes(read[:most])

    def _document(self, raw: bytes) -> Any:
        if not raw.strip():
            return None
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise self._away("its answer is no JSON; is this the address of its API?") from None

    def _refusal(self, response: httpx.Response, said: str) -> SecGuardError:
        status = response.status_code
        told = f"{self._host} answered {status}" + (f": {said}" if said else "")
        if status == httpx.codes.TOO_MANY_REQUESTS or (status == httpx.codes.FORBIDDEN and _is_limit(response, said)):
            wait = _wait(response)
            return Unavailable(f"{told}. It is asked again when it allows.", retry_after=wait, code="tracker-limited")
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            hint = "Give the tracker a token that is valid and may read and write issues there."
            return Unavailable(f"{told}. {hint}", code="tracker-login", retry_after=0)
        if status == httpx.codes.NOT_FOUND:
            return NotFound(f"{told}. It is not there, or its token may not see it.", code="tracker-missing")
        if status == httpx.codes.GONE:
            return Invalid(f"{told}.", code="gone")
        if 300 <= status < 400:
            return self._away(f"it answered {status}, a redirect, which is not followed; set the final address or name")
        if 400 <= status < 500 and status not in (408, 409, 425):
            return Invalid(f"{told}.", code="tracker-refused")
        return self._away(f"it answered {status}" + (f": {said}" if said else ""), _asked(response))

    def _away(self, why: str, retry_after: int = 0) -> Unavailable:
        return Unavailable(f"{self._host} did not take it: {why}.", code="tracker-away", retry_after=retry_after)


def _words(raw: bytes) -> str:
    """What a refusal says, in GitHub's or Jira's form; the beginning of anything else."""
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        return cleaned(raw.decode("utf-8", "replace"), 150)
    if not isinstance(told, dict):
        return cleaned(str(told), 150)
    words = [told["message"]] if isinstance(told.get("message"), str) else []
    messages, errors = told.get("errorMessages"), told.get("errors")
    words += [m for m in messages if isinstance(m, str)] if isinstance(messages, list) else []
    if isinstance(errors, dict):
        words += [f"{field}: {why}" for field, why in errors.items() if isinstance(why, str)]
    for one in errors if isinstance(errors, list) else ():
        if isinstance(one, dict):
            words.append(" ".join(str(one[k]) for k in ("resource", "field", "code", "message") if one.get(k)))
    return cleaned("; ".join(words), 300)


def _is_limit(response: httpx.Response, said: str) -> bool:
    """A 403 of GitHub's that is no refusal of this token (docs.github.com: rate limits for the REST API)."""
    headers = response.headers
    return "retry-after" in headers or headers.get("x-ratelimit-remaining") == "0" or "rate limit" in said.lower()


def _wait(response: httpx.Response) -> int:
    """Seconds until it allows more: ``Retry-After``, else when GitHub's window begins anew."""
    asked = _asked(response)
    reset = response.headers.get("x-ratelimit-reset", "")
    if not asked and response.headers.get("x-ratelimit-remaining") == "0" and _is_number(reset, 12):
        asked = int(reset) - int(time.time()) + 1
    return max(1, min(asked or LIMITED_WAIT, LONGEST_WAIT))


def _asked(response: httpx.Response) -> int:
    """``Retry-After`` in seconds, in both its forms (RFC 9110 section 10.2.3); 0 where it is not given."""
    text = response.headers.get("retry-after", "").strip()
    if _is_number(text, 6):
        return min(int(text), LONGEST_WAIT)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0
    now = datetime.now(UTC)
    return max(0, min(int((at - now).total_seconds()) if at.tzinfo else 0, LONGEST_WAIT))


def _is_number(text: str, digits: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= digits
