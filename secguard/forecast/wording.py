"""A turn in words. Pure, but for the row it reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from secguard.policies.facts import Gate

_ORDER = {gate.value: place for place, gate in enumerate(Gate)}
MOST = 3


def gates_of(stages: Iterable[str]) -> str:
    """``build and promote gates``."""
    names = sorted(set(stages), key=lambda name: _ORDER.get(name, 99))
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
    return f"{listed} gate{'s' if len(names) > 1 else ''}"


def because(turn: Any) -> str:
    """Why it turns: what ends, and for which flaws. ``turn`` is a row of ``models.Turn``."""
    count = len(turn.decision_ids)
    if count:
        ends = f"{count} decision{'s' if count > 1 else ''} end{'' if count > 1 else 's'}"
    else:
        ends = "a time limit of the policy runs out"
    if not turn.flaws:
        return ends
    names = ", ".join(turn.flaws[:MOST])
    more = f" and {len(turn.flaws) - MOST} more" if len(turn.flaws) > MOST else ""
    return f"{ends}: {names}{more}"
