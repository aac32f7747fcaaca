"""Who spoke to whom, in one form for every source. Pure.

``None`` says that the source told nothing: nothing is guessed here. A flow that names neither end is none.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

MAX_LABELS: Final = 64
MAX_NAMES: Final = 32
MAX_POLICIES: Final = 32


class Verdict(StrEnum):
    """What became of it. ``UNKNOWN`` where the source does not tell, or where it was lost for another reason."""

    FORWARDED = "forwarded"
    DENIED = "denied"
    UNKNOWN = "unknown"


class Direction(StrEnum):
    """As seen from the place that observed it."""

    INGRESS = "ingress"
    EGRESS = "egress"
    UNKNOWN = "unknown"


class End(Struct, frozen=True, omit_defaults=True):
    """One end of a flow."""

    namespace: str | None = None
    workload: str | None = None
    workload_kind: str | None = None
    pod: str | None = None
    labels: tuple[str, ...] = ()
    """``app=shop``, in the source's order; labels of the network itself are left out."""
    ip: str | None = None
    identity: str | None = None
    """What stands for no pod: ``world``, ``host``, ``remote-node``, ``kube-apiserver`` …"""
    names: tuple[str, ...] = ()
    """Names by which it was asked for in the DNS."""
    service: str | None = None
    cluster: str | None = None
    host: str | None = None
    """The machine or the interface where no pod is named."""


class Flow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One observation, or the sum of ``count`` of them between ``observed`` and ``ended``."""

    tool: str
    fingerprint: str
    """The same for the same flow sent again, another one for any other."""
    source: End
    destination: End
    verdict: Verdict = Verdict.UNKNOWN
    verdict_word: str = ""
    observed: datetime | None = None
    ended: datetime | None = None
    protocol: str | None = None
    port: int | None = None
    """That of the destination."""
    source_port: int | None = None
    direction: Direction = Direction.UNKNOWN
    is_reply: bool | None = None
    bytes: int | None = None
    packets: int | None = None
    count: int = 1
    policies: tuple[str, ...] = ()
    """Names of the rules that let it through or stopped it, ``namespace/name`` where they have one."""
    reason: str | None = None
    """Why it was dropped, in the source's word."""
    layer7: str | None = None
    """``http``, ``dns``, ``kafka``; nothing of what was asked is kept but the name in a question to the DNS."""
    dns_query: str | None = None
    dns_ips: tuple[str, ...] = ()
    node: str | None = None
    cluster: str | None = None
    source_id: str | None = None
    unread: tuple[str, ...] = ()


class Lost(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The source's word that it saw more than it told: what is counted in this time is not all there was."""

    tool: str
    fingerprint: str
    count: int | None = None
    """``None`` where it is not told how many."""
    reason: str | None = None
    node: str | None = None
    cluster: str | None = None
    observed: datetime | None = None
    ended: datetime | None = None
    unread: tuple[str, ...] = ()


def fingerprint(tool: str, told: Any) -> str:
    """Of what the source told of one flow, whatever the order of its names."""
    try:
        written = msgspec.json.encode(told, order="sorted")
    except (OverflowError, TypeError, ValueError):  # an integer past 64 bits
        written = json.dumps(told, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.blake2b(tool.encode() + b"\0" + written, digest_size=24).hexdigest()


PROTOCOLS: Final = {
    1: "icmp",
    2: "igmp",
    4: "ipip",
    6: "tcp",
    17: "udp",
    41: "ipv6",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmpv6",
    132: "sctp",
}
"""IANA, "Protocol Numbers": those that clouds log."""


def protocol_of(number: int | None) -> str | None:
    """The name of an IP protocol; the number itself where it has none here."""
    return None if number is None else PROTOCOLS.get(number, str(number))
