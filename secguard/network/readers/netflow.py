"""NetFlow, IPFIX and sFlow as JSON: of goflow2, and enriched by NetObserv's flowlogs-pipeline.

NetObserv: docs/api; goflow2: "Producers". Names of pods are those of NetObserv's versions, older and newer.
"""

from __future__ import annotations

from typing import Any, Final

from secguard.errors import Invalid
from secguard.images.jsonlines import Members
from secguard.network.flow import Direction, End, Flow, Verdict, fingerprint, protocol_of
from secguard.network.readers import Told

_TOOL: Final = "netflow"
_DIRECTIONS: Final = {0: Direction.INGRESS, 1: Direction.EGRESS}


def claims(document: dict[str, Any]) -> bool:
    return "SrcAddr" in document and "DstAddr" in document


def read(document: dict[str, Any]) -> list[Told]:
    members = Members(document)
    source, destination = _end(members, "Src"), _end(members, "Dst")
    if source.ip is None and destination.ip is None:
        raise Invalid("The flow has no address in SrcAddr or DstAddr.", code="bad-flow", where="$.SrcAddr")
    dropped = members.whole("PktDropPackets") or 0
    reason = members.text("PktDropLatestDropCause") if dropped else None
    return [
        Flow(
            tool=_TOOL,
            fingerprint=fingerprint(_TOOL, document),
            source=source,
            destination=destination,
            # Dropped for whatever reason; that a policy was it is not told.
            verdict=Verdict.UNKNOWN if dropped else Verdict.FORWARDED,
            verdict_word="dropped" if dropped else "",
            observed=_observed(members, "Start") or members.instant("TimeReceived"),
            ended=_observed(members, "End"),
            protocol=protocol_of(members.whole("Proto", most=255)),
            port=members.port("DstPort"),
            source_port=members.port("SrcPort"),
            direction=_DIRECTIONS.get(_or(members.whole("FlowDirection", most=2), 9), Direction.UNKNOWN),
            bytes=members.whole("Bytes"),
            packets=members.whole("Packets"),
            reason=reason,
            node=members.text("AgentIP", "SrcK8S_HostName", "SrcHostIP"),
            cluster=members.text("K8S_ClusterName"),
            unread=tuple(members.unread),
        )
    ]


def _or(value: int | None, other: int) -> int:
    return other if value is None else value


def _observed(members: Members, edge: str) -> Any:
    """0 is goflow2's word for "not told"."""
    for name in (f"TimeFlow{edge}Ms", f"TimeFlow{edge}Ns", f"TimeFlow{edge}"):
        if members.members.get(name) not in (None, 0, "0"):
            return members.instant(name)
    return None


def _end(members: Members, side: str) -> End:
    kind = members.text(f"{side}K8S_Type")
    name = members.text(f"{side}K8S_Name")
    return End(
        namespace=members.text(f"{side}K8S_Namespace", f"{side}Namespace"),
        workload=members.text(f"{side}K8S_OwnerName", f"{side}Workload"),
        workload_kind=members.text(f"{side}K8S_OwnerType", f"{side}WorkloadKind"),
        pod=members.text(f"{side}Pod") or (name if kind in (None, "Pod") else None),
        ip=members.address(f"{side}Addr"),
        service=name if kind == "Service" else None,
        host=members.text(f"{side}K8S_HostName", f"{side}HostIP") or (name if kind == "Node" else None),
    )
