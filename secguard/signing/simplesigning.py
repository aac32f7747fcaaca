"""cosign's simple signing: the payload that a signature of an image is over.

github.com/sigstore/sigstore, pkg/signature/payload/payload.go, and cosign's specs/SIGNATURE_SPEC.md. The bytes are
those that Go's ``json.Marshal`` writes, so that one image, repository and set of annotations has one payload.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from secguard.errors import Invalid
from secguard.images import reference
from secguard.images.reference import is_digest
from secguard.images.strictjson import Node, loads, named

MEDIA_TYPE = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
"""The layer's annotation that has the signature, in base64 (cosign's pkg/oci/static/signature.go)."""
TYPE = "cosign container image signature"
MAX_BYTES = 64 * 1024
_WHAT = "The signature's payload"
# What Go's encoder escapes beside what JSON wants escaped (encoding/json, HTMLEscape).
_ESCAPED = str.maketrans({c: f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"})


@dataclass(frozen=True, slots=True)
class Payload:
    """What was signed: a digest, under the name that the signer gave its repository."""

    docker_reference: str
    digest: str
    annotations: Mapping[str, Any] = field(default_factory=dict)

    def names(self, repository: str) -> bool:
        """Whether the signer named ``repository`` (host/path), with a tag or digest behind it or none.

        cosign does not look at this name, containers/image does: a signature for one repository is none for another.
        """
        try:
            found = reference.parse(self.docker_reference)
        except Invalid:
            return False
        return found.repository == repository and found.digest in ("", self.digest)


def encode(payload: Payload) -> bytes:
    """The bytes to sign. Raises ``Invalid`` where the digest is none or an annotation is neither text nor integer."""
    if not is_digest(payload.digest):
        raise Invalid(f"{payload.digest[:80]!r} is not a digest.", code="bad-digest")
    for name, value in payload.annotations.items():
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise Invalid(f"The annotation {name[:80]!r} is {named(value)}; expected a text or a whole number.")
    document = {
        "critical": {
            "identity": {"docker-reference": payload.docker_reference},
            "image": {"docker-manifest-digest": payload.digest},
            "type": TYPE,
        },
        "optional": dict(sorted(payload.annotations.items())) or None,
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).translate(_ESCAPED).encode()


def decode(raw: bytes) -> Payload:
    """Read a payload, ours or another tool's. Raises ``Invalid`` where it is none, or of another type."""
    node = Node(loads(raw, what=_WHAT, max_bytes=MAX_BYTES), _WHAT)
    critical = node.node("critical")
    identity, image = (critical.node("identity"), critical.node("image")) if critical else (None, None)
    if critical is None or identity is None or image is None:
        raise node.wrong("critical", "has no identity and image; expected cosign's simple signing")
    kind, digest = critical.text("type", most=200), image.text("docker-manifest-digest", most=200)
    if kind != TYPE:
        raise critical.wrong("type", f"is {kind!r}; expected {TYPE!r}")
    if not is_digest(digest):
        raise image.wrong("docker-manifest-digest", f"is {digest!r}; expected sha256:<64 hex digits>")
    return Payload(identity.text("docker-reference", most=1000), digest, node.get("optional", dict, {}))
