"""Manifests and indexes: bytes in, what they name out.

OCI image-spec 1.1 (manifest.md, image-index.md, descriptor.md) and Docker's schema 2 (distribution's
manifest-v2-2.md). The bytes are never written again: their digest is the image's identity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from secguard.errors import Invalid, TooLarge
from secguard.images.reference import is_digest
from secguard.images.strictjson import Node, loads, refused

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
ACCEPTED = (OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST)
"""What we ask registries for, best first."""

DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
CONFIGS = frozenset({"application/vnd.oci.image.config.v1+json", DOCKER_CONFIG})
DOCKER_PLAIN_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
LAYERS = frozenset(
    f"{stem}{compression}"
    for stem, compressions in {
        "application/vnd.oci.image.layer.v1.tar": ("", "+gzip", "+zstd"),
        "application/vnd.oci.image.layer.nondistributable.v1.tar": ("", "+gzip", "+zstd"),
        DOCKER_PLAIN_LAYER: ("", ".gzip", ".zstd"),
        "application/vnd.docker.image.rootfs.foreign.diff.tar": ("", ".gzip"),
    }.items()
    for compression in compressions
)
_NOT_DISTRIBUTED = (
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
)
_SCHEMA_1 = frozenset(f"application/vnd.docker.distribution.manifest.v1+{kind}" for kind in ("json", "prettyjws"))
_UNTOLD = frozenset({"", "application/json", "text/plain", "application/octet-stream"})

MAX_BYTES = 4 * 2**20
"""Of a manifest; registries take at most this (distribution-spec, "Pushing Manifests")."""
MAX_LAYERS = 512
MAX_MANIFESTS = 512
MAX_NESTING = 4
MAX_BLOB_BYTES = 2**53


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on (image-index.md, "platform")."""

    os: str = ""
    architecture: str = ""
    variant: str = ""
    os_version: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Something that lies elsewhere: its digest, its size in bytes and what it is (descriptor.md)."""

    media_type: str
    digest: str
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    urls: tuple[str, ...] = ()

    @property
    def is_elsewhere(self) -> bool:
        """True for a layer that no registry is to have: its licence forbids it, and its URLs lead to it (layer.md)."""
        return bool(self.urls) and self.media_type.startswith(_NOT_DISTRIBUTED)

    @property
    def is_attestation(self) -> bool:
        """True for what BuildKit puts beside images in their index: not an image."""
        if self.annotations.get("vnd.docker.reference.type") == "attestation-manifest":
            return True
        return self.platform is not None and self.platform.os == self.platform.architecture == "unknown"


@dataclass(frozen=True, slots=True)
class ImageManifest:
    """One image for one platform: its configuration and its layers, lowest first."""

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str]
    artifact_type: str = ""


@dataclass(frozen=True, slots=True)
class ImageIndex:
    """Several manifests under one digest, usually one for each platform."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


def parse(raw: bytes, media_type: str = "") -> ImageManifest | ImageIndex:
    """Read a manifest or an index; ``media_type`` is what the registry said that it is.

    Raises ``Invalid`` where it is something else, says two things at once (CVE-2021-41190) or is of a form that
    tools no longer write (schema 1), and ``TooLarge`` past a bound.
    """
    said = media_type.partition(";")[0].strip().lower()
    if said in _SCHEMA_1:
        raise _schema_1()
    if said not in _UNTOLD and said not in MANIFESTS | INDEXES:
        raise refused("The manifest", f"it is {said[:100]!r}; expected an image manifest or an image index")
    node = Node(loads(raw, what="The manifest", max_bytes=MAX_BYTES), "The manifest")
    kind = _kind(node, said if said not in _UNTOLD else "")
    return _index(node, kind) if kind in INDEXES else _manifest(node, kind)


def require_image(manifest: ImageManifest) -> None:
    """Raises ``Invalid`` where the manifest is an artifact (a chart, a signature) or has layers that cannot be read."""
    if manifest.config.media_type not in CONFIGS:
        kind = manifest.artifact_type or manifest.config.media_type
        raise refused("The manifest", f"it is an artifact of type {kind[:100]!r}, not an image", "$.config.mediaType")
    for i, layer in enumerate(manifest.layers):
        if layer.media_type not in LAYERS:
            why = "is encrypted" if layer.media_type.endswith("+encrypted") else "is of a type that is not known here"
            raise refused(
                "The image",
                f"its layer {i} {why} ({layer.media_type[:100]!r}); expected a tar, plain or with gzip or zstd",
                f"$.layers[{i}].mediaType",
            )


