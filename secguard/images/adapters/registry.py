"""A client of the OCI distribution API (distribution-spec 1.1): it reads, and writes nothing.

One client speaks to one registry, and goes nowhere that the registry's configuration does not allow. A tag is resolved
once; manifests come back byte for byte, blobs are checked against their digest, and go on from where they broke off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import httpx

from secguard.errors import Invalid, NotFound, TooLarge, Unavailable
from secguard.images import manifest, referrers
from secguard.images.adapters.addresses import RegistryAccess
from secguard.images.adapters.exchange import Exchange
from secguard.images.adapters.source import Progress, Resolved, digest_of
from secguard.images.adapters.verified import Taker, VerifiedFile, VerifiedStream
from secguard.images.manifest import Descriptor
from secguard.images.reference import is_digest
from secguard.images.referrers import Referrer
from secguard.images.strictjson import Node, loads, refused
from secguard.outbound import connections
from secguard.outbound.connections import Patience

__all__ = ["Patience", "RegistryAccess", "RegistryClient", "RegistrySource"]

_ACCEPT = {"Accept": ", ".join(manifest.ACCEPTED)}
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PART}(?:/{_PART})*")
_CATALOG = "registry:catalog:*"
_PAGE = 1000
_MAX_PAGES = 1000
_MAX_NAMES = 200_000
_PAGING = ("n", "last", "next_page", "artifactType")
_MAX_REFERRERS = 10_000
MAX_SMALL_BLOB = 64 * 2**20
_MAX_PAGE_BYTES = 8 * 2**20
_WORTH_ANOTHER_TRY = 2**20
"""Bytes that a transfer which broke off must have brought, for its attempts to be counted anew."""


class RegistryClient:
    """Reads from the registry that ``access`` names. Close it, or use it as a context manager."""

    def __init__(
        self,
        access: RegistryAccess,
        *,
        patience: Patience | None = None,
        resolver: connections.Resolver = connections.resolve,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.access = access
        self._exchange = Exchange(access, patience=patience, resolver=resolver, sleep=sleep)
        self._without_lists: set[str] = set()
        """Repositories whose registry is known to list no referrers."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """End all connections."""
        self._exchange.close()

    def cut(self) -> None:
        """End what other threads wait for with this client, at once and for good: they fail with ``Unavailable``."""
        self._exchange.cut()

    def ping(self) -> None:
        """Raises where the registry does not answer as one, or refuses the credentials (distribution-spec, end-1)."""
        self._exchange.get("/v2/", "", most=2**16)

    def resolve(self, path: str, reference: str) -> Resolved:
        """The manifest or index that a tag or digest names, byte for byte, with the digest of those bytes.

        Raises ``Invalid`` where the bytes are not what the digest or the registry's own headers say.
        """
        at = f"{v2(path)}/manifests/{reference_of(reference)}"
        response = self._exchange.get(at, _pull(path), most=manifest.MAX_BYTES, headers=_ACCEPT)
        raw = response.content
        told = response.headers.get("docker-content-digest", "")
        digest = self._proven(raw, reference if is_digest(reference) else told, at)
        resolved = Resolved(digest, _media_type(response), raw)
        return Resolved(digest, resolved.parse().media_type, raw)

    def peek(self, path: str, tag: str) -> str:
        """The digest that a tag points to now, without its manifest; as the registry says, not proven.

        Costs no pull where registries count those. Where the header is missing the manifest is read after all.
        """
        at = f"{v2(path)}/manifests/{reference_of(tag)}"
        response = self._exchange.head(at, _pull(path), _ACCEPT)
        told: str = response.headers.get("docker-content-digest", "")
        return told if is_digest(told) else self.resolve(path, tag).digest

    def blob(self, path: str, into: VerifiedFile, progress: Progress | None = None) -> None:
        """Fill ``into`` with its blob from where it stands, and check it. A broken transfer goes on where it broke.

        Attempts are counted anew whenever one brought a good part.
        """
        at = f"{v2(path)}/blobs/{into.descriptor.digest}"
        is_resumed = into.size > 0
        self._whole(at, _pull(path), into, progress)
        try:
            into.check()
        except Invalid:
            if not is_resumed:
                raise
            # The fault may be in what a former attempt left behind.
            self._whole(at, _pull(path), into, progress)
            into.check()

    def stream_blob(self, path: str, blob: Descriptor) -> Generator[bytes]:
        """A blob in pieces, kept nowhere. A broken transfer goes on where it broke, as in ``blob``.

        The last piece is handed on only once the whole is proven: whoever passes the pieces on never has all of
        another blob. Raises ``Invalid`` instead of it.
        """
        at, into, attempts = f"{v2(path)}/blobs/{blob.digest}", VerifiedStream(blob), self._exchange.attempts()
        held = b""
        while not into.is_complete:
            begun_at = into.size
            try:
                for block in self._blocks(at, _pull(path), into):
                    if held and block:
                        yield held
                    held = block or held
            except Unavailable as error:
                attempts.failed(error, progressed=into.size - begun_at >= _WORTH_ANOTHER_TRY)
        into.check()
        yield held

    def small_blob(self, path: str, blob: Descriptor) -> bytes:
        """A blob of up to ``MAX_SMALL_BLOB`` bytes, checked. Raises ``TooLarge``, ``Invalid`` where it is another."""
        if blob.size > MAX_SMALL_BLOB:
            raise TooLarge(f"The blob {blob.digest} has {blob.size:,} bytes; at most {MAX_SMALL_BLOB:,} are read here.")
        at = f"{v2(path)}/blobs/{blob.digest}"
        raw = self._exchange.get(at, _pull(path), most=blob.size).content
        found = digest_of(raw, blob.digest.partition(":")[0])
        if found != blob.digest:
            raise Invalid(
                f"The registry {self.access.host} answers to {at} with bytes whose digest is {found}: they were "
                "altered or cut off. Nothing of it is used.",
                code="wrong-blob-digest",
            )
        return raw

    def referrers(self, path: str, digest: str) -> list[Referrer]:
        """What refers to a manifest: by the registry's own list, else by the index under the fallback tag."""
        listed = None if path in self._without_lists else self.listed_referrers(path, digest)
        return self.noted_referrers(path, digest) if listed is None else listed

    def listed_referrers(self, path: str, digest: str) -> list[Referrer] | None:
        """The registry's own list, all its pages; ``None`` where it keeps none (distribution-spec, end-12a)."""
        own = f"{v2(path)}/referrers/{reference_of(digest)}"
        at = own
        found: dict[str, Referrer] = {}
        for _ in range(_MAX_PAGES):
            try:
                response = self._exchange.get(at, _pull(path), most=manifest.MAX_BYTES, headers=_ACCEPT)
            except NotFound:
                return None
            except Invalid as error:
                if error.code == "registry-answer":  # 400, 405: registries from before the list
                    return None
                raise
            if response.headers.get("content-type", "").partition(";")[0].strip() != manifest.OCI_INDEX:
                return None  # a page that says that there is no such address, with 200
            before = len(found)
            found.update((r.descriptor.digest, r) for r in referrers.decode(response.content))
            following = _next_page(response, own)
            if following is None:
                return list(found.values())
            at = following
            if len(found) == before or len(found) > _MAX_REFERRERS:
                break
        raise TooLarge(
            f"The list of what refers to {digest} in {self.access.host} does not end ({len(found):,} so far).",
            code="list-without-end",
        )

    def noted_referrers(self, path: str, digest: str) -> list[Referrer]:
        """What the index under the fallback tag lists; nothing where there is none."""
        try:
            return referrers.decode(self.resolve(path, referrers.fallback_tag(digest)).raw)
        except NotFound:
            return []

    def tags(self, path: str) -> list[str]:
        """All tags of a repository (distribution-spec, end-8b)."""
        return self._pages(f"{v2(path)}/tags/list", "tags", _TAG, _pull(path))

    def catalog(self) -> list[str]:
        """All repositories that the registry lists; many registries refuse to (``NotFound`` or ``NotAllowed``)."""
        return self._pages("/v2/_catalog", "repositories", _PATH, _CATALOG)

    def _proven(self, raw: bytes, expected: str, at: str) -> str:
        if not is_digest(expected):
            return digest_of(raw)
        found = digest_of(raw, expected.partition(":")[0])
        if found != expected:
            raise Invalid(
                f"The registry {self.access.host} answers to {at} with bytes whose digest is {found}; expected "
                f"{expected}. They were altered or cut off: nothing of it is used.",
                code="wrong-manifest-digest",
            )
        return found

    def _whole(self, at: str, scope: str, into: VerifiedFile, progress: Progress | None) -> None:
        begun_at = into.size

        def transfer() -> None:
            nonlocal begun_at
            begun_at = into.size
            self._transfer(at, scope, into, progress)

        self._exchange.again(transfer, lambda: into.size - begun_at >= _WORTH_ANOTHER_TRY)

    def _transfer(self, at: str, scope: str, into: VerifiedFile, progress: Progress | None) -> None:
        if into.is_complete:
            return
        for _ in self._blocks(at, scope, into):
            if progress:
                progress(into.size)

    def _blocks(self, at: str, scope: str, into: Taker) -> Iterator[bytes]:
        """One attempt: what is new to ``into``, after it took it."""
        headers = {"Range": f"bytes={into.size}-"} if into.size else {}
        with self._exchange.stream("GET", at, scope, headers) as response:
            self._line_up(response, into)
            with self._exchange.words(str(response.url)):
                for block in response.iter_raw():
                    yield into.write(block)
        if not into.is_complete:
            raise Unavailable(
                f"The registry {self.access.host} ended the blob {into.descriptor.digest} after {into.size:,} of "
                f"{into.descriptor.size:,} bytes.",
                retry_after=1,
                code="registry-broke-off",
            )

    def _line_up(self, response: httpx.Response, into: Taker) -> None:
        """Make the answer's first byte the next one of ``into``."""
        if response.status_code == 206:
            span = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(?:\d{1,18}|\*)", response.headers.get("content-range", ""))
            if span is None or int(span.group(1)) != into.size:
                into.restart()
                raise Unavailable(
                    f"The registry {self.access.host} answers with another part of a blob than was asked for "
                    f"({response.headers.get('content-range', '')[:60]!r}).",
                    retry_after=1,
                    code="registry-broke-off",
                )
        elif into.size:
            into.restart()
        told = response.headers.get("content-length", "")
        if told.isdigit() and int(told) + into.size != into.descriptor.size:
            raise Invalid(
                f"The registry {self.access.host} offers {int(told) + into.size:,} bytes for the blob "
                f"{into.descriptor.digest}; the manifest names {into.descriptor.size:,}. Push the image again.",
                code="wrong-blob-size",
            )

    def _pages(self, path: str, member: str, form: re.Pattern[str], scope: str) -> list[str]:
        what = f"The list of {member} of {self.access.host}"
        names: dict[str, None] = {}
        at = f"{path}?{urlencode({'n': _PAGE})}"
        for _ in range(_MAX_PAGES):
            response = self._exchange.get(at, scope, most=_MAX_PAGE_BYTES)
            page = Node(loads(response.content, what=what, max_bytes=_MAX_PAGE_BYTES), what).texts(member, most=100_000)
            before = len(names)
            names.update(dict.fromkeys(_checked(page, form, what)))
            following = _next_page(response, path)
            if following is None:
                return list(names)
            at = following
            if len(names) == before or len(names) > _MAX_NAMES:
                break
        raise TooLarge(
            f"{what} does not end: after {len(names):,} names the registry still points to a next page. Name the "
            "repositories or tags to watch instead.",
            code="list-without-end",
        )


