"""What belongs to an image in a registry: its manifests, what refers to them, and what cosign put beside; read only.

All of it is bounded: whoever may push to a repository could otherwise keep its readers busy without end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from secguard.errors import Invalid, NotFound, TooLarge
from secguard.images import cosigntags, referrers
from secguard.images.adapters.registry import RegistryClient
from secguard.images.adapters.source import Resolved
from secguard.images.manifest import (
    INDEXES,
    MANIFESTS,
    MAX_MANIFESTS,
    MAX_NESTING,
    Descriptor,
    ImageIndex,
    ImageManifest,
)

MAX_REFERRERS = 500
MAX_DEPTH = 4
"""Of what refers to what refers to an image."""
MAX_TREE_BYTES = 64 * 2**20
"""Of all manifests of one image."""


@dataclass(frozen=True)
class Attached:
    """A referrer, or what lies under one of cosign's tags: its manifests, children first and itself last."""

    manifests: list[Resolved]
    tag: str = ""

    @property
    def root(self) -> Resolved:
        return self.manifests[-1]


@dataclass
class Gathered:
    """All that refers to an image. ``left_out`` says in words what does and cannot be read."""

    attached: list[Attached] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def leave_out(self, one: Attached, why: str) -> None:
        """It is not brought along."""
        self.attached.remove(one)
        self.left_out.append(f"{one.tag or one.root.digest}: {why}")


def tree(client: RegistryClient, path: str, digest: str) -> list[Resolved]:
    """The manifest or index of a digest and all that it names, each once: children first, itself last.

    Raises ``NotFound`` where one is missing, ``Invalid`` for a circle, for what is neither manifest nor index and for
    bytes that are others, ``TooLarge`` past ``MAX_NESTING`` levels, ``MAX_MANIFESTS`` manifests or ``MAX_TREE_BYTES``.
    """
    found: dict[str, Resolved] = {}
    _walk(client, path, client.resolve(path, digest), found, ())
    return list(found.values())


def blobs_of(manifest: Resolved) -> tuple[Descriptor, ...]:
    """The configuration and the layers that a manifest names; of an index nothing."""
    document = manifest.parse()
    return (document.config, *document.layers) if isinstance(document, ImageManifest) else ()


def gather(client: RegistryClient, path: str, image: list[Resolved], waiting: Callable[[], None]) -> Gathered:
    """What refers to the manifests of ``image``, what refers to that, and so on; ``waiting`` is called on the way.

    A referrer that is gone or broken is left out. Raises ``Invalid`` where a list itself cannot be read, or past
    ``MAX_REFERRERS`` and ``MAX_DEPTH``.
    """
    gathered, seen = Gathered(), {one.digest for one in image}
    queue = deque((one.digest, 0) for one in reversed(image))
    while queue:
        waiting()
        digest, depth = queue.popleft()
        for attached in _beside(client, path, digest, seen, gathered.left_out):
            gathered.attached.append(attached)
            seen.update(one.digest for one in attached.manifests)
            queue += [(one.digest, depth + 1) for one in attached.manifests]
            _bounded(image[-1].digest, gathered, depth + 1)
    return gathered


def _bounded(image: str, gathered: Gathered, depth: int) -> None:
    if len(gathered.attached) + len(gathered.left_out) > MAX_REFERRERS:
        raise Invalid(
            f"More than {MAX_REFERRERS} manifests refer to {image}. Take those away that nobody needs.",
            code="too-many-referrers",
        )
    if depth > MAX_DEPTH:
        raise Invalid(
            f"What refers to {image} is referred to itself, and so on, more than {MAX_DEPTH} levels deep, at last by "
            f"{gathered.attached[-1].root.digest}. Take those away that nobody needs.",
            code="referrers-too-deep",
        )


def _beside(client: RegistryClient, path: str, digest: str, seen: set[str], left_out: list[str]) -> Iterator[Attached]:
    tags = cosigntags.tags_of(digest)
    with ThreadPoolExecutor(1 + len(tags)) as threads:
        tagged = [threads.submit(_tagged, client, path, tag) for tag in tags]
        for listed in client.referrers(path, digest):
            place = listed.descriptor.digest
            if place not in seen:
                seen.add(place)
                try:
                    yield Attached(_referrer(client, path, digest, place))
                except (NotFound, Invalid) as error:
                    left_out.append(f"{place}, which is listed as referring to {digest}: {error.detail}")
        for tag, asked in zip(tags, tagged, strict=True):
            try:
                found = asked.result()
            except NotFound:
                continue
            except Invalid as error:
                left_out.append(f"{tag}: {error.detail}")
            else:
                yield Attached([found], tag)


def _tagged(client: RegistryClient, path: str, tag: str) -> Resolved:
    found = client.resolve(path, tag)
    cosigntags.read(found.raw, found.media_type)
    return found


def _referrer(client: RegistryClient, path: str, subject: str, digest: str) -> list[Resolved]:
    found = tree(client, path, digest)
    if (named := referrers.subject_of(found[-1].raw)) != subject:
        raise Invalid(f"It refers to {named or 'nothing'}.", code="wrong-subject")
    return found


# Trees ----------------------------------------------------------------------------------------------------------------


def _walk(client: RegistryClient, path: str, at: Resolved, found: dict[str, Resolved], above: tuple[str, ...]) -> None:
    for child in _children(at):
        if child.digest == at.digest or child.digest in above:
            raise Invalid(f"The index {at.digest} points in a circle, to {child.digest}.", code="bad-document")
        if child.digest not in found:
            if len(above) + 1 >= MAX_NESTING:
                raise TooLarge(f"The index holds indexes more than {MAX_NESTING} levels deep.", code="index-too-deep")
            _walk(client, path, _child(client, path, at, child), found, (*above, at.digest))
    found[at.digest] = at
    if len(found) > MAX_MANIFESTS or sum(len(one.raw) for one in found.values()) > MAX_TREE_BYTES:
        raise TooLarge(
            f"The index names more than {MAX_MANIFESTS} manifests, or more than {MAX_TREE_BYTES:,} bytes of them.",
            code="index-too-large",
        )


def _children(at: Resolved) -> Iterator[Descriptor]:
    document = at.parse()
    for child in document.manifests if isinstance(document, ImageIndex) else ():
        if child.media_type not in INDEXES | MANIFESTS:
            raise Invalid(
                f"The index {at.digest} names {child.digest} of type {child.media_type[:100]!r}; expected manifests "
                "and indexes alone.",
                code="bad-document",
            )
        yield child


def _child(client: RegistryClient, path: str, at: Resolved, child: Descriptor) -> Resolved:
    try:
        found = client.resolve(path, child.digest)
    except NotFound as error:
        raise NotFound(
            f"The index {at.digest} names {child.digest}{f' for {child.platform}' if child.platform else ''}, which is "
            f"not there. Push the image again, with all its platforms. ({error.detail})",
            code="incomplete-index",
        ) from None
    if len(found.raw) != child.size:
        raise Invalid(
            f"The manifest {child.digest} has {len(found.raw):,} bytes; the index {at.digest} names {child.size:,}.",
            code="wrong-manifest-size",
        )
    return found
