"""AWS VPC flow logs: version 2, and versions 3 to 5 with a header; as lines or in CloudWatch's JSON.

Amazon VPC user guide, "Flow log records": a field that is not told is ``-``; the addresses in ``pkt-…`` are those of
the packet, where ``srcaddr`` may be that of the interface (a pod behind its node).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any, Final

from secguard.errors import Invalid
from secguard.images.jsonlines import address
from secguard.network.flow import Direction, End, Flow, Lost, Verdict, fingerprint, protocol_of
from secguard.network.readers import MAX_FLOWS, Passed, Told, too_many

_TOOL: Final = "aws-vpc"
_VERSION_2: Final = tuple(
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action "  # noqa: SIM905
    "log-status".split()
)
_FIRST = re.compile(r"2 (?:\d{1,20}|unknown|-) (?:eni-\S{1,40}|-)(?: \S{1,64}){11}\s*(?:\n|\Z)")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
_MAX_LINE: Final = 2_000
_NO_DATA: Final = Passed("records of an AWS interface without traffic (NODATA)")
_VERDICTS: Final = {"ACCEPT": Verdict.FORWARDED, "REJECT": Verdict.DENIED}
_DIRECTIONS: Final = {"ingress": Direction.INGRESS, "egress": Direction.EGRESS}


def claims_text(text: str) -> bool:
    head = text[:_MAX_LINE].lstrip()
    return _FIRST.match(head) is not None or _header(head.partition("\n")[0]) is not None


def _header(line: str) -> tuple[str, ...] | None:
    """The names of a header; ``None`` where the line is none."""
    names = tuple(line.strip().lower().replace("_", "-").split())
    has_ends = {"srcaddr", "dstaddr"} <= set(names) or {"pkt-srcaddr", "pkt-dstaddr"} <= set(names)
    return names if has_ends and all(_NAME.fullmatch(name) for name in names) else None


def read_text(text: str) -> Iterator[tuple[str, Told]]:
    """Each line's flow with its place; a line that is broken is refused by itself."""
    names = _VERSION_2
    for count, (number, line) in enumerate(_lines(text)):
        if count > MAX_FLOWS:
            raise too_many()
        header = _header(line) if not line[:1].isdigit() else None
        if header is not None:
            names = header
            continue
        yield f"line {number}", _line(line, names)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((i, line.strip()) for i, line in enumerate(StringIO(text, newline="\n"), 1) if line and not line.isspace())


def claims(document: dict[str, Any]) -> bool:
    """CloudWatch: a subscription's batch of messages, or one message."""
    if isinstance(document.get("logEvents"), list):
        return True
    message = document.get("message")
    return isinstance(message, str) and _FIRST.match(message) is not None


def read(document: dict[str, Any]) -> list[Told]:
    events = document.get("logEvents", [document])
    if len(events) > MAX_FLOWS:
        raise too_many()
    told: list[Told] = []
    for i, event in enumerate(events):
        message = event.get("message") if isinstance(event, dict) else None
        if not isinstance(message, str):
            where = f"$.logEvents[{i}].message"
            told.append(Invalid("CloudWatch's log event has no text in 'message'.", code="bad-flow", where=where))
        else:
            told.append(_line(message.strip(), _VERSION_2))
    return told


def _line(line: str, names: Sequence[str]) -> Told:
    """One record; what refuses it is given back, since the lines around it are whole."""
    values = line.split() if len(line) <= _MAX_LINE else []
    if len(values) != len(names):
        return Invalid(
            f"The record of a VPC flow log has {len(values)} fields; its header (or version 2) names {len(names)}. "
            "Send a custom format with its header line.",
            code="bad-flow",
            where="",
        )
    told = {name: value[:256] for name, value in zip(names, values, strict=True) if value != "-"}
    status = told.get("log-status", "OK")
    if status == "NODATA":
        return _NO_DATA
    observed, ended = _seconds(told.get("start")), _seconds(told.get("end"))
    if status == "SKIPDATA":
        return Lost(
            tool=_TOOL,
            fingerprint=fingerprint(_TOOL, line),
            reason="SKIPDATA",
            node=told.get("interface-id"),
            observed=observed,
            ended=ended,
        )
    unread: list[str] = []
    numbers = {n: _number(told, n, unread) for n in ("srcport", "dstport", "protocol", "packets", "bytes")}
    source = End(
        ip=address(told.get("pkt-srcaddr") or told.get("srcaddr", "")), service=told.get("pkt-src-aws-service")
    )
    destination = End(
        ip=address(told.get("pkt-dstaddr") or told.get("dstaddr", "")), service=told.get("pkt-dst-aws-service")
    )
    direction = _DIRECTIONS.get(told.get("flow-direction", ""), Direction.UNKNOWN)
    if source.ip is None and destination.ip is None:
        return Invalid("The record of a VPC flow log names no address.", code="bad-flow", where="")
    return Flow(
        tool=_TOOL,
        fingerprint=fingerprint(_TOOL, (names, line)),
        source=_owner(source, told) if direction is Direction.EGRESS else source,
        destination=_owner(destination, told) if direction is Direction.INGRESS else destination,
        verdict=_VERDICTS.get(told.get("action", ""), Verdict.UNKNOWN),
        verdict_word=told.get("action", "")[:32],
        observed=observed,
        ended=ended,
        protocol=protocol_of(numbers["protocol"]),
        port=_port(numbers["dstport"]),
        source_port=_port(numbers["srcport"]),
        direction=direction,
        bytes=numbers["bytes"],
        packets=numbers["packets"],
        reason=told.get("reject-reason"),
        node=told.get("instance-id") or told.get("interface-id"),
        cluster=told.get("ecs-cluster-name"),
        unread=tuple(unread),
    )


def _owner(end: End, told: dict[str, str]) -> End:
    """The end whose interface it is, with what ECS tells of it."""
    return End(
        ip=end.ip,
        service=end.service,
        workload=told.get("ecs-service-name"),
        host=told.get("instance-id") or told.get("interface-id"),
    )


def _number(told: dict[str, str], name: str, unread: list[str]) -> int | None:
    value = told.get(name)
    if value is None:
        return None
    if value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    unread.append(f"{name} is {value[:40]!r}; expected a number")
    return None


def _port(number: int | None) -> int | None:
    return number if number is not None and number <= 65_535 else None


def _seconds(value: str | None) -> datetime | None:
    if value is None or not (value.isascii() and value.isdigit() and len(value) <= 10):
        return None
    return datetime.fromtimestamp(int(value), UTC)
