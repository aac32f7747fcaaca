"""What a container does, in the terms of a baseline: processes, files, connections and system calls. Pure.

What differs from one run to the next (process ids, identifiers, dates, names of temporary files) is written as ``*``,
so that the same thing done again is the same item. ``*`` stands for characters within one part of a path.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Final

from msgspec import Struct

from secguard.errors import Invalid
from secguard.runtime.event import Connection, Event, Kind, Outcome, Process

MAX_TEXT: Final = 300
"""Characters of a path or a name; what is longer is cut, and ends with ``*``."""
MAX_SYSCALLS_TOLD: Final = 512


NO_PORT: Final = -1
"""Nobody told it."""


class ItemKind(StrEnum):
    PROCESS = "process"
    FILE = "file"
    CONNECTION = "connection"
    SYSCALL = "syscall"


class Use(StrEnum):
    """What is done with a file. ``OPEN``: the sensor did not tell whether it is read or written."""

    OPEN = "open"
    READ = "read"
    WRITE = "write"


class Direction(StrEnum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Peers(StrEnum):
    """Where an address lies, for a peer that has no name."""

    HOST = "this host"
    METADATA = "the cloud's metadata service"
    LINK = "the local link"
    PRIVATE = "private addresses"
    PUBLIC = "public addresses"
    UNKNOWN = "an unknown peer"


class Item(Struct, frozen=True, order=True):
    """One thing that is normal. Two events that tell the same of a container make the same item."""

    kind: ItemKind
    name: str
    """The program, the file's path, the peer's name or class (``Peers``), the system call."""
    how: str = ""
    """A process: the name of what started it (empty: not told). A file: ``Use``. A connection: ``outbound tcp``."""
    port: int = NO_PORT

    def __str__(self) -> str:
        return words_of(self)


def items_of(event: Event) -> tuple[Item, ...]:
    """The items that an event is evidence of; none where nothing of the kind was done, or nothing was told of it.

    Malware is never normal, what was blocked did not happen, and calls of an API are no container's doing.
    """
    if event.outcome is Outcome.BLOCKED or event.kind in (Kind.MALWARE, Kind.API_AUDIT):
        return ()
    found: list[Item] = []
    if event.kind is Kind.PROCESS and event.process and (item := _process(event.process)):
        found.append(item)
    elif event.kind is Kind.FILE and event.file and event.file.path:
        found.append(Item(ItemKind.FILE, pattern_of(event.file.path), _use(event).value))
    elif event.kind is Kind.NETWORK and event.connection and (item := _connection(event, event.connection)):
        found.append(item)
    elif event.kind is Kind.LOG_GROWTH and event.growth and event.growth.path:
        found.append(Item(ItemKind.FILE, pattern_of(event.growth.path), Use.WRITE.value))
    return (*found, *_syscalls(event))


def _process(process: Process) -> Item | None:
    exe = process.exe or (process.args or "").split(" ", 1)[0]
    if not exe:
        return None
    return Item(ItemKind.PROCESS, pattern_of(exe), pattern_of(process.parent or "").rpartition("/")[2])


# --- files ---

_WRITES: Final = frozenset(
    ("write", "writev", "pwrite", "modified", "modify", "changed", "change", "create", "created", "creat", "rename",
     "renamed", "renameat", "renameat2", "unlink", "unlinkat", "delete", "deleted", "remove", "removed", "truncate",
     "ftruncate", "append", "chmod", "fchmod", "fchmodat", "chown", "fchownat", "mkdir", "mkdirat", "rmdir", "link",
     "linkat", "symlink", "symlinkat", "attributes", "open-write")
)  # fmt: skip
_READS: Final = frozenset(("read", "readv", "pread", "readlink", "stat", "open-read", "accessed", "access"))


_FLAGS: Final = frozenset(("O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"))


def _use(event: Event) -> Use:
    """By the word for it, by what Falco tells beside (``evt.is_open_write``, ``evt.arg.flags``), else unknown."""
    word = ((event.file.operation if event.file else None) or "").strip().lower()
    flags = set(re.split(r"[|,\s]+", str(event.fields.get("evt.arg.flags") or "")))
    if word in _WRITES or flags & _FLAGS or str(event.fields.get("evt.is_open_write")).lower() == "true":
        return Use.WRITE
    return Use.READ if word in _READS or "O_RDONLY" in flags else Use.OPEN


_UUID: Final = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_VOLATILE: Final = re.compile(
    rf"{_UUID}"
    r"|[0-9]{4}[-_.][0-9]{2}[-_.][0-9]{2}(?:[T_-][0-9:.-]+Z?)?"  # a date, with its time
    r"|(?<![0-9a-zA-Z])(?=[0-9a-fA-F]*[0-9])[0-9a-fA-F]{8,}(?![0-9a-zA-Z])"  # a hash or another identifier
    r"|[0-9]{4,}"  # a counter, a time in seconds, a process id within a name
)
_TEMPORARY: Final = re.compile(r"(?P<stem>(?:tmp|temp|sess|cache|php|pip|npm|go-build|hsperfdata)[-_.]?)[0-9A-Za-z_]+")
"""What libraries name temporary files: a stem, and a suffix made up (mkstemp, Go's os.CreateTemp, PHP's sessions)."""
_ENDING: Final = re.compile(r"(?P<stem>.+[-_.])(?P<made>(?=[0-9A-Za-z]*[0-9])(?=[0-9A-Za-z]*[A-Z])[0-9A-Za-z]{6,})")
_POD: Final = re.compile(r"(?P<stem>[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)-[0-9a-f]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}")
"""A pod's name of a Deployment: the template's hash, and five characters of apimachinery's alphabet."""
_TEMPORARY_PLACES: Final = ("/tmp/", "/var/tmp/", "/dev/shm/", "/run/")  # noqa: S108 - paths in a container


