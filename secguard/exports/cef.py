"""ArcSight's Common Event Format, version 0 (Implementing ArcSight Common Event Format, version 26). Pure.

``CEF:0|vendor|product|version|signature id|name|severity|extension``. In the header backslash and pipe are escaped, in
the extension backslash, equals sign and line ends; a key is letters and digits and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from secguard.events.record import Kind
from secguard.exports.item import Item, clean, milliseconds, told_number, told_text
from secguard.findings.severity import Severity

SEVERITY: Final = {
    Severity.UNKNOWN: 0,
    Severity.NEGLIGIBLE: 1,
    Severity.LOW: 3,
    Severity.MEDIUM: 6,
    Severity.HIGH: 8,
    Severity.CRITICAL: 10,
}
"""To CEF's 0 (least) to 10: 0-3 low, 4-6 medium, 7-8 high, 9-10 very high."""

MAX_VALUE: Final = 1_023
"""Characters: the bound that the format sets to its longest fields."""
MAX_BYTES: Final = 6_800
"""Of a message, so that it fits with syslog's own header into what receivers take (8,192 bytes)."""


def header_text(text: str) -> str:
    """A field of the header: one line, backslash and pipe escaped."""
    return clean(text).replace("\\", "\\\\").replace("|", "\\|")


def extension_text(text: str) -> str:
    """A value of the extension: backslash, equals sign and line ends escaped, other control characters spaces."""
    escaped = text.replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")
    return clean(escaped).strip(" ")


def message(item: Item, *, version: str) -> str:
    """The event in at most ``MAX_BYTES`` bytes of UTF-8; values that do not fit any more are left out, the least
    important first."""
    line = item.line
    head = (
        "CEF:0",
        "SecGuard",
        "SecGuard",
        header_text(version),
        header_text((line.rule or line.kind.value)[:200]),
        header_text(line.title[:512] or line.kind.value),
        str(SEVERITY[item.severity]),
    )
    made = "|".join(head) + "|"
    room = MAX_BYTES - len(made.encode())
    pairs = []
    for key, value in _pairs(item):
        text = extension_text(value[:MAX_VALUE])
        pair = f"{key}={text}"
        size = len(pair.encode()) + 1
        if text and size <= room:
            pairs.append(pair)
            room -= size
    return made + " ".join(pairs)


def _pairs(item: Item) -> Iterator[tuple[str, str]]:
    """Keys of the format's dictionary and their values, the most important first. A key of ours brings its label."""
    line = item.line
    yield "externalId", str(item.id)
    yield "start", str(milliseconds(line.at))
    yield "rt", str(milliseconds(item.received_at))
    yield "cat", line.kind.value
    yield "cnt", str(line.count)
    yield "deviceProcessName", line.source
    yield "outcome", line.outcome
    yield "dvchost", line.host
    for number, (label, value) in enumerate(_own(item), 1):
        yield f"cs{number}Label={label} cs{number}", value
    yield from _facts(item)
    yield "msg", line.title
    yield "reason", told_text(line.detail, "reason")


def _own(item: Item) -> Iterator[tuple[str, str]]:
    """What the format has no key for: its six custom strings."""
    line = item.line
    yield "cluster", line.cluster
    yield "namespace", line.namespace
    yield "workload", line.workload
    yield "digest", line.digest
    yield "team", item.team
    yield "application", item.application


def _facts(item: Item) -> Iterator[tuple[str, str]]:
    line = item.line
    yield "suser", line.actor or told_text(line.detail, "process", "user") or told_text(line.detail, "request", "user")
    yield "sproc", told_text(line.detail, "process", "exe")
    yield "spid", _number(item, "process", "pid")
    yield "filePath", told_text(line.detail, "file", "path")
    yield "fileHash", told_text(line.detail, "file", "sha256")
    yield "act", told_text(line.detail, "file", "operation") or told_text(line.detail, "request", "verb")
    if line.kind in (Kind.NETWORK, Kind.FLOW):
        yield "src", told_text(line.detail, "connection", "source_ip")
        yield "spt", _number(item, "connection", "source_port")
        yield "dst", told_text(line.detail, "connection", "destination_ip")
        yield "dpt", _number(item, "connection", "destination_port")
        yield "dhost", told_text(line.detail, "connection", "destination_name")
        yield "proto", told_text(line.detail, "connection", "protocol")


def _number(item: Item, *path: str) -> str:
    found = told_number(item.line.detail, *path)
    return "" if found is None else str(found)
