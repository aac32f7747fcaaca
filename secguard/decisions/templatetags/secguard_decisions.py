"""How decisions are written on pages: ``{% load secguard_decisions %}``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.utils.safestring import SafeString

from secguard.decisions.justifications import Justification
from secguard.decisions.lifecycle import DecisionStatus
from secguard.decisions.models import Decision
from secguard.decisions.queries import effective_status
from secguard.decisions.ssvc import Point
from secguard.web.templatetags.secguard_web import status

register = template.Library()

KINDS = {"fix": "Fix", "mitigate": "Mitigate", "accept": "Accept", "not_affected": "Not affected"}
VERBS = {
    "fix": "fix",
    "mitigate": "mitigate elsewhere",
    "accept": "accept",
    "not_affected": "call the software not affected by",
}
WORDS = {"approved": ("In force", "good"), "requested": ("Waiting", "warn"), "ended": ("Ended", "muted")}


@register.filter
def kind_words(kind: str) -> str:
    return KINDS.get(kind, kind)


@register.filter
def kind_verb(kind: str) -> str:
    return VERBS.get(kind, kind)


@register.filter
def status_words(word: str) -> str:
    """``under_investigation`` as people write it."""
    return word.replace("_", " ")


@register.filter
def justification_words(word: str) -> str:
    return Justification(word).words if word in set(Justification) else word


@register.filter
def point_words(point: str) -> str:
    """A point of an SSVC table as people call it."""
    return Point(point).words


@register.simple_tag
def decision_status(decision: Decision, now: datetime) -> SafeString:
    """The status that counts at ``now``: past its end a decision shows as ended, whatever its row still says."""
    word = effective_status(decision, now)
    label, tone = WORDS.get(word, (word.capitalize(), "bad" if word is DecisionStatus.REJECTED else "muted"))
    return status(word.value, label=label, tone=tone)


@register.filter
def condition_words(when: Mapping[str, Any]) -> str:
    """``{"severity": ["critical"], "exposed": True}`` as ``critical, reachable from outside``."""
    flags = {
        ("known_exploited", True): "known to be exploited",
        ("known_exploited", False): "not known to be exploited",
        ("exposed", True): "reachable from outside",
        ("exposed", False): "not reachable from outside",
        ("fix_available", True): "a fix is available",
        ("fix_available", False): "no fix is available",
    }
    words = []
    for key, value in when.items():
        words.append(" or ".join(value) if isinstance(value, list) else flags[key, value])
    return ", ".join(words) or "everything else"
