"""Decisions that wait or are in force, asked for anew under the draft of a risk appetite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from django.db.models import QuerySet

from secguard.accounts.roles import Role
from secguard.approvals.models import Vote
from secguard.approvals.queries import (
    Electorate,
    Grants,
    electorate,
    facts_in_parts,
    grants_of_votes,
    parts_of,
    votes_of,
)
from secguard.decisions.appetite import Appetite, Case, parse_appetite
from secguard.decisions.lifecycle import DecisionKind, DecisionStatus, RiskSnapshot
from secguard.decisions.models import Decision
from secguard.decisions.queries import teams_of
from secguard.decisions.scope import ScopeKind
from secguard.findings.identity import FindingKind
from secguard.jobs.registry import Run
from secguard.laboratory import queries
from secguard.laboratory.models import Redecided, Simulation
from secguard.laboratory.redeciding import Again, Asked, Part, again

MAX_DECISIONS: Final = 50_000
"""The newest."""
AT_ONCE: Final = 500


def redecide(simulation: Simulation, now: datetime, run: Run) -> tuple[int, bool]:
    """Keep what the draft would make of each; returns how many were looked at, and whether those were all."""
    draft, seen = parse_appetite(simulation.source), 0
    rows: QuerySet[Decision] = queries.Scope.of(simulation).decisions(now)
    people = electorate(now)
    pools: dict[tuple[frozenset[int], int], Part] = {}
    for batch in queries.newest_first(rows, AT_ONCE):
        cast = votes_of(d.approval for d in batch)
        grants = grants_of_votes([v for votes in cast.values() for v in votes])
        teams = teams_of(batch)
        found = []
        for decision in batch:
            asked = _asked(decision, draft, cast[decision.approval_id], grants, teams[decision.pk], people, pools)
            found.append((decision, again(asked, parse_appetite(decision.appetite.source), draft, now)))
        Redecided.objects.bulk_create([_row(simulation, d, met) for d, met in found if met is not None])
        seen += len(batch)
        run.progress("asking for decisions anew", seen)
        if seen >= MAX_DECISIONS:
            return seen, False
    return seen, True


def _asked(
    decision: Decision,
    draft: Appetite,
    votes: Sequence[Vote],
    grants: Mapping[int, Grants],
    teams: frozenset[int],
    people: Electorate,
    pools: dict[tuple[frozenset[int], int], Part],
) -> Asked:
    facts = msgspec.convert(decision.snapshot, RiskSnapshot)
    case = Case(
        severity=facts.severity,
        kind=FindingKind(decision.risk.kind),
        known_exploited=facts.known_exploited,
        exposed=bool(facts.exposed),
        fix_available=facts.fix_available,
        scope=ScopeKind(decision.scope_kind),
    )
    kind, requester = DecisionKind(decision.kind), decision.approval.requester_id
    would = draft.requirement(case, kind)
    waits = timedelta(hours=would.waits_hours)

    def late(at: datetime) -> frozenset[Role]:
        return frozenset({would.then}) if would.then and at >= decision.requested_at + waits else frozenset()

    told = facts_in_parts(votes, grants, teams, would.approvers, late)
    parts = []
    for part, cast in zip(parts_of(teams), told, strict=True):
        if (part, requester) not in pools:
            pools[part, requester] = Part((), people.able(part, requester), people.all(part, requester))
        parts.append(pools[part, requester]._replace(votes=cast))
    return Asked(
        kind,
        case,
        decision.requested_at,
        decision.expires_at,
        decision.status == DecisionStatus.APPROVED,
        requester,
        tuple(parts),
    )


def _row(simulation: Simulation, decision: Decision, met: Again) -> Redecided:
    return Redecided(
        simulation=simulation,
        decision=decision,
        needs=met.needs.value,
        ends=met.ends.value,
        is_short=met.is_short,
        votes=met.votes.value,
        reach=met.reach.value,
        missing={role.value: n for role, n in sorted(met.missing.items())},
        open_parts=met.open_parts,
        row_was=met.before.row,
        row_would=met.after.row,
        approvers_was={role.value: n for role, n in met.before.approvers.items()},
        approvers_would={role.value: n for role, n in met.after.approvers.items()},
        latest_end=met.after.latest_end(decision.requested_at),
    )
