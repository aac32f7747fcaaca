"""Decisions as OpenVEX 0.2.0 (github.com/openvex/spec). Pure.

Trivy and Grype read it alike (github.com/openvex/go-vex): a statement holds for a scanned image where a product's purl
or hash is one of the image's, and for a finding where a subcomponent's purl is the package's. What ours leave out
matches anything; so products have no more qualifiers than tell them apart, and packages none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from secguard.decisions.vex.judgements import Judgement, Told, rfc3339

CONTEXT: Final = "https://openvex.dev/ns/v0.2.0"
MEDIA_TYPE: Final = "application/json"
PAYLOAD_TYPE: Final = "application/vnd.openvex+json"
"""Of a DSSE envelope around the document."""
ENDING: Final = "openvex.json"


def document(told: Told) -> bytes:
    """The whole document. One that says nothing has no statements, which tools read as such."""
    said = [
        _statement(one, [_product(purl, product.digest, purls) for product, purls in places for purl in product.purls])
        for one, places in told.said
    ]
    return msgspec.json.encode(_document(told.sha256, said, author=told.author, timestamp=told.timestamp))


def openvex(product: str, digest: str, judgements: Sequence[Judgement], *, author: str, at: datetime) -> dict[str, Any]:
    """What goes along with one image. ``product`` is its purl, ``author`` an IRI, ``at`` an aware instant.

    The same decisions make the same document id.
    """
    ordered = sorted(judgements, key=lambda j: (j.vulnerability, j.decision))
    said = [_statement(one, [_product(product, digest, sorted(set(one.purls)))]) for one in ordered]
    content = hashlib.sha256(json.dumps([product, digest, said], sort_keys=True).encode()).hexdigest()
    return _document(content, said, author=author, timestamp=rfc3339(at))


def _document(content: str, said: list[dict[str, Any]], *, author: str, timestamp: str) -> dict[str, Any]:
    return {
        "@context": CONTEXT,
        "@id": f"urn:secguard:vex:sha256:{content}",
        "author": author,
        "timestamp": timestamp,
        "version": 1,
        "tooling": "SecGuard",
        "statements": said,
    }


def _statement(one: Judgement, products: list[dict[str, Any]]) -> dict[str, Any]:
    flaw: dict[str, Any] = {"name": one.vulnerability}
    if aliases := one.other_names:
        flaw["aliases"] = aliases
    said: dict[str, Any] = {
        "vulnerability": flaw,
        "timestamp": rfc3339(one.approved_at),
        "products": products,
        "status": "affected" if one.is_affected else "not_affected",
        "action_statement" if one.is_affected else "impact_statement": one.words,
    }
    return said | ({"justification": one.justification} if one.justification and not one.is_affected else {})


def _product(purl: str, digest: str, packages: Sequence[str]) -> dict[str, Any]:
    """An index's hash is no image's: whoever matches by it would take every platform's for this one."""
    algorithm, _, value = digest.partition(":")
    named: dict[str, Any] = {"@id": purl}
    if value in purl:
        named["hashes"] = {algorithm.replace("sha", "sha-"): value}
    if packages:
        named["subcomponents"] = [{"@id": package} for package in packages]
    return named
