"""Hubble's flows as JSON lines: ``{"flow": {…}}``, ``{"lost_events": {…}}``, and flows without a wrapper.

Cilium: api/v1/flow/flow.proto, observer.proto; protojson with the names of the proto, 64-bit integers as texts.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct, field

from secguard.errors import Invalid
from secguard.images import jsonlines
from secguard.network.flow import (
    MAX_LABELS,
    MAX_NAMES,
    MAX_POLICIES,
    Direction,
    End,
    Flow,
    Lost,
    Verdict,
    fingerprint,
)
from secguard.network.readers import Passed, Told

_TOOL: Final = "hubble"
_PASSED: Final = Passed("Hubble's word of nodes and agents, which is no flow")
_MAX_NAME: Final = 512


class _Workload(Struct):
    name: str | None = None
    kind: str | None = None


class _Endpoint(Struct):
    identity: int | None = None
    cluster_name: str | None = None
    namespace: str | None = None
    labels: list[str] | None = None
    pod_name: str | None = None
    workloads: list[_Workload] | None = None


class _Ip(Struct):
    source: str | None = None
    destination: str | None = None


class _Ports(Struct):
    source_port: int | None = None
    destination_port: int | None = None


class _Icmp(Struct):
    type: int | None = None


class _L4(Struct):
    TCP: _Ports | None = None
    UDP: _Ports | None = None
    SCTP: _Ports | None = None
    ICMPv4: _Icmp | None = None
    ICMPv6: _Icmp | None = None


class _Dns(Struct):
    query: str | None = None
    ips: list[str] | None = None


class _L7(Struct):
    dns: _Dns | None = None
    http: Raw = field(default_factory=Raw)
    kafka: Raw = field(default_factory=Raw)


class _Service(Struct):
    name: str | None = None
    namespace: str | None = None


class _Policy(Struct):
    name: str | None = None
    namespace: str | None = None


class _Aggregate(Struct):
    ingress_flow_count: int | None = None
    egress_flow_count: int | None = None
    unknown_direction_flow_count: int | None = None


class _Flow(Struct):
    time: str | None = None
    uuid: str | None = None
    verdict: str | None = None
    drop_reason: int | None = None
    drop_reason_desc: str | None = None
    ip: _Ip | None = field(default=None, name="IP")
    l4: _L4 | None = None
    source: Raw = field(default_factory=Raw)
    destination: Raw = field(default_factory=Raw)
    type: str | None = field(default=None, name="Type")
    node_name: str | None = None
    source_names: list[str] | None = None
    destination_names: list[str] | None = None
    l7: _L7 | None = None
    is_reply: bool | None = None
    reply: bool | None = None
    source_service: _Service | None = None
    destination_service: _Service | None = None
    traffic_direction: str | None = None
    egress_allowed_by: list[_Policy] | None = None
    ingress_allowed_by: list[_Policy] | None = None
    egress_denied_by: list[_Policy] | None = None
    ingress_denied_by: list[_Policy] | None = None
    aggregate: _Aggregate | None = None


class _Lost(Struct):
    source: str | None = None
    num_events_lost: int | None = None
    first: str | None = None
    last: str | None = None


class _Line(Struct):
    """A line before its flow is looked into; what is missing is empty."""

    flow: Raw = field(default_factory=Raw)
    lost_events: Raw = field(default_factory=Raw)
    node_status: Raw = field(default_factory=Raw)
    agent_event: Raw = field(default_factory=Raw)
    debug_event: Raw = field(default_factory=Raw)
    node_name: Raw = field(default_factory=Raw)
    time: Raw = field(default_factory=Raw)
    # A flow without its wrapper.
    verdict: Raw = field(default_factory=Raw)
    ip: Raw = field(default_factory=Raw, name="IP")
    # What tells Suricata's records, and our own format.
    event_type: Raw = field(default_factory=Raw)
    schema: Raw = field(default_factory=Raw)


# Lax: protojson writes 64-bit integers as texts.
_LINE: Final = msgspec.json.Decoder(_Line)
_FLOW: Final = msgspec.json.Decoder(_Flow, strict=False)
_LOSS: Final = msgspec.json.Decoder(_Lost, strict=False)
_ENDPOINT: Final = msgspec.json.Decoder(_Endpoint | None, strict=False)
_TEXT: Final = msgspec.json.Decoder(str | None)
_OTHER: Final = ("node_status", "agent_event", "debug_event")
_VERDICTS: Final = {
    "FORWARDED": Verdict.FORWARDED,
    "REDIRECTED": Verdict.FORWARDED,
    "TRACED": Verdict.FORWARDED,
    "TRANSLATED": Verdict.FORWARDED,
    # Policy's audit mode: it would have been denied, and went through.
    "AUDIT": Verdict.FORWARDED,
    "DROPPED": Verdict.DENIED,
}
_DENIALS: Final = frozenset(("POLICY_DENIED", "POLICY_DENY", "AUTH_REQUIRED", "DENIED_BY_LB_SRC_RANGE_CHECK"))
_DENIAL_NUMBERS: Final = frozenset((133, 177, 181, 189))
"""pkg/monitor/api/drop.go: the same in the older field."""
_DIRECTIONS: Final = {"INGRESS": Direction.INGRESS, "EGRESS": Direction.EGRESS}
_NAMESPACE: Final = "k8s:io.kubernetes.pod.namespace="
_OF_THE_NETWORK: Final = ("io.cilium.", "io.kubernetes.pod.namespace=")
_IDENTITIES: Final = {
    1: "host",
    2: "world",
    3: "unmanaged",
    4: "health",
    5: "init",
    6: "remote-node",
    7: "kube-apiserver",
    8: "ingress",
    9: "world-ipv4",
    10: "world-ipv6",
}
"""Cilium's reserved identities (pkg/identity/numericidentity.go)."""


