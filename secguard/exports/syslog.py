"""Syslog messages as RFC 5424 has them, framed by octet counting as RFC 5425 and RFC 6587 do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from secguard.exports.item import Item, clean, instant
from secguard.findings.severity import Severity

FACILITY: Final = 13
"""Log audit (RFC 5424 table 1)."""
SEVERITY: Final = {
    Severity.UNKNOWN: 6,
    Severity.NEGLIGIBLE: 6,
    Severity.LOW: 5,
    Severity.MEDIUM: 4,
    Severity.HIGH: 3,
    Severity.CRITICAL: 2,
}
"""To syslog's own scale: 2 critical, 3 error, 4 warning, 5 notice, 6 informational (table 2)."""

MAX_BYTES: Final = 8_192
"""Of a message without its frame: what a receiver over TLS should be able to take (RFC 5425 section 4.3.1)."""
SD_ID: Final = "secguard@32473"
"""32473 is the enterprise number for examples (RFC 5612): this product's project has none of its own."""
BOM: Final = b"\xef\xbb\xbf"
MAX_STRUCTURED: Final = 1_000
"""Bytes of structured data."""


def header_field(text: str, most: int) -> str:
    """Printable US-ASCII without spaces, at most ``most`` characters; ``-`` for nothing (section 6.2)."""
    return "".join(c for c in text if 33 <= ord(c) <= 126)[:most] or "-"


def param_value(text: str) -> str:
    """The value of a parameter of structured data: quote, backslash and bracket escaped (section 6.3.3)."""
    return clean(text).replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def structured(params: Mapping[str, str]) -> str:
    """One SD-ELEMENT of ours, in at most ``MAX_STRUCTURED`` bytes; parameters without a value, and later ones that do
    not fit, are left out."""
    made, room = f"[{SD_ID}", MAX_STRUCTURED - len(SD_ID) - 2
    for name, value in params.items():
        param = f' {name}="{param_value(value)}"'
        if value and (size := len(param.encode())) <= room:
            made += param
            room -= size
    return made + "]"


def message(item: Item, body: str, *, host: str) -> bytes:
    """One SYSLOG-MSG of at most ``MAX_BYTES`` bytes; ``body`` is cut where it must be, between characters.

    ``host`` is the server's name. A body that is more than ASCII begins with a byte order mark (section 6.4).
    """
    line = item.line
    priority = FACILITY * 8 + SEVERITY[item.severity]
    name, kind = header_field(host, 255), header_field(line.kind.value, 32)
    data = structured(
        {
            "id": str(item.id),
            "kind": line.kind.value,
            "severity": item.severity.label,
            "rule": line.rule,
            "outcome": line.outcome,
            "cluster": line.cluster,
            "namespace": line.namespace,
            "workload": line.workload,
            "team": item.team,
            "application": item.application,
        }
    )
    head = f"<{priority}>1 {instant(line.at)} {name} secguard - {kind} {data} ".encode()
    text = clean(body)
    mark = b"" if text.isascii() else BOM
    room = MAX_BYTES - len(head) - len(mark)
    return head + mark + text.encode()[:room].decode("utf-8", "ignore").encode()


def framed(message: bytes) -> bytes:
    """With its length before it: whatever bytes the message has, a receiver finds its end (RFC 6587 section 3.4.1)."""
    return b"%d %s" % (len(message), message)
