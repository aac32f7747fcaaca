"""Every reader over every real file, and each format's own fields; nothing but events or a refusal with words."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secguard.errors import Invalid, TooLarge
from secguard.findings.severity import Severity
from secguard.runtime import readers as package
from secguard.runtime.event import Connection, Event, Kind, Outcome, Process
from secguard.runtime.readers import Delivery, formats, read, readers
from secguard.runtime.readers import secguard as own

DOCS = Path(__file__).parents[2] / "docs"
EXPECTED = Path(__file__).with_name("corpus.tsv")
D = "sha256:" + "a" * 64


def told(document: Any) -> Delivery:
    return read(json.dumps(document).encode())


def one(document: Any) -> Event:
    (event,) = told(document).events
    return event


def answer(raw: bytes) -> str:
    """What a file is answered with, in one line."""
    try:
        delivery = read(raw)
    except Invalid as error:
        return f"refused {error.code} {error.where}"
    kinds = Counter(f"{e.kind.value}/{e.severity.label}" for e in delivery.events)
    words = ",".join(f"{kind}:{n}" for kind, n in sorted(kinds.items()))
    return f"{'+'.join(delivery.formats)} {words} unread:{sum(len(e.unread) for e in delivery.events)}"


@pytest.mark.corpus
def test_every_file_of_the_corpus_is_answered_as_it_was(corpus, corpus_members):
    """``tests/runtime/corpus.tsv``: one line a file. A changed answer is a changed line."""
    found = [f"{member}\t{answer(corpus(member))}" for member in corpus_members("runtime")]
    assert found == EXPECTED.read_text().splitlines()


@pytest.mark.corpus
def test_no_two_readers_claim_one_file(corpus, corpus_members):
    for document in _documents(corpus, corpus_members):
        assert len([m for m in readers() if m.claims(document)]) < 2, document


def _documents(corpus: Any, members: Any) -> list[dict[str, Any]]:
    found = []
    for member in members("runtime") + members("flows"):
        for line in [corpus(member), *corpus(member).splitlines()]:
            try:
                document = json.loads(line)
            except ValueError:
                continue
            found += [d for d in (document if isinstance(document, list) else [document]) if isinstance(d, dict)]
    assert len(found) > 150
    return found


@pytest.mark.corpus
def test_the_audit_events_in_other_people_s_rules_are_read(corpus, corpus_members):
    """Panther's rules carry real events as their tests; those of Google and Azure are refused by name."""
    outcomes: Counter[str] = Counter()
    for member in corpus_members("runtime"):
        if not member.endswith(".yml"):
            continue
        for case in yaml.safe_load(corpus(member)).get("Tests", ()):
            if case["Log"]:  # some are empty
                outcomes[answer(json.dumps(case["Log"], default=str).encode()).partition(" unread")[0]] += 1
    read_ones = sum(n for words, n in outcomes.items() if words.startswith("kubernetes_audit"))
    assert read_ones > 60, outcomes
    assert {words for words in outcomes if words.startswith("refused")} == {
        "refused unknown-format $",
        "refused bad-event $.verb",
    }


FALCO = {
    "uuid": "7c3b1f2e-0000-4000-8000-000000000001",
    "output": "10:37:09: Critical A shell (user=root)",
    "priority": "Critical",
    "rule": "Terminal shell in container",
    "source": "syscall",
    "hostname": "node-1",
    "tags": ["container", "shell", "mitre_execution", "T1059"],
    "time": "2026-05-25T13:44:05.478445995Z",
    "output_fields": {
        "container.id": "ee97d9c4186f",
        "container.image.repository": "registry.example.com/shop/web",
        "container.image.tag": "1.4",
        "container.image.digest": f"registry.example.com/shop/web@{D}",
        "evt.time": 1685022245478445995,
        "evt.type": "execve",
        "k8s.ns.name": "shop",
        "k8s.pod.name": "web-1",
        "k8s.pod.uid": None,
        "proc.exepath": "/bin/sh",
        "proc.cmdline": "sh -c mysql -pS3cret",
        "proc.pname": "runc",
        "proc.pid": 42,
        "user.name": "root",
        "user.loginuid": -1,
        "my.custom": "x",
    },
}


