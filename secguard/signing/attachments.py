"""How signatures and attestations lie beside an image in a registry: the manifests that hold them, written and read.

Two forms, and both are written. The older one is a tag named after the digest (``sha256-<hex>.sig``), one layer a
signature (cosign's specs/SIGNATURE_SPEC.md, ATTESTATION_SPEC.md). The newer one is a manifest of its own that names the
image as its ``subject`` (OCI image-spec 1.1), found by the referrers API or, where a registry has none, by an index
under the fallback tag ``sha256-<hex>`` (distribution-spec 1.1, "Referrers Tag Schema").
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from secguard.errors import Invalid
from secguard.images import manifest
from secguard.images.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, ImageIndex, ImageManifest
from secguard.images.strictjson import Node, loads
from secguard.signing import bundle, dsse, simplesigning

EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
EMPTY_DIGEST = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
CONTENT = "dev.sigstore.bundle.content"
PREDICATE_TYPE = "dev.sigstore.bundle.predicateType"
CREATED = "org.opencontainers.image.created"
ATTESTED_TYPE = "predicateType"
"""The annotation of a layer under ``.att`` by which cosign finds one predicate's envelopes."""
MAX_SIGNATURES = 200
"""Layers under one tag: past it somebody fills the tag, and nothing of it is read."""


@dataclass(frozen=True, slots=True)
class SignedPayload:
    """One layer of a ``.sig`` tag: where the payload lies, and the signature over it (DER)."""

    layer: Descriptor
    signature: bytes


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that refers to an image. ``artifact_type`` is empty where the list did not tell."""

    descriptor: Descriptor
    artifact_type: str = ""


def signature_tag(digest: str) -> str:
    return f"{fallback_tag(digest)}.sig"


def attestation_tag(digest: str) -> str:
    return f"{fallback_tag(digest)}.att"


def fallback_tag(digest: str) -> str:
    """``<algorithm>-<hex>``: at most 32 and 64 characters of them (distribution-spec, "Referrers Tag Schema")."""
    algorithm, _, value = digest.partition(":")
    return f"{algorithm[:32]}-{value[:64]}"


def signature_layer(payload: Descriptor, signature: bytes) -> Descriptor:
    """A layer for the ``.sig`` tag."""
    told = {simplesigning.SIGNATURE: base64.b64encode(signature).decode()}
    return Descriptor(simplesigning.MEDIA_TYPE, payload.digest, payload.size, annotations=told)


def attestation_layer(envelope: Descriptor, predicate_type: str) -> Descriptor:
    """A layer for the ``.att`` tag; the signature is inside the envelope, and cosign wants the annotation empty."""
    told = {simplesigning.SIGNATURE: "", ATTESTED_TYPE: predicate_type}
    return Descriptor(dsse.MEDIA_TYPE, envelope.digest, envelope.size, annotations=told)


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
    return _json(document)


def tag_manifest(config: Descriptor, layers: Iterable[Descriptor]) -> bytes:
    """The manifest under a ``.sig`` or ``.att`` tag."""
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": _descriptor(config),
            "layers": [_descriptor(layer) for layer in layers],
        }
    )


def referrer_manifest(subject: Descriptor, blob: Descriptor, annotations: Mapping[str, str]) -> bytes:
    """The manifest of a bundle that refers to ``subject``."""
    return _json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": bundle.MEDIA_TYPE,
            "config": {"mediaType": EMPTY_TYPE, "digest": EMPTY_DIGEST, "size": len(EMPTY)},
            "layers": [_descriptor(blob)],
            "subject": {"mediaType": subject.media_type, "digest": subject.digest, "size": subject.size},
            "annotations": dict(annotations),
        }
    )


def fallback_index(known: Iterable[Referrer], added: Referrer) -> bytes:
    """The index of the fallback tag with one more referrer in it; the same one stands in it once."""
    kept = {r.descriptor.digest: r for r in [*known, added]}
    return _json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [_referrer(r) for r in kept.values()]})


# Reading --------------------------------------------------------------------------------------------------------------


def signed_payloads(raw: bytes, media_type: str) -> list[SignedPayload]:
    """The signatures under a ``.sig`` tag; layers of another type are left out.

    Raises ``Invalid`` where the tag holds no manifest, or more than ``MAX_SIGNATURES`` layers.
    """
    found = []
    for layer in _layers(raw, media_type):
        if layer.media_type == simplesigning.MEDIA_TYPE:
            try:
                signature = base64.b64decode(layer.annotations.get(simplesigning.SIGNATURE, ""), validate=True)
            except (binascii.Error, ValueError):
                signature = b""  # told as one that nobody's key made
            found.append(SignedPayload(layer, signature))
    return found


def envelopes(raw: bytes, media_type: str) -> list[Descriptor]:
    """The envelopes under an ``.att`` tag."""
    return [layer for layer in _layers(raw, media_type) if layer.media_type == dsse.MEDIA_TYPE]


def referrers(raw: bytes, *, what: str) -> list[Referrer]:
    """What an index of referrers lists (``what`` names it in refusals)."""
    # The list is parsed as an index first: the same bounds and the same refusals as for any other.
    index = manifest.parse(raw, OCI_INDEX)
    if not isinstance(index, ImageIndex):
        raise Invalid(f"{what} is a manifest; expected an index.", code="bad-document")
    nodes = Node(loads(raw, what=what, max_bytes=manifest.MAX_BYTES), what).nodes("manifests", most=10_000)
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


def _layers(raw: bytes, media_type: str) -> tuple[Descriptor, ...]:
    found = manifest.parse(raw, media_type)
    if not isinstance(found, ImageManifest):
        raise Invalid("The tag of signatures holds an index; expected a manifest.", code="bad-document")
    if len(found.layers) > MAX_SIGNATURES:
        raise Invalid(
            f"The tag of signatures holds {len(found.layers)} layers; at most {MAX_SIGNATURES} are read.",
            code="too-many-signatures",
        )
    return found.layers


def _descriptor(descriptor: Descriptor) -> dict[str, Any]:
    document: dict[str, Any] = {
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    }
    return document | ({"annotations": dict(descriptor.annotations)} if descriptor.annotations else {})


def _referrer(referrer: Referrer) -> dict[str, Any]:
    kind = {"artifactType": referrer.artifact_type} if referrer.artifact_type else {}
    return _descriptor(referrer.descriptor) | kind


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
