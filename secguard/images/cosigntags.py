"""What cosign puts beside an image under tags named after its digest: one manifest each, one layer a statement.

cosign's specs/SIGNATURE_SPEC.md, ATTESTATION_SPEC.md and SBOM_SPEC.md. A tag has room for one manifest, so whoever adds
a layer writes the others again; that is done here byte for byte alike in all places.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from secguard.errors import Invalid
from secguard.images import manifest
from secguard.images.manifest import OCI_MANIFEST, Descriptor, ImageManifest
from secguard.images.referrers import described, fallback_tag, to_json

CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
ENDINGS = ("sig", "att", "sbom")
MAX_LAYERS = 200
"""Under one tag: past it somebody fills the tag, and nothing of it is read."""


def tags_of(digest: str) -> tuple[str, ...]:
    """The tags of a digest, whether they are there or not."""
    return tuple(f"{fallback_tag(digest)}.{ending}" for ending in ENDINGS)


def read(raw: bytes, media_type: str) -> tuple[Descriptor, ...]:
    """The layers under such a tag. Raises ``Invalid`` where it holds no manifest, or more than ``MAX_LAYERS``."""
    layers = all_of(raw, media_type)
    bounded(layers)
    return layers


def all_of(raw: bytes, media_type: str) -> tuple[Descriptor, ...]:
    """The layers, however many a manifest may have. Raises ``Invalid`` where the tag holds no manifest."""
    found = manifest.parse(raw, media_type)
    if not isinstance(found, ImageManifest):
        raise Invalid("The tag of signatures holds an index; expected a manifest.", code="bad-document")
    return found.layers


def bounded(layers: Sequence[Descriptor]) -> None:
    """Raises ``Invalid`` past ``MAX_LAYERS``."""
    if len(layers) > MAX_LAYERS:
        raise Invalid(
            f"The tag of signatures holds {len(layers)} layers; at most {MAX_LAYERS} are read. Take those away that "
            "nobody needs.",
            code="too-many-signatures",
        )


def joined(there: Sequence[Descriptor], more: Iterable[Descriptor]) -> tuple[Descriptor, ...]:
    """``there``, and behind them those of ``more`` that are not among them."""
    layers = list(there)
    for layer in more:
        if layer not in layers:
            layers.append(layer)
    bounded(layers)
    return tuple(layers)


def config_of(layers: Sequence[Descriptor]) -> bytes:
    """The configuration that cosign puts beside its layers: an image that never was, of these layers."""
    never = "0001-01-01T00:00:00Z"
    document = {
        "architecture": "",
        "created": never,
        "history": [{"created": never} for _ in layers],
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        "config": {},
    }
    return to_json(document)


def manifest_of(config: Descriptor, layers: Iterable[Descriptor]) -> bytes:
    """The manifest of these layers."""
    return to_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": described(config),
            "layers": [described(layer) for layer in layers],
        }
    )
