"""Small images made in memory: tars, configurations, manifests and indexes, byte for byte, and where to put them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import zstandard

from secguard.images import manifest

Files = dict[str, bytes]


def sha256(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def tar_of(files: Files, *extra: tarfile.TarInfo, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar with plain files, and then entries without content."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for info in extra:
            tar.addfile(info)
    return out.getvalue()


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def compressed(raw: bytes, how: str = "gzip") -> bytes:
    if how == "zstd":
        return zstandard.ZstdCompressor().compress(raw)
    return gzip.compress(raw, 6, mtime=0) if how == "gzip" else raw


def as_json(document: Any) -> bytes:
    return json.dumps(document).encode()


@dataclass
class BuiltImage:
    """A manifest (or an index) with everything that it names."""

    raw: bytes
    media_type: str
    blobs: dict[str, bytes] = field(default_factory=dict)
    children: list[BuiltImage] = field(default_factory=list)
    platform: dict[str, str] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return sha256(self.raw)

    def described(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.raw), "platform": self.platform}


def image_of(
    *tars: bytes, how: str = "gzip", architecture: str = "amd64", config: dict[str, Any] | None = None
) -> BuiltImage:
    """An OCI image whose layers have these tars."""
    layers = [compressed(tar, how) for tar in tars]
    settings = {
        "os": "linux",
        "architecture": architecture,
        "created": "2024-02-03T04:05:06.123456789Z",
        "config": config or {},
        "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in tars]},
        "history": [{"created_by": f"COPY step {i}"} for i in range(len(tars))],
    }
    raw_config = as_json(settings)
    suffix = {"gzip": "+gzip", "zstd": "+zstd"}.get(how, "")
    document = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_MANIFEST,
        "config": _part("application/vnd.oci.image.config.v1+json", raw_config),
        "layers": [_part(f"application/vnd.oci.image.layer.v1.tar{suffix}", layer) for layer in layers],
    }
    blobs = {sha256(raw): raw for raw in [raw_config, *layers]}
    platform = {"os": "linux", "architecture": architecture}
    return BuiltImage(as_json(document), manifest.OCI_MANIFEST, blobs, platform=platform)


def index_of(*images: BuiltImage) -> BuiltImage:
    """An OCI index of these images."""
    document = {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": [i.described() for i in images]}
    return BuiltImage(as_json(document), manifest.OCI_INDEX, children=list(images))


def read_layout(folder: Path) -> list[tuple[str, BuiltImage]]:
    """The images of an OCI layout with their names."""
    top = json.loads((folder / "index.json").read_bytes())
    name = "org.opencontainers.image.ref.name"
    return [(d.get("annotations", {}).get(name, ""), _read(folder, d)) for d in top["manifests"]]


def write_layout(folder: Path, images: dict[str, BuiltImage]) -> None:
    """An OCI layout with these images by their tags."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    rows = []
    for tag, image in images.items():
        _write(blobs, image)
        rows.append({**image.described(), "annotations": {"org.opencontainers.image.ref.name": tag}})
    (folder / "index.json").write_bytes(as_json({"schemaVersion": 2, "manifests": rows}))


def docker_archive(image: BuiltImage, *tags: str) -> bytes:
    """What ``docker save`` would write, with uncompressed layers."""
    document = json.loads(image.raw)
    config = image.blobs[document["config"]["digest"]]
    files = {f"{document['config']['digest'][7:]}.json": config}
    paths = []
    for layer in document["layers"]:
        raw = image.blobs[layer["digest"]]
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        paths.append(f"{sha256(raw)[7:]}/layer.tar")
        files[paths[-1]] = raw
    row = {"Config": next(iter(files)), "RepoTags": list(tags), "Layers": paths}
    return tar_of({**files, "manifest.json": as_json([row])})


def push(client: httpx.Client, path: str, tag: str, image: BuiltImage) -> None:
    """Write an image, and what it names, to a registry (distribution-spec, "Push"); the tag last."""
    for child in image.children:
        push(client, path, child.digest, child)
    for digest, raw in image.blobs.items():
        if client.head(f"/v2/{path}/blobs/{digest}").status_code == 200:
            continue
        begun = client.post(f"/v2/{path}/blobs/uploads/")
        begun.raise_for_status()
        where = httpx.URL(begun.headers["location"])
        where = where.copy_merge_params({"digest": digest})
        client.put(where, content=raw, headers={"Content-Type": "application/octet-stream"}).raise_for_status()
    answer = client.put(f"/v2/{path}/manifests/{tag}", content=image.raw, headers={"Content-Type": image.media_type})
    answer.raise_for_status()


def _part(media_type: str, raw: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(raw), "size": len(raw)}


def _write(blobs: Path, image: BuiltImage) -> None:
    for raw in [image.raw, *image.blobs.values()]:
        (blobs / sha256(raw)[7:]).write_bytes(raw)
    for child in image.children:
        _write(blobs, child)


def _read(folder: Path, descriptor: dict[str, Any]) -> BuiltImage:
    def blob(digest: str) -> bytes:
        return (folder / "blobs" / digest.replace(":", "/")).read_bytes()

    raw = blob(descriptor["digest"])
    document = json.loads(raw)
    image = BuiltImage(raw, descriptor["mediaType"], platform=descriptor.get("platform", {}))
    image.children = [_read(folder, child) for child in document.get("manifests", [])]
    if "config" in document:
        image.blobs = {part["digest"]: blob(part["digest"]) for part in [document["config"], *document["layers"]]}
    return image
