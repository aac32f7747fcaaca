"""How pages show a checklist: by stage, what is not kept first, each number with the rows it counts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from secguard.planning.checklist import UNKEPT, State
from secguard.planning.template import Requirement, Stage

STAGES: Final = [(stage.value, stage.value.capitalize()) for stage in Stage]
WORDS: Final = {
    State.KEPT: "kept",
    State.MISSING: "missing",
    State.OPEN: "open",
    State.NOT_APPLICABLE: "not applicable",
}
TONES: Final = {State.KEPT: "good", State.MISSING: "bad", State.OPEN: "warn", State.NOT_APPLICABLE: "muted"}
ANY_UNKEPT: Final = "unkept"
"""As a filter: missing or open."""
STANDINGS: Final = [
    (ANY_UNKEPT, "Missing or open"),
    ("missing", "Something missing"),
    ("open", "Something open"),
    ("kept", "Everything kept"),
    ("not-applicable", "Something not applicable"),
    ("none", "No checklist"),
]
_ORDER: Final = (State.MISSING, State.OPEN, State.KEPT, State.NOT_APPLICABLE)


def counts(checklist: Any) -> list[tuple[State, int]]:
    """(state, requirements) of a checklist as it was counted last; none without one."""
    if checklist is None:
        return []
    found = {State.MISSING: checklist.missing, State.OPEN: checklist.open, State.KEPT: checklist.kept}
    found[State.NOT_APPLICABLE] = checklist.not_applicable
    return [(state, found[state]) for state in _ORDER]


def stages_of(checklist: Any) -> list[dict[str, Any]]:
    """Every stage of a checklist: how many are kept of how many, and what is not, for a list's cells."""
    return [_stage(stage, checklist.stages.get(stage.value, {})) for stage in Stage]


def _stage(stage: Stage, found: Mapping[str, int]) -> dict[str, Any]:
    total, kept = sum(found.values()), found.get(State.KEPT, 0)
    rest = [(state.value, WORDS[state], TONES[state], found.get(state.value, 0)) for state in _ORDER]
    return {
        "name": stage.value,
        "total": total,
        "kept": kept,
        "is_done": total > 0 and not any(found.get(state, 0) for state in UNKEPT),
        "rest": [part for part in rest if part[0] != State.KEPT and part[-1]],
        "cells": rest,
    }


def in_words(row: Any, stage: Stage) -> str:
    """For the CSV: ``3 of 5 kept, 1 missing, 1 open``."""
    if not row.has_checklist:
        return ""
    shown = _stage(stage, row.checklist.stages.get(stage.value, {}))
    more = [f"{n} {words}" for _, words, _, n in shown["rest"]]
    return ", ".join([f"{shown['kept']} of {shown['total']} kept", *more])


def standing_in_words(row: Any) -> str:
    if not row.has_checklist:
        return "no checklist"
    parts = [f"{n} {WORDS[state]}" for state, n in counts(row.checklist) if n and state in UNKEPT]
    return ", ".join(parts) or "all kept"


def page_of(document: Mapping[str, Any], stage: str, state: str) -> dict[str, Any]:
    """A checklist's items as a page shows them: first all that is not kept, then by stage what the filters leave."""
    items: Sequence[dict[str, Any]] = document["items"]
    stage = stage if stage in dict(STAGES) else ""
    wanted = _states(state)
    for item in items:
        item["tone"], item["word"] = TONES[State(item["state"])], WORDS[State(item["state"])]
    shown = [i for i in items if (not stage or i["stage"] == stage) and (not wanted or i["state"] in wanted)]
    return {
        "todo": sorted((i for i in items if i["state"] in UNKEPT), key=lambda i: _ORDER.index(State(i["state"]))),
        "shown": len(shown),
        "groups": [(name, of) for name, _ in STAGES if (of := [i for i in shown if i["stage"] == name])],
        "table": _table(items),
        "totals": [(s.value, sum(i["state"] == s for i in items)) for s in _ORDER],
        "stage": stage,
        "state": state if wanted else "",
        "state_words": "missing or open" if state == ANY_UNKEPT else WORDS[State(state)] if wanted else "",
        "heads": [(s.value, WORDS[s].capitalize()) for s in _ORDER],
    }


def _states(word: str) -> frozenset[str]:
    if word == ANY_UNKEPT:
        return frozenset(s.value for s in UNKEPT)
    return frozenset({word} & {s.value for s in State})


def _table(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, int]] = {stage.value: {} for stage in Stage}
    for item in items:
        of = found[item["stage"]]
        of[item["state"]] = of.get(item["state"], 0) + 1
    return [_stage(stage, found[stage.value]) for stage in Stage]


def add_history(items: Iterable[dict[str, Any]], earlier: Mapping[str, Mapping[str, Sequence[Any]]]) -> None:
    """Give each item what was said of it before: answers and requests, without the ones that it shows itself."""
    for item in items:
        said = earlier.get(item["id"], {})
        shown = {("answer", (item["answer"] or {}).get("id"))}
        if (waiver := item["not_applicable"]) and waiver["status"] in ("waiting", "approved"):
            shown.add(("waiver", waiver["id"]))
        rows = [("answer", row, row["answered_at"]) for row in said.get("answers", ())]
        rows += [("waiver", row, row["asked_at"]) for row in said.get("waivers", ())]
        rows.sort(key=lambda found: found[2], reverse=True)
        item["history"] = [(kind, row) for kind, row, _ in rows if (kind, row["id"]) not in shown]


def by_stage(requirements: Iterable[Requirement]) -> list[tuple[str, list[Requirement]]]:
    """A template's requirements, in the order of the stages."""
    rows = list(requirements)
    return [(stage.value, of) for stage in Stage if (of := [r for r in rows if r.stage is stage])]
