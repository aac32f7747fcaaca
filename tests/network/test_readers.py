"""Every reader over every real file, and each format's own fields; nothing but flows or a refusal with words."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid, TooLarge
from secguard.network import readers as package
from secguard.network.flow import Direction, End, Flow, Verdict
from secguard.network.readers import Delivery, formats, read, readers
from secguard.network.readers import secguard as own

DOCS = Path(__file__).parents[2] / "docs"
EXPECTED = Path(__file__).with_name("corpus.tsv")


def told(document: Any) -> Delivery:
    return read(json.dumps(document).encode())


def one(document: Any) -> Flow:
    (flow,) = told(document).flows
    return flow


def answer(raw: bytes) -> str:
    """What a file is answered with, in one line."""
    try:
        delivery = read(raw)
    except Invalid as error:
        return f"refused {error.code} {error.where}"
    seen = Counter(f"{f.verdict.value}/{f.protocol}/{f.port}" for f in delivery.flows)
    words = ",".join(f"{kind}:{n}" for kind, n in sorted(seen.items()))
    return f"{'+'.join(delivery.formats)} {words} unread:{sum(len(f.unread) for f in delivery.flows)}"


@pytest.mark.corpus
def test_every_file_of_the_corpus_is_answered_as_it_was(corpus, corpus_members):
    """``tests/network/corpus.tsv``: one line a file. A changed answer is a changed line."""
    found = [f"{member}\t{answer(corpus(member))}" for member in corpus_members("flows")]
    assert found == EXPECTED.read_text().splitlines()


@pytest.mark.corpus
def test_no_two_readers_claim_one_file(corpus, corpus_members):
    for member in corpus_members("flows") + corpus_members("runtime"):
        for line in [corpus(member), *corpus(member).splitlines()]:
            try:
                document = json.loads(line)
            except ValueError:
                continue
            for each in document if isinstance(document, list) else [document]:
                if isinstance(each, dict):
                    assert len([m for m in readers() if m.claims(each)]) < 2, member


HUBBLE = {
    "flow": {
        "time": "2026-05-28T20:26:40.424282812Z",
        "uuid": "5f0c9c1e-0000-4000-8000-000000000001",
        "verdict": "DROPPED",
        "drop_reason": 133,
        "drop_reason_desc": "POLICY_DENIED",
        "ethernet": {"source": "92:42:d4:69:45:54", "destination": "e6:88:0a:df:38:52"},
        "IP": {"source": "10.0.1.10", "destination": "203.0.113.38", "ipVersion": "IPv4"},
        "l4": {"TCP": {"source_port": 42908, "destination_port": 443, "flags": {"SYN": True}}},
        "source": {
            "ID": 51,
            "identity": 58574,
            "cluster_name": "prod",
            "namespace": "shop",
            "labels": [
                "k8s:app=web",
                "k8s:io.cilium.k8s.policy.cluster=prod",
                "k8s:io.kubernetes.pod.namespace=shop",
            ],
            "pod_name": "web-1",
            "workloads": [{"name": "web", "kind": "Deployment"}],
        },
        "destination": {"identity": 2, "labels": ["reserved:world"]},
        "Type": "L3_L4",
        "node_name": "prod/node-1",
        "destination_names": ["api.example.org"],
        "is_reply": False,
        "traffic_direction": "EGRESS",
        "egress_denied_by": [{"name": "deny-out", "namespace": "shop", "kind": "NetworkPolicy", "revision": "4"}],
        "Summary": "TCP Flags: SYN",
    },
    "node_name": "prod/node-1",
    "time": "2026-05-28T20:26:40.424282812Z",
}
LOST = {
    "lost_events": {"source": "PERF_EVENT_RING_BUFFER", "num_events_lost": "17", "cpu": 3},
    "node_name": "prod/node-1",
    "time": "2026-05-28T20:26:41Z",
}


def test_hubble():
    flow = one(HUBBLE)
    assert (flow.tool, flow.verdict, flow.verdict_word, flow.reason) == (
        "hubble",
        Verdict.DENIED,
        "DROPPED",
        "POLICY_DENIED",
    )
    assert flow.source == End(
        namespace="shop",
        workload="web",
        workload_kind="Deployment",
        pod="web-1",
        labels=("app=web",),
        ip="10.0.1.10",
        cluster="prod",
    )
    assert flow.destination == End(ip="203.0.113.38", identity="world", names=("api.example.org",))
    assert (flow.protocol, flow.port, flow.source_port) == ("tcp", 443, 42908)
    assert (flow.direction, flow.is_reply, flow.policies) == (Direction.EGRESS, False, ("shop/deny-out",))
    assert flow.observed == datetime(2026, 5, 28, 20, 26, 40, 424282, tzinfo=UTC)
    assert (flow.node, flow.cluster, flow.count) == ("prod/node-1", "prod", 1)


def test_hubble_s_flow_without_its_wrapper_is_the_same():
    assert one(HUBBLE["flow"]).source == one(HUBBLE).source


def test_hubble_s_word_of_lost_events_is_kept():
    delivery = told([HUBBLE, LOST, {"node_status": {"state_change": "NODE_CONNECTED"}}])
    (lost,) = delivery.lost
    assert (lost.count, lost.reason, lost.node) == (17, "PERF_EVENT_RING_BUFFER", "prod/node-1")
    assert lost.observed == datetime(2026, 5, 28, 20, 26, 41, tzinfo=UTC)
    assert len(delivery.flows) == 1
    assert delivery.passed == (("Hubble's word of nodes and agents, which is no flow", 1),)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"verdict": "FORWARDED"}, Verdict.FORWARDED),
        ({"verdict": "AUDIT"}, Verdict.FORWARDED),
        ({"verdict": "ERROR"}, Verdict.UNKNOWN),
        ({"verdict": "SOMETHING_NEW"}, Verdict.UNKNOWN),
        # Lost on the way, and no policy did it.
        ({"drop_reason": 160, "drop_reason_desc": "STALE_OR_UNROUTABLE_IP"}, Verdict.UNKNOWN),
        ({"drop_reason": 133, "drop_reason_desc": None}, Verdict.DENIED),
        ({"drop_reason": None, "drop_reason_desc": None}, Verdict.DENIED),
    ],
)
def test_hubble_s_verdicts(change, verdict):
    assert one({"flow": HUBBLE["flow"] | change}).verdict is verdict


def test_hubble_s_other_layers():
    flow = HUBBLE["flow"] | {"l4": {"ICMPv4": {"type": 8}}}
    assert (one({"flow": flow}).protocol, one({"flow": flow}).port) == ("icmp", None)
    dns = {"type": "RESPONSE", "dns": {"query": "api.example.org.", "ips": ["203.0.113.38"], "ttl": 30}}
    flow = one({"flow": HUBBLE["flow"] | {"Type": "L7", "l7": dns}})
    assert (flow.layer7, flow.dns_query, flow.dns_ips) == ("dns", "api.example.org.", ("203.0.113.38",))
    http = {"type": "REQUEST", "http": {"method": "GET", "url": "http://u:hush@x/?token=hush"}}
    flow = one({"flow": HUBBLE["flow"] | {"Type": "L7", "l7": http}})
    assert flow.layer7 == "http"
    assert "hush" not in repr(flow)
    summed = HUBBLE["flow"] | {"aggregate": {"ingress_flow_count": 3, "egress_flow_count": "4"}}
    assert one({"flow": summed}).count == 7


def test_a_broken_one_among_others_is_refused_by_itself():
    wrong = {"flow": HUBBLE["flow"] | {"l4": {"TCP": {"destination_port": "http"}}}, "node_name": "n"}
    lines = [HUBBLE, wrong, {"flow": {}}, {"flow": HUBBLE["flow"] | {"l4": {"TCP": {"destination_port": 99999}}}}]
    raw = "\n".join([*map(json.dumps, lines), "{", "[]", '{"surprise": 1}'])
    delivery = read(raw.encode())
    assert [f.port for f in delivery.flows] == [443, None]
    assert delivery.flows[1].unread == ("l4 names a port out of its range, 0 to 65,535",)
    assert [(r.where, r.code) for r in delivery.refused] == [
        ("line 2.flow.l4.TCP.destination_port", "wrong-shape"),
        ("line 3.flow", "bad-flow"),
        ("line 5", "bad-document"),
        ("line 6", "wrong-shape"),
        ("line 7", "unknown-format"),
    ]


AWS_2 = """\
2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1780000000 1780000050 ACCEPT OK
2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1780000000 1780000050 REJECT OK
2 123456789010 eni-1235b8ca123456789 - - - - - - - 1780000000 1780000050 - NODATA
2 123456789010 eni-11111111aaaaaaaaa - - - - - - - 1780000000 1780000050 - SKIPDATA
2 123456789010 eni-1235b8ca123456789 172.31.9.69
"""
AWS_5 = """\
version vpc-id srcaddr dstaddr srcport dstport protocol tcp-flags pkt-srcaddr pkt-dstaddr flow-direction start end action log-status bytes packets reject-reason instance-id pkt-dst-aws-service
5 vpc-1 10.0.0.220 52.95.128.179 34892 443 6 2 10.40.1.175 52.95.128.179 egress 1780000000 1780000050 ACCEPT OK 500 5 - i-1 S3
5 vpc-1 10.0.0.9 10.0.0.220 4 80 17 0 10.0.0.9 10.0.0.220 ingress 1780000000 1780000050 REJECT OK x 5 BPA i-1 -
"""  # noqa: E501


def test_aws_version_2():
    delivery = read(AWS_2.encode())
    accepted, rejected = delivery.flows
    assert (accepted.verdict, rejected.verdict) == (Verdict.FORWARDED, Verdict.DENIED)
    assert (accepted.source.ip, accepted.destination.ip, accepted.port) == ("172.31.16.139", "172.31.16.21", 22)
    assert (accepted.protocol, accepted.packets, accepted.bytes) == ("tcp", 20, 4249)
    assert accepted.observed == datetime(2026, 5, 28, 20, 26, 40, tzinfo=UTC)
    assert [(lost.count, lost.reason) for lost in delivery.lost] == [(None, "SKIPDATA")]
    assert delivery.passed == (("records of an AWS interface without traffic (NODATA)", 1),)
    assert [(r.where, r.code) for r in delivery.refused] == [("line 5", "bad-flow")]


def test_aws_with_a_header():
    egress, ingress = read(AWS_5.encode()).flows
    # The pod behind its node.
    assert egress.source == End(ip="10.40.1.175", host="i-1")
    assert egress.destination == End(ip="52.95.128.179", service="S3")
    assert (egress.direction, ingress.direction) == (Direction.EGRESS, Direction.INGRESS)
    assert (ingress.reason, ingress.protocol, ingress.bytes) == ("BPA", "udp", None)
    assert ingress.unread == ("bytes is 'x'; expected a number",)


def test_aws_through_cloudwatch():
    events = [{"id": "1", "message": line} for line in AWS_2.splitlines()[:2]]
    delivery = told({"messageType": "DATA_MESSAGE", "logEvents": [*events, {"id": "2"}, 7]})
    assert len(delivery.flows) == 2
    assert [r.where for r in delivery.refused] == ["$.logEvents[2].message", "$.logEvents[3].message"]
    assert one({"message": AWS_2.splitlines()[0]}).port == 22


GCP = {
    "insertId": "ut8lbrffooxyw",
    "jsonPayload": {
        "bytes_sent": "1776",
        "packets_sent": "7",
        "connection": {
            "dest_ip": "10.87.40.76",
            "dest_port": 5601,
            "protocol": 6,
            "src_ip": "203.0.113.12",
            "src_port": 33478,
        },
        "src_location": {"country": "usa"},
        "dest_gke_details": {
            "cluster": {"cluster_name": "prod"},
            "pod": {
                "pod_name": "web-1",
                "pod_namespace": "shop",
                "workload": {"workload_name": "web", "workload_type": "DEPLOYMENT"},
            },
        },
        "dest_instance": {"vm_name": "node-1"},
        "reporter": "DEST",
        "start_time": "2026-06-14T03:45:37.186193305Z",
        "end_time": "2026-06-14T03:45:37.301953198Z",
    },
    "logName": "projects/p/logs/compute.googleapis.com%2Fvpc_flows",
    "timestamp": "2026-06-14T03:50:10.845445834Z",
}


def test_google():
    flow = one(GCP)
    assert flow.source == End(ip="203.0.113.12", identity="world")
    assert flow.destination == End(
        namespace="shop",
        workload="web",
        workload_kind="DEPLOYMENT",
        pod="web-1",
        ip="10.87.40.76",
        cluster="prod",
        host="node-1",
    )
    assert (flow.verdict, flow.direction, flow.bytes) == (Verdict.FORWARDED, Direction.INGRESS, 1776)
    sent = GCP | {"jsonPayload": GCP["jsonPayload"] | {"reporter": "SRC"}}
    assert one(sent).verdict is Verdict.UNKNOWN  # sampled before its own rules were asked
    firewall = GCP["jsonPayload"] | {
        "disposition": "DENIED",
        "rule_details": {"reference": "network:n/firewall:f", "direction": "INGRESS"},
    }
    flow = one(GCP | {"jsonPayload": firewall})
    assert (flow.verdict, flow.policies) == (Verdict.DENIED, ("network:n/firewall:f",))
    with pytest.raises(Invalid, match="names no address"):
        told({"jsonPayload": {"connection": {}}})


NSG = {
    "records": [
        {
            "time": "2026-07-05T18:47:59.8811720Z",
            "category": "NetworkSecurityGroupFlowEvent",
            "properties": {
                "Version": 2,
                "flows": [
                    {
                        "rule": "DefaultRule_DenyAllInBound",
                        "flows": [
                            {
                                "mac": "000D3A6D2E0E",
                                "flowTuples": [
                                    "1780000000,205.210.31.158,10.0.0.4,54171,68,T,I,D,B,,,,",
                                    "1780000001,10.0.0.4,203.0.113.1,54171,443,T,O,A,E,3,767,2,1580",
                                    "1780000002,10.0.0.4,203.0.113.1,54171,443,U,O,A",
                                    "broken",
                                ],
                            }
                        ],
                    }
                ],
            },
        },
        {"category": "AuditEvent"},
    ]
}
VNET = {
    "records": [
        {
            "time": "2026-09-14T09:00:52.5625085Z",
            "flowLogVersion": 4,
            "macAddress": "00224871C205",
            "category": "FlowLogFlowEvent",
            "flowRecords": {
                "flows": [
                    {
                        "aclID": "0",
                        "flowGroups": [
                            {
                                "rule": "DefaultRule_AllowInternetOutBound",
                                "flowTuples": [
                                    "1780000000599,10.0.0.6,52.239.184.180,23956,443,6,O,E,NX,3,767,2,1580",
                                    "1780000000606,10.0.0.6,52.239.184.180,23956,443,17,O,D,NX,0,0,0,0",
                                ],
                            }
                        ],
                    }
                ]
            },
        }
    ]
}


def test_azure_s_security_groups():
    delivery = told(NSG)
    denied, ended, first = delivery.flows
    assert (denied.verdict, denied.direction, denied.bytes) == (Verdict.DENIED, Direction.INGRESS, None)
    assert (denied.policies, denied.node) == (("DefaultRule_DenyAllInBound",), "000D3A6D2E0E")
    assert (ended.verdict, ended.bytes, ended.packets) == (Verdict.FORWARDED, 2347, 5)
    assert (first.protocol, first.port) == ("udp", 443)
    assert [(r.where, r.code) for r in delivery.refused] == [
        ("$.records[0].properties.flows[0].flows[0].flowTuples[3]", "bad-flow"),
        ("$.records[1]", "bad-flow"),
    ]


def test_azure_s_virtual_networks():
    ended, denied = told(VNET).flows
    assert ended.observed == datetime(2026, 5, 28, 20, 26, 40, 599000, tzinfo=UTC)
    assert (ended.protocol, ended.bytes, ended.verdict) == ("tcp", 2347, Verdict.FORWARDED)
    assert (denied.protocol, denied.verdict) == ("udp", Verdict.DENIED)


NETFLOW = {
    "SrcAddr": "10.130.2.13",
    "DstAddr": "10.130.2.2",
    "SrcPort": 3100,
    "DstPort": 36936,
    "Proto": 6,
    "Bytes": 20800,
    "Packets": 400,
    "FlowDirection": 1,
    "TimeFlowStartMs": 1780000000123,
    "TimeFlowEnd": 0,
    "TimeReceived": 1780000009,
    "SrcK8S_Namespace": "shop",
    "SrcK8S_OwnerName": "web",
    "SrcK8S_OwnerType": "Deployment",
    "SrcK8S_Type": "Pod",
    "SrcK8S_Name": "web-1",
    "DstK8S_Type": "Service",
    "DstK8S_Name": "db",
}


def test_netflow():
    flow = one(NETFLOW)
    assert flow.source == End(
        namespace="shop", workload="web", workload_kind="Deployment", pod="web-1", ip="10.130.2.13"
    )
    assert flow.destination == End(ip="10.130.2.2", service="db")
    assert (flow.direction, flow.verdict) == (Direction.EGRESS, Verdict.FORWARDED)
    assert flow.observed == datetime(2026, 5, 28, 20, 26, 40, 123000, tzinfo=UTC)
    assert flow.ended is None
    dropped = one(NETFLOW | {"PktDropPackets": 3, "PktDropLatestDropCause": "SKB_DROP_REASON_NETFILTER_DROP"})
    assert (dropped.verdict, dropped.reason) == (Verdict.UNKNOWN, "SKB_DROP_REASON_NETFILTER_DROP")


SURICATA = {
    "timestamp": "2026-01-27T01:28:11.488362+0100",
    "flow_id": 1805461738637437,
    "event_type": "flow",
    "src_ip": "10.0.0.1",
    "src_port": 47592,
    "dest_ip": "203.0.113.9",
    "dest_port": 443,
    "proto": "TCP",
    "app_proto": "tls",
    "flow": {
        "pkts_toserver": 6,
        "pkts_toclient": 5,
        "bytes_toserver": 496,
        "bytes_toclient": 876,
        "start": "2026-01-27T01:28:00.000000+0100",
        "end": "2026-01-27T01:28:10.000000+0100",
        "action": "drop",
    },
}


def test_suricata():
    flow = one(SURICATA)
    assert (flow.tool, flow.verdict, flow.bytes, flow.packets) == ("suricata", Verdict.DENIED, 1372, 11)
    assert (flow.protocol, flow.port, flow.layer7) == ("tcp", 443, "tls")
    assert flow.observed == datetime(2026, 1, 27, 0, 28, tzinfo=UTC)
    delivery = told([SURICATA | {"event_type": "alert"}, SURICATA | {"event_type": "dns"}])
    assert [reason for reason, _ in delivery.passed] == [
        "alerts of Suricata: post them to /hooks/falco/",
        "Suricata's records of type 'dns', which are no flows",
    ]


OWN = {
    "schema": "secguard-flows/v1",
    "source": "mesh-export",
    "cluster": "prod",
    "flows": [
        {
            "time": "2026-05-28T20:26:40+02:00",
            "verdict": "forwarded",
            "source": {"namespace": "shop", "workload": "web", "labels": ["app=web"], "ip": "10.0.1.10"},
            "destination": {"identity": "world", "names": ["api.example.org"]},
            "protocol": "TCP",
            "port": 443,
            "direction": "egress",
            "bytes": 1776,
            "count": 12,
        }
    ],
    "lost": [{"time": "2026-05-28T18:26:41Z", "count": 7, "reason": "buffer"}],
}


def test_our_own_format():
    delivery = told(OWN)
    (flow,), (lost,) = delivery.flows, delivery.lost
    assert (flow.tool, flow.cluster, flow.count, flow.protocol) == ("mesh-export", "prod", 12, "tcp")
    assert flow.observed == datetime(2026, 5, 28, 18, 26, 40, tzinfo=UTC)
    assert (lost.count, lost.reason) == (7, "buffer")


def test_the_published_schema_is_the_one_that_holds():
    published = json.loads((DOCS / "network-flow.schema.json").read_text())
    assert published == json.loads(json.dumps(own.schema()))
    jsonschema.validate(OWN, published)


def test_the_documented_example_is_read():
    text = (DOCS / "network-flows.md").read_text()
    example = text.partition("```json\n")[2].partition("```")[0]
    delivery = read(example.encode())
    assert (len(delivery.flows), len(delivery.lost)) == (2, 1)


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        ({"schema": "secguard-flows/v2"}, "unknown-version", "$.schema"),
        ({"flows": [OWN["flows"][0] | {"verdict": "maybe"}]}, "wrong-shape", "$.flows[0].verdict"),
        ({"flows": [OWN["flows"][0] | {"port": 70_000}]}, "wrong-shape", "$.flows[0].port"),
        ({"flows": [OWN["flows"][0] | {"surprise": 1}]}, "wrong-shape", "$.flows[0]"),
        ({"flows": [OWN["flows"][0] | {"time": "yesterday"}]}, "bad-value", "$.flows[0].time"),
        ({"flows": [OWN["flows"][0] | {"source": {"ip": "1.2.3"}}]}, "bad-value", "$.flows[0].source.ip"),
        ({"flows": [OWN["flows"][0] | {"destination": {}}]}, "bad-value", "$.flows[0].destination"),
    ],
)
def test_our_own_format_is_read_strictly(change, code, where):
    with pytest.raises(Invalid) as caught:
        told(OWN | change)
    assert (caught.value.code, caught.value.where) == (code, where)


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        ({"rule": "r", "priority": "p"}, "event", "/hooks/falco/"),
        ({"auditID": "1", "verb": "get"}, "event", "/hooks/falco/"),
        ({"podName": "p", "operation": "File", "resource": "/x"}, "event", "KubeArmor"),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {}}, "unknown-format", "a Kubernetes object"),
        ({"surprise": 1}, "unknown-format", "'surprise'"),
    ],
)
def test_what_is_posted_by_mistake_is_refused_by_its_name(document, code, words):
    with pytest.raises(Invalid) as caught:
        told(document)
    assert caught.value.code == code
    assert words in caught.value.detail


@pytest.mark.parametrize(
    "raw", [b"", b"  ", b"7", b"null", b"{", b"[", b"[1]", b"\x1f\x8b", b"a: b", b"srcaddr", b"2 1 eni-1 x"]
)
def test_what_is_no_flow_is_refused(raw):
    with pytest.raises(Invalid) as caught:
        read(raw)
    assert caught.value.detail
    assert caught.value.code
    assert caught.value.where


def test_the_bounds(monkeypatch):
    with pytest.raises(TooLarge):
        read(b"[" * 200_000 + b"]" * 200_000)
    with pytest.raises(TooLarge):
        read(b'{"flow":' * 200_000 + b"1" + b"}" * 200_000)
    monkeypatch.setattr(package, "MAX_FLOWS", 2)
    with pytest.raises(TooLarge):
        told([HUBBLE] * 3)
    with pytest.raises(TooLarge):
        told([OWN] * 3)
    monkeypatch.setattr(package, "MAX_BYTES", 100)
    for raw in (b"[" + b" " * 100 + b"]", AWS_2.encode()):
        with pytest.raises(TooLarge, match="at most 100"):
            read(raw)


def test_addresses_are_addresses():
    flow = one({"flow": HUBBLE["flow"] | {"IP": {"source": "FD00:0:0::1%eth0", "destination": "nowhere"}}})
    assert (flow.source.ip, flow.destination.ip) == ("fd00::1", None)
    assert flow.unread == ("IP names 'nowhere', which is no IP address",)
    record = json.loads(json.dumps(VNET))
    record["records"][0]["flowRecords"]["flows"][0]["flowGroups"][0]["flowTuples"] = ["1,x,y,1,2,6,O,E,NX,,,,"]
    with pytest.raises(Invalid, match="names no address"):
        told(record)


def test_long_texts_are_cut():
    pod = HUBBLE["flow"]["source"] | {"pod_name": "x" * 9_999, "labels": [f"k8s:l{i}=v" for i in range(999)]}
    flow = one({"flow": HUBBLE["flow"] | {"source": pod}})
    assert (len(flow.source.pod), len(flow.source.labels)) == (512, 64)


def test_what_no_database_keeps_is_mended_and_not_refused():
    raw = json.dumps(HUBBLE).encode().replace(b"web-1", rb"w\u0000\ud83d").replace(b"POLICY_DENIED", b"\xff")
    (flow,) = read(raw).flows
    assert (flow.source.pod, flow.reason) == ("w\ufffd\ufffd", "\ufffd")


SAMPLES: list[Any] = [HUBBLE, HUBBLE["flow"], LOST, GCP, NSG, VNET, NETFLOW, SURICATA, OWN]


@pytest.mark.parametrize("document", SAMPLES)
def test_a_fingerprint_holds_under_another_order_and_differs_for_another_flow(document):
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: turned(v) for k, v in reversed(value.items())}
        return [turned(v) for v in value] if isinstance(value, list) else value

    def prints(value: Any, **form: Any) -> list[str]:
        delivery = read(json.dumps(value, **form).encode())
        return [one.fingerprint for one in (*delivery.flows, *delivery.lost)]

    before = prints(document)
    assert before
    assert len(set(before)) == len(before)
    assert prints(turned(document)) == prints(document, separators=(",", ":")) == before
    text = json.dumps(document)
    other = text.replace('"2026-', '"2025-').replace('"1780', '"1779').replace(": 1780", ": 1779")
    assert not set(prints(json.loads(other))) & set(before)


def test_a_flow_without_an_id_is_told_from_another_by_all_that_is_told():
    bare = {k: v for k, v in HUBBLE["flow"].items() if k not in ("uuid", "time")}
    assert one(bare).fingerprint == one(bare).fingerprint
    assert one(bare).fingerprint != one(bare | {"Summary": "TCP Flags: FIN"}).fingerprint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_change_of_a_real_flow_breaks_the_reading(mutate, data):
    document = data.draw(st.sampled_from(SAMPLES))
    _is_read_or_refused(mutate(json.dumps(document).encode(), data))


NAMES = st.sampled_from(
    ["flow", "lost_events", "node_status", "verdict", "IP", "l4", "TCP", "source", "destination", "labels", "time",
     "jsonPayload", "connection", "src_ip", "records", "category", "properties", "flows", "flowTuples", "SrcAddr",
     "DstAddr", "event_type", "schema", "logEvents", "message", "uuid", "destination_port", "node_name"]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["FlowLogFlowEvent", "secguard-flows/v1", "flow", "FORWARDED", AWS_2.splitlines()[0], "10.0.0.1"])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=20
)


@settings(deadline=None)
@given(JSON | st.dictionaries(NAMES, JSON, min_size=2, max_size=6))
def test_any_json_is_read_or_refused_with_words(value):
    _is_read_or_refused(json.dumps(value).encode())


@settings(deadline=None)
@given(
    st.binary(max_size=60)
    | st.lists(st.binary(max_size=20), max_size=4).map(b"\n{".join)
    | st.lists(
        st.sampled_from([*AWS_2.splitlines(), *AWS_5.splitlines(), "2 x", "-", "\x00", "srcaddr dstaddr a"])
    ).map(lambda lines: "\n".join(lines).encode())
)
def test_any_bytes_are_read_or_refused_with_words(raw):
    _is_read_or_refused(raw)


def _is_read_or_refused(raw: bytes) -> None:
    try:
        delivery = read(raw)
    except Invalid as error:
        refused = error
    else:
        _holds(delivery)
        return
    assert refused.detail
    assert refused.code


def _holds(delivery: Delivery) -> None:
    for flow in delivery.flows:
        assert (flow.source, flow.destination) != (End(), End())
        assert flow.observed is None or flow.observed.tzinfo is not None
        assert flow.port is None or 0 <= flow.port <= 65_535
        assert flow.count > 0
    assert all(one.fingerprint for one in (*delivery.flows, *delivery.lost))
    assert all(r.detail and r.code and r.where for r in delivery.refused)


def test_a_reader_is_one_module_with_two_functions():
    assert all(callable(m.read) and callable(m.claims) and m.__doc__ for m in readers())
    assert formats() == ("aws_vpc", "azure", "gcp_vpc", "hubble", "netflow", "secguard", "suricata")
