"""Decisions as documents: the API's answer and the page's facts, in a fixed number of queries for a whole page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.approvals.models import OPEN, Vote
from secguard.approvals.queries import Seat, may_fill, outcomes, seats_of_others, votes_of
from secguard.approvals.quorum import Outcome
from secguard.decisions.lifecycle import (
    DecisionKind,
    DecisionStatus,
    Ending,
    RiskSnapshot,
    endings,
    parse_conditions,
)
from secguard.decisions.models import Control, Decision
from secguard.decisions.queries.controls import leaning
from secguard.decisions.queries.reviewing import effective_status
from secguard.decisions.queries.scopes import teams_of
from secguard.decisions.queries.standing import snapshots_now
from secguard.findings.severity import Severity

RELATED = ("risk__vulnerability", "requested_by", "ended_by", "approval", "appetite", "application")
"""What ``documents`` reads of each decision: give it rows with these selected."""


def documents(decisions: Sequence[Decision], user: User, now: datetime) -> list[dict[str, Any]]:
    """Each decision as its document at ``now``. Twelve queries at most beside the rows themselves.

    ``may`` says what ``user`` can be offered; the services decide.
    """
    waiting = [d for d in decisions if d.approval.status == OPEN]
    votes = votes_of([d.approval for d in decisions])
    teams = teams_of(waiting)
    standing = outcomes({d.approval_id: (d.approval, teams[d.pk]) for d in waiting}, votes) if waiting else {}
    live = [d for d in decisions if effective_status(d, now) in _LIVE]
    current = snapshots_now(live) if live else {}
    named = leaning([d.pk for d in decisions]) if decisions else {}
    others = seats_of_others(user, now) if waiting else []
    found = []
    for d in decisions:
        cast, outcome = votes.get(d.approval_id, []), standing.get(d.approval_id)
        document = _document(d, cast, outcome, now)
        document["controls"] = [_control(c, now) for c in named.get(d.pk, ())]
        found_endings = _endings(d, current.get(d.pk), named.get(d.pk, ()), now)
        document["ends_when"] = [e.when for e in found_endings if e.by not in ("date", "control")]
        document["endings"] = [msgspec.structs.asdict(e) for e in found_endings]
        is_asked = outcome is not None and _is_asked(d, user, outcome, teams[d.pk], cast, others, now)
        document["may"] = _may(d, document["effective_status"], user, is_asked=is_asked)
        found.append(document)
    return found


def _is_asked(
    d: Decision,
    user: User,
    outcome: Outcome,
    teams: frozenset[int],
    cast: Sequence[Vote],
    others: Sequence[Seat],
    now: datetime,
) -> bool:
    """Whether ``user`` has a vote to give on it: by themselves, or for somebody who is away."""
    taken = frozenset(v.seat_of_id or v.voter_id for v in cast)
    if d.requested_by_id == user.pk or user.pk in taken | {v.voter_id for v in cast}:
        return False
    return may_fill(user, d.approval, outcome, teams, now, others, taken)


def _may(d: Decision, status: str, user: User, *, is_asked: bool) -> list[str]:
    """The verbs to offer ``user``."""
    mine = d.requested_by_id == user.pk
    takes_back = mine and (user.token is None or _holds(user, Permission.DECISION_REQUEST, d.team_id))
    found = []
    if status == DecisionStatus.REQUESTED:
        if is_asked:
            found += ["approve", "reject"]
        if takes_back or _holds(user, Permission.DECISION_WITHDRAW, d.team_id):
            found.append("withdraw")
    elif status == DecisionStatus.APPROVED and (takes_back or _holds(user, Permission.DECISION_REVOKE, d.team_id)):
        found.append("revoke")
    return found


def _holds(user: User, permission: Permission, team_id: int | None) -> bool:
    teams = user.teams_with(permission)
    return teams is None or team_id in teams


def _document(d: Decision, votes: Sequence[Vote], outcome: Outcome | None, now: datetime) -> dict[str, Any]:
    return {
        "id": d.pk,
        "kind": d.kind,
        "status": d.status,
        "effective_status": effective_status(d, now).value,
        "risk": {
            "id": d.risk_id,
            "name": d.risk.name,
            "kind": d.risk.kind,
            "severity": Severity(d.risk.severity).label,
            "package": d.risk.package,
            "target": d.risk.target,
            "title": d.risk.title,
            "known_exploited": d.risk.known_exploited,
            "fix_available": d.risk.fix_available,
        },
        "scope": _scope(d),
        "scope_label": d.scope_label,
        "reason": d.reason,
        "justification": d.justification,
        "conditions": d.conditions,
        "requested_by": d.requested_by.username,
        "requested_at": d.requested_at,
        "expires_at": d.expires_at,
        "counts_until": d.counts_until,
        "decided_at": d.decided_at,
        "ended_at": d.ended_at,
        "ended_by": d.ended_by.username if d.ended_by else None,
        "end_reason": d.end_reason,
        "approval": {
            "status": d.approval.status,
            "required": d.approval.required,
            "missing": {role.value: n for role, n in outcome.missing.items()} if outcome else {},
            "waits_until": d.approval.escalates_at,
            "then": d.approval.escalates_to,
            "has_escalated": bool(outcome and d.approval.escalates_at and d.approval.escalates_at <= now),
            "votes": [_vote(v) for v in votes],
        },
        "appetite": {"version": d.appetite.number, "row": d.appetite_row},
    }


def _control(c: Control, now: datetime) -> dict[str, Any]:
    return {"id": c.pk, "name": c.name, "state": c.state_at(now).value, "holds_until": c.holds_until(now)}


_LIVE = (DecisionStatus.REQUESTED, DecisionStatus.APPROVED)


def _endings(d: Decision, current: RiskSnapshot | None, leans_on: Sequence[Control], now: datetime) -> list[Ending]:
    """What would end it, the date first; nothing of one that has ended."""
    if effective_status(d, now) not in _LIVE:
        return []
    found = [Ending(by="date", when="its date comes", at=d.expires_at)]
    for c in leans_on:
        until = c.holds_until(now)
        state = c.state_at(now).value.replace("_", " ").replace("-", " ")
        found.append(Ending(by="control", when=f"its control lapses: {c.name}", now=state, at=until))
    snapshot = msgspec.convert(d.snapshot, RiskSnapshot)
    return found + endings(snapshot, current, parse_conditions(d.conditions), DecisionKind(d.kind))


def _scope(d: Decision) -> dict[str, Any]:
    if d.application is not None:
        return {"application": d.application.slug}
    return {d.scope_kind: True if d.scope_kind == "organisation" else d.scope_label}


def _vote(v: Vote) -> dict[str, Any]:
    return {
        "voter": v.voter.username,
        "choice": v.choice,
        "roles": v.roles,
        "comment": v.comment,
        "for": v.seat_of.username if v.seat_of else None,
        "away_until": v.away_until,
        "second_look": v.second_look,
        "at": v.created_at,
    }
