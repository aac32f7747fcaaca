"""Azure's flow logs: of network security groups (versions 1 and 2) and of virtual networks (version 4).

Azure Network Watcher: "Flow logging for network security groups" and "Virtual network flow logs", both "Log format". A
tuple is a line with commas; of a flow that goes on there is one for its begin, one for each part and one for its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from secguard.errors import Invalid
from secguard.images.jsonlines import Members, address
from secguard.images.strictjson import named
from secguard.network.flow import Direction, End, Flow, Verdict, fingerprint, protocol_of
from secguard.network.readers import MAX_FLOWS, Told, too_many

_TOOL: Final = "azure"
_GROUP: Final = "NetworkSecurityGroupFlowEvent"
_NETWORK: Final = "FlowLogFlowEvent"
_PROTOCOLS: Final = {"T": "tcp", "U": "udp"}
_DIRECTIONS: Final = {"I": Direction.INGRESS, "O": Direction.EGRESS}
_VERDICTS: Final = {"A": Verdict.FORWARDED, "D": Verdict.DENIED}
_STATES: Final = {"B": Verdict.FORWARDED, "C": Verdict.FORWARDED, "E": Verdict.FORWARDED, "D": Verdict.DENIED}


def claims(document: dict[str, Any]) -> bool:
    if isinstance(document.get("records"), list):
        return True
    return document.get("category") in (_GROUP, _NETWORK)


def read(document: dict[str, Any]) -> list[Told]:
    """Every tuple of every record; one that is broken is refused by itself."""
    told: list[Told] = []
    records = document.get("records", [document])
    for i, record in enumerate(records):
        where = f"$.records[{i}]" if "records" in document else "$"
        for one in _record(record, where):
            told.append(one)
            if len(told) > MAX_FLOWS:
                raise too_many()
    return told


def _record(record: Any, where: str) -> Iterator[Told]:
    if not isinstance(record, dict) or record.get("category") not in (_GROUP, _NETWORK):
        found = repr(str(record.get("category"))[:60]) if isinstance(record, dict) else named(record)
        yield Invalid(
            f"Azure's record is of category {found}; {_GROUP} and {_NETWORK} are read.", code="bad-flow", where=where
        )
        return
    members = Members(record, where)
    of_a_group = record["category"] == _GROUP
    outer = members.node("properties" if of_a_group else "flowRecords")
    for flow in outer.nodes("flows", most=MAX_FLOWS):
        for group in flow.nodes("flows" if of_a_group else "flowGroups", most=MAX_FLOWS):
            rule = flow.text("rule") or group.text("rule")
            mac = group.text("mac") or members.text("macAddress")
            for i, line in enumerate(group.values("flowTuples", most=MAX_FLOWS)):
                place = f"{group.where}.flowTuples[{i}]"
                yield _tuple(line, of_a_group, rule, mac, place)


def _tuple(line: Any, of_a_group: bool, rule: str | None, mac: str | None, where: str) -> Told:
    values = line.split(",") if isinstance(line, str) and len(line) < 1_000 else []
    if len(values) not in ((8, 13) if of_a_group else (13,)):
        expected = "8 or 13" if of_a_group else "13"
        return Invalid(
            f"Azure's flow tuple has {len(values)} fields; expected {expected}.", code="bad-flow", where=where
        )
    source, destination = address(values[1]), address(values[2])
    if source is None and destination is None:
        return Invalid("Azure's flow tuple names no address.", code="bad-flow", where=where)
    at = _instant(values[0], 1 if of_a_group else 1_000)
    protocol = _PROTOCOLS.get(values[5]) if of_a_group else protocol_of(_number(values[5]))
    verdict = (_VERDICTS if of_a_group else _STATES).get(values[7], Verdict.UNKNOWN)
    counts = [_number(value) for value in values[9:13]]
    return Flow(
        tool=_TOOL,
        fingerprint=fingerprint(_TOOL, (line, rule, mac)),
        source=End(ip=source),
        destination=End(ip=destination),
        verdict=verdict,
        verdict_word=values[7][:8],
        observed=at,
        protocol=protocol,
        port=_port(values[4]),
        source_port=_port(values[3]),
        direction=_DIRECTIONS.get(values[6], Direction.UNKNOWN),
        packets=_sum(counts[0::2]),
        bytes=_sum(counts[1::2]),
        policies=(rule,) if rule else (),
        node=mac,
        unread=() if at else (f"{where} begins with {values[0][:24]!r}, which is no time",),
    )


def _number(value: str) -> int | None:
    return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else None


def _port(value: str) -> int | None:
    number = _number(value)
    return number if number is not None and number <= 65_535 else None


def _sum(counts: list[int | None]) -> int | None:
    """Both ways together."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _instant(value: str, unit: int) -> datetime | None:
    number = _number(value)
    if number is None or number // unit >= 7_258_118_400:  # the year 2200
        return None
    return datetime.fromtimestamp(number / unit, UTC)
