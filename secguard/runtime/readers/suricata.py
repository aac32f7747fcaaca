"""Suricata's EVE JSON: alerts, drops and anomalies. Flows are read by ``network``, other records are passed over.

Suricata's user guide, "Eve JSON Format".
"""

from __future__ import annotations

from typing import Any, Final

from secguard.errors import Invalid
from secguard.findings.severity import Severity, from_word
from secguard.images.jsonlines import MAX_TEXT, Members
from secguard.images.strictjson import named
from secguard.runtime.event import Connection, Event, Kind, Outcome, Request, fingerprint, mitre_of
from secguard.runtime.readers import Passed
from secguard.runtime.readers._values import protocol, scalars, tags

_TOOL: Final = "suricata"
_EVENTS: Final = frozenset(("alert", "drop", "anomaly"))
_FLOWS: Final = frozenset(("flow", "netflow"))
_BY_NUMBER: Final = {1: Severity.HIGH, 2: Severity.MEDIUM, 3: Severity.LOW, 4: Severity.NEGLIGIBLE}
"""A class's priority: "The highest priority is 1" (user guide, "Classtype")."""


def claims(document: dict[str, Any]) -> bool:
    return "event_type" in document and ("timestamp" in document or "flow_id" in document or "src_ip" in document)


def read(members: Members) -> list[Event] | Passed:
    """One record. Raises ``Invalid`` where its type is no text, or an alert has no signature."""
    type_ = members.members.get("event_type")
    if not isinstance(type_, str) or not type_:
        raise Invalid(
            f"Suricata's record has in 'event_type' {named(type_)}; expected a text such as 'alert'.",
            code="bad-event",
            where="$.event_type",
        )
    if type_ in _FLOWS:
        return Passed("flows of Suricata: post them to /hooks/flows/")
    if type_ not in _EVENTS:
        return Passed(f"Suricata's records of type {type_[:24]!r}, which are no alerts")
    return [_anomaly(members) if type_ == "anomaly" else _alert(members, type_)]


def _alert(members: Members, type_: str) -> Event:
    alert = members.node("alert")
    signature = alert.text("signature")
    if signature is None and type_ == "alert":
        raise Invalid(
            f"Suricata's alert has in 'alert.signature' {named(alert.members.get('signature'))}; expected a text.",
            code="bad-event",
            where="$.alert.signature",
        )
    metadata = alert.node("metadata")
    rated = from_word(next(iter(metadata.texts("signature_severity")), ""))
    number = alert.whole("severity", most=255)
    category = alert.text("category")
    blocked = type_ == "drop" or alert.text("action") == "blocked"
    return _event(
        members,
        kind=_kind(signature or "", category or ""),
        rule=signature or "drop",
        rule_id=":".join(str(one) for one in (alert.whole("gid"), alert.whole("signature_id")) if one is not None)
        or None,
        severity=rated or _BY_NUMBER.get(number or 0, Severity.UNKNOWN),
        severity_word="" if number is None else str(number),
        outcome=Outcome.BLOCKED if blocked else Outcome.DETECTED,
        message=category,
        mitre=mitre_of(
            word
            for name in ("mitre_tactic_id", "mitre_technique_id", "mitre_attack", "mitre_tactic_name")
            for word in metadata.texts(name)
        ),
        tags=tags((*metadata.texts("tag"), *metadata.texts("cve"), *metadata.texts("malware_family"))),
        request=_request(members.node("http")),
    )


def _anomaly(members: Members) -> Event:
    told = members.node("anomaly")
    name = told.text("event") or f"code {told.text('code')}"
    return _event(
        members,
        kind=Kind.NETWORK,
        rule=f"anomaly {told.text('type') or ''} {name}".replace("  ", " ")[:256],
        severity=Severity.UNKNOWN,
    )


def _event(members: Members, **given: Any) -> Event:
    flow = members.node("flow")
    kept = {
        name: members.members[name] for name in ("in_iface", "app_proto", "community_id", "flow_id") if name in members
    }
    return Event(
        tool=_TOOL,
        fingerprint=fingerprint(_TOOL, members.members),
        observed=members.instant("timestamp") or flow.instant("start"),
        host=members.text("host"),
        connection=Connection(
            source_ip=members.address("src_ip"),
            source_port=members.port("src_port"),
            destination_ip=members.address("dest_ip"),
            destination_port=members.port("dest_port"),
            destination_name=members.node("http").text("hostname") or members.node("tls").text("sni"),
            protocol=protocol(None, members.text("proto")),
        ),
        source_id=members.text("flow_id"),
        fields=scalars(members, "", kept),
        unread=tuple(members.unread),
        **given,
    )


def _kind(signature: str, category: str) -> Kind:
    words = f"{signature} {category}".lower()
    return Kind.MALWARE if "malware" in words or "trojan" in words else Kind.NETWORK


def _request(http: Members) -> Request | None:
    if not http.members:
        return None
    return Request(
        verb=http.text("http_method"),
        resource=http.text("url", most=MAX_TEXT),
        code=http.whole("status", most=999),
        user_agent=http.text("http_user_agent"),
    )
