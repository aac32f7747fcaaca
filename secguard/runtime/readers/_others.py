"""Documents that are posted as events by mistake, told by their names: what each is, and what to send instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from secguard.errors import Invalid


class _Other(NamedTuple):
    names: tuple[str, ...]
    what: str
    instead: str
    code: str = "unknown-format"


_FLOW = "Post flows to /hooks/flows/."
_OTHERS = (
    _Other(("Records",), "a file of AWS CloudTrail", "Let Falco's cloudtrail plugin read it, and post its alerts."),
    _Other(
        ("protoPayload",),
        "an entry of Google's Cloud Audit Logs",
        "Let Falco's k8saudit-gke or gcpaudit plugin read it, and post its alerts.",
    ),
    _Other(
        ("category", "operationName"),
        "a record of Azure Monitor",
        "Post the event of the API server itself: the JSON in properties.log.",
    ),
    _Other(
        ("clusterName", "podName", "operation", "result"),
        "a log or alert of KubeArmor",
        "Write it in the format described in docs/runtime-events.md.",
    ),
    _Other(("flow", "node_name"), "a flow of Hubble", _FLOW, "flow"),
    _Other(("lost_events",), "Hubble's word of lost flows", _FLOW, "flow"),
    _Other(("IP", "verdict"), "a flow of Hubble", _FLOW, "flow"),
    _Other(("networkpolicy",), "a network policy sent by StackRox", "Send its alerts."),
    _Other(
        ("audit",),
        "StackRox's own audit message",
        "Send its alerts: in the notifier's integration, audit logging is a switch of its own.",
    ),
    _Other(("request", "kind", "apiVersion"), "an AdmissionReview", "It belongs to /admission/v1/validate."),
    _Other(("apiVersion", "kind", "metadata"), "a Kubernetes object", "Send audit.k8s.io events, not objects."),
    _Other(("scanner", "schema"), "a report of a scanner", "Post reports to /api/v1/reports/."),
)


def refusal(document: Mapping[str, Any], known: tuple[str, ...]) -> Invalid:
    """Why a document that no reader claims is refused, by name where it is recognised."""
    for other in _OTHERS:
        if all(name in document for name in other.names):
            return Invalid(f"This is {other.what}, which is not read here. {other.instead}", code=other.code, where="$")
    names = ", ".join(repr(name[:40]) for name in list(document)[:8]) or "nothing"
    return Invalid(
        f"The event's format is not known: an object with {names}. Known formats: {', '.join(known)}; an agent without "
        "one of these can send the format described in docs/runtime-events.md.",
        code="unknown-format",
        where="$",
    )