def claims(document: dict[str, Any]) -> bool:
    return _kind(_LINE.decode(msgspec.json.encode(document))) != ""


def read(document: dict[str, Any]) -> list[Told]:
    return read_raw(msgspec.json.encode(document)) or []


def read_raw(raw: bytes) -> list[Told] | None:
    """What one line tells; ``None`` where it is none of Hubble's, or no object.

    Raises ``Invalid`` with the place of a member of another type than Hubble's.
    """
    raw = jsonlines.mended(raw)
    try:
        line = _LINE.decode(raw)
        kind = _kind(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None  # whoever reads it next says why
    if kind in ("", "other"):
        return [_PASSED] if kind else None
    try:
        node, at = _TEXT.decode(line.node_name or b"null"), _TEXT.decode(line.time or b"null")
        if kind == "lost":
            return [_lost(_LOSS.decode(line.lost_events), node, at)]
        told = line.flow if kind == "flow" else Raw(raw)
        return [_flow(_FLOW.decode(told), node, at, told)]
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        inner = {"flow": "$.flow", "lost": "$.lost_events"}.get(kind, "$")
        place = inner + place.rstrip("`").removeprefix("$")
        raise Invalid(f"Hubble's flow: {message[:200]} at {place}.", code="wrong-shape", where=place) from None
    except (UnicodeDecodeError, RecursionError):
        raise Invalid("Hubble's flow holds what is no text, or is nested too deep.", code="bad-flow") from None


def _kind(line: _Line) -> str:
    """``flow``, ``bare`` (without its wrapper), ``lost``, ``other``, or nothing of Hubble's."""
    # Suricata's flows have a type that is a text, where Hubble's is an object.
    if bytes(line.schema) or bytes(line.event_type)[:1] == b'"':
        return ""
    if bytes(line.flow)[:1] == b"{":
        return "flow"
    if bytes(line.lost_events)[:1] == b"{":
        return "lost"
    if any(bytes(getattr(line, name))[:1] == b"{" for name in _OTHER):
        return "other"
    return "bare" if bytes(line.verdict) and bytes(line.ip) else ""


def _flow(flow: _Flow, node: str | None, time: str | None, raw: Raw) -> Flow:
    unread: list[str] = []
    at = _instant(flow.time or time, "time", unread)
    verdict, reason = _verdict(flow)
    protocol, source_port, port = _l4(flow.l4, unread)
    ip = flow.ip or _NO_IP
    source_ip, destination_ip = _address(ip.source, unread), _address(ip.destination, unread)
    source = _end("source", flow.source, source_ip, flow.source_names, flow.source_service)
    destination = _end(
        "destination", flow.destination, destination_ip, flow.destination_names, flow.destination_service
    )
    if source == _NO_END and destination == _NO_END:
        raise Invalid("Hubble's flow names neither end.", code="bad-flow", where="$.flow")
    l7 = flow.l7
    dns = l7.dns if l7 else None
    node = _short(flow.node_name or node)
    return Flow(
        tool=_TOOL,
        fingerprint=_fingerprint(flow, node, raw),
        source=source,
        destination=destination,
        verdict=verdict,
        verdict_word=(flow.verdict or "")[:32],
        observed=at,
        protocol=protocol,
        port=port,
        source_port=source_port,
        direction=_DIRECTIONS.get(flow.traffic_direction or "", Direction.UNKNOWN),
        is_reply=flow.is_reply if flow.is_reply is not None else flow.reply,
        count=_count(flow.aggregate),
        policies=_policies(flow),
        reason=reason,
        layer7=_layer7(l7),
        dns_query=_short(dns.query) if dns else None,
        dns_ips=tuple(found for one in (dns.ips or ())[:MAX_NAMES] if (found := jsonlines.address(one))) if dns else (),
        node=node,
        cluster=source.cluster or destination.cluster,
        source_id=_short(flow.uuid),
        unread=tuple(unread),
    )


def _layer7(l7: _L7 | None) -> str | None:
    if l7 is None:
        return None
    return "dns" if l7.dns else "http" if bytes(l7.http) else "kafka" if bytes(l7.kafka) else None


def _fingerprint(flow: _Flow, node: str | None, raw: Raw) -> str:
    """Hubble gives each flow an id of its own since 1.11; of an older one all counts that was told."""
    if flow.uuid and flow.time:
        return fingerprint(_TOOL, (flow.uuid, flow.time, node, flow.verdict, flow.ip, flow.l4))
    return fingerprint(_TOOL, (node, msgspec.json.decode(raw)))


def _verdict(flow: _Flow) -> tuple[Verdict, str | None]:
    """A drop for another reason than a policy says nothing of who may speak to whom."""
    verdict = _VERDICTS.get(flow.verdict or "", Verdict.UNKNOWN)
    reason = _short(flow.drop_reason_desc) or (str(flow.drop_reason) if flow.drop_reason else None)
    if verdict is Verdict.DENIED and reason is not None:
        by_word = flow.drop_reason_desc in _DENIALS if flow.drop_reason_desc else flow.drop_reason in _DENIAL_NUMBERS
        verdict = Verdict.DENIED if by_word else Verdict.UNKNOWN
    return verdict, reason


_NO_IP: Final = _Ip()
_NOBODY: Final = _Endpoint()
_NO_END: Final = End()


def _end(side: str, raw: Raw, ip: str | None, names: list[str] | None, service: _Service | None) -> End:
    try:
        return _made(bytes(raw), ip, tuple(names[:MAX_NAMES]) if names else (), _service(service))
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `")
        raise msgspec.ValidationError(f"{message} - at `$.{side}{place.rstrip('`').removeprefix('$')}`") from None


@lru_cache(maxsize=16_384)
def _made(raw: bytes, ip: str | None, names: tuple[str, ...], service: str | None) -> End:
    """Few ends stand in very many flows, in the same words: the same words give the same object."""
    told = (_ENDPOINT.decode(raw) if raw else None) or _NOBODY
    namespace, labels, identity = _labelled(tuple(told.labels[: 2 * MAX_LABELS]) if told.labels else ())
    workload = told.workloads[0] if told.workloads else None
    return End(
        namespace=_short(told.namespace) or namespace,
        workload=_short(workload.name) if workload else None,
        workload_kind=_short(workload.kind) if workload else None,
        pod=_short(told.pod_name),
        labels=labels,
        ip=ip,
        identity=identity or _IDENTITIES.get(told.identity or 0),
        names=tuple(name[:_MAX_NAME] for name in names),
        service=service,
        cluster=_short(told.cluster_name),
    )


@lru_cache(maxsize=16_384)
def _labelled(labels: tuple[str, ...]) -> tuple[str | None, tuple[str, ...], str | None]:
    """Namespace, labels and reserved identity. Few sets of labels stand in very many flows."""
    namespace = identity = None
    kept = []
    for label in labels:
        if label.startswith("reserved:"):
            identity = identity or label[9:73]
        elif label.startswith(_NAMESPACE):
            namespace = label[len(_NAMESPACE) :][:_MAX_NAME]
        else:
            plain = label.removeprefix("k8s:")[:_MAX_NAME]
            if not plain.startswith(_OF_THE_NETWORK):
                kept.append(plain)
    return namespace or None, tuple(kept[:MAX_LABELS]), identity


def _service(service: _Service | None) -> str | None:
    if service is None or not service.name:
        return None
    return f"{service.namespace}/{service.name}"[:_MAX_NAME] if service.namespace else _short(service.name)


def _l4(l4: _L4 | None, unread: list[str]) -> tuple[str | None, int | None, int | None]:
    if l4 is None:
        return None, None, None
    for name, ports in (("tcp", l4.TCP), ("udp", l4.UDP), ("sctp", l4.SCTP)):
        if ports is not None:
            return name, _port(ports.source_port, unread), _port(ports.destination_port, unread)
    return ("icmp" if l4.ICMPv4 else "icmpv6" if l4.ICMPv6 else None), None, None


def _address(text: str | None, unread: list[str]) -> str | None:
    if not text:
        return None
    found = jsonlines.address(text)
    if found is None:
        unread.append(f"IP names {text[:40]!r}, which is no IP address")
    return found


def _port(number: int | None, unread: list[str]) -> int | None:
    if number is not None and not 0 <= number <= 65_535:
        unread.append("l4 names a port out of its range, 0 to 65,535")
        return None
    return number


def _count(aggregate: _Aggregate | None) -> int:
    if aggregate is None:
        return 1
    told = (aggregate.ingress_flow_count, aggregate.egress_flow_count, aggregate.unknown_direction_flow_count)
    return max(1, min(sum(one for one in told if one and one > 0), 2**53))


def _policies(flow: _Flow) -> tuple[str, ...]:
    lists = (flow.egress_allowed_by, flow.ingress_allowed_by, flow.egress_denied_by, flow.ingress_denied_by)
    found: dict[str, None] = {}
    for policies in lists:
        for policy in policies[:MAX_POLICIES] if policies else ():
            if policy.name:
                name = f"{policy.namespace}/{policy.name}" if policy.namespace else policy.name
                found[name[:_MAX_NAME]] = None
    return tuple(found)[:MAX_POLICIES]


def _lost(lost: _Lost, node: str | None, time: str | None) -> Lost:
    unread: list[str] = []
    count = lost.num_events_lost
    if count is not None and not 0 <= count < 2**63:
        unread.append("lost_events.num_events_lost is out of its range")
        count = None
    ended = _instant(lost.last, "lost_events.last", unread)
    return Lost(
        tool=_TOOL,
        fingerprint=fingerprint(_TOOL, (lost, node, time)),
        count=count,
        reason=_short(lost.source),
        node=_short(node),
        observed=_instant(lost.first, "lost_events.first", unread) or _instant(time, "time", unread),
        ended=ended,
        unread=tuple(unread),
    )


def _instant(text: str | None, name: str, unread: list[str]) -> datetime | None:
    if not text:
        return None
    at, why = jsonlines.instant(text)
    if why:
        unread.append(f"{name} {why}")
    return at


def _short(text: str | None) -> str | None:
    return text[:_MAX_NAME] if text else None
