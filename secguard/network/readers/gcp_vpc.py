"""Google Cloud's VPC flow logs and firewall logs, as Cloud Logging exports them.

Google Cloud: "VPC Flow Logs records", "Firewall Rules Logging". A sample is taken at the sender before its own egress
rules are asked: only what the receiver reports went through for certain.
"""

from __future__ import annotations

from typing import Any, Final

from secguard.errors import Invalid
from secguard.images.jsonlines import Members
from secguard.network.flow import Direction, End, Flow, Verdict, fingerprint, protocol_of
from secguard.network.readers import Told

_TOOL: Final = "gcp-vpc"
_DISPOSITIONS: Final = {"ALLOWED": Verdict.FORWARDED, "DENIED": Verdict.DENIED}
_RULE_DIRECTIONS: Final = {"INGRESS": Direction.INGRESS, "EGRESS": Direction.EGRESS}


def claims(document: dict[str, Any]) -> bool:
    payload = document.get("jsonPayload")
    return isinstance(payload, dict) and "connection" in payload


def read(document: dict[str, Any]) -> list[Told]:
    members = Members(document)
    payload = members.node("jsonPayload")
    connection = payload.node("connection")
    sides = {side: _end(payload, connection, side) for side in ("src", "dest")}
    if sides["src"].ip is None and sides["dest"].ip is None:
        raise Invalid(
            "The record of a VPC flow log names no address in connection.src_ip or dest_ip.",
            code="bad-flow",
            where="$.jsonPayload.connection",
        )
    reporter, disposition = payload.text("reporter"), payload.text("disposition")
    rule = payload.node("rule_details")
    policy = rule.text("reference")
    return [
        Flow(
            tool=_TOOL,
            fingerprint=fingerprint(_TOOL, document),
            source=sides["src"],
            destination=sides["dest"],
            verdict=_verdict(disposition, reporter),
            verdict_word=(disposition or "")[:32],
            observed=payload.instant("start_time") or members.instant("timestamp"),
            ended=payload.instant("end_time"),
            protocol=protocol_of(connection.whole("protocol", most=255)),
            port=connection.port("dest_port"),
            source_port=connection.port("src_port"),
            direction=_direction(reporter, rule.text("direction")),
            bytes=payload.whole("bytes_sent"),
            packets=payload.whole("packets_sent"),
            policies=(policy,) if policy else (),
            node=payload.node("instance").text("vm_name"),
            cluster=sides["src"].cluster or sides["dest"].cluster,
            source_id=members.text("insertId"),
            unread=tuple(members.unread),
        )
    ]


def _verdict(disposition: str | None, reporter: str | None) -> Verdict:
    if disposition is not None:
        return _DISPOSITIONS.get(disposition, Verdict.UNKNOWN)
    return Verdict.FORWARDED if reporter in ("DEST", "DEST_GATEWAY") else Verdict.UNKNOWN


def _direction(reporter: str | None, rule: str | None) -> Direction:
    if rule is not None:
        return _RULE_DIRECTIONS.get(rule, Direction.UNKNOWN)
    if reporter is None:
        return Direction.UNKNOWN
    return Direction.EGRESS if reporter.startswith("SRC") else Direction.INGRESS


def _end(payload: Members, connection: Members, side: str) -> End:
    details = payload.node(f"{side}_gke_details")
    pod = details.node("pod")
    workload = pod.node("workload")
    service = next((s.text("service_name") for s in details.nodes("service", most=8)), None)
    vm = payload.node(f"{side}_instance").text("vm_name")
    outside = vm is None and not pod.members and f"{side}_location" in payload
    return End(
        namespace=pod.text("pod_namespace"),
        workload=workload.text("workload_name"),
        workload_kind=workload.text("workload_type"),
        pod=pod.text("pod_name"),
        ip=connection.address(f"{side}_ip"),
        # A place on earth is told of addresses outside the network alone.
        identity="world" if outside else None,
        service=service,
        cluster=details.node("cluster").text("cluster_name"),
        host=vm,
    )