def test_falco():
    event = one(FALCO)
    assert (event.kind, event.tool, event.rule) == (Kind.PROCESS, "falco", "Terminal shell in container")
    assert (event.severity, event.severity_word) == (Severity.CRITICAL, "Critical")
    assert event.observed == datetime(2026, 5, 25, 13, 44, 5, 478445, tzinfo=UTC)
    assert (event.host, event.namespace, event.pod, event.pod_uid) == ("node-1", "shop", "web-1", None)
    assert (event.container_id, event.image, event.digest) == (
        "ee97d9c4186f",
        "registry.example.com/shop/web:1.4",
        D,
    )
    assert event.process == Process("/bin/sh", "sh -c mysql -p[masked]", "runc", "root", 42)
    assert event.mitre == ("execution", "T1059")
    assert event.source_id == FALCO["uuid"]
    assert event.fields["my.custom"] == "x"
    assert event.fields["k8s.pod.uid"] is None
    assert event.fields["proc.cmdline"] == "sh -c mysql -p[masked]"
    assert event.unread == ()


def test_falco_s_null_fields_stay_null():
    fields = dict.fromkeys(FALCO["output_fields"]) | {"container.id": "<NA>", "k8s.ns.name": ""}
    event = one(FALCO | {"output_fields": fields})
    assert (event.container_id, event.namespace, event.image, event.digest, event.process) == (None,) * 5
    assert event.fields["proc.exepath"] is None
    assert event.unread == ()


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"evt.type": "openat", "fd.name": "/etc/shadow", "proc.name": "cat"}, Kind.FILE),
        ({"evt.type": "connect", "fd.name": "10.0.0.1:1->10.0.0.2:443", "proc.name": "curl"}, Kind.NETWORK),
        ({"fd.name": "/etc/shadow", "proc.name": "cat"}, Kind.FILE),
        ({"proc.name": "cat"}, Kind.PROCESS),
        ({"ka.verb": "create", "ka.target.resource": "pods"}, Kind.API_AUDIT),
        ({}, Kind.OTHER),
    ],
)
def test_falco_s_kinds(fields, kind):
    assert one({"rule": "r", "priority": "Notice", "output_fields": fields}).kind is kind


def test_falco_s_connections():
    event = one(
        {"rule": "r", "priority": "Notice", "output_fields": {"fd.name": "192.168.43.223:39526->[fd00::1]:443"}}
    )
    assert event.connection == Connection("192.168.43.223", 39526, "fd00::1", 443)
    event = one({"rule": "r", "priority": "Notice", "output_fields": {"fd.rip": "8.8.8.8", "fd.rport": "8888"}})
    assert event.connection == Connection(destination_ip="8.8.8.8", destination_port=8888)
    event = one({"rule": "r", "priority": "Notice", "output_fields": {"fd.rip": "8.8.8.8", "fd.rport": 88888}})
    assert event.connection == Connection(destination_ip="8.8.8.8")
    assert event.unread == ("output_fields.fd.rport is out of its range, 0 to 65,535",)


def test_an_event_beside_all_containers_has_none():
    fields = {"container.id": "host", "container.name": "host", "proc.name": "sh"}
    event = one({"rule": "r", "priority": "Notice", "output_fields": fields})
    assert (event.container_id, event.container) == (None, None)


@pytest.mark.parametrize("together", [json.dumps, lambda all_: "\n".join(map(json.dumps, all_)) + "\n\n"])
def test_many_at_once_as_a_list_or_as_lines(together):
    events = [FALCO | {"time": f"2026-05-25T13:44:0{i}Z"} for i in range(3)]
    delivery = read(together(events).encode())
    assert [e.observed.second for e in delivery.events] == [0, 1, 2]
    assert len({e.fingerprint for e in delivery.events}) == 3
    assert delivery.formats == ("falco",)


def test_a_broken_one_among_others_is_refused_by_itself():
    lines = [json.dumps(FALCO), '{"rule": 7, "priority": "x"}', "{", json.dumps({"hello": 1}), "[1]", json.dumps(FALCO)]
    delivery = read("\n".join(lines).encode())
    assert len(delivery.events) == 2
    assert [(r.where, r.code) for r in delivery.refused] == [
        ("line 2.rule", "bad-event"),
        ("line 3", "bad-document"),
        ("line 4", "unknown-format"),
        ("line 5", "wrong-shape"),
    ]
    assert delivery.refused_count == 4


