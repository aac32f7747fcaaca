"""in-toto statements (v1): what is said of an image, under the type of what is said.

github.com/in-toto/attestation, spec/v1; predicates: CycloneDX, OpenVEX 0.2.0, SLSA's Verification Summary (slsa.dev,
verification_summary/v1), cosign's own for a signature in a bundle, and the promotion, which is ours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from secguard.errors import Invalid
from secguard.images.reference import is_digest
from secguard.images.strictjson import Node, loads
from secguard.signing import dsse

TYPE = "https://in-toto.io/Statement/v1"
_FORMER = "https://in-toto.io/Statement/v0.1"  # cosign 2 writes this one
CYCLONEDX = "https://cyclonedx.org/bom"
OPENVEX = "https://openvex.dev/ns/v0.2.0"
VERIFICATION_SUMMARY = "https://slsa.dev/verification_summary/v1"
COSIGN_SIGNATURE = "https://sigstore.dev/cosign/sign/v1"
PROMOTION = "urn:secguard:attestation:promotion:v1"
DECISIONS = "urn:secguard:attestation:decisions:v1"
"""A member of the verification summary, named by a URI as in-toto's rules for extensions want it."""
_TOLD: Final = (
    (COSIGN_SIGNATURE, "Signature"),
    (CYCLONEDX, "Bill of materials (CycloneDX)"),
    ("https://spdx.dev/Document", "Bill of materials (SPDX)"),
    ("https://openvex.dev/ns", "Decisions in force (OpenVEX)"),
    (VERIFICATION_SUMMARY, "Verdict (verification summary)"),
    (PROMOTION, "Promotion"),
    ("https://slsa.dev/provenance/", "Provenance (SLSA)"),
    ("https://cosign.sigstore.dev/attestation/vuln/", "Vulnerability scan"),
)
"""How types begin (some name a version behind it), and how people read them."""
INSTANTS: Final = {OPENVEX: "timestamp", PROMOTION: "promotedAt"}
"""The member of a predicate that tells when it was said, and nothing of what is said."""
MAX_SUBJECTS = 100
_WHAT = "The statement"


@dataclass(frozen=True, slots=True)
class Subject:
    """What the statement is about. ``name`` is for people; the digest is the identity."""

    digest: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any] = field(default_factory=dict)

    def is_about(self, digest: str) -> bool:
        return any(subject.digest == digest for subject in self.subjects)


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """A policy's version: where it can be read, and the SHA-256 (hex) of its text."""

    uri: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Summary:
    """A verdict as its verifier tells it to others. ``decisions`` are the ids of those that let something pass."""

    verifier: str
    verifier_version: str
    resource: str
    policy: PolicyRef
    passed: bool
    verified_at: datetime
    decisions: Sequence[int] = ()
    levels: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Promoted:
    """That a digest went from one repository to another, for an environment."""

    environment: str
    source: str
    destination: str
    digest: str
    promoted_at: datetime
    asked_by: str
    approved_by: Sequence[str] = ()
    promotion: str = ""
    verdict: str = ""


