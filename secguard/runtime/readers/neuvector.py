"""NeuVector's notifications: incidents, violations, threats, audits and events, as its webhook sends them.

NeuVector: controller/api/log_apis.go. There is no digest: the container's id ties an incident to its image.
"""

from __future__ import annotations

import re
from typing import Any, Final

from secguard.errors import Invalid
from secguard.findings.severity import Severity, from_word
from secguard.images.jsonlines import MAX_TEXT, Members
from secguard.runtime.event import (
    Connection,
    Event,
    File,
    Kind,
    Outcome,
    Process,
    Request,
    digest_in,
    fingerprint,
    from_syslog_word,
)
from secguard.runtime.readers._values import protocol, scalars, tags

_TOOL: Final = "neuvector"
_OUTCOMES: Final = {
    "deny": Outcome.BLOCKED,
    "denied": Outcome.BLOCKED,
    "reset": Outcome.BLOCKED,
    "block": Outcome.BLOCKED,
    "allow": Outcome.ALLOWED,
    "allowed": Outcome.ALLOWED,
}
_KEPT: Final = (
    "notification", "category", "group", "service", "policy_id", "policy_action", "application", "applications",
    "sensor", "target", "sessions", "enforcer_name", "response_rule_id", "items", "critical_vul_cnt", "high_vul_cnt",
    "medium_vul_cnt", "repository", "tag", "registry",
)  # fmt: skip
_CONTAINER_ID = re.compile(r"[0-9a-f]{12,64}")


def claims(document: dict[str, Any]) -> bool:
    return "level" in document and ("reported_at" in document or "reported_timestamp" in document)


def read(members: Members) -> list[Event]:
    """One notification. Raises ``Invalid`` where its name or its level is no text."""
    for name in ("level", "name"):
        if name in members and not isinstance(members.members[name], str):
            raise Invalid(f"NeuVector's notification has in {name!r} no text.", code="bad-event", where=f"$.{name}")
    side = _side(members)
    level = members.text("level") or ""
    rated = from_word(members.text("severity"))
    image = members.text(f"{side}image", "image")
    workload_id = members.text(f"{side}id")
    name = members.text("name") or _unnamed(members)
    return [
        Event(
            kind=_kind(members, name),
            tool=_TOOL,
            rule=name,
            rule_id=members.text("rule_id", "threat_id", "policy_id"),
            fingerprint=fingerprint(_TOOL, members.members),
            severity=rated if rated is not Severity.UNKNOWN else from_syslog_word(level),
            severity_word=members.text("severity") or level,
            observed=members.instant("reported_at", "reported_timestamp"),
            message=members.text("message", most=MAX_TEXT),
            outcome=_OUTCOMES.get((members.text("action", "policy_action") or "").lower(), Outcome.DETECTED),
            count=members.whole("count", least=1, most=2**31) or 1,
            host=members.text("host_name"),
            cluster=members.text("cluster_name"),
            namespace=members.text(f"{side}domain"),
            workload=members.text(f"{side}service"),
            pod=members.text(f"{side}name"),
            container_id=workload_id if workload_id and _CONTAINER_ID.fullmatch(workload_id) else None,
            image=image,
            digest=digest_in(image, members.text("image_id")),
            process=_process(members),
            file=_file(members),
            connection=_connection(members),
            request=_request(members),
            tags=tags(word for word in (members.text("notification"), members.text("category")) if word),
            source_id=members.text("id"),
            fields=scalars(members, "", {n: members.members[n] for n in _KEPT if n in members}),
            unread=tuple(members.unread),
        )
    ]


def _side(members: Members) -> str:
    """Whose event it is: of a violation the client (who broke the rule), of a threat whom it was aimed at."""
    if "workload_id" in members or "workload_name" in members:
        return "workload_"
    if "threat_id" in members:
        return "client_workload_" if members.text("target") == "client" else "server_workload_"
    return "client_" if "client_id" in members or "client_name" in members else "workload_"


def _unnamed(members: Members) -> str:
    """A violation has no name."""
    return "Network.Violation" if "policy_action" in members or "server_id" in members else "NeuVector"


def _kind(members: Members, name: str) -> Kind:
    lower = name.lower()
    if "fileaccess" in lower or "package.updated" in lower or "file_path" in members or "file_name" in members:
        return Kind.FILE
    if "process" in lower or "privilege" in lower or ("proc_name" in members and "tunnel" not in lower):
        return Kind.PROCESS
    if any(one in members for one in ("threat_id", "server_ip", "client_ip", "server_port")) or "tunnel" in lower:
        return Kind.NETWORK
    if lower.startswith(("user.", "restful.", "admission.control.")):
        return Kind.API_AUDIT
    return Kind.OTHER


def _process(members: Members) -> Process | None:
    made = Process(
        exe=members.text("proc_path", "proc_name", most=MAX_TEXT),
        args=members.text("proc_cmd", most=MAX_TEXT),
        parent=members.text("proc_parent_path", "proc_parent_name", most=MAX_TEXT),
        user=members.text("proc_effective_user", "proc_real_user", "proc_effective_uid"),
    )
    return made if made.exe or made.args else None


def _file(members: Members) -> File | None:
    names = members.texts("file_name", each=MAX_TEXT)
    path = members.text("file_path", most=MAX_TEXT) or (names[0] if names else None)
    return File(path=path) if path else None


def _connection(members: Members) -> Connection | None:
    made = Connection(
        source_ip=members.address("client_ip"),
        source_port=members.port("client_port") or None,
        destination_ip=members.address("server_ip"),
        destination_port=members.port("server_port") or None,
        destination_name=members.text("fqdn"),
        protocol=protocol(members.whole("ip_proto", most=255) or None),
    )
    return made if made.source_ip or made.destination_ip else None


def _request(members: Members) -> Request | None:
    user = members.text("user")
    if user is None:
        return None
    address = members.text("user_addr")
    return Request(
        verb=members.text("rest_method"),
        resource=members.text("rest_request"),
        user=user,
        source_ips=(address,) if address else (),
    )