@lru_cache(maxsize=20_000)
def pattern_of(path: str) -> str:
    """The path with ``*`` for what is volatile in it. A star that the path has itself stays one.

    The pattern of a pattern is itself.
    """
    text = re.sub(r"[\x00-\x1f\x7f]", "?", path.strip())
    is_temporary = text.startswith(_TEMPORARY_PLACES)
    parts = [_part(part, is_temporary, i) for i, part in enumerate(text.split("/"))]
    if parts[:2] == ["", "proc"] and len(parts) > 2 and (parts[2].isdigit() or parts[2] in ("self", "thread-self")):
        parts[2] = "*"
        parts = [("*" if i > 3 and part.isdigit() else part) for i, part in enumerate(parts)]
    made = re.sub(r"\*(?:[-_.:]?\*)+", "*", "/".join(parts))
    return made if len(made) <= MAX_TEXT else f"{made[: MAX_TEXT - 1].rstrip('*')}*"


def _part(part: str, is_temporary: bool, depth: int) -> str:
    if part.isdigit() and depth > 1 and len(part) > 1:
        return "*"
    if made := _POD.fullmatch(part):
        return f"{made['stem']}-*"
    if made := _TEMPORARY.fullmatch(part) if is_temporary and re.search(r"[0-9A-Z_]", part) else None:
        return f"{made['stem']}*"
    if is_temporary and (made := _ENDING.fullmatch(part)):
        return f"{made['stem']}*"
    return _VOLATILE.sub("*", part)


# --- connections ---

_INBOUND: Final = frozenset(("accept", "accept4", "listen", "bind", "recvfrom", "recvmsg", "ingress", "inbound"))


def _connection(event: Event, connection: Connection) -> Item | None:
    told = {str(event.fields.get(name) or "").lower() for name in ("direction", "evt.type")}
    is_inbound = bool(_INBOUND & (told | {tag.lower() for tag in event.tags}))
    if is_inbound:
        peer = class_of(connection.source_ip)
    else:
        peer = _name(connection.destination_name) or class_of(connection.destination_ip)
    if peer == Peers.UNKNOWN and connection.destination_port is None:
        return None
    direction = Direction.INBOUND if is_inbound else Direction.OUTBOUND
    protocol = (connection.protocol or "tcp").strip().lower()[:16]
    return Item(ItemKind.CONNECTION, peer, f"{direction.value} {protocol}", _port(connection))


def _port(connection: Connection) -> int:
    return NO_PORT if connection.destination_port is None else connection.destination_port


def _name(name: str | None) -> str:
    text = (name or "").strip().rstrip(".").lower()
    try:
        return class_of(str(ipaddress.ip_address(text)))
    except ValueError:
        return pattern_of(text)


_METADATA: Final = frozenset(("169.254.169.254", "fd00:ec2::254", "100.100.100.200"))
"""Where instances ask for their credentials (AWS, Azure and GCP; AWS over IPv6; Alibaba)."""


def class_of(address: str | None) -> str:
    """Where an address lies: addresses of pods and of services on the internet change; what they are does not."""
    try:
        found = ipaddress.ip_address((address or "").strip().split("%")[0])
    except ValueError:
        return Peers.UNKNOWN.value
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    if str(found) in _METADATA:
        return Peers.METADATA.value
    if found.is_loopback or found.is_unspecified:
        return Peers.HOST.value
    if found.is_link_local or found.is_multicast:
        return Peers.LINK.value
    return Peers.PUBLIC.value if found.is_global else Peers.PRIVATE.value


# --- system calls ---

_SYSCALL: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


