"""The Open Cybersecurity Schema Framework, version 1.3.0 (schema.ocsf.io, Apache-2.0). Pure.

Each event becomes the class that says most about it, as far as what that class requires was told; what a sensor told
too little of is a Detection Finding. ``tests/exports/ocsf-1.3.0.json`` is the part of the schema that is written here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any, Final

from secguard.events.record import Kind
from secguard.exports.item import Item, bounded, clean, free, milliseconds, told, told_number, told_text
from secguard.findings.severity import Severity

VERSION: Final = "1.3.0"
MAX_BYTES: Final = 6_800
"""So that it fits with syslog's own header into what receivers take (8,192 bytes)."""
SEVERITY: Final = {
    Severity.UNKNOWN: 0,
    Severity.NEGLIGIBLE: 1,
    Severity.LOW: 2,
    Severity.MEDIUM: 3,
    Severity.HIGH: 4,
    Severity.CRITICAL: 5,
}
Made = dict[str, Any]

FILE_SYSTEM_ACTIVITY, PROCESS_ACTIVITY = 1_001, 1_007
COMPLIANCE_FINDING, DETECTION_FINDING = 2_003, 2_004
ACCOUNT_CHANGE, ENTITY_MANAGEMENT = 3_001, 3_004
NETWORK_ACTIVITY, API_ACTIVITY = 4_001, 6_003
OTHER: Final = 99
"""An activity that the class has no number for; ``activity_name`` says it in words."""


def message(item: Item, *, version: str) -> str:
    """The event as JSON on one line, in at most ``MAX_BYTES`` bytes of ASCII."""
    return bounded(event(item, version=version), MAX_BYTES, in_own_form="unmapped")


def event(item: Item, *, version: str) -> Made:
    """The event as a document of the class that fits. ``version`` is the product's."""
    special = _CLASSES.get(item.line.kind)
    made = (special(item) if special else None) or _detection(item)
    return {**made, **_base(item, made["class_uid"], made["activity_id"], version)}


def _base(item: Item, class_uid: int, activity_id: int, version: str) -> Made:
    line = item.line
    own = _without_empty(
        {
            "kind": line.kind.value,
            "rule": clean(line.rule),
            "outcome": clean(line.outcome),
            "cluster": clean(line.cluster),
            "namespace": clean(line.namespace),
            "workload": clean(line.workload),
            "digest": clean(line.digest),
            "team": item.team,
            "application": item.application,
            "ref": clean(line.ref),
            "detail": free(line.detail),
        }
    )
    return {
        "category_uid": class_uid // 1_000,
        "class_uid": class_uid,
        "type_uid": class_uid * 100 + activity_id,
        "severity_id": SEVERITY[item.severity],
        "time": milliseconds(line.at),
        "count": line.count,
        "message": _title(item),
        "metadata": {
            "version": VERSION,
            "uid": str(item.id),
            "log_name": line.kind.value,
            "log_provider": clean(line.source) or "secguard",
            "logged_time": milliseconds(item.received_at),
            "product": {"name": "SecGuard", "vendor_name": "SecGuard", "version": version},
        },
        "unmapped": own,
    }


# --- what people and the product did ---


_VERBS: Final[Mapping[str, int]] = {
    "create": 1, "add": 1, "import": 1, "request": 1, "read": 2, "edit": 3, "delete": 4, "remove": 4,
    "activate": 10, "approve": OTHER,
}  # fmt: skip
_ACCOUNT_VERBS: Final[Mapping[str, int]] = {
    "user:create": 1, "user:reactivate": 2, "password:set": 3, "user:deactivate": 5,
    "membership:grant": 7, "membership:revoke": 8,
}  # fmt: skip


def _audit(item: Item) -> Made:
    """An entry of the audit log, whose ``rule`` is ``<subject>:<verb>``."""
    rule = clean(item.line.rule)
    subject, _, verb = rule.partition(":")
    kind = told_text(item.line.detail, "subject_type", most=64) or subject
    # The title is ``<action>: <kind> <name>``.
    name = _title(item).removeprefix(f"{rule}: ").removeprefix(kind.replace("-", " ")).strip() or _title(item)
    uid = told_text(item.line.detail, "subject_id", most=200) or clean(item.line.ref)
    actor = _without_empty({"user": _user(item.line.actor)})
    if rule in _ACCOUNT_VERBS:
        made = {"class_uid": ACCOUNT_CHANGE, "user": {"name": name}, "activity_id": _ACCOUNT_VERBS[rule]}
        return made | ({"actor": actor} if actor else {})
    activity = _VERBS.get(verb, OTHER)
    return {
        "class_uid": ENTITY_MANAGEMENT,
        "activity_id": activity,
        "entity": _without_empty({"name": name, "type": kind, "uid": uid}),
        "comment": rule or item.line.kind.value,
        **({"activity_name": verb or "other"} if activity == OTHER else {}),
        **({"actor": actor} if actor else {}),
    }


