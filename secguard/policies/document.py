"""The verdict document as it is served (DESIGN section 5): findings by name, and a link to ask."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec

from secguard.policies.evaluation import Verdict
from secguard.policies.facts import Facts, FindingFact

MAX_LISTED = 1000
"""Findings spelled out for one reason; ``findings_total`` says how many there are."""
MAX_OBSERVED = 20
MAX_LINKED_RISKS = 50
"""A link stays below what browsers and proxies take (about 2,000 characters)."""


def render(verdict: Verdict, facts: Facts, public_url: str, observed: Verdict | None = None) -> bytes:
    """The document's bytes: what the evaluation said, with each reason's findings spelled out from the same facts.

    ``observed`` is what a version that observes would have said.
    """
    document: dict[str, Any] = msgspec.to_builtins(verdict)
    by_id = {f.id: f for f in facts.findings}
    for reason in document["reasons"]:
        reason["findings_total"] = len(reason["findings"])
        reason["findings"] = [_finding(by_id[i]) for i in reason["findings"][:MAX_LISTED]]
        exception = reason["remedy"].get("exception")
        if exception:
            exception["url"] = exception_url(public_url, exception["risks"], verdict.image)
    if observed is not None:
        document["observed"] = _observed(observed)
    return msgspec.json.encode(document, order="deterministic")


def _observed(verdict: Verdict) -> dict[str, Any]:
    reasons = [
        {"rule": r.rule, "effect": r.effect, "message": r.message, "findings_total": len(r.findings)}
        for r in verdict.reasons[:MAX_OBSERVED]
    ]
    return {"verdict": verdict.verdict, "reasons": reasons}


def exception_url(public_url: str, risks: list[int], digest: str) -> str:
    """Where a person asks for a decision on these risks, with everything filled in that is known."""
    query = [*(("risk", r) for r in risks[:MAX_LINKED_RISKS]), ("image", digest)]
    return f"{public_url.rstrip('/')}/decisions/new/?{urlencode(query)}"


def _finding(f: FindingFact) -> dict[str, Any]:
    return {
        "id": f.id,
        "risk": f.risk,
        "kind": f.kind,
        "name": f.vulnerability or f.rule or f.title,
        "title": f.title,
        "severity": f.severity,
        "purl": f.purl,
        "package": f.name,
        "version": f.version,
        "fixed_versions": list(f.fixed_versions),
        "known_exploited": f.known_exploited,
        "path": f.path,
        "due_at": f.due_at,
        # Documents of before it was kept have no such member, and are the same when played again.
        **({"due_by": msgspec.to_builtins(f.due_by)} if f.due_by is not None else {}),
        "sources": list(f.sources),
    }
