"""Decisions as documents: the API's answer and the page's facts, in a fixed number of queries for a whole page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.approvals.models import OPEN, Vote
from secguard.approvals.queries import outcomes, votes_of
from secguard.approvals.quorum import Outcome
from secguard.decisions.lifecycle import DecisionStatus
from secguard.decisions.models import Decision
from secguard.decisions.queries.reviewing import effective_status
from secguard.decisions.queries.scopes import teams_of
from secguard.findings.severity import Severity

RELATED = ("risk__vulnerability", "requested_by", "ended_by", "approval", "appetite", "application")
"""What ``documents`` reads of each decision: give it rows with these selected."""


def documents(decisions: Sequence[Decision], user: User, now: datetime) -> list[dict[str, Any]]:
    """Each decision as its document at ``now``. Five queries at most beside the rows themselves.

    ``may`` says what ``user`` can be offered; the services decide.
    """
    waiting = [d for d in decisions if d.approval.status == OPEN]
    votes = votes_of([d.approval for d in decisions])
    teams = teams_of(waiting)
    standing = outcomes({d.approval_id: (d.approval, teams[d.pk]) for d in waiting}, votes) if waiting else {}
    found = []
    for d in decisions:
        cast, outcome = votes.get(d.approval_id, []), standing.get(d.approval_id)
        document = _document(d, cast, outcome, now)
        voters = {v.voter_id for v in cast}
        document["may"] = _may(d, document["effective_status"], user, outcome, teams.get(d.pk, frozenset()), voters)
        found.append(document)
    return found


def _may(
    d: Decision, status: str, user: User, outcome: Outcome | None, teams: frozenset[int], voters: set[int]
) -> list[str]:
    """The verbs to offer ``user``."""
    mine = d.requested_by_id == user.pk
    takes_back = mine and (user.token is None or _holds(user, Permission.DECISION_REQUEST, d.team_id))
    found = []
    if status == DecisionStatus.REQUESTED:
        seats = outcome.missing.keys() if outcome else frozenset()
        if not mine and user.pk not in voters and user.roles_for(set(teams)) & seats:
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
        "conditions": d.conditions,
        "requested_by": d.requested_by.username,
        "requested_at": d.requested_at,
        "expires_at": d.expires_at,
        "decided_at": d.decided_at,
        "ended_at": d.ended_at,
        "ended_by": d.ended_by.username if d.ended_by else None,
        "end_reason": d.end_reason,
        "approval": {
            "status": d.approval.status,
            "required": d.approval.required,
            "missing": {role.value: n for role, n in outcome.missing.items()} if outcome else {},
            "votes": [_vote(v) for v in votes],
        },
        "appetite": {"version": d.appetite.number, "row": d.appetite_row},
    }


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
        "at": v.created_at,
    }
