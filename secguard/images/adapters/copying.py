"""An image and everything that refers to it, from one repository to another: by digest, byte for byte, under no tag.

A tag is moved by whoever calls, once all is there. What is judged, signed and run is a digest, so nothing is written
anew: manifests go over as they are, and of an index all platforms and attestations. Everything is done so that doing it
again goes on from where it was left, and changes nothing where nothing is missing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from secguard.errors import Invalid, NotFound, Unavailable
from secguard.images import cosigntags, referrers
from secguard.images.adapters.gathering import Attached, Gathered, blobs_of, gather, tree
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.refusals import FALTERS
from secguard.images.adapters.source import Resolved
from secguard.images.adapters.tagging import join
from secguard.images.adapters.transfers import Meter, Place, Progress, Wanted, moving, told
from secguard.images.manifest import Descriptor, ImageIndex

__all__ = ["Copied", "Place", "copy", "tree", "verify"]

_SMALL = 2**20
"""Blobs up to here are read back whole."""
_AT_ONCE = 8
"""Blobs that are asked for at the same time."""


@dataclass(frozen=True)
class Copied:
    """What is at the destination now: ``digests`` of every manifest and index, the asked one first, referrers last.

    What lies under cosign's tags is not among them: whoever signs next puts another manifest there.
    ``blobs`` were sent, with ``bytes`` in all; ``mounted`` taken over within the registry, ``present`` there already.
    ``referrers`` counts what refers to the image, cosign's tags too. ``left_out`` says in words what stayed behind.
    """

    digests: tuple[str, ...]
    blobs: int
    bytes: int
    mounted: int
    present: int
    referrers: int
    left_out: tuple[str, ...] = ()


def copy(source: Place, destination: Place, digest: str, *, progress: Progress | None = None) -> Copied:
    """Copy an image or index with all its platforms, and everything that refers to it.

    ``progress`` is called from this thread alone, about four times a second, with 0 and 0 until it is known how much
    there is; what it raises stops the copy and goes on.
    Each write is read back where the destination's clients do that; else ``verify`` does. Raises ``NotFound``,
    ``NotAllowed``, ``Unavailable`` and ``Invalid`` with words that say on which side it was. No manifest is at the
    destination before what it names, so a copy that was broken off may be made again at any time.
    """
    meter = Meter(progress)
    with source.client() as reading, moving(source, destination) as crew:
        with told("source", reading, source.path, meter):
            image = tree(reading, source.path, digest)
            wanted = _Wanted(image)
            crew.take(wanted.blobs)
            found = gather(reading, source.path, image, meter.tick)
            crew.take(wanted.besides(found))
        crew.wait(meter)
    moved = crew.moved
    wanted.give_up(found, moved.missing)
    with destination.client() as writing, told("destination", writing, destination.path, meter):
        there = list(_settled(_Settling(writing, destination.path), image, found.attached, meter))
    return Copied(
        digests=tuple(dict.fromkeys([digest, *there])),
        blobs=moved.blobs,
        bytes=moved.bytes,
        mounted=moved.mounted,
        present=moved.present,
        referrers=len(found.attached),
        left_out=tuple(dict.fromkeys((*wanted.elsewhere, *found.left_out))),
    )


def verify(client: PushingClient, path: str, digests: Iterable[str]) -> None:
    """Read back what ``copy`` said is there: every manifest byte for byte, every blob with its size, small ones whole.

    Raises ``Invalid`` for what is missing or other than it must be.
    """
    with told("destination", client, path), ThreadPoolExecutor(_AT_ONCE) as threads:
        blobs: dict[str, Future[None]] = {}
        for found in _read_back(client, path, digests):
            for blob in blobs_of(found):
                if blob.digest not in blobs and not blob.is_elsewhere:
                    blobs[blob.digest] = threads.submit(_verify_blob, client, path, blob)
        try:
            for done in blobs.values():
                done.result()
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise


def _read_back(client: PushingClient, path: str, digests: Iterable[str]) -> Iterator[Resolved]:
    """These manifests, and those that they name."""
    queue, seen = deque(digests), set()
    while queue:
        digest = queue.popleft()
        if digest not in seen:
            seen.add(digest)
            try:
                found = client.resolve(path, digest)
            except NotFound:
                raise _lost("manifest", digest) from None
            document = found.parse()
            queue += [child.digest for child in document.manifests] if isinstance(document, ImageIndex) else []
            yield found


def _verify_blob(client: PushingClient, path: str, blob: Descriptor) -> None:
    try:
        if blob.size <= _SMALL:
            client.small_blob(path, blob)
        elif not client.has_blob(path, blob):
            raise _lost("blob", blob.digest)
    except NotFound:
        raise _lost("blob", blob.digest) from None


def _lost(what: str, digest: str) -> Invalid:
    return Invalid(
        f"The {what} {digest} was copied and is not there any more. Copy the image again; where that does not help, "
        "ask who runs the registry.",
        code="lost",
    )


class _Wanted:
    """The blobs of all manifests, each once; what the image itself names is required."""

    def __init__(self, image: Sequence[Resolved]) -> None:
        self._wanted: dict[str, Wanted] = {}
        self.elsewhere: list[str] = []
        self._add(image, is_required=True)
        self.blobs = list(self._wanted.values())

    def besides(self, found: Gathered) -> list[Wanted]:
        """What else is needed for what refers to the image; what contradicts the image is left out."""
        for one in list(found.attached):
            try:
                self._add(one.manifests, is_required=False)
            except Invalid as error:
                found.leave_out(one, error.detail)
        return list(self._wanted.values())[len(self.blobs) :]

    def give_up(self, found: Gathered, missing: dict[str, str]) -> None:
        """Leave out what refers to the image and names a blob that could not be brought."""
        for one in list(found.attached):
            gone = [blob.digest for m in one.manifests for blob in blobs_of(m) if blob.digest in missing]
            if gone:
                found.leave_out(one, missing[gone[0]])

    def _add(self, manifests: Sequence[Resolved], *, is_required: bool) -> None:
        for one in manifests:
            for blob in blobs_of(one):
                if blob.is_elsewhere:
                    self.elsewhere.append(
                        f"the layer {blob.digest}, which is not to be distributed: {blob.urls[0][:300]}"
                    )
                elif (known := self._wanted.setdefault(blob.digest, Wanted(blob, is_required))).blob.size != blob.size:
                    raise Invalid(
                        f"The manifest {one.digest} names {blob.digest} with {blob.size:,} bytes; another place names "
                        f"{known.blob.size:,}.",
                        code="wrong-blob-size",
                    )


# Manifests ------------------------------------------------------------------------------------------------------------


def _settled(at: _Settling, image: Sequence[Resolved], attached: Sequence[Attached], meter: Meter) -> Iterator[str]:
    """Everything in its order, and the digests under which it is there."""
    for one in image:
        meter.tick()
        yield at.manifest(one)
    for companion in attached:
        meter.tick()
        if companion.tag:
            at.tagged(companion)
        else:
            yield from map(at.manifest, companion.manifests)


class _Settling:
    """Writes manifests whose blobs are there."""

    def __init__(self, client: PushingClient, path: str) -> None:
        self._client, self._path = client, path
        self._listed: dict[str, set[str]] = {}

    def manifest(self, one: Resolved) -> str:
        """Put it there under its digest, and where it has a subject, so that it is found from there."""
        subject = referrers.subject_of(one.raw)
        if not subject:
            if not self._has(one):
                self._client.push_manifest(self._path, one.raw, one.media_type, one.digest)
        elif not (one.digest in self._referring(subject) and self._has(one)):
            self._client.push_referrer(self._path, one.raw, one.media_type, referrers.artifact_type_of(one.raw))
        return one.digest

    def tagged(self, one: Attached) -> None:
        """Join it with what is there under its tag."""
        layers = cosigntags.read(one.root.raw, one.root.media_type)
        join(self._client, self._path, one.tag, layers, one.root)

    def _referring(self, subject: str) -> set[str]:
        if subject not in self._listed:
            listed = self._client.referrers(self._path, subject)
            self._listed[subject] = {one.descriptor.digest for one in listed}
        return self._listed[subject]

    def _has(self, one: Resolved) -> bool:
        try:
            return self._client.resolve(self._path, one.digest).raw == one.raw
        except (NotFound, Invalid):  # or damaged there: it is written again
            return False
        except Unavailable as error:
            if error.code != FALTERS:
                raise
            return False  # as with a blob: what was cut off while it was written stays unreadable