AUDIT = {
    "kind": "Event",
    "apiVersion": "audit.k8s.io/v1",
    "level": "RequestResponse",
    "auditID": "871b",
    "stage": "ResponseStarted",
    "requestURI": "/api/v1/namespaces/shop/pods/web-1/exec?command=mysql&command=-pS3cret&container=web&stdin=true",
    "verb": "create",
    "user": {"username": "system:serviceaccount:shop:deployer", "groups": ["system:authenticated"]},
    "impersonatedUser": {"username": "root"},
    "sourceIPs": ["10.0.0.9"],
    "userAgent": "kubectl/v1.32",
    "objectRef": {"resource": "pods", "namespace": "shop", "name": "web-1", "apiVersion": "v1", "subresource": "exec"},
    "responseStatus": {"code": 101},
    "requestReceivedTimestamp": "2026-05-25T10:00:00.123456Z",
    "stageTimestamp": "2026-05-25T10:30:00.000000Z",
    "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""},
}


def test_an_audit_event():
    event = one(AUDIT)
    assert (event.kind, event.tool, event.rule) == (Kind.API_AUDIT, "kubernetes-audit", "create pods/exec")
    assert event.observed == datetime(2026, 5, 25, 10, 0, 0, 123456, tzinfo=UTC)
    assert (event.namespace, event.pod, event.container) == ("shop", "web-1", "web")
    assert event.process == Process(args="mysql -p[masked]", user="system:serviceaccount:shop:deployer")
    assert event.request.on_behalf_of == "root"
    assert (event.request.code, event.request.source_ips) == (101, ("10.0.0.9",))
    assert event.outcome is Outcome.ALLOWED
    assert event.source_id == "871b"
    assert "S3cret" not in repr(event)


def test_the_command_of_an_exec_may_stand_in_its_options():
    options = {"kind": "PodExecOptions", "command": ["tar", "czf", "-", "/data"], "container": "web"}
    target = AUDIT["objectRef"] | {"name": "x"}
    event = one(AUDIT | {"requestURI": "/x/exec", "requestObject": options, "objectRef": target})
    assert event.process.args == "tar czf - /data"


