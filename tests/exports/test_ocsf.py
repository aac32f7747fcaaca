from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from secguard.events.record import Kind
from secguard.exports import ocsf
from tests.exports.telling import ITEMS, item

SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("ocsf-1.3.0.json").read_text("utf-8"))
SCALARS: dict[str, type] = {
    "string_t": str, "file_name_t": str, "file_hash_t": str, "process_name_t": str, "username_t": str, "ip_t": str,
    "integer_t": int, "long_t": int, "timestamp_t": int, "port_t": int,
}  # fmt: skip


def faults(value: Any, attributes: dict[str, Any], where: str) -> list[str]:
    """What the schema does not allow in an object: missing, unknown and ill-typed attributes, unknown numbers."""
    found = [f"{where}.{name} is missing" for name, a in attributes.items() if a.get("required") and name not in value]
    for name, inner in value.items():
        if name not in attributes:
            found.append(f"{where}.{name} is unknown")
        elif attributes[name].get("is_array"):
            found += [] if isinstance(inner, list) and inner else [f"{where}.{name} is no list"]
            for one in inner:
                found += _of_type(one, attributes[name], f"{where}.{name}[]")
        else:
            found += _of_type(inner, attributes[name], f"{where}.{name}")
    return found


def _of_type(value: Any, attribute: dict[str, Any], where: str) -> list[str]:
    kind = attribute["type"]
    if kind == "object":
        return [] if isinstance(value, dict) else [f"{where} is no object"]
    if kind in SCHEMA["objects"]:
        inner = SCHEMA["objects"][kind]
        least = inner.get("at_least_one")
        none = [f"{where} has none of {least}"] if least and not set(least) & set(value) else []
        return none + faults(value, inner["attributes"], where)
    if not isinstance(value, SCALARS[kind]) or isinstance(value, bool):
        return [f"{where} is {value!r}, no {kind}"]
    if kind == "ip_t":
        ipaddress.ip_address(value)
    if kind == "port_t" and not 0 <= value <= 65_535:
        return [f"{where} is {value}, no port"]
    if "enum" in attribute and value not in attribute["enum"]:
        return [f"{where} is {value}, expected one of {attribute['enum']}"]
    return [f"{where} is empty"] if value == "" else []


def check(made: dict[str, Any]) -> None:
    known = SCHEMA["classes"][str(made["class_uid"])]
    assert faults(made, known["attributes"], known["name"]) == []
    assert made["category_uid"] == known["category_uid"]
    assert made["type_uid"] == made["class_uid"] * 100 + made["activity_id"]


@given(ITEMS)
def test_whatever_is_told_the_document_is_of_the_schema(told) -> None:
    made = ocsf.event(told, version="1")
    check(made)
    assert made["metadata"]["uid"] == str(told.id)
    assert made["metadata"]["version"] == "1.3.0"


@given(ITEMS)
def test_a_message_is_one_bounded_line_of_the_schema(told) -> None:
    text = ocsf.message(told, version="1")
    assert len(text) <= ocsf.MAX_BYTES
    assert text.isascii()
    assert text.isprintable()
    made = json.loads(text)
    check(made)
    assert made["metadata"]["uid"] == str(told.id)


TOLD = {
    "process": {"exe": "/bin/sh", "args": "sh -i", "pid": 17, "user": "root"},
    "file": {"path": "/etc/passwd", "operation": "openat", "sha256": "a" * 64},
    "connection": {"source_ip": "10.0.0.1", "destination_ip": "203.0.113.9", "destination_port": 443},
    "request": {"verb": "create", "user": "bob", "resource": "pods", "name": "api-1", "code": 201,
                "source_ips": ["192.0.2.1"]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "rule", "type_uid"),
    [
        (Kind.AUDIT, "policy:edit", 300_403),
        (Kind.AUDIT, "policy:sing", 300_499),
        (Kind.AUDIT, "user:create", 300_101),
        (Kind.AUDIT, "password:set", 300_103),
        (Kind.GATE, "no-critical", 200_301),
        (Kind.ADMISSION, "", 200_301),
        (Kind.PROMOTION, "", 200_301),
        (Kind.PROCESS, "shell", 100_701),
        (Kind.FILE, "passwd", 100_114),
        (Kind.NETWORK, "egress", 400_106),
        (Kind.FLOW, "", 400_106),
        (Kind.API_AUDIT, "", 600_301),
        (Kind.MALWARE, "eicar", 200_401),
        (Kind.LOG_GROWTH, "", 200_401),
        (Kind.OTHER, "", 200_401),
    ],
)
def test_the_class_that_says_most(kind: Kind, rule: str, type_uid: int) -> None:
    made = ocsf.event(item(kind=kind, rule=rule, host="node-1", actor="bob", detail=TOLD), version="1")
    check(made)
    assert made["type_uid"] == type_uid


@pytest.mark.parametrize("kind", [Kind.PROCESS, Kind.FILE, Kind.NETWORK, Kind.FLOW, Kind.API_AUDIT])
def test_what_was_told_too_little_of_is_a_detection(kind: Kind) -> None:
    made = ocsf.event(item(kind=kind), version="1")
    check(made)
    assert made["class_uid"] == 2_004


def test_a_process() -> None:
    told = item(id=9, host="node-1", severity=5, rule="shell", detail=TOLD, team="shop", digest="sha256:" + "b" * 64)
    made = ocsf.event(told, version="1")
    assert made["process"] == {"pid": 17, "name": "sh", "cmd_line": "sh -i"}
    assert made["actor"] == {"user": {"name": "root"}}
    assert made["device"] == {"type_id": 1, "name": "node-1"}
    assert (made["severity_id"], made["time"]) == (5, 1_795_869_015_123)
    assert made["unmapped"]["team"] == "shop"
    assert made["unmapped"]["detail"] == TOLD


def test_an_entry_of_the_audit_log() -> None:
    told = item(
        kind=Kind.AUDIT,
        rule="export-target:edit",
        title="export-target:edit: export target SOC",
        actor="olga",
        detail={"subject_type": "export-target", "subject_id": "7"},
    )
    made = ocsf.event(told, version="1")
    check(made)
    assert made["entity"] == {"name": "SOC", "type": "export-target", "uid": "7"}
    assert made["actor"] == {"user": {"name": "olga"}}
    created = item(kind=Kind.AUDIT, rule="user:create", title="user:create: user bob", detail={"subject_type": "user"})
    assert ocsf.event(created, version="1")["user"] == {"name": "bob"}


def test_a_judgement_says_whether_it_passed() -> None:
    def status(outcome: str) -> Any:
        return ocsf.event(item(kind=Kind.GATE, outcome=outcome), version="1")["compliance"].get("status_id")

    assert [status(o) for o in ("pass", "warn", "block", "", "odd")] == [1, 2, 3, 0, 99]


def test_a_blocked_flow_was_refused() -> None:
    flow = {"destination": {"ip": "10.0.0.9"}, "source": {"workload": "api"}, "port": 53, "protocol": "udp"}
    made = ocsf.event(item(kind=Kind.FLOW, outcome="dropped", detail=flow), version="1")
    check(made)
    assert made["type_uid"] == 400_105
    assert made["dst_endpoint"] == {"ip": "10.0.0.9", "port": 53}
    assert made["src_endpoint"] == {"name": "api"}
