"""What each requirement of an application comes to at an instant: measured, answered, or open. Pure.

A measurement outvotes a person: what SecGuard sees lacking stays missing, whatever was answered. A person's answer
counts where nothing is measured, for as long as it holds and as long as the question stays the same. "Not applicable"
counts only once somebody else has approved it (DESIGN rule 6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from msgspec import Struct, structs

from secguard.planning.checks import Outcome
from secguard.planning.template import Requirement, Template


class State(StrEnum):
    KEPT = "kept"
    MISSING = "missing"
    """Measured as lacking, or answered with "not yet"."""
    OPEN = "open"
    """Nobody can tell: not measured, and not answered, or no longer."""
    NOT_APPLICABLE = "not-applicable"


class By(StrEnum):
    """Whose word it is."""

    MEASURED = "measured"
    ANSWERED = "answered"
    APPROVED = "approved"
    NOBODY = "nobody"


UNKEPT: Final = frozenset({State.MISSING, State.OPEN})
"""What a gate counts: what is not known to be kept is not kept."""
DAY: Final = timedelta(days=1)


class Answer(Struct, frozen=True, kw_only=True):
    """What a person said of one requirement."""

    id: int
    requirement: str
    digest: str
    """Of the requirement as it was asked."""
    is_kept: bool
    answered_at: datetime
    until: datetime


class Waiver(Struct, frozen=True, kw_only=True):
    """That a requirement is not applicable: asked for by one person, approved by another."""

    id: int
    requirement: str
    digest: str
    is_approved: bool
    asked_at: datetime
    until: datetime


class Item(Struct, frozen=True, kw_only=True):
    """One requirement as it stands."""

    requirement: Requirement
    state: State
    by: By
    outcome: Outcome | None = None
    answer: Answer | None = None
    """The last one, though it may not count any more."""
    waiver: Waiver | None = None
    ended: str = ""
    """Why the last answer or waiver does not count."""


class Standing(Struct, frozen=True, kw_only=True):
    """A checklist at an instant."""

    items: tuple[Item, ...]
    next_change: datetime | None
    """The first instant at which the clock alone may change an item."""

    @property
    def counts(self) -> dict[State, int]:
        found = Counter(item.state for item in self.items)
        return {state: found[state] for state in State}

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids of what is not known to be kept, sorted."""
        return tuple(sorted(item.requirement.id for item in self.items if item.state in UNKEPT))


def stand(
    template: Template,
    outcomes: Mapping[str, Outcome],
    answers: Iterable[Answer],
    waivers: Iterable[Waiver],
    now: datetime,
) -> Standing:
    """Every requirement of ``template`` at ``now``. ``outcomes`` are by the check's name."""
    by_answer = _latest(answers)
    by_waiver: dict[str, list[Waiver]] = {}
    for waiver in waivers:
        by_waiver.setdefault(waiver.requirement, []).append(waiver)
    items, turns = [], []
    for requirement in template.requirements:
        outcome = outcomes.get(requirement.check) if requirement.check else None
        item = _item(requirement, outcome, by_answer.get(requirement.id), by_waiver.get(requirement.id, []), now)
        items.append(item)
        turns += _turns(item, now)
    return Standing(items=tuple(items), next_change=min(turns, default=None))


def holds_until(answered_at: datetime, requirement: Requirement, wanted: datetime | None) -> datetime:
    """When an answer ends: after the requirement's days, or earlier where its writer says so."""
    most = answered_at + requirement.answer_days * DAY
    return most if wanted is None else min(wanted, most)


def _latest(answers: Iterable[Answer]) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    for answer in answers:
        best = found.get(answer.requirement)
        if best is None or (answer.answered_at, answer.id) > (best.answered_at, best.id):
            found[answer.requirement] = answer
    return found


def _item(
    requirement: Requirement,
    outcome: Outcome | None,
    answer: Answer | None,
    waivers: Sequence[Waiver],
    now: datetime,
) -> Item:
    if outcome is not None and outcome.state == "kept" and outcome.changes_at is not None and outcome.changes_at <= now:
        # The clock may have turned it since, and nobody has looked again: what is not known is not kept.
        outcome = structs.replace(outcome, state="unmeasured", says=f"{outcome.says} That may have changed since.")
    measured = outcome is not None and outcome.state != "unmeasured"
    in_force = [w for w in waivers if w.is_approved and not _why_over(w.digest, w.until, requirement, now)]
    waiver = max(in_force or waivers, key=lambda w: (w.asked_at, w.id), default=None)
    ended = ""
    if in_force:
        state, by = State.NOT_APPLICABLE, By.APPROVED
    elif outcome is not None and measured:
        state, by = (State.KEPT if outcome.state == "kept" else State.MISSING), By.MEASURED
    elif answer is not None and not (ended := _why_over(answer.digest, answer.until, requirement, now)):
        state, by = (State.KEPT if answer.is_kept else State.MISSING), By.ANSWERED
    else:
        state, by = State.OPEN, By.NOBODY
    return Item(requirement=requirement, state=state, by=by, outcome=outcome, answer=answer, waiver=waiver, ended=ended)


def _why_over(digest: str, until: datetime, requirement: Requirement, now: datetime) -> str:
    if digest != requirement.digest:
        return "what is asked has changed since"
    return "" if now < until else "its time is over"


def _turns(item: Item, now: datetime) -> list[datetime]:
    found = [item.outcome.changes_at if item.outcome else None]
    found += [one.until for one in (item.answer, item.waiver) if one is not None]
    return [at for at in found if at is not None and at > now]
