"""How controls are written on pages: ``{% load secguard_controls %}``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.utils.safestring import SafeString

from secguard.decisions.controls import ControlKind, ControlState, EvidenceKind, Says
from secguard.decisions.models import Control, ControlEvidence
from secguard.decisions.queries.controls import lapse_words, owner_words
from secguard.decisions.queries.controls_filters import KIND_WORDS
from secguard.web.templatetags.secguard_web import status

register = template.Library()

STATES = {
    ControlState.ALIVE: ("Alive", "good"),
    ControlState.GOING_STALE: ("Going stale", "warn"),
    ControlState.STALE: ("Stale", "bad"),
    ControlState.CONTRADICTED: ("Contradicted", "bad"),
    ControlState.PROPOSED: ("Proposed", "muted"),
    ControlState.RETIRED: ("Retired", "muted"),
}
SAYS = {Says.HOLDS: ("Holds", "good"), Says.CONTRADICTS: ("Does not hold", "bad")}
WAYS = {
    EvidenceKind.HEARTBEAT: "a heartbeat",
    EvidenceKind.CHECK: "a person's check",
    EvidenceKind.OBSERVATION: "what SecGuard sees",
}


@register.simple_tag
def control_state(control: Control, now: datetime) -> SafeString:
    """The state at ``now``, which no column holds."""
    state = control.state_at(now)
    label, tone = STATES[state]
    return status(state.value, label=label, tone=tone)


def state_label(control: Control, now: datetime) -> str:
    return STATES[control.state_at(now)][0].lower()


@register.simple_tag
def evidence_says(row: ControlEvidence) -> SafeString:
    label, tone = SAYS[Says(row.says)]
    return status(row.says, label=label, tone=tone)


@register.filter
def control_kind(kind: str) -> str:
    return KIND_WORDS.get(ControlKind(kind), kind)


@register.filter
def control_owner(control: Control) -> str:
    return owner_words(control)


@register.filter
def every_words(control: Control) -> str:
    """``30 days``, ``36 hours``."""
    hours = control.every_hours
    number, unit = (hours // 24, "day") if hours % 24 == 0 else (hours, "hour")
    return f"{number} {unit}{'' if number == 1 else 's'}"


@register.filter
def kept_alive(control: Control) -> str:
    """``a heartbeat every 12 hours``."""
    return f"{WAYS[EvidenceKind(control.kept_alive_by)]} every {every_words(control)}"


@register.filter
def state_words(control: Control, now: datetime) -> str:
    """What the state means for whoever leans on it."""
    match control.state_at(now):
        case ControlState.ALIVE:
            return f"Decisions may lean on it until {control.due_at:%Y-%m-%d %H:%M} UTC, and longer with evidence."
        case ControlState.GOING_STALE:
            return f"Without evidence by {control.due_at:%Y-%m-%d %H:%M} UTC what leans on it ends."
        case ControlState.PROPOSED:
            return "Nothing counts on it before somebody else has confirmed it."
    return f"Nothing can lean on it: {lapse_words(control, now)}."


@register.filter
def lean_words(control: Control, now: datetime) -> str:
    """Until when a decision may count on it: ``has evidence until …``."""
    ends = control.holds_until(now)
    if ends:
        return f"has evidence until {ends:%Y-%m-%d %H:%M} UTC"
    return lapse_words(control, now).removeprefix(f"{control.name} ")  # its name stands before


@register.filter
def watch_words(watch: Mapping[str, Any]) -> str:
    """``admission-settings: cluster prod, namespace shop``."""
    rest = ", ".join(f"{k} {', '.join(v) if isinstance(v, list) else v}" for k, v in watch.items() if k != "observer")
    return f"{watch.get('observer', '')}: {rest}" if rest else str(watch.get("observer", ""))


@register.filter
def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
