"""SecGuard's own format, for any agent: docs/runtime-events.md, docs/runtime-event.schema.json.

Read strictly: an unknown name or a value out of range is refused with its place, since whoever writes it can mend it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from secguard.errors import Invalid
from secguard.findings.severity import from_word
from secguard.images.jsonlines import Members, instant
from secguard.runtime.event import (
    MAX_FIELDS,
    MAX_TAGS,
    Connection,
    Event,
    File,
    Growth,
    Kind,
    Outcome,
    Process,
    Request,
    Scalar,
    fingerprint,
    mitre_of,
)
from secguard.runtime.readers._values import scalars

SCHEMA: Final = "secguard-event/v1"
MAX_IN_ONE: Final = 10_000

Name = Annotated[str, Meta(min_length=1, max_length=512)]
Text = Annotated[str, Meta(max_length=8_192)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Digest = Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", max_length=64)]
Level = Literal["critical", "high", "medium", "low", "negligible", "unknown"]


class _Sensor(Struct, forbid_unknown_fields=True, frozen=True):
    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
    version: Annotated[str, Meta(max_length=64)] = ""


class _Container(Struct, forbid_unknown_fields=True, frozen=True):
    id: Name | None = None
    name: Name | None = None
    image: Name | None = None
    digest: Digest | None = None


class _Process(Struct, forbid_unknown_fields=True, frozen=True):
    exe: Text | None = None
    args: Text | None = None
    parent: Text | None = None
    user: Name | None = None
    pid: Count | None = None


class _File(Struct, forbid_unknown_fields=True, frozen=True):
    path: Text
    operation: Name | None = None
    sha256: Sha256 | None = None
    sha256_before: Sha256 | None = None


class _Connection(Struct, forbid_unknown_fields=True, frozen=True):
    source_ip: Name | None = None
    source_port: Port | None = None
    destination_ip: Name | None = None
    destination_port: Port | None = None
    destination_name: Name | None = None
    protocol: Name | None = None


class _Request(Struct, forbid_unknown_fields=True, frozen=True):
    verb: Name | None = None
    resource: Text | None = None
    name: Name | None = None
    code: Annotated[int, Meta(ge=0, le=999)] | None = None
    user: Name | None = None
    on_behalf_of: Name | None = None
    user_agent: Name | None = None
    source_ips: Annotated[tuple[Name, ...], Meta(max_length=16)] = ()


class _Growth(Struct, forbid_unknown_fields=True, frozen=True):
    path: Text
    bytes: Count
    grown_by: Count | None = None
    seconds: Count | None = None
    limit: Count | None = None


class _Event(Struct, forbid_unknown_fields=True, frozen=True):
    kind: Literal["process", "file", "network", "malware", "log-growth", "api-audit", "other"]
    rule: Name
    time: Annotated[str, Meta(max_length=64)]
    """RFC 3339, with its zone."""
    severity: Level = "unknown"
    rule_id: Name | None = None
    id: Name | None = None
    message: Text | None = None
    outcome: Literal["detected", "allowed", "blocked"] = "detected"
    count: Annotated[int, Meta(ge=1, le=2**31)] = 1
    namespace: Name | None = None
    workload: Name | None = None
    pod: Name | None = None
    pod_uid: Name | None = None
    container: _Container = _Container()
    process: _Process | None = None
    file: _File | None = None
    connection: _Connection | None = None
    request: _Request | None = None
    growth: _Growth | None = None
    mitre: Annotated[tuple[Name, ...], Meta(max_length=MAX_TAGS)] = ()
    tags: Annotated[tuple[Name, ...], Meta(max_length=MAX_TAGS)] = ()
    fields: Annotated[dict[str, Scalar], Meta(max_length=MAX_FIELDS)] = {}


class Document(Struct, forbid_unknown_fields=True, frozen=True):
    """What an agent sends. ``sensor`` names the agent; ``cluster`` and ``host`` hold for every event."""

    schema: Literal["secguard-event/v1"]
    sensor: _Sensor
    events: Annotated[list[_Event], Meta(max_length=MAX_IN_ONE)]
    cluster: Name | None = None
    host: Name | None = None


def schema() -> dict[str, Any]:
    """JSON Schema of the format, as it is published in docs/runtime-event.schema.json."""
    made: dict[str, Any] = msgspec.json.schema(Document)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "SecGuard runtime events", **made}


def claims(document: dict[str, Any]) -> bool:
    value = document.get("schema")
    return isinstance(value, str) and value.startswith("secguard-event/")


def read(members: Members) -> list[Event]:
    """The events of one document. Raises ``Invalid`` with the place of what is unknown, missing or out of range."""
    if members.members["schema"] != SCHEMA:
        raise Invalid(
            f"The document says {members.members['schema'][:60]!r}; {SCHEMA!r} is read.",
            code="unknown-version",
            where="$.schema",
        )
    try:
        document = msgspec.convert(members.members, Document)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        place = path.rstrip("`") or "$"
        raise Invalid(
            f"{message[:300]} at {place}; see docs/runtime-events.md.", code="wrong-shape", where=place
        ) from error
    given = members.members["events"]
    return [_event(document, one, given[i], members, i) for i, one in enumerate(document.events)]


def _event(document: Document, one: _Event, given: Any, members: Members, index: int) -> Event:
    at, why = instant(one.time)
    if at is None or why:
        place = f"$.events[{index}].time"
        raise Invalid(f"The time at {place} {why}; expected RFC 3339.", code="bad-value", where=place)
    tool = document.sensor.name
    identity = {"event": given, "cluster": document.cluster, "host": document.host}
    return Event(
        kind=Kind(one.kind),
        tool=tool,
        rule=one.rule,
        rule_id=one.rule_id,
        fingerprint=fingerprint(tool, identity),
        severity=from_word(one.severity),
        severity_word=one.severity,
        observed=at,
        message=one.message,
        outcome=Outcome(one.outcome),
        count=one.count,
        host=document.host,
        cluster=document.cluster,
        namespace=one.namespace,
        workload=one.workload,
        pod=one.pod,
        pod_uid=one.pod_uid,
        container_id=one.container.id,
        container=one.container.name,
        image=one.container.image,
        digest=one.container.digest,
        process=_as(one.process, Process),
        file=_as(one.file, File),
        connection=_as(one.connection, Connection),
        request=_as(one.request, Request),
        growth=_as(one.growth, Growth),
        mitre=mitre_of(one.mitre),
        tags=one.tags,
        source_id=one.id,
        fields=scalars(members, f"events[{index}].fields", one.fields),
        unread=tuple(members.unread),
    )


def _as(value: Struct | None, kind: type[Any]) -> Any:
    return None if value is None else kind(**msgspec.structs.asdict(value))
