"""Images in files: an OCI layout (a folder or a tar) and what ``docker save`` writes, read like a registry.

OCI image-spec 1.1, image-layout.md; Docker's image specification v1.2 ("Combined Image JSON + Filesystem Changeset
Format"). Nothing is unpacked: members are read where they lie in the tar. Only a compressed archive is first
decompressed into ``scratch``, within limits.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secguard.errors import Invalid, NotFound, TooLarge
from secguard.images import configuration, manifest
from secguard.images.adapters.decompression import Limits
from secguard.images.adapters.members import Members, missing, open_members
from secguard.images.adapters.source import ImageSource, Progress, Resolved, digest_of
from secguard.images.adapters.tarreader import normalised
from secguard.images.adapters.verified import VerifiedFile
from secguard.images.manifest import Descriptor, ImageIndex
from secguard.images.reference import is_digest
from secguard.images.strictjson import Node, loads, refused

_CHUNK = 2**20
_REF_NAME = "org.opencontainers.image.ref.name"
_IMAGE_NAME = "io.containerd.image.name"
ARCHIVE_LIMITS = Limits(entries=100_000, total_bytes=64 * 2**30, file_bytes=32 * 2**30)
"""For the archive as a whole; each layer in it has limits of its own."""


def open_archive(path: Path, *, scratch: Path, limits: Limits = ARCHIVE_LIMITS) -> ImageSource:
    """The image source in a folder or file; close it when done.

    ``scratch`` is a folder for the one temporary file that a compressed archive needs. Raises ``NotFound`` where there
    is nothing at ``path``, ``Invalid`` where it is none of the known kinds, ``TooLarge`` past a limit.
    """
    if not path.exists():
        raise NotFound(f"There is no file or folder {path}.", code="not-there")
    members = open_members(path, scratch, limits)
    try:
        if members.has("index.json"):
            return LayoutSource(members)
        if members.has("manifest.json"):
            return DockerSource(members)
        raise Invalid(
            f"{path.name} has neither an index.json (OCI layout) nor a manifest.json (docker save). Write it with "
            "'docker save', 'skopeo copy … oci-archive:FILE' or 'skopeo copy … docker-archive:FILE'.",
            code="not-an-archive",
        )
    except BaseException:
        members.close()
        raise


class LayoutSource:
    """An OCI layout as an ``ImageSource``."""

    def __init__(self, members: Members) -> None:
        self._members = members
        if members.has("oci-layout"):
            raw = _read(members, "oci-layout", 2**12)
            version = Node(loads(raw, what="oci-layout", max_bytes=2**12), "oci-layout").text("imageLayoutVersion")
            if not version.startswith("1."):
                raise refused("The archive", f"its layout has version {version[:20]!r}; expected 1.0.0")
        self._raw = _read(members, "index.json", manifest.MAX_BYTES)
        index = manifest.parse(self._raw)
        if not isinstance(index, ImageIndex):
            raise refused("index.json", "it is an image manifest; expected an index")
        self._index = index

    def resolve(self, reference: str = "") -> Resolved:
        if is_digest(reference):
            return self._by_digest(reference, self._described(reference))
        fitting = {
            child.digest: child
            for child in self._index.manifests
            if not child.is_attestation and (not reference or reference in _names(child))
        }
        if len(fitting) == 1:
            child = next(iter(fitting.values()))
            return self._by_digest(child.digest, child)
        if fitting and not reference and all(child.platform for child in fitting.values()):
            return Resolved(digest_of(self._raw), self._index.media_type, self._raw, is_digest_asserted=False)
        raise _choose(reference, len(fitting), self.references())

    def blob(self, into: VerifiedFile, progress: Progress | None = None) -> None:
        _copy(self._members, _blob_path(into.descriptor.digest), into, progress)

    def references(self) -> list[str]:
        return list(dict.fromkeys(name for child in self._index.manifests for name in _names(child)))

    def close(self) -> None:
        self._members.close()

    def _described(self, digest: str) -> Descriptor | None:
        return next((child for child in self._index.manifests if child.digest == digest), None)

    def _by_digest(self, digest: str, child: Descriptor | None) -> Resolved:
        raw = _read(self._members, _blob_path(digest), manifest.MAX_BYTES)
        found = digest_of(raw, digest.partition(":")[0])
        if found != digest:
            raise Invalid(
                f"The archive holds under {digest} bytes with the digest {found}. They were altered or cut off: write "
                "the archive again.",
                code="wrong-manifest-digest",
            )
        said = child.media_type if child else ""
        return Resolved(digest, manifest.parse(raw, said).media_type, raw)


@dataclass(frozen=True, slots=True)
class _Saved:
    """One image of a ``docker save`` archive: where its parts lie, and the manifest made of them."""

    names: tuple[str, ...]
    paths: dict[str, str]
    resolved: Resolved


class DockerSource:
    """A ``docker save`` archive as an ``ImageSource``.

    Such an archive names no manifest digest, so an image's identity is its configuration's digest
    (``Resolved.is_digest_asserted`` is False), and its manifest is made up here, always the same for the same parts.
    """

    def __init__(self, members: Members) -> None:
        self._members = members
        what = "manifest.json"
        rows = loads(_read(members, what, manifest.MAX_BYTES), what=what, max_bytes=manifest.MAX_BYTES)
        if not isinstance(rows, list) or not 0 < len(rows) <= manifest.MAX_MANIFESTS:
            raise refused(what, f"expected a list of 1 to {manifest.MAX_MANIFESTS} images, as 'docker save' writes it")
        self._rows = [Node(row, what, f"$[{i}]") for i, row in enumerate(rows)]
        self._images: dict[int, _Saved] = {}
        self._paths: dict[str, str] = {}

    def resolve(self, reference: str = "") -> Resolved:
        if is_digest(reference):
            fitting = [i for i in range(len(self._rows)) if self._image(i).resolved.digest == reference]
        else:
            fitting = [
                i for i, row in enumerate(self._rows) if not reference or _is_named(reference, row.texts("RepoTags"))
            ]
        found = {self._image(i).resolved.digest: self._image(i).resolved for i in fitting}
        if len(found) != 1:
            raise _choose(reference, len(found), self.references())
        return next(iter(found.values()))

    def blob(self, into: VerifiedFile, progress: Progress | None = None) -> None:
        digest = into.descriptor.digest
        if digest not in self._paths:
            for i in range(len(self._rows)):
                self._image(i)
        if digest not in self._paths:
            raise missing(digest)
        _copy(self._members, self._paths[digest], into, progress)

    def references(self) -> list[str]:
        return list(dict.fromkeys(name for row in self._rows for name in row.texts("RepoTags")))

    def close(self) -> None:
        self._members.close()

    def _image(self, i: int) -> _Saved:
        if i not in self._images:
            self._images[i] = self._put_together(self._rows[i])
            self._paths.update(self._images[i].paths)
        return self._images[i]

    def _put_together(self, row: Node) -> _Saved:
        config_path, layer_paths = row.text("Config", most=4096), row.texts("Layers", most=manifest.MAX_LAYERS)
        if not config_path:
            raise row.wrong("Config", "is empty; expected the path of the image's configuration")
        raw = _read(self._members, config_path, configuration.MAX_BYTES)
        config = self._described(config_path, manifest.DOCKER_CONFIG)
        known = configuration.parse(raw).diff_ids
        if len(known) != len(layer_paths):
            raise row.wrong("Layers", f"names {len(layer_paths)} layers, and the configuration {len(known)}")
        layers = [self._described(path, manifest.DOCKER_PLAIN_LAYER) for path in layer_paths]
        paths = {
            part["digest"]: path for part, path in zip([config, *layers], [config_path, *layer_paths], strict=True)
        }
        document = {
            "schemaVersion": 2,
            "mediaType": manifest.DOCKER_MANIFEST,
            "config": config,
            "layers": layers,
        }
        made = json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
        resolved = Resolved(config["digest"], manifest.DOCKER_MANIFEST, made, is_digest_asserted=False)
        return _Saved(row.texts("RepoTags"), paths, resolved)

    def _described(self, path: str, media_type: str) -> dict[str, Any]:
        digest, size = hashlib.sha256(), 0
        with self._members.open(normalised(path)[0]) as file:
            while block := file.read(_CHUNK):
                digest.update(block)
                size += len(block)
        return {"mediaType": media_type, "digest": f"sha256:{digest.hexdigest()}", "size": size}


def _copy(members: Members, path: str, into: VerifiedFile, progress: Progress | None) -> None:
    with members.open(path) as file:
        file.seek(into.size, os.SEEK_CUR)
        while block := file.read(_CHUNK):
            into.write(block)
            if progress:
                progress(into.size)
    into.check()


def _read(members: Members, path: str, most: int) -> bytes:
    with members.open(normalised(path)[0]) as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise TooLarge(f"{path[:200]} in the archive has more than {most:,} bytes.", code="document-too-large")
    return raw


def _blob_path(digest: str) -> str:
    algorithm, _, name = digest.partition(":")
    return f"blobs/{algorithm}/{name}"


def _names(child: Descriptor) -> tuple[str, ...]:
    """What an entry of index.json is called: its tag, or a whole reference (both are in use)."""
    return tuple(filter(None, (child.annotations.get(_REF_NAME), child.annotations.get(_IMAGE_NAME))))


def _is_named(reference: str, names: tuple[str, ...]) -> bool:
    return any(reference == name or name.endswith(f":{reference}") for name in names)


def _choose(reference: str, count: int, names: list[str]) -> Invalid | NotFound:
    listed = ", ".join(names[:20]) or "none has a name"
    if not count:
        asked = f"no image {reference[:200]!r}" if reference else "no image"
        return NotFound(f"The archive holds {asked}; it names: {listed}.", code="not-there")
    return Invalid(
        f"The archive holds {count} images; say which one: {listed}.", code="which-image", names=names[:1000]
    )
