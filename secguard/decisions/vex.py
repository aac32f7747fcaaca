"""Decisions as OpenVEX 0.2.0 (github.com/openvex/spec): what was decided on an image's vulnerabilities, for others.

Pure. ``fix``, ``mitigate`` and ``accept`` say that the image is affected and what is done about it; only
``not_affected`` says that it is not. The same decisions make the same document id.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from secguard.decisions.lifecycle import DecisionKind

CONTEXT = "https://openvex.dev/ns/v0.2.0"
_ACTIONS = {
    DecisionKind.FIX: "It will be fixed by {until}.",
    DecisionKind.MITIGATE: "It is mitigated by a control outside of the image until {until}.",
    DecisionKind.ACCEPT: "The risk is accepted until {until}.",
}


@dataclass(frozen=True, slots=True)
class Judgement:
    """One decision as far as others may know it. ``why`` is told of ``not_affected`` alone, and may be empty."""

    decision: int
    kind: DecisionKind
    vulnerability: str
    aliases: Sequence[str]
    purls: Sequence[str]
    approved_at: datetime
    expires_at: datetime
    why: str = ""


def openvex(product: str, digest: str, judgements: Sequence[Judgement], *, author: str, at: datetime) -> dict[str, Any]:
    """The document. ``product`` is the image's purl, ``author`` an IRI, ``at`` an aware instant."""
    said = [_statement(product, digest, one) for one in sorted(judgements, key=lambda j: (j.vulnerability, j.decision))]
    content = hashlib.sha256(json.dumps([product, digest, said], sort_keys=True).encode()).hexdigest()
    return {
        "@context": CONTEXT,
        "@id": f"urn:secguard:vex:sha256:{content}",
        "author": author,
        "timestamp": _rfc3339(at),
        "version": 1,
        "tooling": "SecGuard",
        "statements": said,
    }


def _statement(product: str, digest: str, one: Judgement) -> dict[str, Any]:
    algorithm, _, value = digest.partition(":")
    named: dict[str, Any] = {"@id": product, "hashes": {algorithm.replace("sha", "sha-"): value}}
    if one.purls:
        named["subcomponents"] = [{"@id": purl} for purl in sorted(set(one.purls))]
    flaw: dict[str, Any] = {"name": one.vulnerability}
    if aliases := sorted(set(one.aliases) - {one.vulnerability}):
        flaw["aliases"] = aliases
    return {
        "vulnerability": flaw,
        "timestamp": _rfc3339(one.approved_at),
        "products": [named],
        **_status(one),
    }


def _status(one: Judgement) -> dict[str, str]:
    until = one.expires_at.astimezone(UTC).date().isoformat()
    if one.kind == DecisionKind.NOT_AFFECTED:
        why = f"{one.why.strip()} " if one.why.strip() else ""
        told = f"{why}(Decision {one.decision}, until {until}.)"
        return {"status": "not_affected", "impact_statement": told}
    told = f"{_ACTIONS[one.kind].format(until=until)} (Decision {one.decision}.)"
    return {"status": "affected", "action_statement": told}


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