_PASSED: Final[Mapping[str, int]] = {
    "pass": 1, "allowed": 1, "done": 1, "promoted": 1, "succeeded": 1,
    "warn": 2, "warned": 2, "grace": 2, "would-deny": 2, "broken-glass": 2,
    "block": 3, "denied": 3, "blocked": 3, "rejected": 3, "refused": 3, "failed": 3,
}  # fmt: skip


def _judged(item: Item) -> Made:
    """A gate, an admission, a promotion: what was asked of a policy, and its word."""
    line = item.line
    status = _PASSED.get(line.outcome, OTHER if line.outcome else 0)
    return {
        "class_uid": COMPLIANCE_FINDING,
        "activity_id": 1,
        "finding_info": _finding_info(item),
        "compliance": _without_empty(
            {
                "standards": ["SecGuard policy"],
                "control": clean(line.rule or line.kind.value),
                "status_id": status,
                "status": clean(line.outcome),
            }
        ),
        "resources": _resources(item),
    }


# --- what sensors saw ---


def _detection(item: Item) -> Made:
    detail, device = item.line.detail, _device(item)
    evidence = _without_empty(
        {
            "process": _process(detail),
            "file": _file(detail),
            "src_endpoint": _endpoint(detail, "source"),
            "dst_endpoint": _endpoint(detail, "destination"),
        }
    )
    return {
        "class_uid": DETECTION_FINDING,
        "activity_id": 1,
        "finding_info": _finding_info(item),
        "resources": _resources(item),
        **({"evidences": [evidence]} if evidence else {}),
        **({"device": device} if device else {}),
    }


def _process_activity(item: Item) -> Made | None:
    detail, device = item.line.detail, _device(item)
    process = _process(detail)
    if not process or not device:
        return None
    user = _user(told_text(detail, "process", "user") or item.line.actor)
    actor = {"user": user} if user else {"app_name": clean(item.line.source) or "unknown"}
    return {"class_uid": PROCESS_ACTIVITY, "activity_id": 1, "process": process, "actor": actor, "device": device}


_FILE_VERBS: Final[Mapping[str, int]] = {
    "create": 1, "created": 1, "creat": 1, "mkdir": 1, "read": 2, "write": 3, "modify": 3, "modified": 3, "update": 3,
    "truncate": 3, "delete": 4, "deleted": 4, "unlink": 4, "unlinkat": 4, "rmdir": 4, "rename": 5, "renameat": 5,
    "chmod": 7, "chown": 7, "mount": 12, "umount": 13, "open": 14, "openat": 14, "openat2": 14,
}  # fmt: skip


def _file_activity(item: Item) -> Made | None:
    detail, device = item.line.detail, _device(item)
    file, user = _file(detail), _user(told_text(detail, "process", "user") or item.line.actor)
    process = _process(detail)
    actor = _without_empty({"user": user, "process": process})
    if not file or not device or not actor:
        return None
    verb = told_text(detail, "file", "operation", most=64)
    activity = _FILE_VERBS.get(verb.lower(), OTHER if verb else 0)
    made = {"class_uid": FILE_SYSTEM_ACTIVITY, "activity_id": activity, "file": file, "actor": actor, "device": device}
    return made | ({"activity_name": verb} if activity == OTHER else {})


def _network_activity(item: Item) -> Made | None:
    detail = item.line.detail
    to, since = _endpoint(detail, "destination"), _endpoint(detail, "source")
    if not to:
        return None
    protocol = told_text(detail, "connection", "protocol", most=32) or told_text(detail, "protocol", most=32)
    return {
        "class_uid": NETWORK_ACTIVITY,
        "activity_id": 5 if item.line.outcome in ("blocked", "dropped", "denied") else 6,
        "dst_endpoint": to,
        **({"src_endpoint": since} if since else {}),
        **({"connection_info": {"direction_id": 0, "protocol_name": protocol.lower()}} if protocol else {}),
    }


_API_VERBS: Final[Mapping[str, int]] = {
    "create": 1, "post": 1, "get": 2, "list": 2, "watch": 2, "head": 2, "update": 3, "patch": 3, "put": 3,
    "delete": 4, "deletecollection": 4,
}  # fmt: skip