def test_a_list_of_audit_events_is_taken_apart():
    items = [AUDIT, AUDIT | {"verb": 7}, AUDIT | {"auditID": "2", "responseStatus": {"code": 403}}]
    delivery = told({"items": items, "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}})
    assert [e.outcome for e in delivery.events] == [Outcome.ALLOWED, Outcome.BLOCKED]
    assert [(r.where, r.code) for r in delivery.refused] == [("$.items[1].verb", "bad-event")]
    assert told({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": []}).events == ()


def test_nothing_is_kept_of_what_was_sent_to_the_api_but_a_pod_s_image():
    pod = {"spec": {"containers": [{"name": "a", "image": f"registry.example.com/a@{D}", "env": [{"x": "hush"}]}]}}
    event = one(AUDIT | {"objectRef": {"resource": "pods", "namespace": "s"}, "requestObject": pod})
    assert (event.image, event.digest) == (f"registry.example.com/a@{D}", D)
    assert "hush" not in repr(event)
    # A guess at a Secret cannot be tried on the fingerprint.
    secrets = [AUDIT | {"requestObject": {"data": {"a": value}}} for value in ("1", "2")]
    assert one(secrets[0]).fingerprint == one(secrets[1]).fingerprint


def test_an_audit_event_with_a_deep_object_is_read_without_it():
    deep: Any = {}
    for _ in range(60):
        deep = {"properties": deep}
    event = one(AUDIT | {"requestObject": deep})
    assert event.rule == "create pods/exec"
    assert event.unread == ("requestObject and responseObject are nested too deep, and were left out",)


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        ({"apiVersion": "audit.k8s.io/v9"}, "unknown-version", "$.apiVersion"),
        ({"kind": "Policy"}, "bad-event", "$.kind"),
        ({"verb": ""}, "bad-event", "$.verb"),
    ],
)
def test_an_audit_event_of_another_kind_is_refused(change, code, where):
    with pytest.raises(Invalid) as caught:
        told(AUDIT | change)
    assert (caught.value.code, caught.value.where) == (code, where)


NEUVECTOR = {
    "notification": "incident",
    "name": "Container.Suspicious.Process",
    "level": "Warning",
    "reported_timestamp": 1780000000,
    "reported_at": "2026-05-28T20:26:40Z",
    "cluster_name": "prod",
    "host_name": "node-1",
    "enforcer_id": "e",
    "id": "inc-1",
    "workload_id": "b" * 64,
    "workload_name": "web-1",
    "workload_domain": "shop",
    "workload_image": "registry.example.com/shop/web:1.4",
    "workload_service": "web.shop",
    "proc_name": "nc",
    "proc_path": "/bin/nc",
    "proc_cmd": "nc -l 4444",
    "proc_effective_user": "root",
    "proc_parent_name": "sh",
    "action": "Denied",
    "count": 3,
    "message": "Risky application",
}


def test_neuvector_s_incident():
    event = one(NEUVECTOR)
    assert (event.kind, event.severity, event.outcome, event.count) == (
        Kind.PROCESS,
        Severity.MEDIUM,
        Outcome.BLOCKED,
        3,
    )
    assert (event.namespace, event.workload, event.pod, event.container_id) == ("shop", "web.shop", "web-1", "b" * 64)
    assert event.process == Process("/bin/nc", "nc -l 4444", "sh", "root")


def test_neuvector_s_violation_and_threat():
    common = {"level": "Warning", "reported_at": "2026-05-28T20:26:40Z", "cluster_name": "prod"}
    violation = common | {
        "id": "v",
        "client_id": "c" * 64,
        "client_name": "web-1",
        "client_domain": "shop",
        "server_id": "external",
        "server_port": 443,
        "ip_proto": 6,
        "policy_action": "deny",
        "policy_id": 7,
        "client_ip": "10.0.0.1",
        "server_ip": "203.0.113.1",
        "fqdn": "example.org",
    }
    event = one(violation)
    assert (event.kind, event.rule, event.rule_id) == (Kind.NETWORK, "Network.Violation", "7")
    assert event.outcome is Outcome.BLOCKED
    assert event.connection == Connection("10.0.0.1", None, "203.0.113.1", 443, "example.org", "tcp")
    threat = common | {
        "name": "SQL.Injection",
        "threat_id": 2022,
        "severity": "High",
        "target": "server",
        "server_workload_id": "d" * 64,
        "server_workload_domain": "shop",
        "client_ip": "203.0.113.9",
        "server_ip": "10.0.0.2",
        "action": "alert",
    }
    event = one(threat)
    assert (event.kind, event.severity, event.container_id) == (Kind.NETWORK, Severity.HIGH, "d" * 64)
    assert one(common | {"name": "User.Login.Failed", "user": "admin", "user_addr": "10.0.0.3"}).kind is Kind.API_AUDIT
    assert one(common | {"name": "Container.FileAccess.Violation", "file_path": "/etc/x"}).file.path == "/etc/x"


STACKROX = {
    "alert": {
        "id": "a-1",
        "policy": {
            "id": "p-1",
            "name": "Netcat Execution Detected",
            "severity": "HIGH_SEVERITY",
            "categories": ["System Modification"],
            "mitreAttackVectors": [{"tactic": "TA0002", "techniques": ["T1059"]}],
        },
        "lifecycleStage": "RUNTIME",
        "clusterName": "prod",
        "namespace": "shop",
        "deployment": {
            "name": "web",
            "containers": [
                {"name": "web", "image": {"id": D, "name": {"fullName": "registry.example.com/shop/web:1"}}}
            ],
        },
        "processViolation": {
            "message": "Binary '/bin/nc' executed",
            "processes": [
                {
                    "id": f"proc-{i}",
                    "podId": "web-1",
                    "containerName": "web",
                    "signal": {
                        "containerId": "0123456789ab",
                        "time": f"2026-05-28T20:26:4{i}.5Z",
                        "name": "nc",
                        "args": "-l 4444",
                        "execFilePath": "/bin/nc",
                        "pid": 7,
                        "uid": 0,
                        "lineageInfo": [{"parentExecFilePath": "/bin/sh"}],
                    },
                }
                for i in range(2)
            ],
        },
        "enforcement": {"action": "KILL_POD_ENFORCEMENT", "message": "killed"},
        "time": "2026-05-28T20:26:42Z",
    }
}


def test_stackrox():
    first, second = told(STACKROX).events
    assert (first.kind, first.severity, first.outcome) == (Kind.PROCESS, Severity.HIGH, Outcome.BLOCKED)
    assert first.process == Process("/bin/nc", "nc -l 4444", "/bin/sh", "0", 7)
    assert (first.digest, first.image, first.pod) == (D, "registry.example.com/shop/web:1", "web-1")
    assert first.mitre == ("TA0002", "T1059")
    assert first.fingerprint != second.fingerprint
    # The alert grows; what it told before it tells again.
    grown = json.loads(json.dumps(STACKROX))
    grown["alert"]["time"] = "2026-05-28T21:00:00Z"
    grown["alert"]["processViolation"]["processes"].append({"id": "proc-2", "signal": {"name": "id"}})
    assert [e.fingerprint for e in told(grown).events][:2] == [first.fingerprint, second.fingerprint]


def test_stackrox_s_other_violations():
    alert = {k: v for k, v in STACKROX["alert"].items() if k != "processViolation"}
    flow = {"protocol": "L4_PROTOCOL_TCP", "destination": {"name": "db", "port": 5432}}
    violations = [{"message": "Unexpected flow", "type": "NETWORK_FLOW", "networkFlowInfo": flow}, {"message": "x"}]
    network, other = told({"alert": alert | {"violations": violations}}).events
    assert network.connection == Connection(destination_name="db", destination_port=5432, protocol="tcp")
    assert (network.kind, other.kind) == (Kind.NETWORK, Kind.OTHER)
    assert one({"alert": alert}).kind is Kind.OTHER
    with pytest.raises(Invalid, match="no policy with a name"):
        told({"alert": {}})


SURICATA = {
    "timestamp": "2026-01-27T01:28:11.488362+0100",
    "flow_id": 1805461738637437,
    "in_iface": "eth0",
    "event_type": "alert",
    "src_ip": "203.0.113.9",
    "src_port": 80,
    "dest_ip": "10.31.64.240",
    "dest_port": 47592,
    "proto": "TCP",
    "alert": {
        "action": "blocked",
        "gid": 1,
        "signature_id": 2100498,
        "rev": 7,
        "signature": "GPL ATTACK_RESPONSE id check returned root",
        "category": "Potentially Bad Traffic",
        "severity": 2,
        "metadata": {"mitre_technique_id": ["T1190"], "cve": ["2026-1"]},
    },
    "http": {"hostname": "shop.example.org", "url": "/?token=abc", "http_method": "GET", "status": 200},
}


def test_suricata():
    event = one(SURICATA)
    assert (event.kind, event.severity, event.severity_word) == (Kind.NETWORK, Severity.MEDIUM, "2")
    assert (event.rule_id, event.outcome, event.mitre) == ("1:2100498", Outcome.BLOCKED, ("T1190",))
    assert event.observed == datetime(2026, 1, 27, 0, 28, 11, 488362, tzinfo=UTC)
    assert event.request.resource == "/?token=[masked]"
    assert event.connection.destination_name == "shop.example.org"
    anomaly = {"type": "stream", "event": "stream.pkt_invalid_ack"}
    assert one(SURICATA | {"event_type": "anomaly", "anomaly": anomaly}).rule == (
        "anomaly stream stream.pkt_invalid_ack"
    )
    assert one(SURICATA | {"event_type": "drop", "alert": None}).outcome is Outcome.BLOCKED
    trojan = SURICATA["alert"] | {"category": "A Network Trojan was detected"}
    assert one(SURICATA | {"alert": trojan}).kind is Kind.MALWARE


def test_suricata_s_flows_and_records_are_passed_over_with_the_reason():
    lines = [SURICATA | {"event_type": t} for t in ("flow", "dns", "dns", "stats")] + [SURICATA]
    delivery = told(lines)
    assert len(delivery.events) == 1
    assert dict(delivery.passed) == {
        "flows of Suricata: post them to /hooks/flows/": 1,
        "Suricata's records of type 'dns', which are no alerts": 2,
        "Suricata's records of type 'stats', which are no alerts": 1,
    }
    with pytest.raises(Invalid, match=r"alert\.signature"):
        told(SURICATA | {"alert": {"signature": []}})


MODSECURITY_3 = {
    "transaction": {
        "client_ip": "203.0.113.7",
        "time_stamp": "Fri Oct  9 20:19:57 2026",
        "client_port": 40146,
        "host_ip": "10.0.0.1",
        "host_port": 80,
        "unique_id": "179156999755.849453",
        "request": {
            "method": "GET",
            "uri": "/?id=1%20UNION",
            "headers": {"Host": "shop.example.org", "User-Agent": "sqlmap/1.7", "Authorization": "Bearer abcdefgh"},
        },
        "response": {"http_code": 403},
        "messages": [
            {
                "message": "SQL Injection Attack Detected via libinjection",
                "details": {"ruleId": "942100", "severity": "2", "data": "1 UNION", "tags": ["attack-sqli"]},
            },
            {"message": "Inbound Anomaly Score Exceeded", "details": {"ruleId": "949110", "severity": "0"}},
        ],
    }
}
MODSECURITY_2 = {
    "transaction": {
        "time": "23/May/2026:06:28:50 +0200",
        "transaction_id": "Yospoq1A",
        "remote_address": "203.0.113.7",
        "remote_port": 43790,
        "local_address": "10.0.0.1",
        "local_port": 80,
    },
    "request": {"request_line": "GET /index.php?exec=/bin/bash HTTP/1.1", "headers": {"Host": "shop.example.org"}},
    "response": {"status": 403},
    "audit_data": {
        "messages": [
            'Warning. Matched phrase "bin/bash" at ARGS:exec. [file "/usr/share/x.conf"] [line "485"] [id "932160"] '
            '[msg "Remote Command Execution: Unix Shell Code Found"] [severity "CRITICAL"] [tag "attack-rce"]',
            'Access denied with code 403 (phase 2). [id "949110"] [msg "Inbound Anomaly Score Exceeded"]',
        ],
        "action": {"intercepted": True, "phase": 2},
    },
}
CORAZA = {
    "transaction": {
        "unix_timestamp": 1629575755000000000,
        "id": "ABC",
        "client_ip": "203.0.113.7",
        "is_interrupted": True,
        "request": {"method": "POST", "uri": "/x", "headers": {"User-Agent": ["curl/8"]}},
        "response": {"status": 403},
    },
    "messages": [{"message": "m", "data": {"id": 100521, "msg": "some message", "severity": 5, "tags": ["t"]}}],
}


def test_modsecurity_3():
    event = one(MODSECURITY_3)
    assert (event.rule_id, event.severity, event.tags) == ("942100", Severity.CRITICAL, ("attack-sqli",))
    assert event.observed == datetime(2026, 10, 9, 20, 19, 57, tzinfo=UTC)
    assert event.unread == ("transaction.time_stamp names no time zone; it is taken as UTC",)
    assert (event.request.verb, event.request.code, event.request.user_agent) == ("GET", 403, "sqlmap/1.7")
    assert event.connection == Connection("203.0.113.7", 40146, "10.0.0.1", 80, protocol="tcp")
    nothing = {"transaction": MODSECURITY_3["transaction"] | {"messages": []}}
    assert told(nothing).passed == (("transactions in which no rule of the firewall matched", 1),)


def test_modsecurity_2():
    event = one(MODSECURITY_2)
    assert (event.rule_id, event.rule) == ("932160", "Remote Command Execution: Unix Shell Code Found")
    assert (event.severity, event.outcome) == (Severity.CRITICAL, Outcome.BLOCKED)
    assert event.observed == datetime(2026, 5, 23, 4, 28, 50, tzinfo=UTC)
    assert (event.request.verb, event.request.resource) == ("GET", "/index.php?exec=/bin/bash")
    assert event.connection.source_port == 43790


def test_coraza():
    event = one(CORAZA)
    assert (event.rule_id, event.rule, event.severity) == ("100521", "some message", Severity.LOW)
    assert event.observed == datetime(2021, 8, 21, 19, 55, 55, tzinfo=UTC)
    assert (event.outcome, event.request.user_agent) == (Outcome.BLOCKED, "curl/8")


OWN = {
    "schema": "secguard-event/v1",
    "sensor": {"name": "log-watch", "version": "1"},
    "cluster": "prod",
    "host": "node-1",
    "events": [
        {
            "kind": "log-growth",
            "rule": "Log grows past its limit",
            "time": "2026-05-28T20:26:40+02:00",
            "severity": "medium",
            "namespace": "shop",
            "pod": "web-1",
            "container": {"id": "0123456789ab", "digest": D},
            "growth": {"path": "/var/log/app.log", "bytes": 5_000_000_000, "grown_by": 10**9, "seconds": 3600},
        },
        {
            "kind": "malware",
            "rule": "Linux.Miner.XMRig",
            "time": "2026-05-28T18:00:00Z",
            "file": {"path": "/tmp/x", "sha256": "b" * 64},
            "process": {"args": "curl https://u:p@host/"},
            "outcome": "blocked",
            "mitre": ["T1496"],
        },
    ],
}


def test_our_own_format():
    growth, malware = told(OWN).events
    assert (growth.kind, growth.tool, growth.severity) == (Kind.LOG_GROWTH, "log-watch", Severity.MEDIUM)
    assert growth.growth.grown_by == 10**9
    assert (growth.cluster, growth.host, growth.digest) == ("prod", "node-1", D)
    assert growth.observed == datetime(2026, 5, 28, 18, 26, 40, tzinfo=UTC)
    assert (malware.kind, malware.outcome, malware.mitre) == (Kind.MALWARE, Outcome.BLOCKED, ("T1496",))
    assert malware.process.args == "curl https://[masked]@host/"


def test_the_published_schema_is_the_one_that_holds():
    published = json.loads((DOCS / "runtime-event.schema.json").read_text())
    assert published == json.loads(json.dumps(own.schema()))
    jsonschema.validate(OWN, published)


def test_the_documented_example_is_read():
    text = (DOCS / "runtime-events.md").read_text()
    example = text.partition("```json\n")[2].partition("```")[0]
    assert len(read(example.encode()).events) >= 3


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        ({"schema": "secguard-event/v2"}, "unknown-version", "$.schema"),
        ({"events": [{"kind": "x", "rule": "r", "time": "2026-01-01T00:00:00Z"}]}, "wrong-shape", "$.events[0].kind"),
        ({"events": [OWN["events"][0] | {"surprise": 1}]}, "wrong-shape", "$.events[0]"),
        ({"events": [OWN["events"][0] | {"time": "2026-01-01T00:00:00"}]}, "bad-value", "$.events[0].time"),
        (
            {"events": [OWN["events"][0] | {"container": {"digest": "x"}}]},
            "wrong-shape",
            "$.events[0].container.digest",
        ),
    ],
)
def test_our_own_format_is_read_strictly(change, code, where):
    with pytest.raises(Invalid) as caught:
        told(OWN | change)
    assert (caught.value.code, caught.value.where) == (code, where)


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        ({"Records": []}, "unknown-format", "CloudTrail"),
        ({"flow": {}, "node_name": "n"}, "flow", "/hooks/flows/"),
        ({"networkpolicy": {}}, "unknown-format", "StackRox"),
        ({"apiVersion": "v1", "kind": "Pod", "metadata": {}}, "unknown-format", "audit.k8s.io"),
        ({"surprise": 1}, "unknown-format", "'surprise'"),
    ],
)
def test_what_is_posted_by_mistake_is_refused_by_its_name(document, code, words):
    with pytest.raises(Invalid) as caught:
        told(document)
    assert caught.value.code == code
    assert words in caught.value.detail


