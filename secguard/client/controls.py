"""``secguard controls``: what mitigates elsewhere, and the evidence that it still does."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from secguard.client.rest import CouldNotTell, Deadline, Server

KINDS = ("network-policy", "waf-or-ips-rule", "runtime-profile", "configuration", "process")
WAYS = ("heartbeat", "check", "observation")
SAYS = ("holds", "contradicts")
STATES = ("alive", "going-stale", "stale", "contradicted", "proposed", "retired")
PATH = "/api/v1/controls/"
_HOURS = {"h": 1, "d": 24}


def hours_of(text: str) -> int:
    """``12h``, ``30d`` as hours; raises ``CouldNotTell`` for anything else."""
    number, unit = text[:-1], text[-1:]
    if not (number.isascii() and number.isdigit()) or unit not in _HOURS or len(number) > 5:
        raise CouldNotTell(f"{text!r} says no time; expected is a number of hours or days: 12h, 30d.")
    return int(number) * _HOURS[unit]


def propose(server: Server, deadline: Deadline, document: dict[str, Any]) -> dict[str, Any]:
    """Proposes a control; returns its document. Somebody else confirms it."""
    return server.post(PATH, deadline, document)


def show(server: Server, deadline: Deadline, identity: str) -> dict[str, Any]:
    return server.get(_of(identity), deadline)


def add_evidence(server: Server, deadline: Deadline, identity: str, document: dict[str, Any]) -> dict[str, Any]:
    """Says what was seen of a control; returns the piece of evidence."""
    return server.post(f"{_of(identity)}evidence/", deadline, {k: v for k, v in document.items() if v})


def confirm(server: Server, deadline: Deadline, identity: str) -> dict[str, Any]:
    return server.post(f"{_of(identity)}confirm/", deadline, {})


def retire(server: Server, deadline: Deadline, identity: str, reason: str) -> dict[str, Any]:
    return server.post(f"{_of(identity)}retire/", deadline, {"reason": reason})


def _of(identity: str) -> str:
    return f"{PATH}{quote(identity, safe='')}/"