class RegistrySource:
    """One repository of a registry as an ``ImageSource``."""

    def __init__(self, client: RegistryClient, path: str) -> None:
        self._client = client
        self._path = path

    def resolve(self, reference: str = "") -> Resolved:
        return self._client.resolve(self._path, reference or "latest")

    def blob(self, into: VerifiedFile, progress: Progress | None = None) -> None:
        self._client.blob(self._path, into, progress)

    def references(self) -> list[str]:
        return self._client.tags(self._path)

    def close(self) -> None:
        self._client.close()


def v2(path: str) -> str:
    """Where the API has a repository. Raises ``Invalid`` for a path that none may have."""
    if not _PATH.fullmatch(path) or len(path) > 255:
        raise Invalid(f"{path[:200]!r} is no repository's path: expected lower-case parts, divided by '/'.")
    return f"/v2/{path}"


def reference_of(text: str) -> str:
    """A tag or digest as it stands in an address. Raises ``Invalid`` for anything else."""
    if not is_digest(text) and not _TAG.fullmatch(text):
        raise Invalid(f"{text[:200]!r} is neither a tag nor a digest.", code="bad-reference")
    return text


def _pull(path: str) -> str:
    return f"repository:{path}:pull"


def _media_type(response: httpx.Response) -> str:
    kind: str = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html":
        raise Invalid(
            f"{response.url.host} answers with a web page where a manifest belongs. Is it a registry?",
            code="registry-answer",
        )
    return kind


def _checked(names: tuple[str, ...], form: re.Pattern[str], what: str) -> tuple[str, ...]:
    for name in names:
        if not form.fullmatch(name):
            raise refused(what, f"it holds {name[:80]!r}, which no registry may have")
    return names


def _next_page(response: httpx.Response, path: str) -> str | None:
    """The next page's path and query, from ``Link: <…>; rel="next"`` (RFC 8288); the host is never taken from it."""
    link = response.links.get("next", {}).get("url", "")
    if not link:
        return None
    query = parse_qs(urlsplit(urljoin("https://x/", link)).query)
    kept: dict[str, Any] = {name: query[name][0] for name in _PAGING if name in query}
    return f"{path}?{urlencode(kept)}" if kept else None
