"""A baseline as rules for Falco: what the image does beyond it raises an alert. Pure.

Written after falco.org's documentation (Rules: Basic Elements, Supported Fields, Condition Syntax). The rules stand for
themselves and use no macro of Falco's own rule set. A name is never put into a condition but quoted; into a list only
where it has nothing that would need it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import yaml

from secguard.runtime.baseline_items import NO_PORT, Direction, Item, ItemKind, Peers, Use

PRIVATE: Final = (
    "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4", "fc00::/7", "2001:db8::/32",
)  # fmt: skip
"""Addresses that are not global and neither of the host nor of its link (IANA's special-purpose registries)."""
HOST: Final = ("127.0.0.0/8", "0.0.0.0/32", "::1/128")
LINK: Final = ("169.254.0.0/16", "224.0.0.0/4", "fe80::/10", "ff00::/8")
METADATA: Final = ("169.254.169.254", "100.100.100.200", "fd00:ec2::254")

_EXECUTES: Final = "evt.type in (execve, execveat) and evt.rawres = 0"
_WRITES: Final = (
    "evt.type in (open, openat, openat2, creat) and evt.is_open_write = true and fd.typechar = f and fd.num >= 0"
)
_CONNECTS: Final = "evt.type = connect and (evt.rawres >= 0 or evt.res = EINPROGRESS)"
_ACCEPTS: Final = "evt.type in (accept, accept4) and fd.num >= 0"
_SPECIAL: Final = re.compile(r"[][()\\]")
"""What a glob would read as more than itself (fnmatch(3), with extended patterns)."""
_PLAIN: Final = re.compile(r"/[A-Za-z0-9_./-]{1,300}")


def rules_of(
    digest: str, repositories: Sequence[str], items: Iterable[Item], varied: Iterable[ItemKind] = (), *, note: str = ""
) -> str:
    """YAML: lists, macros, and one rule for each kind that is known and not varied. ``note`` becomes its comment.

    An image is known by its digest; where the container runtime does not tell it, by a repository of its own.
    """
    found = sorted(items)
    prefix = f"sg_{digest.rpartition(':')[2][:12]}"
    image = f"{prefix}_image"
    written: list[dict[str, Any]] = [{"macro": image, "condition": _image(digest, repositories)}]
    for kind, build in ((ItemKind.PROCESS, _processes), (ItemKind.FILE, _files), (ItemKind.CONNECTION, _connections)):
        ours = [item for item in found if item.kind is kind]
        if kind not in set(varied):
            written += build(prefix, image, ours)
    told = yaml.safe_dump(written, sort_keys=False, allow_unicode=True, width=110)
    return "".join(f"# {line}\n" for line in _comment(note)) + told


def _comment(note: str) -> list[str]:
    return [re.sub(r"[^\x20-\x7e]", "?", line) for line in note.splitlines()]


def _image(digest: str, repositories: Sequence[str]) -> str:
    by_digest = f"container.image.digest = {quoted(digest)}"
    if not repositories:
        return by_digest
    names = ", ".join(map(quoted, sorted(repositories)))
    return f'{by_digest} or (container.image.digest in ("", "<NA>") and container.image.repository in ({names}))'


# --- processes ---


def _processes(prefix: str, image: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    if not items:
        return []
    name = f"{prefix}_programs"
    alone = {item.name for item in items if not item.how}
    plain = sorted(n for n in alone if _PLAIN.fullmatch(n))
    parents: dict[str, list[str]] = {}
    for item in items:
        if item.name not in alone:
            parents.setdefault(item.name, []).append(item.how)
    parts = [f"proc.exepath in ({name})"] if plain else []
    parts += [_program(n) for n in sorted(alone - set(plain))]
    parts += [f"({_program(exe)} and {_started_by(hows)})" for exe, hows in parents.items()]
    rule = _rule(
        prefix, "program", f"{_EXECUTES} and {image}", f"{prefix}_normal_programs",
        "started a program outside its baseline",
        "%proc.exepath started by %proc.pname (command=%proc.cmdline user=%user.name)", ["process"],
    )  # fmt: skip
    made: list[dict[str, Any]] = [{"list": name, "items": plain}] if plain else []
    return [*made, {"macro": f"{prefix}_normal_programs", "condition": " or ".join(parts)}, rule]


def _program(name: str) -> str:
    return _matches("proc.exepath" if "/" in name else "proc.name", name)


def _started_by(names: Sequence[str]) -> str:
    """By the whole path of the parent, or by its name, of which the kernel keeps 15 characters."""
    either = []
    for name in sorted(set(names)):
        either += [
            _matches("proc.pexepath", f"*/{name}") if is_glob(name) else f"proc.pexepath endswith {quoted('/' + name)}",
            _matches("proc.pname", f"{name[:15]}*" if is_glob(name) or len(name) > 15 else name),
        ]
    return f"({' or '.join(either)})"


# --- files ---


def _files(prefix: str, image: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    """Of writing alone: what a container reads no sensor tells in full. A file of which it was not told whether it was
    written may be."""
    names = sorted({item.name for item in items if item.how != Use.READ})
    if not names:
        return []
    plain = [n for n in names if _PLAIN.fullmatch(n)]
    parts = [f"fd.name in ({prefix}_files)"] if plain else []
    parts += [_matches("fd.name", n) for n in names if not _PLAIN.fullmatch(n)]
    rule = _rule(
        prefix, "file", f"{_WRITES} and {image}", f"{prefix}_normal_files", "wrote to a file outside its baseline",
        "%fd.name written by %proc.exepath (command=%proc.cmdline user=%user.name)", ["filesystem"],
    )  # fmt: skip
    made: list[dict[str, Any]] = [{"list": f"{prefix}_files", "items": plain}] if plain else []
    return [*made, {"macro": f"{prefix}_normal_files", "condition": " or ".join(parts)}, rule]


# --- connections ---


def _connections(prefix: str, image: str, items: Sequence[Item]) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for direction, what, happens, told in (
        (Direction.OUTBOUND, "egress", _CONNECTS, "connected to a peer outside its baseline"),
        (Direction.INBOUND, "ingress", _ACCEPTS, "was reached in a way that is outside its baseline"),
    ):
        ours = [item for item in items if item.how.startswith(direction.value)]
        if not ours:
            continue
        normal = f"{prefix}_normal_{what}"
        made.append({"macro": normal, "condition": " or ".join(_way(item, direction) for item in ours)})
        begins = f"{happens} and fd.typechar in (4, 6) and {image}"
        fields = "%fd.name by %proc.exepath (command=%proc.cmdline user=%user.name)"
        made.append(_rule(prefix, what, begins, normal, told, fields, ["network"]))
    return made


def _way(item: Item, direction: Direction) -> str:
    parts = [f"fd.l4proto = {quoted(item.how.partition(' ')[2])}"]
    if item.port != NO_PORT:
        parts.append(f"fd.sport = {item.port}")
    side = "s" if direction is Direction.OUTBOUND else "c"
    net, address = f"fd.{side}net", f"fd.{side}ip"
    if item.name == Peers.PUBLIC:
        parts.append(f"not {net} in ({_nets(PRIVATE, HOST, LINK)}) and not {address} in ({_nets(METADATA)})")
    elif item.name == Peers.PRIVATE:
        parts.append(f"{net} in ({_nets(PRIVATE)}) and not {address} in ({_nets(METADATA)})")
    elif item.name == Peers.HOST:
        parts.append(f"{net} in ({_nets(HOST)})")
    elif item.name == Peers.LINK:
        parts.append(f"{net} in ({_nets(LINK)}) and not {address} in ({_nets(METADATA)})")
    elif item.name == Peers.METADATA:
        parts.append(f"{address} in ({_nets(METADATA)})")
    elif item.name != Peers.UNKNOWN:
        parts.append(_matches(f"fd.{side}ip.name", item.name))
    return f"({' and '.join(parts)})"


def _nets(*nets: Sequence[str]) -> str:
    return ", ".join(f'"{net}"' for some in nets for net in some)


# --- writing ---


def _rule(
    prefix: str, what: str, happens: str, normal: str, does: str, fields: str, tags: Sequence[str]
) -> dict[str, Any]:
    return {
        "rule": f"SecGuard {prefix[3:]}: {what} outside the baseline",
        "desc": f"A container of the image {does}, as it was reviewed and locked in SecGuard.",
        "condition": f"{happens} and not {normal}",
        "output": f"Outside the baseline: {fields} container=%container.id image=%container.image.repository",
        "priority": "WARNING",
        "tags": ["container", "secguard", "baseline", *tags],
    }


def is_glob(name: str) -> bool:
    return "*" in name or "?" in name


def _matches(field: str, name: str) -> str:
    if not is_glob(name):
        return f"{field} = {quoted(name)}"
    pattern = _SPECIAL.sub(lambda found: "\\" + found[0], name)
    return f"{field} glob {quoted(pattern)}"


def quoted(text: str) -> str:
    """A value of a condition, whatever is in it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
