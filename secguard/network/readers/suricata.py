"""Suricata's EVE JSON records of type ``flow`` and ``netflow``; its alerts are events, and read by ``runtime``.

Suricata's user guide, "Eve JSON Format", "Event type: Flow".
"""

from __future__ import annotations

from typing import Any, Final

from secguard.errors import Invalid
from secguard.images.jsonlines import Members
from secguard.network.flow import End, Flow, Verdict, fingerprint
from secguard.network.readers import Passed, Told

_TOOL: Final = "suricata"
_FLOWS: Final = frozenset(("flow", "netflow"))
_ACTIONS: Final = {"drop": Verdict.DENIED, "accept": Verdict.FORWARDED, "pass": Verdict.FORWARDED}


def claims(document: dict[str, Any]) -> bool:
    return isinstance(document.get("event_type"), str) and (
        "timestamp" in document or "flow_id" in document or "src_ip" in document
    )


def read(document: dict[str, Any]) -> list[Told]:
    type_ = document["event_type"]
    if type_ in ("alert", "drop", "anomaly"):
        return [Passed("alerts of Suricata: post them to /hooks/falco/")]
    if type_ not in _FLOWS:
        return [Passed(f"Suricata's records of type {type_[:24]!r}, which are no flows")]
    members = Members(document)
    flow = members.node(type_)
    source, destination = members.address("src_ip"), members.address("dest_ip")
    if source is None and destination is None:
        raise Invalid("Suricata's flow has no address in src_ip or dest_ip.", code="bad-flow", where="$.src_ip")
    action = flow.text("action")
    names = tuple(n for n in (members.node("tls").text("sni"), members.node("http").text("hostname")) if n)
    return [
        Flow(
            tool=_TOOL,
            fingerprint=fingerprint(_TOOL, document),
            source=End(ip=source),
            destination=End(ip=destination, names=names),
            verdict=_ACTIONS.get(action or "", Verdict.FORWARDED if action is None else Verdict.UNKNOWN),
            verdict_word=(action or "")[:32],
            observed=flow.instant("start") or members.instant("timestamp"),
            ended=flow.instant("end"),
            protocol=(members.text("proto") or "").lower() or None,
            port=members.port("dest_port"),
            source_port=members.port("src_port"),
            bytes=_sum(flow, "bytes_toserver", "bytes_toclient", "bytes"),
            packets=_sum(flow, "pkts_toserver", "pkts_toclient", "pkts"),
            layer7=members.text("app_proto"),
            node=members.text("host"),
            source_id=members.text("flow_id"),
            unread=tuple(members.unread),
        )
    ]


def _sum(flow: Members, *names: str) -> int | None:
    """Both ways together; a netflow record tells one way alone."""
    known = [count for name in names if (count := flow.whole(name, most=2**53)) is not None]
    return sum(known) if known else None
