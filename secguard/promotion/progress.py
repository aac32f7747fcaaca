"""A promotion's way as a page shows it: what is done, what is going on or stopped, and what comes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from secguard.promotion.lifecycle import OPEN, STEP_WORDS, PromotionStatus, Step

ORDER = tuple(Step)


class StepState(StrEnum):
    DONE = "done"
    NOW = "now"
    STOPPED = "stopped"
    AHEAD = "ahead"


@dataclass(frozen=True, slots=True)
class ShownStep:
    step: Step
    state: StepState
    at: datetime | None = None
    """When it was begun, the last time; None for what was not begun by a worker."""

    @property
    def title(self) -> str:
        return STEP_WORDS[self.step]


def shown_steps(
    status: PromotionStatus, begun: Mapping[str, str], *, is_voted_on: bool, has_arrived: bool
) -> list[ShownStep]:
    """Every step, in order.

    ``begun``: {step: when}, as the promotion keeps it; tried again, a step is begun anew, and those after it are ahead
    again. ``has_arrived``: all of it was done once, whatever came of it later.
    """
    times = {Step(step): datetime.fromisoformat(at) for step, at in begun.items()}
    at = len(ORDER) if has_arrived else _reached(status, times, is_voted_on=is_voted_on)
    here = StepState.NOW if status in OPEN else StepState.STOPPED
    return [
        ShownStep(
            step,
            StepState.DONE if place < at else here if place == at else StepState.AHEAD,
            times.get(step) if place <= at else None,
        )
        for place, step in enumerate(ORDER)
    ]


def _reached(status: PromotionStatus, times: Mapping[Step, datetime], *, is_voted_on: bool) -> int:
    """The place of the step that it is at; -1: no worker has begun."""
    if times:
        return ORDER.index(max(times, key=lambda step: (times[step], ORDER.index(step))))
    if is_voted_on and status != PromotionStatus.RUNNING:
        return ORDER.index(Step.APPROVALS)
    return ORDER.index(Step.VERDICT) if status == PromotionStatus.REFUSED else -1