@pytest.mark.parametrize("raw", [b"", b"   ", b"7", b'"x"', b"null", b"{", b"[", b"[1, 2]", b"\x1f\x8b", b"{}" * 3])
def test_what_is_no_event_is_refused(raw):
    with pytest.raises(Invalid) as caught:
        read(raw)
    assert caught.value.detail
    assert caught.value.code
    assert caught.value.where


def test_an_empty_list_is_nothing():
    assert read(b"[]").events == ()


def test_the_bounds(monkeypatch):
    with pytest.raises(TooLarge):
        read(b"[" * 200_000 + b"]" * 200_000)
    with pytest.raises(TooLarge):
        told(FALCO | {"output_fields": json.loads("[" * 40 + "]" * 40)})
    with pytest.raises(TooLarge, match="16,777,216"):
        read(b" " * (2**24 + 1))
    with pytest.raises(TooLarge, match="2,097,152"):
        told(FALCO | {"output": "x" * 2**21})
    monkeypatch.setattr(package, "MAX_EVENTS", 2)
    with pytest.raises(TooLarge, match="3 of them"):
        told([FALCO] * 3)
    with pytest.raises(TooLarge):
        told({"kind": "EventList", "items": [AUDIT] * 3})
    with pytest.raises(TooLarge):
        told([STACKROX, STACKROX])


