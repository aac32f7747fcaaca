"""Activation in stages: what a version does at each gate while it is tried. Pure.

*Observe*: what was in force at the gate goes on to decide, and what this version would have said is noted beside it.
*Warn*: this version decides, and its blocks are warnings. *Enforce*: it decides, and blocks. A staged version is a
version of its own and never changes, so what it answered can be computed again from it alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from secguard.errors import Invalid
from secguard.policies.facts import Gate
from secguard.policies.language import Effect, Policy, Rule

WARNS_YET: Final = " (blocks once this policy is enforced here)"
"""Behind the message of a rule whose block is a warning for now."""


class Mode(StrEnum):
    OBSERVE = "observe"
    WARN = "warn"
    ENFORCE = "enforce"


class Staged(Struct, frozen=True, omit_defaults=True):
    """What one version does at one gate."""

    mode: Mode = Mode.ENFORCE
    decided_by: int | None = None
    """While this one observes: the id of the version that decides."""
    decided_as: Mode = Mode.ENFORCE
    """And whether that one enforces there or warns."""


class Part(NamedTuple):
    """The rules that decide at one gate."""

    policy: Policy
    mode: Mode


Staging = Mapping[Gate, Staged]
NONE: Final[Staging] = {}


def read(raw: Any) -> dict[Gate, Staged]:
    """A version's stored staging; a gate that is not in it is enforced."""
    return msgspec.convert(raw or {}, dict[Gate, Staged])


def check_modes(raw: Any) -> dict[Gate, Mode]:
    """``{"admit": "observe", "promote": "warn"}`` without what is enforced; raises ``Invalid`` with the place."""
    if not isinstance(raw, Mapping):
        raise Invalid('Expected an object of gates, for example {"admit": "observe"}.', where="modes")
    for gate, mode in raw.items():
        if gate not in set(Gate):
            raise Invalid(f"{str(gate)[:40]!r} is no gate; expected {', '.join(Gate)}.", where="modes")
        if mode not in set(Mode):
            raise Invalid(f"{str(mode)[:40]!r} is no mode; expected {', '.join(Mode)}.", where=f"modes.{gate}")
    return {Gate(g): Mode(m) for g, m in raw.items() if m != Mode.ENFORCE}


def staged(modes: Mapping[Gate, Mode], before: Staging, before_id: int) -> dict[Gate, Staged]:
    """What a version does that is activated with ``modes`` while ``before_id`` (staged as ``before``) is in force."""
    return {gate: _staged(mode, before.get(gate, Staged()), before_id) for gate, mode in modes.items()}


def _staged(mode: Mode, before: Staged, before_id: int) -> Staged:
    if mode is not Mode.OBSERVE:
        return Staged(mode)
    if before.decided_by is not None:  # what observed there before decides nothing now either
        return Staged(mode, before.decided_by, before.decided_as)
    return Staged(mode, before_id, before.mode)


def softened(rule: Rule) -> Rule:
    """The rule with a warning in place of its block."""
    if rule.effect is Effect.WARN:
        return rule
    return msgspec.structs.replace(rule, effect=Effect.WARN, grace_days=0, message=rule.message + WARNS_YET)


def composed(policy: Policy, parts: Mapping[Gate, Part]) -> Policy:
    """One policy that says at each gate what the rules of its part say; ``policy`` itself at the others."""
    rules: list[Rule] = []
    for gate in Gate:
        part = parts.get(gate, Part(policy, Mode.ENFORCE))
        here = [r for r in part.policy.rules if gate in r.stages]
        told = here if part.mode is Mode.ENFORCE else [softened(r) for r in here]
        rules += [msgspec.structs.replace(r, stages=(gate,)) for r in told]
    return msgspec.structs.replace(policy, rules=tuple(rules))
