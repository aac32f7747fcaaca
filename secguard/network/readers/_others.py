"""Documents that are posted as flows by mistake, told by their names: what each is, and what to send instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from secguard.errors import Invalid


class _Other(NamedTuple):
    names: tuple[str, ...]
    what: str
    instead: str
    code: str = "unknown-format"


_EVENT = "Post events to /hooks/falco/."
_OTHERS = (
    _Other(
        ("podName", "operation", "resource"),
        "a log of KubeArmor, about a process or a file",
        "Post events to /hooks/falco/ in the format described in docs/runtime-events.md.",
        "event",
    ),
    _Other(
        ("podname", "operation", "resource"),
        "a log of KubeArmor, about a process or a file",
        "Post events to /hooks/falco/ in the format described in docs/runtime-events.md.",
        "event",
    ),
    _Other(("rule", "priority"), "an alert of Falco", _EVENT, "event"),
    _Other(("auditID", "verb"), "an event of the Kubernetes API server", _EVENT, "event"),
    _Other(("kind", "apiVersion", "items"), "a list of Kubernetes objects", "Post flows, not objects."),
    _Other(("apiVersion", "kind", "metadata"), "a Kubernetes object", "Post flows, not objects."),
    _Other(("transaction",), "an audit record of ModSecurity", _EVENT, "event"),
    _Other(("alert",), "an alert", _EVENT, "event"),
    _Other(("Records",), "a file of AWS CloudTrail", "Post VPC flow logs, not the API's trail."),
)


def refusal(document: Mapping[str, Any], known: tuple[str, ...]) -> Invalid:
    """Why a document that no reader claims is refused, by name where it is recognised."""
    for other in _OTHERS:
        if all(name in document for name in other.names):
            return Invalid(f"This is {other.what}, which is not read here. {other.instead}", code=other.code, where="$")
    names = ", ".join(repr(name[:40]) for name in list(document)[:8]) or "nothing"
    return Invalid(
        f"The flow's format is not known: an object with {names}. Known formats: {', '.join(known)}; a source without "
        "one of these can send the format described in docs/network-flows.md.",
        code="unknown-format",
        where="$",
    )