def test_long_texts_are_cut_and_many_fields_left_out_and_both_are_said():
    fields = {f"f{i}": i for i in range(100)} | {"proc.cmdline": "y" * 10_000}
    event = one(FALCO | {"rule": "x" * 600, "output_fields": fields})
    assert (len(event.rule), len(event.fields), len(event.process.args)) == (512, 64, 8_192)
    assert any("600 characters" in why for why in event.unread)
    assert any("101 fields" in why for why in event.unread)


def test_what_no_database_keeps_is_mended_and_not_refused():
    raw = (
        json.dumps(FALCO).encode().replace(b"sh -c", rb"sh\u0000\ud83d\ude00\ud83d\\u0000 -c").replace(b"runc", b"\xff")
    )
    (event,) = read(raw).events
    assert event.process.args.startswith("sh\ufffd\U0001f600\ufffd\\u0000 -c")
    assert event.process.parent == "\ufffd"


def test_a_name_that_stands_twice_is_refused():
    with pytest.raises(Invalid, match="stands twice"):
        read(b'{"rule": "a", "rule": "b", "priority": "x"}')


SAMPLES: list[Any] = [FALCO, AUDIT, NEUVECTOR, STACKROX, SURICATA, MODSECURITY_3, MODSECURITY_2, CORAZA, OWN]


