"""A baseline as an AppArmor profile: which programs may be started, and what may be written. Pure.

The syntax is that of apparmor.d(5). Reading stays free, since no sensor tells everything that is read (a library, a
certificate); and a kind of which nothing is known is not restricted: what is not known cannot be told from wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from secguard.runtime.baseline_items import MAX_TEXT, Item, ItemKind, Use

_SOCKETS: Final = {"tcp": "stream", "udp": "dgram", "sctp": "seqpacket", "icmp": "raw", "icmpv6": "raw"}
_GLOBS: Final = re.compile(r'[\\"\[\]{}^@]')


def profile_of(digest: str, items: Iterable[Item], varied: Iterable[ItemKind] = (), *, note: str = "") -> str:
    """The text of a profile that is named after the image's digest. ``note`` becomes its comment."""
    found, free = sorted(items), set(varied)
    by_kind = {k: [i for i in found if i.kind is k] for k in ItemKind}
    lines = [f"# {line}" for line in re.sub(r"[^\x20-\x7e\n]", "?", note).splitlines()]
    lines += ["#include <tunables/global>", "", f"profile {name_of(digest)} flags=(attach_disconnected) {{"]
    lines += ["  #include <abstractions/base>", "", "  capability,", "  signal,", "  unix,", "  /** mr,"]
    lines += ["", "  # What it starts."]
    lines += _programs(by_kind[ItemKind.PROCESS], is_free=ItemKind.PROCESS in free)
    lines += ["", "  # What it writes."]
    lines += _files(by_kind[ItemKind.FILE], is_free=ItemKind.FILE in free)
    lines += ["", "  # What it talks. AppArmor knows no ports and no peers; Falco and network policies do."]
    lines += _network(by_kind[ItemKind.CONNECTION], is_free=ItemKind.CONNECTION in free)
    return "\n".join([*lines, "}", ""])


def name_of(digest: str) -> str:
    return f"secguard-{digest.rpartition(':')[2][:12]}"


def _programs(items: Sequence[Item], *, is_free: bool) -> list[str]:
    paths = sorted({item.name for item in items if item.name.startswith("/")})
    if not items or is_free or len(paths) < len({item.name for item in items}):
        return ["  # Not known by their paths, and so not restricted.", "  /** ix,"]
    return [f"  {quoted(path)} ix," for path in paths]


def _files(items: Sequence[Item], *, is_free: bool) -> list[str]:
    written = sorted({(item.name, item.how == Use.WRITE) for item in items if item.how != Use.READ})
    if not written or is_free:
        return ["  # Not known, and so not restricted.", "  /** wkl,"]
    lines = []
    for name, sure in dict(written).items():
        if not name.startswith("/"):
            return ["  # Not known by their paths, and so not restricted.", "  /** wkl,"]
        if not sure:
            lines.append("  # It was opened; nobody told whether it was written.")
        lines.append(f"  {quoted(name)} wkl,")
    return lines


def _network(items: Sequence[Item], *, is_free: bool) -> list[str]:
    protocols = {item.how.partition(" ")[2] for item in items}
    if not protocols or is_free or not protocols <= _SOCKETS.keys():
        return ["  # Not known, and so not restricted.", "  network,"]
    kinds = sorted({_SOCKETS[protocol] for protocol in protocols})
    return [f"  network {family} {kind}," for kind in kinds for family in ("inet", "inet6")]


def quoted(pattern: str) -> str:
    """A path's pattern in quotes. ``*`` stands for characters within one part of it there as here, ``?`` for one;
    everything else stands for itself. Of what was cut, any end will do."""
    text = _GLOBS.sub(lambda found: "\\" + found[0], pattern)
    if len(pattern) >= MAX_TEXT and text.endswith("*"):
        text += "*"
    return f'"{text}"'
