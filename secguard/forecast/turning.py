"""When gates that let an image pass now will stop it, if nobody does anything: pure.

It is the policy's own evaluation, asked again at each instant at which its answer may change: where a decision ends,
where a grace runs out, where a finding grows too old. Scans are taken to go on as they do, so that a forecast does not
say of everything that its data will be old in a week.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from secguard.policies.evaluation import PolicyRef, Reason, Verdict, evaluate
from secguard.policies.facts import Facts, FindingFact, Gate
from secguard.policies.language import Effect, Policy

MAX_STEPS = 200
"""Looks at one gate's future; a day has at least one, and each decision that ends has one."""

MAX_NAMES = 50


@dataclass(frozen=True, slots=True)
class Turn:
    """A gate that passes or warns now and blocks from ``at`` on: by which rules, for which flaws, and which decisions
    end by then that let these pass (none: a grace runs out)."""

    stage: Gate
    at: datetime
    rules: tuple[tuple[str, str], ...]
    decisions: tuple[int, ...]
    flaws: tuple[str, ...]


def turns(
    policy: Policy,
    ref: PolicyRef,
    facts: Facts,
    gates: Iterable[Gate],
    *,
    now: datetime,
    until: datetime,
    reread: Callable[[datetime], Facts],
) -> list[Turn]:
    """The gates that will turn after ``now`` and before ``until``, each at its first such instant.

    ``facts`` are those of ``now``. ``reread(at)`` returns those of a later instant: once a decision has ended, a wider
    one may stand in its place.
    """
    last = until - timedelta(microseconds=1)
    then = reread(last) if _some_decision_ends(facts, now, last) else facts
    found = (
        _turn(policy, ref, facts, gate, now, until, reread)
        for gate in gates
        # Time alone opens no gate, so one that lets pass at the end has not blocked before; most are such.
        if _ask(policy, ref, then, gate, last, now).verdict == Effect.BLOCK.value
    )
    return [turn for turn in found if turn is not None]


def _turn(
    policy: Policy,
    ref: PolicyRef,
    facts: Facts,
    gate: Gate,
    now: datetime,
    until: datetime,
    reread: Callable[[datetime], Facts],
) -> Turn | None:
    before, at = facts, now
    answer = _ask(policy, ref, before, gate, at, now)
    for _ in range(MAX_STEPS):
        if answer.verdict == Effect.BLOCK.value:
            return _described(gate, answer, before, at) if at > now else None
        last, at = at, answer.valid_until
        if at >= until:
            return None
        after = reread(at) if _some_decision_ends(before, last, at) else before
        answer = _ask(policy, ref, after, gate, at, now)
        if answer.verdict != Effect.BLOCK.value:
            before = after
    return None


def _ask(policy: Policy, ref: PolicyRef, facts: Facts, gate: Gate, at: datetime, now: datetime) -> Verdict:
    return evaluate(policy, _at(facts, gate, at - now), at, policy_ref=ref)


def _at(facts: Facts, gate: Gate, later: timedelta) -> Facts:
    """The facts as they would be with scans as recent then as they are now."""
    scans = tuple(
        msgspec.structs.replace(
            scan,
            finished_at=scan.finished_at + later,
            database_updated_at=scan.database_updated_at + later if scan.database_updated_at else None,
        )
        for scan in facts.scans
    )
    return msgspec.structs.replace(facts, stage=gate, scans=scans)


def _some_decision_ends(facts: Facts, after: datetime, at: datetime) -> bool:
    ends = {f.decision.expires_at for f in facts.findings if f.decision is not None}
    return any(end is not None and after < end <= at for end in ends)


def _described(gate: Gate, answer: Verdict, before: Facts, at: datetime) -> Turn:
    reasons = [reason for reason in answer.reasons if reason.effect is Effect.BLOCK]
    named = {pk for reason in reasons for pk in reason.findings}
    blocking = [finding for finding in before.findings if finding.id in named]
    return Turn(
        stage=gate,
        at=at,
        rules=tuple((reason.rule, _message(reason)) for reason in reasons),
        decisions=tuple(sorted({f.decision.id for f in blocking if _has_ended(f, at)})),  # type: ignore[union-attr]
        flaws=tuple(sorted({f.vulnerability or f.rule or f.title for f in blocking}))[:MAX_NAMES],
    )


def _message(reason: Reason) -> str:
    return reason.message[:500]


def _has_ended(finding: FindingFact, at: datetime) -> bool:
    end = finding.decision.expires_at if finding.decision is not None else None
    return end is not None and end <= at
