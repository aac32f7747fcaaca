"""Writing to a registry (distribution-spec 1.1, "Push"): blobs, manifests, and what refers to them.

The same connection, address rules and signing in as for reading. What was written is read back: a registry that took
something else, or lost it, is found before anything relies on it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

import httpx

from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, Unavailable
from secguard.images import manifest, referrers
from secguard.images.adapters.refusals import FALTERS
from secguard.images.adapters.registry import RegistryClient, reference_of, v2
from secguard.images.adapters.source import Resolved, digest_of
from secguard.images.manifest import MAX_BYTES, OCI_INDEX, Descriptor
from secguard.images.reference import is_digest
from secguard.images.referrers import Referrer

Chunks = Callable[[], Iterable[bytes]]
_SMALL = 2**20
"""Blobs up to here are read back whole; of larger ones the registry's word on digest and size is asked."""
_ATTEMPTS = 5
_AT_ONCE = 8
"""Small blobs and manifests that are written at the same time."""
_BINARY = "application/octet-stream"


class PushingClient(RegistryClient):
    """Reads and writes. Every write may be repeated: it ends in the same state."""

    still: Callable[[], None] | None = None
    """Asked before each manifest is written or deleted, in whatever thread that is; it raises where whoever writes has
    lost the right to. Registries do not compare before they write: who comes late would undo what another has done."""
    reads_back = True
    """Whether each write is read at once. Whoever reads all of it itself, before anything relies on it, asks for that
    once: until then the registry's word is taken, and a small blob is sent without asking whether it is there."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sent: set[tuple[str, str]] = set()
        """(path, digest) of what was sent and not read back."""

    def has_blob(self, path: str, blob: Descriptor) -> bool:
        """Whether the repository has it. Raises ``Invalid`` where it has another size under that digest."""
        try:
            response = self._exchange.head(f"{v2(path)}/blobs/{blob.digest}", _pull(path), {})
        except NotFound:
            return False
        told = response.headers.get("content-length", "")
        if told.isdigit() and int(told) != blob.size:
            raise Invalid(
                f"The registry {self.access.host} has {int(told):,} bytes as {blob.digest}; expected {blob.size:,}.",
                code="wrong-blob-size",
            )
        return True

    def mount(self, path: str, blob: Descriptor, source: str) -> bool:
        """Take a blob over from another repository of this registry; False where it does not do that."""
        query = urlencode({"mount": blob.digest, "from": source})
        response = self._exchange.again(lambda: self._begin(path, f"?{query}", f"{_push(path)} {_pull(source)}"))
        # Else an upload was begun instead; nobody goes on with it, and registries clear such away.
        return response.status_code == 201 and self.has_blob(path, blob)

    def push_blob(self, path: str, blob: Descriptor, chunks: Chunks) -> None:
        """Write a blob unless it is there. ``chunks`` begins anew with each call: a broken transfer starts over.

        Raises ``Invalid`` where the registry takes the bytes for another blob, or does not have it afterwards.
        """
        if self._may_have(path, blob):
            return
        self._exchange.again(lambda: self._upload(path, blob, chunks))
        if self.reads_back and not self._is_there(path, blob):
            raise self._lost(f"the blob {blob.digest}")

    def _may_have(self, path: str, blob: Descriptor) -> bool:
        """False too where the registry only falters when it is asked: a disk that was full leaves docker-registry a
        link without content, on which it answers 500 until the blob is written once more."""
        try:
            return self.has_blob(path, blob)
        except Unavailable as error:
            if error.code != FALTERS:
                raise
            return False

    def _is_there(self, path: str, blob: Descriptor) -> bool:
        """A small one is read whole, of a larger one the registry is asked; raises ``Invalid`` where it is another."""
        if blob.size > _SMALL:
            return self.has_blob(path, blob)
        try:
            self.small_blob(path, blob)
        except NotFound:
            return False
        return True

    def push_bytes(self, path: str, raw: bytes, media_type: str) -> Descriptor:
        """Write a small blob; returns what describes it."""
        blob = Descriptor(media_type, digest_of(raw), len(raw))
        if self.reads_back:
            self.push_blob(path, blob, lambda: [raw])
        elif (path, blob.digest) not in self._sent:
            self._exchange.again(lambda: self._upload(path, blob, lambda: [raw]))
            self._sent.add((path, blob.digest))
        return blob

    def push_several(self, path: str, blobs: Sequence[tuple[bytes, str]]) -> list[Descriptor]:
        """Write small blobs, (bytes, media type), some at once; what describes them, in the same order."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(lambda one: self.push_bytes(path, *one), blobs))

    def push_manifest(self, path: str, raw: bytes, media_type: str, reference: str = "") -> Resolved:
        """Write a manifest or index byte for byte, under ``reference`` (by default its digest), and read it back.

        Raises ``Invalid`` where the registry then answers with other bytes, and ``Conflict`` where the tag was moved
        by somebody else in between.
        """
        self._put(path, raw, media_type, reference)
        return self._read_back(path, raw, media_type, reference)

    def point(self, path: str, tag: str, to: Resolved) -> None:
        """Let a tag point to a manifest that is there, and see that it does; what it names was read back before.

        Raises ``Conflict`` where the tag was moved by somebody else in between.
        """
        self._put(path, to.raw, to.media_type, tag)
        try:
            found = self.peek(path, tag)
        except NotFound:
            raise self._lost(f"the tag {tag}") from None
        if found != to.digest:
            raise self._moved(path, tag, found, to.digest)

    def push_referrer(self, path: str, raw: bytes, media_type: str, artifact_type: str) -> Resolved:
        """Write a manifest that has a subject, so that it is found from there: by the registry's own list, or by the
        index under the fallback tag, which is then kept here.

        That index is read, changed and written; who pushes referrers of one image at once stands in line elsewhere.
        What another writer took out of it in between is put in again. Raises as ``push_manifest``.
        """
        return self.push_referrers(path, [raw], media_type, artifact_type)[0]

    def push_referrers(
        self, path: str, manifests: Sequence[bytes], media_type: str, artifact_type: str
    ) -> list[Resolved]:
        """Several that refer to one image, as ``push_referrer`` each: its list is changed once for all of them."""
        subjects = {referrers.subject_of(raw) for raw in manifests}
        if len(subjects) != 1 or not (subject := subjects.pop()):
            raise Invalid(
                "The manifest refers to nothing, or several to several images; expected one subject.", code="no-subject"
            )

        def push(raw: bytes) -> tuple[Resolved, bool]:
            answer = self._put(path, raw, media_type)
            return self._read_back(path, raw, media_type), answer.headers.get("oci-subject", "") == subject

        with ThreadPoolExecutor(_AT_ONCE) as threads:
            done = list(threads.map(push, manifests))
        unlisted = [pushed for pushed, is_listed in done if not is_listed]
        if unlisted and (path in self._without_lists or self.listed_referrers(path, subject) is None):
            self._without_lists.add(path)  # something was just written there: it is not for want of a repository
            self._note(path, subject, [_referrer(one, media_type, artifact_type) for one in unlisted])
        return [pushed for pushed, _ in done]

    def delete_manifest(self, path: str, digest: str) -> bool:
        """Take a manifest away, and with it every tag that points to it; False where the registry does not allow that.

        One that is not there counts as taken away.
        """
        at = f"{v2(path)}/manifests/{reference_of(digest)}"
        scope = f"repository:{path}:pull,push,delete"

        def once() -> httpx.Response:
            self._require_right()
            return self._exchange.write("DELETE", at, scope, expected=(200, 202, 204), headers={}, body=bytes)

        try:
            self._exchange.again(once)
        except NotFound:
            return True
        except (Invalid, NotAllowed):
            return False
        return True

    def forget_referrers(self, path: str, subject: str, gone: Collection[str]) -> None:
        """Take these digests out of the index under the fallback tag; nothing where it does not name them."""
        tag = referrers.fallback_tag(subject)
        for _ in range(_ATTEMPTS):
            known = self.noted_referrers(path, subject)
            kept = [r for r in known if r.descriptor.digest not in gone]
            if len(kept) == len(known):
                return
            with suppress(Conflict):
                self._write_list(path, tag, kept)
        raise self._race(tag)

    # ------------------------------------------------------------------------------------------------------------------

    def _note(self, path: str, subject: str, added: Sequence[Referrer]) -> None:
        tag = referrers.fallback_tag(subject)
        for _ in range(_ATTEMPTS):
            known = self.noted_referrers(path, subject)
            there = {r.descriptor.digest for r in known}
            missing = [r for r in added if r.descriptor.digest not in there]
            if not missing:
                return
            with suppress(Conflict):
                self._write_list(path, tag, [*known, *missing])
                if not self.reads_back:
                    return
        raise self._race(tag)

    def _write_list(self, path: str, tag: str, listed: Sequence[Referrer]) -> None:
        try:
            self.push_manifest(path, referrers.encode(listed), OCI_INDEX, tag)
        except Invalid:
            # Registries refuse a list that names what somebody deleted: from then on nobody could change it.
            there = [r for r in listed if self._has_manifest(path, r.descriptor.digest)]
            if len(there) == len(listed):
                raise
            self.push_manifest(path, referrers.encode(there), OCI_INDEX, tag)

    def _has_manifest(self, path: str, digest: str) -> bool:
        try:
            self.peek(path, digest)
        except NotFound:
            return False
        return True

    def _race(self, tag: str) -> Conflict:
        return Conflict(
            f"The list of referrers {tag} in {self.access.host} is changed by somebody else all the time. Try again.",
            code="referrers-race",
        )

    def _require_right(self) -> None:
        if self.still is not None:
            self.still()

    def _put(self, path: str, raw: bytes, media_type: str, reference: str = "") -> httpx.Response:
        if len(raw) > MAX_BYTES:
            raise Invalid(f"The manifest has {len(raw):,} bytes; registries take {MAX_BYTES:,}.")
        at = f"{v2(path)}/manifests/{reference_of(reference or digest_of(raw))}"
        headers = {"Content-Type": media_type, "Content-Length": str(len(raw))}

        def body() -> Iterator[bytes]:
            self._require_right()  # again, once there is a connection: making one takes time
            yield raw

        def once() -> httpx.Response:
            self._require_right()
            return self._exchange.write("PUT", at, _push(path), expected=(201,), headers=headers, body=body)

        return self._exchange.again(once)

    def _read_back(self, path: str, raw: bytes, media_type: str, reference: str = "") -> Resolved:
        digest = reference if is_digest(reference) else digest_of(raw)
        if not self.reads_back:
            return Resolved(digest, media_type, raw)
        kept = self._kept(path, digest, f"the manifest {digest}")
        if kept.raw != raw:
            raise Invalid(
                f"The registry {self.access.host} answers with {len(kept.raw):,} bytes for the manifest {digest} that "
                f"was just written with {len(raw):,}: they are others. Nothing relies on it.",
                code="written-otherwise",
            )
        if reference not in ("", digest):
            found = self._kept(path, reference, f"the tag {reference}").digest
            if found != digest:
                raise self._moved(path, reference, found, digest)
        return kept

    def _kept(self, path: str, reference: str, what: str) -> Resolved:
        try:
            return self.resolve(path, reference)
        except NotFound:
            raise self._lost(what) from None

    def _moved(self, path: str, tag: str, found: str, written: str) -> Conflict:
        return Conflict(
            f"{path}:{tag} in {self.access.host} is {found} though {written} was just written: somebody else moved it.",
            code="tag-moved",
        )

    def _lost(self, what: str) -> Invalid:
        return Invalid(
            f"The registry {self.access.host} took {what} and does not have it. Nothing relies on it; ask who runs the "
            "registry.",
            code="lost",
        )

    def _begin(self, path: str, query: str, scope: str) -> httpx.Response:
        return self._exchange.write(
            "POST",
            f"{v2(path)}/blobs/uploads/{query}",
            scope,
            expected=(201, 202),
            headers={"Content-Length": "0"},
            body=bytes,
        )

    def _upload(self, path: str, blob: Descriptor, chunks: Chunks) -> None:
        at = self._upload_of(self._begin(path, "", _push(path)))
        at += f"{'&' if '?' in at else '?'}{urlencode({'digest': blob.digest})}"
        headers = {"Content-Type": _BINARY, "Content-Length": str(blob.size)}
        self._exchange.write("PUT", at, _push(path), expected=(201,), headers=headers, body=lambda: iter(chunks()))

    def _upload_of(self, response: httpx.Response) -> str:
        location: str = response.headers.get("location", "")
        if not location:
            raise Invalid(f"The registry {self.access.host} begins an upload and does not say where.")
        return location


def _referrer(pushed: Resolved, media_type: str, artifact_type: str) -> Referrer:
    told = manifest.parse(pushed.raw, media_type).annotations
    return Referrer(Descriptor(media_type, pushed.digest, len(pushed.raw), annotations=told), artifact_type)


def _pull(path: str) -> str:
    return f"repository:{path}:pull"


def _push(path: str) -> str:
    return f"repository:{path}:pull,push"
