"""One event as it leaves for somebody else's store: with its number, and with names where the row has numbers. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from secguard.events.record import Line
from secguard.findings.severity import Severity

SHORT: Final = 64
"""Characters: no text of ours that must stay whole (a number, an instant) is longer."""
_CONTROLS: Final = dict.fromkeys((*range(32), *range(127, 160), 8232, 8233), " ")


class Item(Struct, frozen=True, kw_only=True):
    """An event of the store. ``id`` is in every message, so that whoever gets it twice keeps it once."""

    id: int
    line: Line
    received_at: datetime
    team: str = ""
    """The team's slug; empty where it belongs to none."""
    application: str = ""

    @property
    def severity(self) -> Severity:
        return Severity(self.line.severity)


def clean(text: str) -> str:
    """``text`` as one line that can be written as UTF-8: control characters become spaces, lone surrogates ``?``.

    What a sensor or a person wrote shall forge neither a second message nor a terminal's commands in somebody's log.
    """
    return text.translate(_CONTROLS).encode("utf-8", "replace").decode()


def instant(at: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def milliseconds(at: datetime) -> int:
    """Since 1970-01-01T00:00:00Z, without loss of a floating point's last digits."""
    span = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (span.days * 86_400 + span.seconds) * 1_000 + span.microseconds // 1_000


def document(item: Item) -> dict[str, Any]:
    """Our own form: the event's columns under their names in the API. Empty ones are left out."""
    line = item.line
    made = {
        "id": item.id,
        "kind": line.kind.value,
        "source": clean(line.source),
        "rule": clean(line.rule),
        "title": clean(line.title),
        "at": instant(line.at),
        "received_at": instant(item.received_at),
        "severity": item.severity.label,
        "outcome": clean(line.outcome),
        "cluster": clean(line.cluster),
        "namespace": clean(line.namespace),
        "workload": clean(line.workload),
        "host": clean(line.host),
        "team": item.team,
        "application": item.application,
        "digest": clean(line.digest),
        "actor": clean(line.actor),
        "ref": clean(line.ref),
        "count": line.count,
        "detail": free(line.detail),
    }
    return {name: value for name, value in made.items() if value not in ("", {}, None)}


def free(value: Any, depth: int = 8) -> Any:
    """What a source told in its own form, made fit for every reader of JSON: its texts cleaned, numbers that JSON does
    not know as text, and nothing nested deeper than ``depth``."""
    if isinstance(value, str):
        return clean(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {clean(str(name)): free(inner, depth - 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [free(inner, depth - 1) for inner in value]
    return clean(str(value))


def compact(made: Mapping[str, Any]) -> str:
    """JSON on one line, in ASCII: no byte of it is a line's end or needs a byte order mark."""
    return json.dumps(made, ensure_ascii=True, separators=(",", ":"), allow_nan=False)


def bounded(made: Mapping[str, Any], most: int, *, in_own_form: str) -> str:
    """``compact``, in at most ``most`` bytes.

    What stands under ``in_own_form`` goes first (``{"cut": true}`` stands there instead), then long texts are cut, in
    the end to ``SHORT`` characters of ASCII. Raises ``ValueError`` where even that is too long.
    """
    text = compact(made)
    kept = {**made, in_own_form: {"cut": True}}
    for longest in (1_024, 256, SHORT * 2, SHORT):
        if len(text) <= most:
            return text
        text = compact({name: _cut(value, longest) for name, value in kept.items()})
    if len(text) > most:
        text = compact({name: _cut(value, SHORT, in_ascii=True) for name, value in kept.items()})
    if len(text) > most:
        raise ValueError(f"{len(text)} bytes of JSON, expected at most {most}")
    return text


def _cut(value: Any, longest: int, *, in_ascii: bool = False) -> Any:
    if isinstance(value, str):
        text = value[:longest]
        return text.encode("ascii", "replace").decode() if in_ascii else text
    if isinstance(value, dict):
        return {name: _cut(inner, longest, in_ascii=in_ascii) for name, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner, longest, in_ascii=in_ascii) for inner in value[:16]]
    return value


def told(detail: Mapping[str, Any], *path: str) -> Any:
    """What a sensor told under ``path``; ``None`` where it told nothing there."""
    found: Any = detail
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def told_text(detail: Mapping[str, Any], *path: str, most: int = 1_024) -> str:
    """The text under ``path``, cleaned and cut; empty where there is none."""
    found = told(detail, *path)
    return clean(found)[:most] if isinstance(found, str) else ""


def told_number(detail: Mapping[str, Any], *path: str) -> int | None:
    """The number under ``path``; no truth value is one."""
    found = told(detail, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) and abs(found) < 2**53 else None
