"""What refers to an image: manifests that name it as their ``subject``, and the lists of them.

OCI image-spec 1.1 (manifest.md, "subject"); distribution-spec 1.1, "Listing Referrers" and "Referrers Tag Schema".
Where a registry has no list of its own, whoever pushes a referrer keeps an index under the fallback tag.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from secguard.images import manifest
from secguard.images.manifest import OCI_INDEX, Descriptor, ImageIndex
from secguard.images.strictjson import Node, loads, refused

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
EMPTY_DIGEST = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
_WHAT = "The list of referrers"


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that refers to an image. ``artifact_type`` is empty where the list did not tell."""

    descriptor: Descriptor
    artifact_type: str = ""


def fallback_tag(digest: str) -> str:
    """``<algorithm>-<hex>``: at most 32 and 64 characters of them."""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm[:32]}-{value[:64]}"


def encode(referrers: Iterable[Referrer]) -> bytes:
    """The index of the fallback tag; each referrer stands in it once."""
    kept = {r.descriptor.digest: r for r in referrers}
    return to_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_member(r) for r in kept.values()]})


def decode(raw: bytes) -> list[Referrer]:
    """What a list names. Raises ``Invalid`` where it is no index, ``TooLarge`` past a bound."""
    index = manifest.parse(raw, OCI_INDEX)  # first as any index: the same bounds and refusals
    if not isinstance(index, ImageIndex):
        raise refused(_WHAT, "it is a manifest; expected an index")
    nodes = Node(loads(raw, what=_WHAT, max_bytes=manifest.MAX_BYTES), _WHAT).nodes(
        "manifests", most=manifest.MAX_MANIFESTS
    )
    return [
        # Some writers put the empty type where the artifact's own belongs: that tells nothing.
        Referrer(d, "" if (kind := n.text("artifactType", most=255)) == EMPTY_TYPE else kind)
        for d, n in zip(index.manifests, nodes, strict=True)
    ]


def subject_of(raw: bytes) -> str:
    """The digest that a manifest refers to, or an empty text."""
    what = "The manifest"
    subject = Node(loads(raw, what=what, max_bytes=manifest.MAX_BYTES), what).node("subject")
    return subject.text("digest", most=200) if subject else ""


def artifact_type_of(raw: bytes) -> str:
    """What a manifest's entry in a list calls it: its own type, else its configuration's ("Listing Referrers")."""
    node = Node(loads(raw, what="The manifest", max_bytes=manifest.MAX_BYTES), "The manifest")
    config = node.node("config")
    return node.text("artifactType", most=255) or (config.text("mediaType", most=255) if config else "")


def described(descriptor: Descriptor) -> dict[str, Any]:
    """A descriptor as JSON's values."""
    document: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
    document |= {"urls": list(descriptor.urls)} if descriptor.urls else {}
    return document | ({"annotations": dict(descriptor.annotations)} if descriptor.annotations else {})


def to_json(document: Mapping[str, Any]) -> bytes:
    """The bytes of a manifest of ours: whoever makes the same one again makes the same digest."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _member(referrer: Referrer) -> dict[str, Any]:
    kind = {"artifactType": referrer.artifact_type} if referrer.artifact_type else {}
    return described(referrer.descriptor) | kind
