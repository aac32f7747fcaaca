"""SecGuard's own format, for any source: docs/network-flows.md, docs/network-flow.schema.json.

Read strictly: an unknown name or a value out of range is refused with its place, since whoever writes it can mend it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from secguard.errors import Invalid
from secguard.images.jsonlines import address, instant
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
from secguard.network.readers import MAX_FLOWS, Told

SCHEMA: Final = "secguard-flows/v1"

Name = Annotated[str, Meta(min_length=1, max_length=512)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Time = Annotated[str, Meta(max_length=64)]
Identity = Literal["world", "host", "remote-node", "kube-apiserver", "unmanaged", "health", "init", "ingress"]


class _End(Struct, forbid_unknown_fields=True, frozen=True):
    namespace: Name | None = None
    workload: Name | None = None
    workload_kind: Name | None = None
    pod: Name | None = None
    labels: Annotated[tuple[Name, ...], Meta(max_length=MAX_LABELS)] = ()
    ip: Annotated[str, Meta(min_length=2, max_length=64)] | None = None
    identity: Identity | None = None
    names: Annotated[tuple[Name, ...], Meta(max_length=MAX_NAMES)] = ()
    service: Name | None = None
    cluster: Name | None = None
    host: Name | None = None


class _Flow(Struct, forbid_unknown_fields=True, frozen=True):
    time: Time
    source: _End
    destination: _End
    verdict: Literal["forwarded", "denied", "unknown"]
    end_time: Time | None = None
    protocol: Name | None = None
    port: Port | None = None
    source_port: Port | None = None
    direction: Literal["ingress", "egress", "unknown"] = "unknown"
    is_reply: bool | None = None
    bytes: Count | None = None
    packets: Count | None = None
    count: Annotated[int, Meta(ge=1, le=2**53)] = 1
    policies: Annotated[tuple[Name, ...], Meta(max_length=MAX_POLICIES)] = ()
    reason: Name | None = None
    node: Name | None = None
    id: Name | None = None


class _Lost(Struct, forbid_unknown_fields=True, frozen=True):
    time: Time
    end_time: Time | None = None
    count: Count | None = None
    reason: Name | None = None
    node: Name | None = None


class Document(Struct, forbid_unknown_fields=True, frozen=True):
    """What a source sends. ``source`` names it; ``lost`` says when it saw more than it tells."""

    schema: Literal["secguard-flows/v1"]
    source: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
    flows: Annotated[list[_Flow], Meta(max_length=MAX_FLOWS)] = []
    lost: Annotated[list[_Lost], Meta(max_length=1_000)] = []
    cluster: Name | None = None


def schema() -> dict[str, Any]:
    """JSON Schema of the format, as it is published in docs/network-flow.schema.json."""
    made: dict[str, Any] = msgspec.json.schema(Document)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "SecGuard network flows", **made}


def claims(document: dict[str, Any]) -> bool:
    value = document.get("schema")
    return isinstance(value, str) and value.startswith("secguard-flows/")


def read(document: dict[str, Any]) -> list[Told]:
    """Flows and losses. Raises ``Invalid`` with the place of what is unknown, missing or out of range."""
    if document["schema"] != SCHEMA:
        raise Invalid(
            f"The document says {document['schema'][:60]!r}; {SCHEMA!r} is read.",
            code="unknown-version",
            where="$.schema",
        )
    try:
        told = msgspec.convert(document, Document)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        place = path.rstrip("`") or "$"
        raise Invalid(
            f"{message[:300]} at {place}; see docs/network-flows.md.", code="wrong-shape", where=place
        ) from error
    flows = [_flow(told, one, document["flows"][i], f"$.flows[{i}]") for i, one in enumerate(told.flows)]
    return [*flows, *(_lost(told, one, f"$.lost[{i}]") for i, one in enumerate(told.lost))]


def _flow(document: Document, one: _Flow, given: Any, where: str) -> Flow:
    source = _end(one.source, f"{where}.source")
    destination = _end(one.destination, f"{where}.destination")
    if source == End() or destination == End():
        side = "source" if source == End() else "destination"
        raise Invalid(f"The flow at {where} says nothing of its {side}.", code="bad-value", where=f"{where}.{side}")
    return Flow(
        tool=document.source,
        fingerprint=fingerprint(document.source, (given, document.cluster)),
        source=source,
        destination=destination,
        verdict=Verdict(one.verdict),
        verdict_word=one.verdict,
        observed=_instant(one.time, f"{where}.time"),
        ended=_instant(one.end_time, f"{where}.end_time"),
        protocol=one.protocol.lower() if one.protocol else None,
        port=one.port,
        source_port=one.source_port,
        direction=Direction(one.direction),
        is_reply=one.is_reply,
        bytes=one.bytes,
        packets=one.packets,
        count=one.count,
        policies=one.policies,
        reason=one.reason,
        node=one.node,
        cluster=document.cluster,
        source_id=one.id,
    )


def _lost(document: Document, one: _Lost, where: str) -> Lost:
    return Lost(
        tool=document.source,
        fingerprint=fingerprint(document.source, (one, document.cluster)),
        count=one.count,
        reason=one.reason,
        node=one.node,
        cluster=document.cluster,
        observed=_instant(one.time, f"{where}.time"),
        ended=_instant(one.end_time, f"{where}.end_time"),
    )


def _end(end: _End, where: str) -> End:
    ip = None if end.ip is None else address(end.ip)
    if end.ip is not None and ip is None:
        raise Invalid(f"{end.ip!r} at {where}.ip is no IP address.", code="bad-value", where=f"{where}.ip")
    return End(**(msgspec.structs.asdict(end) | {"ip": ip}))


def _instant(text: str | None, where: str) -> datetime | None:
    if text is None:
        return None
    at, why = instant(text)
    if at is None or why:
        raise Invalid(f"The time at {where} {why}; expected RFC 3339.", code="bad-value", where=where)
    return at