def images_of(index: ImageIndex, read: Callable[[Descriptor], bytes]) -> tuple[Descriptor, ...]:
    """The images that an index names, those of the indexes in it included, each once, in order.

    ``read`` fetches a nested index by its descriptor. Attestations and artifacts are left out. Raises ``Invalid``
    for a circle or where no image is left, ``TooLarge`` past ``MAX_NESTING`` levels or ``MAX_MANIFESTS`` manifests.
    """
    found: dict[str, Descriptor] = {}
    seen: set[str] = set()
    _collect(index, read, found, seen, 1)
    if not found:
        raise refused("The index", "it names no image, only other things")
    return tuple(found.values())


def _collect(
    index: ImageIndex,
    read: Callable[[Descriptor], bytes],
    found: dict[str, Descriptor],
    seen: set[str],
    depth: int,
) -> None:
    if depth > MAX_NESTING:
        raise TooLarge(f"The index holds indexes more than {MAX_NESTING} levels deep.", code="index-too-deep")
    for child in index.manifests:
        if child.media_type in INDEXES:
            if child.digest in seen:
                raise refused("The index", f"it points in a circle or twice to the index {child.digest}")
            seen.add(child.digest)
            nested = parse(read(child), child.media_type)
            if isinstance(nested, ImageIndex):
                _collect(nested, read, found, seen, depth + 1)
        elif child.media_type in MANIFESTS and not child.is_attestation:
            found.setdefault(child.digest, child)
        if len(found) + len(seen) > MAX_MANIFESTS:
            raise TooLarge(f"The index names more than {MAX_MANIFESTS} manifests.", code="index-too-large")


def _schema_1() -> Invalid:
    return refused(
        "The manifest",
        "it is of Docker's schema 1, which names no configuration and was given up in 2017. "
        "Push the image again with a current tool, for example: skopeo copy --format v2s2 docker://OLD docker://NEW",
    )


def _kind(node: Node, said: str) -> str:
    version = node.get("schemaVersion", int, 0)
    if version == 1:
        raise _schema_1()
    if version != 2:
        raise node.wrong("schemaVersion", f"is {version or 'missing'}; expected 2")
    has_index = "manifests" in node.members
    has_image = "config" in node.members or "layers" in node.members
    if has_index == has_image:
        why = "both 'manifests' and 'layers' or 'config'" if has_index else "neither 'manifests' nor 'config'"
        raise refused(node.what, f"it has {why}; expected a manifest or an index")
    fitting = INDEXES if has_index else MANIFESTS
    written = node.text("mediaType", most=255)
    kind = written or said or (OCI_INDEX if has_index else OCI_MANIFEST)
    if kind not in fitting or (said and said not in fitting):
        shape = "an index" if has_index else "an image manifest"
        heard = f"is {written!r} and the source says {said!r}" if said else f"is {written!r}"
        raise node.wrong("mediaType", f"{heard}; but it is {shape}")
    return kind


def _manifest(node: Node, kind: str) -> ImageManifest:
    config = node.node("config")
    if config is None:
        raise node.wrong("config", "is missing; expected a descriptor")
    return ImageManifest(
        media_type=kind,
        config=_descriptor(config),
        layers=tuple(map(_descriptor, node.nodes("layers", most=MAX_LAYERS))),
        annotations=node.text_map("annotations"),
        artifact_type=node.text("artifactType", most=255),
    )


def _index(node: Node, kind: str) -> ImageIndex:
    return ImageIndex(
        media_type=kind,
        manifests=tuple(map(_descriptor, node.nodes("manifests", most=MAX_MANIFESTS))),
        annotations=node.text_map("annotations"),
    )


def _descriptor(node: Node) -> Descriptor:
    digest = node.text("digest", most=200)
    if not is_digest(digest):
        raise node.wrong("digest", f"is {digest[:80]!r}; expected sha256:<64 hex digits>")
    size = node.get("size", int, -1)
    if not 0 <= size <= MAX_BLOB_BYTES:
        raise node.wrong("size", f"is {size}; expected a number of bytes")
    return Descriptor(
        media_type=node.text("mediaType", most=255),
        digest=digest,
        size=size,
        platform=_platform(node.node("platform")),
        annotations=node.text_map("annotations"),
        urls=node.texts("urls", most=100),
    )


def _platform(node: Node | None) -> Platform | None:
    if node is None:
        return None
    return Platform(
        os=node.text("os", most=50),
        architecture=node.text("architecture", most=50),
        variant=node.text("variant", most=50),
        os_version=node.text("os.version", most=100),
    )
