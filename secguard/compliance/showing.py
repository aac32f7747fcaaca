"""How pages show standings: words, tones, and bars whose parts lead to their rows. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from secguard.compliance.standing import Counts, State

WORDS: Final = {
    State.PASS: "Pass",
    State.EXCEPTION: "Exception",
    State.UNMEASURED: "Not measured",
    State.FAIL: "Fail",
}
SEVERAL: Final = {State.EXCEPTION: "Exceptions"}
TONES: Final = {State.PASS: "good", State.EXCEPTION: "warn", State.UNMEASURED: "muted", State.FAIL: "bad"}
WORST_FIRST: Final = tuple(reversed(State))
STATES: Final = [(state.word, WORDS[state]) for state in WORST_FIRST]
"""As a filter's choices."""
_WIDTH: Final = 100.0


def of(state: State) -> dict[str, str]:
    return {"word": state.word, "label": WORDS[state], "tone": TONES[state]}


def parts(counts: Counts) -> list[dict[str, Any]]:
    """Each state with its number and its place on a bar of a hundred, the best first; none that is empty is drawn."""
    total, found, x = sum(counts), [], 0.0
    for state in State:
        width = _WIDTH * counts[state] / total if total else 0.0
        said = SEVERAL.get(state, WORDS[state]) if counts[state] != 1 else WORDS[state]
        found.append({**of(state), "said": said.lower(), "n": counts[state], "x": f"{x:.2f}", "width": f"{width:.2f}"})
        x += width
    return found


def share(counts: Counts) -> float | None:
    """What passes, in per cent, rounded down: nothing is all but what is."""
    total = sum(counts)
    return None if not total else int(1_000 * counts[State.PASS] / total) / 10


def in_words(counts: Counts) -> str:
    """``12 pass, 3 fail``; what is none is left out."""
    said = [f"{counts[state]:,} {WORDS[state].lower()}" for state in State if counts[state]]
    return ", ".join(said) or "nothing"


def came_later(in_force_since: datetime, at: datetime) -> str:
    """That the framework was not in force at the moment that is shown, in words; empty where it was."""
    if in_force_since <= at:
        return ""
    return (
        f"This framework is in force since {in_force_since:%Y-%m-%d}. Shown is what its checks, as far as they were "
        "measured on that day, came to."
    )
