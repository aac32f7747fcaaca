"""How signatures and attestations lie beside an image in a registry: the manifests that hold them, written and read.

Two forms, and both are written. The older one is a tag named after the digest (``sha256-<hex>.sig``), one layer a
signature (cosign's specs/SIGNATURE_SPEC.md, ATTESTATION_SPEC.md). The newer one is a manifest of its own that names the
image as its ``subject`` (OCI image-spec 1.1), found by the referrers API or, where a registry has none, by an index
under the fallback tag ``sha256-<hex>`` (distribution-spec 1.1, "Referrers Tag Schema").
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from secguard.errors import Invalid
from secguard.images import cosigntags, manifest
from secguard.images.manifest import OCI_MANIFEST, Descriptor, ImageManifest
from secguard.images.referrers import EMPTY, EMPTY_DIGEST, EMPTY_TYPE, described, fallback_tag, subject_of, to_json
from secguard.signing import bundle, dsse, simplesigning

CONTENT = "dev.sigstore.bundle.content"
PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
CREATED = "org.opencontainers.image.created"
ATTESTED_TYPE = "predicateType"
"""The annotation of a layer under ``.att`` by which cosign finds one predicate's envelopes."""


@dataclass(frozen=True, slots=True)
class SignedPayload:
    """One layer of a ``.sig`` tag: where the payload lies, and the signature over it (DER)."""

    layer: Descriptor
    signature: bytes


def signature_tag(digest: str) -> str:
    return f"{fallback_tag(digest)}.sig"


def attestation_tag(digest: str) -> str:
    return f"{fallback_tag(digest)}.att"


def signature_layer(payload: Descriptor, signature: bytes) -> Descriptor:
    """A layer for the ``.sig`` tag."""
    told = {simplesigning.SIGNATURE: base64.b64encode(signature).decode()}
    return Descriptor(simplesigning.MEDIA_TYPE, payload.digest, payload.size, annotations=told)


def attestation_layer(envelope: Descriptor, predicate_type: str) -> Descriptor:
    """A layer for the ``.att`` tag; the signature is inside the envelope, and cosign wants the annotation empty."""
    told = {simplesigning.SIGNATURE: "", ATTESTED_TYPE: predicate_type}
    return Descriptor(dsse.MEDIA_TYPE, envelope.digest, envelope.size, annotations=told)


def referrer_manifest(subject: Descriptor, blob: Descriptor, annotations: Mapping[str, str]) -> bytes:
    """The manifest of a bundle that refers to ``subject``."""
    return to_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": bundle.MEDIA_TYPE,
            "config": {"mediaType": EMPTY_TYPE, "digest": EMPTY_DIGEST, "size": len(EMPTY)},
            "layers": [described(blob)],
            "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
            "annotations": dict(annotations),
        }
    )


# Reading --------------------------------------------------------------------------------------------------------------


def signed_payloads(raw: bytes, media_type: str) -> list[SignedPayload]:
    """The signatures under a ``.sig`` tag; layers of another type are left out.

    Raises ``Invalid`` where the tag holds no manifest, or more than ``MAX_SIGNATURES`` layers.
    """
    found = []
    for layer in layers_of(raw, media_type):
        if layer.media_type == simplesigning.MEDIA_TYPE:
            try:
                signature = base64.b64decode(layer.annotations.get(simplesigning.SIGNATURE, ""), validate=True)
            except (binascii.Error, ValueError):
                signature = b""  # told as one that nobody's key made
            found.append(SignedPayload(layer, signature))
    return found


def envelopes(raw: bytes, media_type: str) -> list[Descriptor]:
    """The envelopes under an ``.att`` tag."""
    return [layer for layer in layers_of(raw, media_type) if layer.media_type == dsse.MEDIA_TYPE]


def bundle_layer(raw: bytes, media_type: str, subject: str) -> Descriptor | None:
    """The bundle in a referrer's manifest; ``None`` where it is some other artifact.

    Raises ``Invalid`` where the manifest does not refer to ``subject``: it was listed for an image that it is not of.
    """
    found = manifest.parse(raw, media_type)
    if not isinstance(found, ImageManifest):
        return None
    layer = next((layer for layer in found.layers if bundle.is_bundle_type(layer.media_type)), None)
    if layer is None or not (bundle.is_bundle_type(found.artifact_type) or found.config.media_type == EMPTY_TYPE):
        return None
    if (named := subject_of(raw)) != subject:
        raise Invalid(f"The bundle refers to {named or 'no image'}; expected {subject}.", code="wrong-subject")
    return layer


def layers_of(raw: bytes, media_type: str) -> tuple[Descriptor, ...]:
    """All layers under a tag of signatures or attestations. Raises as ``signed_payloads``."""
    return cosigntags.read(raw, media_type)
