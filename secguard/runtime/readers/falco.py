"""Falco's JSON alerts, from Falco itself or through falcosidekick (which adds ``uuid`` and custom fields).

Falco: userspace/engine/formats.cpp; falcosidekick: types/types.go. Any field may be null or ``<NA>``.
"""

from __future__ import annotations

from typing import Any, Final

from secguard.errors import Invalid
from secguard.images.jsonlines import MAX_TEXT, Members
from secguard.images.strictjson import named
from secguard.runtime.event import (
    Connection,
    Event,
    File,
    Kind,
    Process,
    Request,
    digest_in,
    fingerprint,
    from_syslog_word,
    mitre_of,
)
from secguard.runtime.readers._values import addresses, scalars, tags

_TOOL: Final = "falco"
_API_SOURCES: Final = frozenset(
    ("k8s_audit", "k8saudit", "aws_cloudtrail", "gcp_auditlog", "okta", "github", "gitlab", "kafka", "entraid")
)
_NETWORK: Final = frozenset(
    ("connect", "accept", "accept4", "bind", "listen", "socket", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg")
)
_PROCESS: Final = frozenset(("execve", "execveat", "clone", "clone3", "fork", "vfork", "ptrace", "kill", "procexit"))
_FILE: Final = frozenset(
    ("open", "openat", "openat2", "creat", "read", "write", "pwrite", "rename", "renameat", "renameat2", "unlink",
     "unlinkat", "link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat", "rmdir", "chmod", "fchmod", "fchmodat",
     "chown", "fchown", "fchownat", "mount", "umount2", "truncate", "ftruncate")
)  # fmt: skip


def claims(document: dict[str, Any]) -> bool:
    return ("rule" in document or "Rule" in document) and "priority" in document


def read(members: Members) -> list[Event]:
    """One alert. Raises ``Invalid`` where its rule or its priority is none."""
    rule = _required(members, "rule" if "rule" in members.members else "Rule")
    priority = _required(members, "priority")
    given = members.node("output_fields")
    fields = Members(dict(given.members), "output_fields", members.unread)
    words = members.texts("tags")
    source = members.text("source")
    container = fields.text("container.id")
    # Falco calls what runs beside all containers so.
    in_container = container not in (None, "host")
    return [
        Event(
            kind=_kind(rule, source, words, fields),
            tool=_TOOL,
            rule=rule,
            fingerprint=fingerprint(_TOOL, members.members),
            severity=from_syslog_word(priority),
            severity_word=priority,
            observed=members.instant("time") or fields.instant("evt.time", "evt.time.iso8601"),
            message=members.text("output", "message", most=MAX_TEXT),
            host=members.text("hostname") or fields.text("evt.hostname"),
            cluster=fields.text("k8s.cluster.name", "cluster", "cluster_name"),
            namespace=fields.text("k8s.ns.name", "ka.target.namespace", "ka.namespace"),
            workload=fields.text("k8s.deployment.name", "k8s.rs.name", "k8s.rc.name"),
            pod=_pod(fields),
            pod_uid=fields.text("k8s.pod.uid"),
            container_id=container if in_container else None,
            container=fields.text("container.name") if in_container else None,
            image=_image(fields),
            digest=digest_in(fields.text("container.image.digest"), fields.text("container.image")),
            process=_process(fields),
            file=_file(fields),
            connection=_connection(fields),
            request=_request(fields),
            mitre=mitre_of(words),
            tags=tags((*words, *((source,) if source else ()))),
            source_id=members.text("uuid"),
            fields=scalars(members, "output_fields", fields.members),
            unread=tuple(members.unread),
        )
    ]


def _required(members: Members, name: str) -> str:
    value = members.members.get(name)
    if not isinstance(value, str) or not value.strip():
        found = "an empty text" if isinstance(value, str) else named(value)
        raise Invalid(
            f"Falco's alert has in {name!r} {found}; expected a text, as Falco writes it with json_output: true.",
            code="bad-event",
            where=f"$.{name}",
        )
    return members.text(name) or value[:64]


def _kind(rule: str, source: str | None, words: tuple[str, ...], fields: Members) -> Kind:
    lower = {word.lower() for word in words}
    if "malware" in lower or "malware" in rule.lower():
        return Kind.MALWARE
    if source in _API_SOURCES or any(name.startswith(("ka.", "ct.", "gcp.")) for name in fields.members):
        return Kind.API_AUDIT
    call = fields.text("evt.type")
    if call in _NETWORK or ("network" in lower and call not in _FILE | _PROCESS):
        return Kind.NETWORK
    if call in _FILE or (call not in _PROCESS and "filesystem" in lower):
        return Kind.FILE
    name = fields.text("fd.name") or ""
    if call not in _PROCESS and ("->" in name or "fd.rip" in fields or "fd.sip" in fields):
        return Kind.NETWORK
    if call not in _PROCESS and name.startswith("/"):
        return Kind.FILE
    if call in _PROCESS or any(one in fields for one in ("proc.cmdline", "proc.name", "proc.exepath")):
        return Kind.PROCESS
    return Kind.OTHER


def _pod(fields: Members) -> str | None:
    named_pod = fields.text("k8s.pod.name", "ka.target.pod.name")
    if named_pod is None and fields.text("ka.target.resource") == "pods":
        return fields.text("ka.target.name")
    return named_pod


def _image(fields: Members) -> str | None:
    repository = fields.text("container.image.repository")
    if repository is None:
        return fields.text("container.image", "container.image.full")
    tag = fields.text("container.image.tag")
    return f"{repository}:{tag}" if tag else repository


def _process(fields: Members) -> Process | None:
    made = Process(
        exe=fields.text("proc.exepath", "proc.name", "proc.exe", most=MAX_TEXT),
        args=fields.text("proc.cmdline", "proc.pcmdline", most=MAX_TEXT),
        parent=fields.text("proc.pexepath", "proc.pname", "proc.aname[1]", most=MAX_TEXT),
        user=fields.text("user.name", "user.uid"),
        pid=fields.whole("proc.pid"),
    )
    # A user alone is no process: the API's alerts have one too.
    return made if made.exe or made.args or made.parent else None


def _file(fields: Members) -> File | None:
    path = next(
        (
            path
            for name in ("fd.name", "fs.path.name", "evt.arg.path", "evt.abspath", "fd.directory")
            if (path := fields.text(name, most=MAX_TEXT)) and path.startswith("/")
        ),
        None,
    )
    return File(path=path, operation=fields.text("evt.type")) if path else None


def _connection(fields: Members) -> Connection | None:
    protocol = fields.text("fd.l4proto")
    ends = addresses(fields.text("fd.name") or "")
    if ends is not None:
        return Connection(*ends, protocol=protocol)
    made = Connection(
        source_ip=fields.address("fd.cip", "fd.lip"),
        source_port=_port(fields, "fd.cport", "fd.lport"),
        destination_ip=fields.address("fd.sip", "fd.rip"),
        destination_port=_port(fields, "fd.sport", "fd.rport"),
        destination_name=fields.text("fd.sip.name", "fd.rip.name"),
        protocol=protocol,
    )
    return made if made.source_ip or made.destination_ip or made.destination_name else None


def _port(fields: Members, name: str, other: str) -> int | None:
    found = fields.port(name)
    return fields.port(other) if found is None else found


def _request(fields: Members) -> Request | None:
    verb, resource = fields.text("ka.verb"), fields.text("ka.target.resource")
    user = fields.text("ka.user.name", "ct.user", "gcp.user", "okta.actor.alternateID", "github.user")
    if verb is None and resource is None and user is None:
        return None
    sub = fields.text("ka.target.subresource")
    address = fields.text("ka.sourceips", "ct.srcip", "gcp.callerIP")
    return Request(
        verb=verb or fields.text("ct.name", "gcp.methodName"),
        resource=f"{resource}/{sub}" if resource and sub else resource,
        name=fields.text("ka.target.name"),
        code=fields.whole("ka.response.code", most=999),
        user=user,
        on_behalf_of=fields.text("ka.impuser.name"),
        user_agent=fields.text("ka.useragent", "gcp.userAgent"),
        source_ips=(address,) if address else (),
    )
