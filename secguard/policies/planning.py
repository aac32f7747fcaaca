"""What the policy that gates does at each gate, for checklists (``planning.checks``).

What it says of an image is measured nowhere here: it may ask for the checklist itself, and what each of the two waits
for would be the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from django.urls import reverse

from secguard.images.queries import newest_images
from secguard.planning.checks import Check, Outcome
from secguard.policies.facts import Gate
from secguard.policies.language import Effect, parse_policy
from secguard.policies.models import PolicyVersion
from secguard.policies.queries import gating_policy
from secguard.policies.staging import Mode, Staged
from secguard.workloads.queries import images_running

Having = Callable[[Sequence[int]], dict[int, set[int]]]
"""Application ids to the images that the gate is about; an application without any is not judged there."""


def _enforces(gate: Gate, having: Having, nothing: str) -> Callable[[Sequence[int], datetime], dict[int, Outcome]]:
    """Measures whether the policy in force blocks at a gate; it is the same for every application that has images."""

    def ask(application_ids: Sequence[int], _now: datetime) -> dict[int, Outcome]:
        images, said = having(application_ids), _said(gate)
        nobody = Outcome(state="unmeasured", says=nothing, links=(), changes_at=None)
        return {pk: said if images.get(pk) else nobody for pk in application_ids}

    return ask


def _said(gate: Gate) -> Outcome:
    policy = gating_policy()
    version = policy.active_version if policy else None
    if policy is None or version is None:
        return Outcome(state="missing", says="No policy is in force.", links=(), changes_at=None)
    name = f"Policy {policy.name}, version {version.number}"
    problem = _problem(version, gate)
    return Outcome(
        state="missing" if problem else "kept",
        says=f"{name}: {problem or f'blocks at the gate {gate.value}'}.",
        links=((name, reverse("policies:version", args=[version.pk])),),
        changes_at=None,
    )


def _problem(version: PolicyVersion, gate: Gate) -> str:
    """Why nothing is blocked at the gate, in words; empty where something can be."""
    rules = parse_policy(version.source, is_kept=True).rules
    if not any(gate in rule.stages and rule.effect is Effect.BLOCK for rule in rules):
        return f"has no rule that blocks at the gate {gate.value}"
    mode = version.stages.get(gate, Staged()).mode
    return "" if mode is Mode.ENFORCE else f"does not enforce at the gate {gate.value}; it is set to {mode.value} there"


_NO_IMAGE: Final = "It has no image yet that the gate could judge."
_NO_WORKLOAD: Final = "Nothing of it runs, as far as is known here."
CHECKS: Final = tuple(
    Check(
        name=f"policy-{gate.value}",
        about=f"The policy in force has rules that block at the gate {gate.value}, and enforces them there.",
        ask=_enforces(gate, having, nothing),
    )
    for gate, having, nothing in (
        (Gate.BUILD, newest_images, _NO_IMAGE),
        (Gate.PROMOTE, newest_images, _NO_IMAGE),
        (Gate.ADMIT, images_running, _NO_WORKLOAD),
    )
)