def _syscalls(event: Event) -> Iterable[Item]:
    """What an agent lists in the field ``syscalls``, and nothing else: a sensor's alert names the one call it is
    about, and a profile made of such would stop the others."""
    told = event.fields.get("syscalls")
    if not isinstance(told, str):
        return []
    names = dict.fromkeys(re.split(r"[\s,]+", told.strip()))
    good = [name for name in names if _SYSCALL.fullmatch(name)][:MAX_SYSCALLS_TOLD]
    return [Item(ItemKind.SYSCALL, name) for name in good]


# --- said by people ---

_HOW: Final = {
    ItemKind.PROCESS: (re.compile(r"[^\x00-\x1f/]*"), "the name of what started it, or nothing"),
    ItemKind.FILE: (re.compile(r"open|read|write"), "open, read or write"),
    ItemKind.CONNECTION: (
        re.compile(r"(?:inbound|outbound) [^\x00-\x1f]{1,16}"),
        "inbound or outbound, and the protocol",
    ),
    ItemKind.SYSCALL: (re.compile(""), "nothing"),
}


_UNKEPT: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def checked(item: Item) -> Item:
    """An item that a person wrote. Raises ``Invalid`` where no event could ever make it."""
    pattern, wanted = _HOW[item.kind]
    if not pattern.fullmatch(item.how) or _UNKEPT.search(item.how):
        raise Invalid(f"A {item.kind.value} has in how {item.how[:60]!r}; expected {wanted}.", where="how")
    is_name = bool(_SYSCALL.fullmatch(item.name)) if item.kind is ItemKind.SYSCALL else not _UNKEPT.search(item.name)
    if not is_name or not 0 < len(item.name) <= MAX_TEXT or len(item.how) > MAX_TEXT:
        raise Invalid(f"{item.name[:60]!r} is no name of a {item.kind.value}.", where="name")
    if item.kind is not ItemKind.CONNECTION and item.port != NO_PORT:
        raise Invalid(f"A {item.kind.value} has no port; {item.port} was found.", where="port")
    return item


# --- what covers what ---


def covers(normal: Item, seen: Item) -> bool:
    """Whether what is normal covers what was seen: the same, or less than it, or told less exactly."""
    if normal.kind is not seen.kind or not same_name(normal, seen):
        return False
    if normal.kind is ItemKind.PROCESS:
        return normal.how == seen.how or not normal.how or not seen.how
    if normal.kind is ItemKind.FILE:
        return normal.how == seen.how or normal.how == Use.WRITE or seen.how == Use.OPEN
    return normal.how == seen.how and normal.port in (seen.port, NO_PORT)


def same_name(normal: Item, seen: Item) -> bool:
    """A sensor that tells a program's bare name (``sh``) means what another one calls by its path."""
    if normal.kind is ItemKind.PROCESS and "/" not in seen.name:
        return normal.name.rpartition("/")[2] == seen.name
    return normal.name == seen.name


# --- in words ---


def words_of(item: Item) -> str:
    """The item as a noun: ``/bin/sh, started by nginx``; ``egress to port 443 (tcp) of public addresses``."""
    if item.kind is ItemKind.PROCESS:
        return f"{item.name}, started by {item.how}" if item.how else item.name
    if item.kind is ItemKind.FILE:
        return f"{_USES[item.how]} {item.name}"
    if item.kind is ItemKind.SYSCALL:
        return f"the system call {item.name}"
    direction, _, protocol = item.how.partition(" ")
    port = f"port {item.port} ({protocol})" if item.port != NO_PORT else f"any port ({protocol})"
    if direction == Direction.INBOUND:
        return f"connections to its {port} from {item.name}"
    return f"egress to {port} of {item.name}"


_USES: Final = {Use.OPEN.value: "opening", Use.READ.value: "reading", Use.WRITE.value: "writing"}
_DONE: Final = {Use.OPEN.value: "opened", Use.READ.value: "read", Use.WRITE.value: "wrote to"}


def deed_of(item: Item) -> str:
    """What a container did, in the past tense: ``started /bin/sh from nginx``."""
    if item.kind is ItemKind.PROCESS:
        return f"started {item.name} from {item.how}" if item.how else f"started {item.name}"
    if item.kind is ItemKind.FILE:
        return f"{_DONE[item.how]} {item.name}"
    if item.kind is ItemKind.SYSCALL:
        return f"made the system call {item.name}"
    direction, _, protocol = item.how.partition(" ")
    port = f"port {item.port}" if item.port != NO_PORT else "some port"
    if direction == Direction.INBOUND:
        return f"was reached on its {port} ({protocol}) from {item.name}"
    return f"connected to {port} ({protocol}) of {item.name}"
