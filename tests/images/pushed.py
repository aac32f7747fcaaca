"""What the tests of copying lay into registries, and how they look at what arrived, without the client under test."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from secguard.images import cosigntags, referrers
from secguard.images.adapters.copying import Copied, Place, copy, verify
from secguard.images.adapters.pushing import PushingClient
from secguard.images.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from tests.fixtures_registries import RunningRegistry
from tests.imagebuilding import BuiltImage, as_json, image_of, sha256, tar_of

Two = tuple[RunningRegistry, RunningRegistry]
SBOM = "application/vnd.cyclonedx+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
NAMES = iter(range(10**6))


def place(running: RunningRegistry, path: str) -> Place:
    return Place(lambda: PushingClient(running.access, sleep=lambda _: None), path)


def fresh(name: str = "to") -> str:
    """A repository that nobody has used."""
    return f"{name}/r{next(NAMES)}"


def image(*sizes: int, architecture: str = "amd64") -> BuiltImage:
    """A new one each time; of layers that no compression makes smaller."""
    return image_of(*(tar_of({"a": os.urandom(size)}) for size in sizes or (1000, 2000)), architecture=architecture)


def copied(source: RunningRegistry, destination: RunningRegistry, built: BuiltImage) -> tuple[Copied, str]:
    """What came of copying a new image, verified; and where to."""
    source.push("from/one", "latest", built)
    to = fresh()
    done = copy(place(source, "from/one"), place(destination, to), built.digest)
    with place(destination, to).client() as client:
        verify(client, to, done.digests)
    return done, to


def is_whole(running: RunningRegistry, path: str, built: BuiltImage) -> bool:
    """Read by hand: every manifest and blob byte for byte."""
    answer = running.writer.get(f"/v2/{path}/manifests/{built.digest}", headers={"Accept": built.media_type})
    blobs = (running.writer.get(f"/v2/{path}/blobs/{digest}").content == raw for digest, raw in built.blobs.items())
    return (
        answer.content == built.raw
        and answer.headers["content-type"] == built.media_type
        and all(blobs)
        and all(is_whole(running, path, child) for child in built.children)
    )


def has_nothing(running: RunningRegistry, path: str, built: BuiltImage) -> bool:
    return running.writer.get(f"/v2/{path}/manifests/{built.digest}").status_code == 404


def with_attestation(*images: BuiltImage) -> BuiltImage:
    """An index as BuildKit writes it: the images, and beside them a manifest that says how one was made."""
    statement = as_json({"_type": "https://in-toto.io/Statement/v0.1", "made": next(NAMES)})
    config = as_json({"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": []}})
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": part(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [part(statement, "application/vnd.in-toto+json")],
    }
    unknown = {"os": "unknown", "architecture": "unknown"}
    made = BuiltImage(as_json(document), OCI_MANIFEST, {sha256(r): r for r in (config, statement)}, platform=unknown)
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": images[0].digest}
    rows = [*(one.described() for one in images), made.described() | {"annotations": about}]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": rows}
    return BuiltImage(as_json(index), OCI_INDEX, children=[*images, made])


def part(raw: bytes, media_type: str = "application/octet-stream") -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(raw), "size": len(raw)}


def described(raw: bytes, media_type: str = OCI_MANIFEST) -> Descriptor:
    return Descriptor(media_type, sha256(raw), len(raw))


def refer(client: PushingClient, path: str, subject: Descriptor, artifact_type: str, content: bytes) -> Descriptor:
    """Push something that refers to ``subject``."""
    raw = referrers.to_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": artifact_type,
            "config": referrers.described(client.push_bytes(path, referrers.EMPTY, referrers.EMPTY_TYPE)),
            "layers": [referrers.described(client.push_bytes(path, content, artifact_type))],
            "subject": referrers.described(subject),
            "annotations": {"about": artifact_type},
        }
    )
    client.push_referrer(path, raw, OCI_MANIFEST, artifact_type)
    return described(raw)


def statement(client: PushingClient, path: str, content: bytes) -> Descriptor:
    """A layer for one of cosign's tags, its blob pushed."""
    blob = client.push_bytes(path, content, "application/vnd.dev.cosign.simplesigning.v1+json")
    return replace(blob, annotations={"dev.cosignproject.cosign/signature": content.hex()})


def put_tag(client: PushingClient, path: str, tag: str, *layers: Descriptor) -> bytes:
    config = client.push_bytes(path, cosigntags.config_of(layers), cosigntags.CONFIG_TYPE)
    raw = cosigntags.manifest_of(config, layers)
    client.push_manifest(path, raw, OCI_MANIFEST, tag)
    return raw


def largest(built: BuiltImage) -> str:
    """The digest of its largest blob."""
    return max(built.blobs, key=lambda digest: len(built.blobs[digest]))
