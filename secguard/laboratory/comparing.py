"""A draft beside what is in force: the same facts judged by both, and why the answers differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec

from secguard.decisions.appetite import Appetite, Case
from secguard.decisions.ssvc import Held
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity
from secguard.policies.evaluation import PolicyRef, evaluate
from secguard.policies.facts import DueFact, Facts, FindingFact, Gate, ImageFact
from secguard.policies.language import Policy, Rule

MAX_REASONS: Final = 5
_ORDER: Final = {"pass": 0, "warn": 1, "block": 2}


class Reason(NamedTuple):
    """Why a verdict is what it is, without the findings themselves."""

    rule: str
    effect: str
    message: str
    findings: int


class Judged(NamedTuple):
    verdict: str
    reasons: tuple[Reason, ...]


class Deadlines(NamedTuple):
    """The risk appetite in force, and the draft of the next one."""

    before: Appetite
    after: Appetite
    flaws: Mapping[int, tuple[str, bool]] = {}
    """{risk id: (CVSS vector, whether a reference leads to an exploit)}, as known now; for SSVC tables alone."""
    impacts: Mapping[str, str] = {}
    """{application's slug: its own mission impact}, as said now."""

    @property
    def ask_for_flaws(self) -> bool:
        return self.before.plan is not None or self.after.plan is not None


def judge(policy: Policy, facts: Facts, now: datetime) -> Judged:
    """What ``policy`` says of ``facts`` at ``now``: as at a gate, and as bounded."""
    answer = evaluate(policy, facts, now, policy_ref=PolicyRef(name=policy.name, version=0))
    reasons = (Reason(r.rule, r.effect.value, r.message, len(r.findings)) for r in answer.reasons)
    return Judged(answer.verdict, tuple(reasons))


def kept(document: Mapping[str, Any]) -> Judged:
    """A stored verdict document, as ``judge`` tells it."""
    reasons = (
        Reason(r["rule"], r["effect"], r["message"], r.get("findings_total", len(r["findings"])))
        for r in document["reasons"]
    )
    return Judged(document["verdict"], tuple(reasons))


def worst(answers: Sequence[Judged]) -> Judged:
    """The first of the worst verdicts of what is judged in parts, such as the platforms of an index."""
    return max(answers, key=lambda answer: _ORDER[answer.verdict])


def why(was: Judged, would: Judged, *, named: bool) -> list[dict[str, Any]]:
    """The reasons of the worse of the two answers: what would stop it, or what no longer does.

    A message names a place; where not everybody who reads the row may see it (``named`` false), the rule is named.
    """
    worse = would if _ORDER[would.verdict] > _ORDER[was.verdict] else was
    return [_told(reason, named) for reason in worse.reasons if reason.effect == worse.verdict][:MAX_REASONS]


def _told(reason: Reason, named: bool) -> dict[str, Any]:
    return reason._asdict() | ({} if named else {"message": f"Rule {reason.rule} {reason.effect}s."})


class Trial(NamedTuple):
    """What is in force, and the draft beside it: of the policy, or of the risk appetite."""

    in_force: Policy
    draft: Policy
    deadlines: Deadlines | None

    def knowing(self, flaws: Mapping[int, tuple[str, bool]]) -> Trial:
        """The same trial, with what SSVC tables ask of flaws beside the stored facts."""
        return self if self.deadlines is None else self._replace(deadlines=self.deadlines._replace(flaws=flaws))

    @property
    def gates(self) -> tuple[Gate, ...]:
        """The gates at which an image may be answered otherwise than now."""
        return tuple(gate for gate in Gate if self.can_differ(self.in_force, gate.value))

    def can_differ(self, policy: Policy, stage: str) -> bool:
        """Whether the draft may answer otherwise than ``policy`` did: not where both ask the very same rules."""
        return self.deadlines is not None or _rules_at(self.draft, stage) != _rules_at(policy, stage)

    def now(self, facts: Facts, gate: Gate, now: datetime) -> tuple[Judged, Judged]:
        """What is in force says of an image at ``gate`` now, and what the draft says."""
        here = msgspec.structs.replace(facts, stage=gate)
        return judge(self.in_force, here, now), self.then(here, now, self.in_force)

    def then(self, facts: Facts, at: datetime, policy: Policy) -> Judged:
        """What the draft would have said at ``at``; the draft of a risk appetite, under the ``policy`` of then."""
        if self.deadlines is None:
            return judge(self.draft, facts, at)
        return judge(policy, with_deadlines(facts, self.deadlines), at)


@lru_cache(maxsize=256)
def _rules_at(policy: Policy, stage: str) -> tuple[Rule, ...]:
    return tuple(msgspec.structs.replace(r, line=0, stages=()) for r in policy.rules if stage in r.stages)


def with_deadlines(facts: Facts, deadlines: Deadlines) -> Facts:
    """``facts`` as the draft of a risk appetite would have them: deadlines that move, and nothing else.

    Where draft and appetite in force give a finding the same time, its deadline stays as it was read: it may come from
    one of several repositories. Else it is counted from where the deadline in force was counted from.
    """
    changed = tuple(_with_deadline(f, facts.image, deadlines) for f in facts.findings)
    return msgspec.structs.replace(facts, findings=changed)


def _with_deadline(finding: FindingFact, image: ImageFact, deadlines: Deadlines) -> FindingFact:
    case = Case(
        severity=Severity[finding.severity.upper()],
        kind=FindingKind(finding.kind),
        known_exploited=finding.known_exploited,
        exposed=image.exposed,
        fix_available=finding.fix_available,
    )
    vector, has_exploit = deadlines.flaws.get(finding.risk, ("", False))
    held = Held(finding.known_exploited, finding.epss, has_exploit, vector, image.application, image.exposed)
    held = held._replace(impact=deadlines.impacts.get(image.application, ""))
    drafted = deadlines.after.deadline(case, held)
    before, after = deadlines.before.deadline(case, held).days, drafted.days
    if before == after:
        return finding
    began = finding.first_seen_at
    if finding.due_at is not None and before is not None:
        began = finding.due_at - timedelta(days=before)
    due = None if after is None else began + timedelta(days=after)
    by = DueFact(appetite=0, row=drafted.label, words=drafted.words) if due is not None else None
    return msgspec.structs.replace(finding, due_at=due, due_by=by)


def is_named(reference: str, places: Iterable[tuple[str, int | None]]) -> bool:
    """Whether all who have an image at ``places`` (repository, team) may read what names ``reference``."""
    known = list(places)
    if not reference:
        return True
    repository = reference.partition("@")[0]
    names = {name for name, _ in known}
    is_here = repository in names or repository.rpartition(":")[0] in names
    return is_here and len({team for _, team in known}) == 1
