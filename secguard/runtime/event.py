"""What a sensor saw, in one form for every tool. Pure.

``None`` says that the source told nothing (or null): nothing is guessed here. Every text has been bounded and masked
(:mod:`~secguard.runtime.masking`); what could not be read stands in ``unread`` with its place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from secguard.findings.severity import Severity

MAX_TAGS: Final = 32
MAX_FIELDS: Final = 64
MAX_FIELD: Final = 1_024

Scalar = str | int | float | bool | None


class Kind(StrEnum):
    """What an event is about."""

    PROCESS = "process"
    FILE = "file"
    NETWORK = "network"
    MALWARE = "malware"
    LOG_GROWTH = "log-growth"
    API_AUDIT = "api-audit"
    OTHER = "other"


class Outcome(StrEnum):
    """What the sensor did about it."""

    DETECTED = "detected"
    ALLOWED = "allowed"
    BLOCKED = "blocked"


class Process(Struct, frozen=True, omit_defaults=True):
    exe: str | None = None
    """The path of the program, where told; else its name."""
    args: str | None = None
    """The whole command line."""
    parent: str | None = None
    user: str | None = None
    pid: int | None = None


class File(Struct, frozen=True, omit_defaults=True):
    path: str | None = None
    operation: str | None = None
    """The source's word: ``openat``, ``write``, ``modified`` …"""
    sha256: str | None = None
    sha256_before: str | None = None


class Connection(Struct, frozen=True, omit_defaults=True):
    """From who asked (``source``) to who was asked (``destination``)."""

    source_ip: str | None = None
    source_port: int | None = None
    destination_ip: str | None = None
    destination_port: int | None = None
    destination_name: str | None = None
    protocol: str | None = None


class Request(Struct, frozen=True, omit_defaults=True):
    """A call of an API or of a web server."""

    verb: str | None = None
    resource: str | None = None
    """``apps/deployments``, ``pods/exec``; for a web server the path asked for."""
    name: str | None = None
    code: int | None = None
    user: str | None = None
    on_behalf_of: str | None = None
    user_agent: str | None = None
    source_ips: tuple[str, ...] = ()


class Growth(Struct, frozen=True, omit_defaults=True):
    """A log or a cache that grows: how much, in which time, and where the sensor's limit lies."""

    path: str | None = None
    bytes: int | None = None
    grown_by: int | None = None
    seconds: int | None = None
    limit: int | None = None


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that a sensor saw."""

    kind: Kind
    tool: str
    """Whose event it is, as the product calls it: ``falco``, ``neuvector``, ``kubernetes-audit`` …"""
    rule: str
    fingerprint: str
    """The same for the same event sent again, another one for any other event."""
    rule_id: str | None = None
    severity: Severity = Severity.UNKNOWN
    severity_word: str = ""
    """The source's own word or number."""
    observed: datetime | None = None
    """When it happened by the sensor's clock, aware; ``None`` where the source tells no time."""
    message: str | None = None
    outcome: Outcome = Outcome.DETECTED
    count: int = 1
    host: str | None = None
    cluster: str | None = None
    namespace: str | None = None
    workload: str | None = None
    pod: str | None = None
    pod_uid: str | None = None
    container_id: str | None = None
    container: str | None = None
    image: str | None = None
    digest: str | None = None
    process: Process | None = None
    file: File | None = None
    connection: Connection | None = None
    request: Request | None = None
    growth: Growth | None = None
    mitre: tuple[str, ...] = ()
    """Tactics (``execution``, ``TA0002``) and techniques (``T1059.004``) of ATT&CK."""
    tags: tuple[str, ...] = ()
    source_id: str | None = None
    fields: dict[str, Scalar] = {}
    """What the source told beyond that, by its own names; null stays null."""
    unread: tuple[str, ...] = ()


def fingerprint(tool: str, document: Any, part: str = "") -> str:
    """Of a document (already masked) whatever the order of its names; ``part`` tells events of one document apart."""
    try:
        written = msgspec.json.encode(document, order="sorted")
    except (OverflowError, TypeError, ValueError):  # an integer past 64 bits
        written = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return hashlib.sha256(b"\0".join((tool.encode(), part.encode(), written))).hexdigest()


_SYSLOG: Final = {
    "emergency": Severity.CRITICAL,
    "emerg": Severity.CRITICAL,
    "alert": Severity.CRITICAL,
    "critical": Severity.CRITICAL,
    "crit": Severity.CRITICAL,
    "error": Severity.HIGH,
    "err": Severity.HIGH,
    "warning": Severity.MEDIUM,
    "notice": Severity.LOW,
    "informational": Severity.NEGLIGIBLE,
    "info": Severity.NEGLIGIBLE,
    "debug": Severity.NEGLIGIBLE,
}
_SYSLOG_NUMBERS: Final = ("emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug")


def from_syslog_word(word: str) -> Severity:
    """A priority as syslog (RFC 5424, 6.2.1), Falco, NeuVector and ModSecurity name or number it."""
    word = word.strip().lower()
    if word.isascii() and word.isdigit() and len(word) == 1 and int(word) < len(_SYSLOG_NUMBERS):
        word = _SYSLOG_NUMBERS[int(word)]
    return _SYSLOG.get(word, Severity.UNKNOWN)


_TECHNIQUE = re.compile(r"(?:mitre_|attack\.)?(TA\d{4}|T\d{4}(?:\.\d{3})?)", re.IGNORECASE)
_TACTICS: Final = frozenset(
    ("reconnaissance", "resource-development", "initial-access", "execution", "persistence", "privilege-escalation",
     "defense-evasion", "credential-access", "discovery", "lateral-movement", "collection", "command-and-control",
     "exfiltration", "impact")
)  # fmt: skip


def mitre_of(words: Iterable[str]) -> tuple[str, ...]:
    """The tactics and techniques among the tags of a rule: ``mitre_execution``, ``T1059``, ``ta0002``."""
    found: dict[str, None] = {}
    for word in words:
        technique = _TECHNIQUE.fullmatch(word)
        if technique:
            found[technique[1].upper()] = None
        elif (tactic := word.lower().removeprefix("mitre_").replace("_", "-")) in _TACTICS:
            found[tactic] = None
    return tuple(found)[:MAX_TAGS]


_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_in(*texts: str | None) -> str | None:
    """The digest that one of these texts names: alone, or as ``repository@sha256:…``."""
    for text in texts:
        if text and (found := _DIGEST.search(text)) and len(text) - found.end() == 0:
            return found[0]
    return None