@pytest.mark.parametrize("document", SAMPLES)
def test_a_fingerprint_holds_under_another_order_and_differs_for_another_event(document):
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: turned(v) for k, v in reversed(value.items())}
        return [turned(v) for v in value] if isinstance(value, list) else value

    before = [e.fingerprint for e in told(document).events]
    assert [e.fingerprint for e in told(turned(document)).events] == before
    assert len(set(before)) == len(before)
    compact = json.dumps(document, separators=(",", ":")).encode()
    assert [e.fingerprint for e in read(compact).events] == before
    text = json.dumps(document)
    for year in ("2026-", " 2026", "/2026", "16295"):
        if year in text:
            other = read(text.replace(year, year.replace("26", "25").replace("16295", "16294")).encode())
            assert not {e.fingerprint for e in other.events} & set(before)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_change_of_a_real_event_breaks_the_reading(mutate, data):
    document = data.draw(st.sampled_from(SAMPLES))
    _is_read_or_refused(mutate(json.dumps(document).encode(), data))


NAMES = st.sampled_from(
    ["rule", "priority", "output_fields", "tags", "time", "kind", "apiVersion", "auditID", "verb", "user", "objectRef",
     "items", "level", "reported_at", "alert", "policy", "name", "event_type", "timestamp", "transaction", "messages",
     "audit_data", "schema", "events", "sensor", "fd.name", "requestURI", "requestObject", "spec", "containers"]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["audit.k8s.io/v1", "EventList", "Event", "secguard-event/v1", "alert", "10.0.0.1:1->10.0.0.2:2"])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5), max_leaves=20
)


@settings(deadline=None)
@given(JSON | st.dictionaries(NAMES, JSON, min_size=2, max_size=6))
def test_any_json_is_read_or_refused_with_words(value):
    _is_read_or_refused(json.dumps(value).encode())


@settings(deadline=None)
@given(st.binary(max_size=60) | st.lists(st.binary(max_size=20), max_size=4).map(b"\n{".join))
def test_any_bytes_are_refused_with_words(raw):
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
    for event in delivery.events:
        assert event.rule
        assert len(event.fingerprint) == 64
        assert event.observed is None or event.observed.tzinfo is not None
        assert event.count > 0
    assert all(r.detail and r.code and r.where for r in delivery.refused)


def test_a_reader_is_one_module_with_two_functions():
    assert all(callable(m.read) and callable(m.claims) and m.__doc__ for m in readers())
    assert formats() == ("falco", "kubernetes_audit", "modsecurity", "neuvector", "secguard", "stackrox", "suricata")
