"""Decisions that wait or are in force, asked for anew under the draft of a risk appetite."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from django.db.models import QuerySet

from secguard.accounts.roles import Role
from secguard.decisions.appetite import Appetite, Case, parse_appetite
from secguard.decisions.lifecycle import DecisionKind, DecisionStatus, RiskSnapshot
from secguard.decisions.models import Decision
from secguard.decisions.scope import ScopeKind
from secguard.findings.identity import FindingKind
from secguard.jobs.registry import Run
from secguard.laboratory import queries
from secguard.laboratory.models import Redecided, Simulation
from secguard.laboratory.redeciding import Again, Asked, again

MAX_DECISIONS: Final = 50_000
"""The newest."""
AT_ONCE: Final = 500


def redecide(simulation: Simulation, now: datetime, run: Run) -> tuple[int, bool]:
    """Keep what the draft would make of each; returns how many were looked at, and whether those were all."""
    draft, seen = parse_appetite(simulation.source), 0
    rows: QuerySet[Decision] = queries.Scope.of(simulation).decisions(now)
    for batch in queries.newest_first(rows, AT_ONCE):
        found = [(decision, _again(decision, draft, now)) for decision in batch]
        Redecided.objects.bulk_create([_row(simulation, d, met) for d, met in found if met is not None])
        seen += len(batch)
        run.progress("asking for decisions anew", seen)
        if seen >= MAX_DECISIONS:
            return seen, False
    return seen, True


def _again(decision: Decision, draft: Appetite, now: datetime) -> Again | None:
    facts = msgspec.convert(decision.snapshot, RiskSnapshot)
    case = Case(
        severity=facts.severity,
        kind=FindingKind(decision.risk.kind),
        known_exploited=facts.known_exploited,
        exposed=bool(facts.exposed),
        fix_available=facts.fix_available,
        scope=ScopeKind(decision.scope_kind),
    )
    votes = [vote for vote in decision.approval.votes.all() if vote.choice == "approve"]
    asked = Asked(
        DecisionKind(decision.kind),
        case,
        decision.requested_at,
        decision.expires_at,
        decision.status == DecisionStatus.APPROVED,
        tuple(frozenset(Role(role) for role in vote.roles) for vote in votes),
    )
    return again(asked, parse_appetite(decision.appetite.source), draft, now)


def _row(simulation: Simulation, decision: Decision, met: Again) -> Redecided:
    return Redecided(
        simulation=simulation,
        decision=decision,
        needs=met.needs.value,
        ends=met.ends.value,
        is_short=met.is_short,
        row_was=met.before.row,
        row_would=met.after.row,
        approvers_was={role.value: n for role, n in met.before.approvers.items()},
        approvers_would={role.value: n for role, n in met.after.approvers.items()},
        latest_end=met.after.latest_end(decision.requested_at),
    )
