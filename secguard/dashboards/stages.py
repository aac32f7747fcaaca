"""How an application stands at each stage of an image's life, from what was counted of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple


class Stage(StrEnum):
    """The stages of DESIGN section 1, in their order."""

    PLAN = "plan"
    BUILD = "build"
    JUDGE = "judge"
    REGISTER = "register"
    ADMIT = "admit"
    RUN = "run"
    TALK = "talk"
    LEARN = "learn"


class State(StrEnum):
    """What was not measured is never good."""

    GOOD = "good"
    ATTENTION = "attention"
    BAD = "bad"
    UNMEASURED = "unmeasured"


WORDS: Final = {
    State.GOOD: "good",
    State.ATTENTION: "needs attention",
    State.BAD: "bad",
    State.UNMEASURED: "not measured",
}
RANK: Final = {State.BAD: 0, State.ATTENTION: 1, State.UNMEASURED: 2, State.GOOD: 3}
"""What comes first on the picture."""


@dataclass(slots=True)
class Counts:
    """What there is of one application. Images are the newest of its repositories, workloads those that run."""

    has_checklist: bool = False
    unkept: int = 0
    unanswered: int = 0
    images: int = 0
    unscanned: int = 0
    """Never, or not lately."""
    never_scanned: int = 0
    build_blocked: int = 0
    blocked: int = 0
    """For promotion."""
    judged: int = 0
    overdue: int = 0
    due_soon: int = 0
    promoted: int = 0
    recalled: int = 0
    workloads: int = 0
    asking: int = 0
    """Workloads in clusters that ask before anything starts."""
    would_not_start: int = 0
    refused: int = 0
    broken_glass: int = 0
    not_promoted: int = 0
    unknown: int = 0
    not_scanned: int = 0
    incidents: int = 0
    """With which somebody has to do something."""
    severe_incidents: int = 0
    edges: int = 0
    new_edges: int = 0
    odd_edges: int = 0
    events: int = 0
    severe_events: int = 0

    @property
    def unjudged(self) -> int:
        return self.images - self.judged

    @property
    def unpromoted(self) -> int:
        return self.images - self.promoted

    @property
    def not_asking(self) -> int:
        return self.workloads - self.asking


class Standing(NamedTuple):
    """``behind``: which of the counts made it so; empty where none did."""

    state: State
    words: str
    behind: str = ""


def standings(counts: Counts) -> dict[Stage, Standing]:
    """How the application stands at every stage, and why."""
    return {stage: rule(counts) for stage, rule in _RULES.items()}


def _first(counts: Counts, good: str, *asked: tuple[str, State, str]) -> Standing:
    """The first of the counts that ``asked`` names of which there is any; ``good`` where there is none."""
    for name, state, words in asked:
        if count := getattr(counts, name):
            return Standing(state, f"{count:,} {words}", name)
    return Standing(State.GOOD, good)


def _plan(c: Counts) -> Standing:
    if not c.has_checklist:
        return Standing(State.UNMEASURED, "no checklist was chosen")
    return _first(
        c,
        "every requirement is kept",
        ("unkept", State.BAD, "requirements are not kept"),
        ("unanswered", State.ATTENTION, "requirements are not answered"),
    )


def _build(c: Counts) -> Standing:
    if c.images <= c.never_scanned:
        return Standing(State.UNMEASURED, "no image was scanned")
    return _first(
        c,
        "every newest image passes its build",
        ("build_blocked", State.BAD, "newest images are blocked at the build"),
        ("unscanned", State.ATTENTION, "newest images were not scanned lately"),
    )


def _judge(c: Counts) -> Standing:
    if not c.judged:
        return Standing(State.UNMEASURED, "no image was judged")
    return _first(
        c,
        "nothing is blocked or overdue",
        ("overdue", State.BAD, "risks are overdue"),
        ("blocked", State.BAD, "newest images are blocked"),
        ("due_soon", State.ATTENTION, "risks are due within a week"),
        ("unjudged", State.ATTENTION, "newest images were not judged"),
    )


def _register(c: Counts) -> Standing:
    if c.recalled:
        return Standing(State.BAD, f"{c.recalled:,} newest images were called back", "recalled")
    if not c.promoted:
        return Standing(State.UNMEASURED, "no newest image was promoted")
    return _first(
        c, "every newest image was promoted", ("unpromoted", State.ATTENTION, "newest images were not promoted")
    )


def _admit(c: Counts) -> Standing:
    if not c.asking:
        return Standing(State.UNMEASURED, "no cluster asks before it starts here")
    return _first(
        c,
        "what runs may start again",
        ("broken_glass", State.BAD, "starts by break-glass within a week"),
        ("would_not_start", State.BAD, "workloads would not start again"),
        ("refused", State.ATTENTION, "answers refused a start within a week"),
        ("not_asking", State.ATTENTION, "workloads run in clusters that do not ask"),
    )


def _run(c: Counts) -> Standing:
    """An incident may outlive its workload: it counts where nothing runs any more."""
    if not c.workloads and not c.incidents:
        return Standing(State.UNMEASURED, "nothing runs")
    return _first(
        c,
        "what runs is what was promoted and scanned, and no incident is open",
        ("severe_incidents", State.BAD, "open incidents are high or critical"),
        ("not_promoted", State.BAD, "workloads run what was not promoted there"),
        ("unknown", State.BAD, "workloads run an image that is not known here"),
        ("incidents", State.ATTENTION, "incidents are open"),
        ("not_scanned", State.ATTENTION, "workloads run an image that was not scanned lately"),
    )


def _talk(c: Counts) -> Standing:
    if not c.edges:
        return Standing(State.UNMEASURED, "no flow was told of")
    return _first(
        c,
        "nobody speaks to anybody new",
        ("odd_edges", State.BAD, "ways are out of their normal range"),
        ("new_edges", State.ATTENTION, "ways are new"),
    )


def _learn(c: Counts) -> Standing:
    if not c.events:
        return Standing(State.UNMEASURED, "no event came within a day")
    return _first(c, "no severe event within a day", ("severe_events", State.ATTENTION, "severe events within a day"))


_RULES: Final = {
    Stage.PLAN: _plan,
    Stage.BUILD: _build,
    Stage.JUDGE: _judge,
    Stage.REGISTER: _register,
    Stage.ADMIT: _admit,
    Stage.RUN: _run,
    Stage.TALK: _talk,
    Stage.LEARN: _learn,
}


def worst(states: list[State]) -> State:
    return min(states, key=RANK.__getitem__)
