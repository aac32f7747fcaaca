"""What an event is called, and which events are the same thing again. Pure."""

from __future__ import annotations

import re
from typing import Final

from secguard.events.record import MAX_TITLE, story_of
from secguard.findings.severity import Severity
from secguard.runtime.event import Event, Kind

_VOLATILE: Final = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.I), "*"),
    (re.compile(r"\b[0-9a-f]{12,}\b", re.I), "*"),
    (re.compile(r"\d+"), "*"),
)
"""What differs from one run of the same thing to the next: identifiers, hashes, numbers."""
_MAX_OBJECT: Final = 200


def object_of(event: Event) -> str:
    """What was done or touched: a program, a file, a peer, a call; empty where nothing was told."""
    if event.kind is Kind.PROCESS and event.process:
        return event.process.exe or (event.process.args or "").partition(" ")[0]
    if event.kind in (Kind.FILE, Kind.MALWARE) and event.file:
        return event.file.path or event.file.sha256 or ""
    if event.kind is Kind.LOG_GROWTH and event.growth:
        return event.growth.path or ""
    if event.connection and (event.connection.destination_name or event.connection.destination_ip):
        peer, port = (
            event.connection.destination_name or event.connection.destination_ip,
            event.connection.destination_port,
        )
        return f"{peer}:{port}" if port else str(peer)
    if event.request:
        return " ".join(filter(None, (event.request.verb, event.request.resource, event.request.name)))
    if event.process and event.process.exe:
        return event.process.exe
    return (event.file.path or "") if event.file else ""


def title_of(event: Event) -> str:
    """One line: the rule, and what it is about."""
    told = object_of(event)
    return f"{event.rule}: {told}"[:MAX_TITLE] if told and told not in event.rule else event.rule[:MAX_TITLE]


def stable(text: str) -> str:
    """The text without what differs from run to run, so that the like of it is told as one story."""
    for pattern, instead in _VOLATILE:
        text = pattern.sub(instead, text)
    return text[:_MAX_OBJECT]


def story(event: Event, place: str, digest: str) -> str:
    """What the event is counted under: the same rule of the same tool, with the same outcome, about the same thing in
    the same place."""
    return story_of(event.kind, event.tool, event.rule, event.outcome, place, digest, stable(object_of(event)))


def severity_of(event: Event) -> int:
    """As its source says; malware that nobody rated is high: that it is there is enough to look."""
    if event.severity == Severity.UNKNOWN and event.kind is Kind.MALWARE:
        return int(Severity.HIGH)
    return int(event.severity)
