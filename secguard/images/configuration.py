"""An image's configuration: how it was built and how it starts (OCI image-spec 1.1, config.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from secguard.images.manifest import Descriptor, ImageManifest, Platform
from secguard.images.reference import is_digest
from secguard.images.strictjson import Node, loads, refused

MAX_BYTES = 8 * 2**20
_MAX_LAYERS = 512
_MAX_HISTORY = 10_000
_WHAT = "The image's configuration"


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One instruction of the build, oldest first; an empty one made no layer."""

    created_by: str
    is_empty_layer: bool
    created: datetime | None = None
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """Docker's health check: times in nanoseconds, 0 where the default holds; ``("NONE",)`` turns it off."""

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class Execution:
    """How a container of the image starts (the member ``config``)."""

    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = ""
    stop_signal: str = ""
    shell: tuple[str, ...] = ()
    on_build: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """A parsed configuration; ``diff_ids`` are the digests of the uncompressed layers, lowest first."""

    platform: Platform
    created: datetime | None
    author: str
    diff_ids: tuple[str, ...]
    history: tuple[HistoryEntry, ...]
    execution: Execution


@dataclass(frozen=True, slots=True)
class ImageLayer:
    """A layer with what the configuration says of it; ``created_by`` is empty where the history does not fit."""

    position: int
    descriptor: Descriptor
    diff_id: str
    created_by: str


def parse(raw: bytes) -> ImageConfig:
    """Read a configuration. Raises ``Invalid`` with the place of the fault, ``TooLarge`` past a bound."""
    node = Node(loads(raw, what=_WHAT, max_bytes=MAX_BYTES), _WHAT)
    return ImageConfig(
        platform=Platform(
            os=node.text("os", most=50),
            architecture=node.text("architecture", most=50),
            variant=node.text("variant", most=50),
            os_version=node.text("os.version", most=100),
        ),
        created=node.instant("created"),
        author=node.text("author"),
        diff_ids=_diff_ids(node.node("rootfs")),
        history=tuple(map(_history, node.nodes("history", most=_MAX_HISTORY))),
        execution=_execution(node.node("config")),
    )


def layers_of(manifest: ImageManifest, config: ImageConfig) -> tuple[ImageLayer, ...]:
    """The layers, lowest first, each with its diff id and the instruction that made it.

    Raises ``Invalid`` where manifest and configuration name different numbers of layers.
    """
    if len(manifest.layers) != len(config.diff_ids):
        raise refused(
            "The image",
            f"its manifest names {len(manifest.layers)} layers and its configuration {len(config.diff_ids)}",
            "$.rootfs.diff_ids",
        )
    made = [entry.created_by for entry in config.history if not entry.is_empty_layer]
    if len(made) != len(manifest.layers):  # the history may be left out, or cut: then it tells nothing for certain
        made = [""] * len(manifest.layers)
    together = zip(manifest.layers, config.diff_ids, made, strict=True)
    return tuple(ImageLayer(i, layer, diff_id, by) for i, (layer, diff_id, by) in enumerate(together))


def _diff_ids(node: Node | None) -> tuple[str, ...]:
    diff_ids = node.texts("diff_ids", most=_MAX_LAYERS) if node else ()
    for i, diff_id in enumerate(diff_ids):
        if not is_digest(diff_id):
            raise refused(_WHAT, f"$.rootfs.diff_ids[{i}] is {diff_id[:80]!r}; expected sha256:<64 hex digits>")
    return diff_ids


def _history(node: Node) -> HistoryEntry:
    return HistoryEntry(
        created_by=node.text("created_by"),
        is_empty_layer=node.get("empty_layer", bool, False),
        created=node.instant("created"),
        comment=node.text("comment"),
    )


def _execution(node: Node | None) -> Execution:
    if node is None:
        return Execution()
    return Execution(
        user=node.text("User"),
        env=node.texts("Env"),
        entrypoint=node.texts("Entrypoint"),
        cmd=node.texts("Cmd"),
        exposed_ports=_names(node, "ExposedPorts"),
        volumes=_names(node, "Volumes"),
        labels=node.text_map("Labels"),
        working_dir=node.text("WorkingDir"),
        stop_signal=node.text("StopSignal"),
        shell=node.texts("Shell"),
        on_build=node.texts("OnBuild"),
        healthcheck=_healthcheck(node.node("Healthcheck")),
    )


def _names(node: Node, name: str) -> tuple[str, ...]:
    """The keys of an object whose values are empty objects (Go's way to write a set)."""
    return tuple(sorted(node.get(name, dict, {})))


def _healthcheck(node: Node | None) -> Healthcheck | None:
    if node is None:
        return None
    return Healthcheck(
        test=node.texts("Test"),
        interval=node.get("Interval", int, 0),
        timeout=node.get("Timeout", int, 0),
        retries=node.get("Retries", int, 0),
    )
