"""Documents that people post by mistake, told by their top-level keys: what each is, and what to post instead."""

from __future__ import annotations

from typing import NamedTuple

from secguard.errors import Invalid
from secguard.scans.document import Document

_SCAN = "Post the report of a scanner, or a bill of materials."


class _Other(NamedTuple):
    keys: tuple[str, ...]
    name: str
    instead: str
    code: str = "unknown-format"
    marker: bytes = b""
    """What stands somewhere in it, where its keys alone are not enough."""


_OTHERS = (
    # OpenVEX 0.2.0; CSAF 2.0 section 3.2
    _Other(
        ("@context", "statements"), "an OpenVEX document: what was decided about vulnerabilities", _SCAN, "vex-document"
    ),
    _Other(("document",), "a CSAF document: an advisory or VEX", _SCAN, "vex-document", b'"csaf_version"'),
    _Other(("document", "product_tree"), "a CSAF document: an advisory or VEX", _SCAN, "vex-document"),
    # DSSE envelope, in-toto Statement v1
    _Other(
        ("payloadType", "payload", "signatures"),
        "a signed attestation (DSSE)",
        "Post what it attests: cosign verify-attestation … | jq -r .payload | base64 -d | jq .predicate",
        "attestation",
    ),
    _Other(
        ("predicateType", "subject"),
        "an attestation (in-toto statement)",
        "Post what it attests: jq .predicate",
        "attestation",
    ),
    # OCI image-spec: manifest, index; skopeo inspect
    _Other(("schemaVersion", "config", "layers"), "an image's manifest", "Scan the image and post the report."),
    _Other(("schemaVersion", "manifests"), "an image index", "Scan the image and post the report."),
    _Other(
        ("Name", "Digest", "RepoTags", "Layers"), "an image's description by skopeo", "Scan it and post the report."
    ),
    _Other(("$schema", "definitions"), "a JSON schema", "Post a report, not the description of one."),
    _Other(("schema_version", "affected", "id"), "an OSV advisory", _SCAN),
    _Other(("dockerbenchsecurity",), "a report of Docker Bench about a host", "Reports about images are read."),
    _Other(("Controls", "Totals"), "a report of kube-bench about a cluster", "Reports about images are read."),
    _Other(
        ("clusterName", "generationTime"), "a report of Kubescape about a cluster", "Reports about images are read."
    ),
    _Other(("detector", "manifests", "scanned"), "a GitHub dependency snapshot", "Let the tool write CycloneDX JSON."),
    _Other(
        ("detail-type", "source", "detail"),
        "an event of Amazon EventBridge: word of one change",
        "Fetch what stands now: aws inspector2 list-findings, or aws ecr describe-image-scan-findings.",
    ),
    _Other(
        ("findings",),
        "an empty list of findings that does not say which tool looked at which image",
        "Post the report of a scanner that tells it, or the format described in docs/report-format.md.",
        "empty-list",
        b"[]",
    ),
    _Other(("apiVersion", "kind", "metadata"), "a Kubernetes object", "Post the report of a scanner."),
)


def refusal(document: Document, known: tuple[str, ...]) -> Invalid:
    """Why a document that no reader takes is refused, by name where it is recognised. ``known``: what is read."""
    for other in _OTHERS:
        if document.has(*other.keys) and other.marker in document.raw:
            return Invalid(
                f"This is {other.name}, which is no report about an image. {other.instead}", code=other.code, where="$"
            )
    return Invalid(
        f"The report's format is not known: {document.describe()}. Known formats: {', '.join(known)}; "
        "a tool without one of these can post the format described in docs/report-format.md.",
        code="unknown-format",
        where="$",
    )
