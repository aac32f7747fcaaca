"""The verdict as SARIF 2.1.0 (OASIS Standard, 2020-03-27): one result a finding that blocks or warns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from secguard.client.verdict import Finding, Reason, Verdict

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {"block": "error", "warn": "warning"}
# GitHub's code scanning sorts by this number: a rule's property "security-severity", a CVSS score as text.
SCORES = {"critical": "9.5", "high": "8.0", "medium": "5.5", "low": "2.5"}


def render(verdict: Verdict) -> str:
    document = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "SecGuard", "informationUri": verdict.server, "rules": _rules(verdict)}},
                "automationDetails": {"id": f"secguard/{verdict.stage}/"},
                "results": list(_results(verdict)),
                "columnKind": "unicodeCodePoints",
                "properties": {"verdict": verdict.verdict, "image": verdict.image, "policy": verdict.policy},
            }
        ],
    }
    return json.dumps(document, indent=2) + "\n"


def _rules(verdict: Verdict) -> list[dict[str, Any]]:
    """One a policy rule, in the order in which ``ruleIndex`` counts (section 3.49)."""
    return [
        {
            "id": reason.rule,
            "shortDescription": {"text": _short(reason.message or reason.rule)},
            "fullDescription": {"text": _short(reason.message or reason.rule)},
            "defaultConfiguration": {"level": LEVELS.get(reason.effect, "note")},
            "help": {"text": _help(reason) or reason.message or reason.rule},
            "properties": {"tags": ["security"], **_score(reason.findings)},
        }
        for reason in verdict.reasons
    ]


def _short(text: str) -> str:
    """GitHub takes 1,024 characters of a description."""
    return text if len(text) <= 1024 else text[:1023] + "…"


def _score(findings: tuple[Finding, ...]) -> dict[str, str]:
    scores = [SCORES[finding.severity] for finding in findings if finding.severity in SCORES]
    return {"security-severity": max(scores, key=float)} if scores else {}


def _help(reason: Reason) -> str:
    texts = [str(upgrade) for upgrade in reason.upgrades]
    texts += [reason.advice] if reason.advice else []
    texts += [f"ask for an exception: {reason.exception_url}"] if reason.exception_url else []
    return "\n".join(texts)


def _results(verdict: Verdict) -> Iterator[dict[str, Any]]:
    for index, reason in enumerate(verdict.reasons):
        # A rule about the image as a whole has no finding and is one result (3.27: a result needs a message).
        for finding in reason.findings or (None,):
            yield _result(verdict, reason, index, finding)


def _result(verdict: Verdict, reason: Reason, index: int, finding: Finding | None) -> dict[str, Any]:
    place = finding.location or finding.component if finding else ""
    text = f"{finding.title} in {place or verdict.image}" if finding else reason.message or reason.rule
    if finding and finding.fix:
        text += f"; fixed in {finding.fix}"
    identity = "\0".join((verdict.image, reason.rule, finding.title if finding else "", place))
    return {
        "ruleId": reason.rule,
        "ruleIndex": index,
        "level": LEVELS.get(reason.effect, "note"),
        "message": {"text": text},
        "locations": [_location(verdict.image, place)],
        "partialFingerprints": {"secguard/v1": hashlib.sha256(identity.encode("utf-8", "replace")).hexdigest()},
        **({"properties": {"severity": finding.severity}} if finding else {}),
    }


def _location(image: str, place: str) -> dict[str, Any]:
    """The image stands for the file; what is inside of it is a logical location (3.28, 3.33).

    A colon in the first segment would make a scheme of it (RFC 3986, section 4.2): ``localhost:5000/app``.
    """
    first, slash, rest = image.partition("/")
    uri = quote(first, safe="@", errors="replace") + slash + quote(rest, safe="/@:", errors="replace")
    physical = {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}
    return {
        "physicalLocation": physical,
        **({"logicalLocations": [{"fullyQualifiedName": place}]} if place else {}),
    }