def encode(statement: Statement) -> bytes:
    """The statement as JSON: members in the specification's order, one encoding for one statement."""
    document = {
        "_type": TYPE,
        "subject": [_subject(s) for s in statement.subjects],
        "predicateType": statement.predicate_type,
        "predicate": dict(statement.predicate),
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def decode(raw: bytes) -> Statement:
    """Read a statement. Raises ``Invalid`` where it is none, or a subject has no digest that is known here."""
    node = Node(loads(raw, what=_WHAT, max_bytes=dsse.MAX_BYTES), _WHAT)
    kind = node.text("_type", most=255)
    if kind not in (TYPE, _FORMER):
        raise node.wrong("_type", f"is {kind!r}; expected {TYPE!r}")
    predicate_type = node.text("predicateType", most=1024)
    if not predicate_type:
        raise node.wrong("predicateType", "is missing; expected a URI")
    found = tuple(_read_subject(s) for s in node.nodes("subject", most=MAX_SUBJECTS))
    if not found:
        raise node.wrong("subject", "is empty; expected at least one")
    return Statement(found, predicate_type, node.get("predicate", dict, {}))


def timeless(raw: bytes) -> bytes:
    """An encoded statement without the instant at which it was made: of two that are alike in that one is enough."""
    said = decode(raw)
    instant = INSTANTS.get(said.predicate_type)
    return encode(replace(said, predicate={name: value for name, value in said.predicate.items() if name != instant}))


def signature_of(subject: Subject) -> Statement:
    """cosign 3's image signature: a statement with an empty predicate."""
    return Statement((subject,), COSIGN_SIGNATURE)


def bill(subject: Subject, document: Mapping[str, Any]) -> Statement:
    """An SBOM. Raises ``Invalid`` where the document is not CycloneDX."""
    if document.get("bomFormat") != "CycloneDX":
        raise Invalid("The SBOM is not CycloneDX (bomFormat).", code="wrong-sbom", where="bomFormat")
    return Statement((subject,), CYCLONEDX, document)


def vex(subject: Subject, document: Mapping[str, Any]) -> Statement:
    """Decisions in force. Raises ``Invalid`` where the document is not OpenVEX 0.2.0."""
    if document.get("@context") != OPENVEX:
        raise Invalid(f"The VEX document is not OpenVEX (@context {OPENVEX}).", code="wrong-vex", where="@context")
    return Statement((subject,), OPENVEX, document)


def verification_summary(subject: Subject, summary: Summary) -> Statement:
    """A verdict (slsa.dev/spec/v1.0/verification_summary)."""
    predicate = {
        "verifier": {"id": summary.verifier, "version": {"secguard": summary.verifier_version}},
        "timeVerified": rfc3339(summary.verified_at),
        "resourceUri": summary.resource,
        "policy": {"uri": summary.policy.uri, "digest": {"sha256": summary.policy.sha256}},
        "verificationResult": "PASSED" if summary.passed else "FAILED",
        "verifiedLevels": list(summary.levels),
        "slsaVersion": "1.0",
        DECISIONS: list(summary.decisions),
    }
    return Statement((subject,), VERIFICATION_SUMMARY, predicate)


def promotion(subject: Subject, promoted: Promoted) -> Statement:
    """A promotion. Raises ``Invalid`` where the statement's subject is not what was promoted."""
    if subject.digest != promoted.digest:
        raise Invalid(f"The promotion is of {promoted.digest}, the statement of {subject.digest}.", code="wrong-digest")
    predicate = {
        "environment": promoted.environment,
        "source": promoted.source,
        "destination": promoted.destination,
        "digest": promoted.digest,
        "promotedAt": rfc3339(promoted.promoted_at),
        "askedBy": promoted.asked_by,
        "approvedBy": list(promoted.approved_by),
        "promotion": promoted.promotion,
        "verdict": promoted.verdict,
    }
    return Statement((subject,), PROMOTION, predicate)


def told(predicate_type: str) -> str:
    """What a statement of this type says, as people read it. Without a type it is a plain signature."""
    if not predicate_type:
        return "Signature"
    return next((words for beginning, words in _TOLD if predicate_type.startswith(beginning)), "Attestation")


def rfc3339(at: datetime) -> str:
    """An aware instant in UTC, to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _subject(subject: Subject) -> dict[str, Any]:
    if not is_digest(subject.digest):
        raise Invalid(f"{subject.digest[:80]!r} is not a digest.", code="bad-digest")
    algorithm, _, value = subject.digest.partition(":")
    return {"name": subject.name, "digest": {algorithm: value}}


def _read_subject(node: Node) -> Subject:
    known = node.text_map("digest", most=10)
    for algorithm in ("sha256", "sha512"):
        if is_digest(digest := f"{algorithm}:{known.get(algorithm, '')}"):
            return Subject(digest, node.text("name", most=4096))
    raise node.wrong("digest", "names neither sha256 nor sha512")