def _api_activity(item: Item) -> Made | None:
    detail = item.line.detail
    verb, user = told_text(detail, "request", "verb", most=64), _user(told_text(detail, "request", "user"))
    addresses = told(detail, "request", "source_ips")
    since = _ip(addresses[0]) if isinstance(addresses, list | tuple) and addresses else ""
    if not verb or not user or not since:
        return None
    code = told_number(detail, "request", "code")
    activity = _API_VERBS.get(verb.lower(), OTHER)
    name = told_text(detail, "request", "name") or told_text(detail, "request", "resource")
    resource = _without_empty({"name": name, "type": told_text(detail, "request", "resource")})
    return {
        "class_uid": API_ACTIVITY,
        "activity_id": activity,
        "actor": {"user": user},
        "api": {"operation": verb, **({"response": {"code": code}} if code is not None else {})},
        "src_endpoint": {"ip": since},
        **({"resources": [resource]} if name else {}),
        **({"activity_name": verb} if activity == OTHER else {}),
    }


_CLASSES: Final[Mapping[Kind, Callable[[Item], Made | None]]] = {
    Kind.AUDIT: _audit,
    Kind.GATE: _judged,
    Kind.ADMISSION: _judged,
    Kind.PROMOTION: _judged,
    Kind.PROCESS: _process_activity,
    Kind.FILE: _file_activity,
    Kind.NETWORK: _network_activity,
    Kind.FLOW: _network_activity,
    Kind.API_AUDIT: _api_activity,
}


# --- objects ---


def _finding_info(item: Item) -> Made:
    line = item.line
    analytic = {"type_id": 1, "name": clean(line.rule)} if line.rule else {}
    made = {"uid": line.story or str(item.id), "title": _title(item), "analytic": analytic}
    return _without_empty(made)


def _title(item: Item) -> str:
    return clean(item.line.title) or item.line.kind.value


def _resources(item: Item) -> list[Made]:
    line = item.line
    image = {"type": "image", "uid": clean(line.digest)} if line.digest else None
    workload = None
    if line.workload:
        workload = _without_empty(
            {"type": "workload", "name": clean(line.workload), "namespace": clean(line.namespace)}
        )
    found = [resource for resource in (image, workload) if resource]
    return found or [{"type": "event", "uid": str(item.id)}]


def _device(item: Item) -> Made:
    name = clean(item.line.host) or clean(item.line.cluster)
    return {"type_id": 1 if item.line.host else 0, "name": name} if name else {}


def _process(detail: Mapping[str, Any]) -> Made:
    """Empty without a process id, which the schema asks for."""
    pid = told_number(detail, "process", "pid")
    if pid is None:
        return {}
    exe = told_text(detail, "process", "exe")
    return _without_empty(
        {"pid": pid, "name": exe.rpartition("/")[2], "cmd_line": told_text(detail, "process", "args")}
    ) | {"pid": pid}


def _file(detail: Mapping[str, Any]) -> Made:
    path = told_text(detail, "file", "path")
    if not path:
        return {}
    sha256 = told_text(detail, "file", "sha256", most=64)
    made: Made = {"name": path.rstrip("/").rpartition("/")[2] or path, "path": path, "type_id": 0}
    return made | ({"hashes": [{"algorithm_id": 3, "value": sha256}]} if sha256 else {})


def _endpoint(detail: Mapping[str, Any], side: str) -> Made:
    """``side``: ``source`` or ``destination``, of a connection or of a flow."""
    ip = _ip(told(detail, "connection", f"{side}_ip") or told(detail, side, "ip"))
    names = (("connection", f"{side}_name"), (side, "workload"), (side, "service"), (side, "identity"), (side, "host"))
    name = next(filter(None, (told_text(detail, *path, most=253) for path in names)), "")
    port = told_number(detail, "connection", f"{side}_port")
    if port is None:
        port = told_number(detail, "port" if side == "destination" else "source_port")
    if not ip and not name:
        return {}
    made = _without_empty({"ip": ip, "name": name})
    return made | ({"port": port} if port is not None and 0 <= port <= 65_535 else {})


def _ip(text: Any) -> str:
    try:
        return str(ipaddress.ip_address(text)) if isinstance(text, str) else ""
    except ValueError:
        return ""


def _user(name: str) -> Made:
    return {"name": clean(name)} if name else {}


def _without_empty(made: Made) -> Made:
    return {name: value for name, value in made.items() if value not in ("", {}, [], None)}
