"""Approving and rejecting, one by one or ten thousand at once: the same path, a fixed number of statements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from secguard import bulk
from secguard.accounts.models import User
from secguard.approvals.models import Vote
from secguard.approvals.quorum import Choice, Outcome, Standing
from secguard.approvals.services import Ballot, vote
from secguard.audit.actions import Action
from secguard.audit.services import record_many
from secguard.decisions.lifecycle import DecisionEvent, DecisionStatus, after
from secguard.decisions.models import Decision
from secguard.decisions.queries import teams_of
from secguard.decisions.services import controls_leaning
from secguard.decisions.services.coverage import tell
from secguard.decisions.services.ending import changed, line
from secguard.decisions.services.telling import tell_voted
from secguard.errors import Conflict, Invalid, NotFound, SecGuardError
from secguard.findings.severity import Severity

MAX_BULK = 10_000
_EVENT = {Choice.APPROVE: DecisionEvent.APPROVE, Choice.REJECT: DecisionEvent.REJECT}
Result = Decision | SecGuardError


def approve(
    decision_id: int,
    *,
    actor: User,
    comment: str = "",
    now: datetime | None = None,
    opened_at: datetime | None = None,
) -> Decision:
    """Cast ``actor``'s approving vote. In force at once when it was the last one needed, else still ``requested``.

    Raises ``NotFound``; ``NotAllowed`` for one's own request, or without a role that the risk appetite asked for (read
    from the database now: a role lost a moment ago does not count); ``Conflict`` where it was decided, withdrawn or has
    ended, where this person voted already, and where the risk changed for the worse since it was asked for, or a
    control that it leans on does not hold.
    ``opened_at``: since when they can have looked at it, where somebody knows (``quorum.hasty``).
    """
    return _one(decision_id, Choice.APPROVE, actor, comment, now, opened_at)


def reject(decision_id: int, *, comment: str, actor: User, now: datetime | None = None) -> Decision:
    """Cast ``actor``'s rejecting vote; one rejection settles it. The refusals of ``approve``, and no comment."""
    return _one(decision_id, Choice.REJECT, actor, comment, now)


def _one(
    decision_id: int,
    choice: Choice,
    actor: User,
    comment: str,
    now: datetime | None,
    opened_at: datetime | None = None,
) -> Decision:
    results = vote_many([decision_id], choice=choice, actor=actor, comment=comment, now=now, opened_at=opened_at)
    result = results[decision_id]
    if isinstance(result, SecGuardError):
        raise result
    return result


def vote_many(
    decision_ids: Iterable[int],
    *,
    choice: Choice,
    actor: User,
    comment: str = "",
    now: datetime | None = None,
    opened_at: datetime | None = None,
) -> dict[int, Result]:
    """Vote on each: {decision id: the decision as it stands now, or why this vote was refused}.

    Every decision is refused or taken for itself, by the rules of ``approve`` and ``reject``; a refused one leaves no
    trace. Raises ``Invalid`` for none, more than ``MAX_BULK``, or a rejection without a comment.
    """
    ids = list(dict.fromkeys(decision_ids))
    if not 1 <= len(ids) <= MAX_BULK:
        raise Invalid(f"{len(ids)} decisions at once; expected are 1 to {MAX_BULK:,}.", where="decisions")
    at = now or timezone.now()
    with transaction.atomic():
        if choice is Choice.APPROVE:
            controls_leaning.lock_for(ids)
        visible = Decision.objects.visible_to(actor).filter(pk__in=ids).values("pk")
        rows = list(
            Decision.objects.select_for_update(of=("self",))
            .filter(pk__in=visible)
            .select_related("risk__vulnerability", "requested_by")
            .defer("risk__description", "risk__remediation", "risk__vulnerability__description")
            .order_by("pk")
        )
        results = _refused(rows, choice, at)
        votable = [d for d in rows if d.pk not in results]
        _cast(votable, results, choice=choice, actor=actor, comment=comment, now=at, opened_at=opened_at)
    return {pk: results.get(pk) or NotFound(f"There is no decision {pk}.") for pk in ids}


def _refused(rows: Sequence[Decision], choice: Choice, now: datetime) -> dict[int, Result]:
    refused: dict[int, Result] = {}
    worse = changed(rows) if choice is Choice.APPROVE else {}
    lapsed = controls_leaning.broken(rows, now) if choice is Choice.APPROVE and rows else {}
    for decision in rows:
        try:
            after(decision.status, _EVENT[choice])
            if decision.expires_at <= now:
                raise Conflict(
                    f"The end that was asked for, {decision.expires_at:%Y-%m-%d %H:%M} UTC, is past; it has to be "
                    "asked for again.",
                    code="decision-state",
                )
            if decision.pk in worse:
                raise Conflict(
                    f"Since this was asked for, {'; '.join(worse[decision.pk])}. Reject it, so that it is asked for "
                    "under what is known now.",
                    code="risk-changed",
                )
            if decision.pk in lapsed:
                raise Conflict(
                    f"It leans on a control that does not hold now: {lapsed[decision.pk]}. See to the control first, "
                    "or reject the request.",
                    code="control-state",
                )
        except Conflict as refusal:
            refused[decision.pk] = refusal
    return refused


def _cast(
    rows: Sequence[Decision],
    results: dict[int, Result],
    *,
    choice: Choice,
    actor: User,
    comment: str,
    now: datetime,
    opened_at: datetime | None,
) -> None:
    teams = teams_of(rows)
    ballots = [Ballot(d.approval_id, teams[d.pk], is_severe(d), opened_at) for d in rows]
    outcomes = vote(ballots, actor=actor, choice=choice, comment=comment, now=now)
    voted: list[Decision] = []
    for decision in rows:
        outcome = outcomes[decision.approval_id]
        if isinstance(outcome, SecGuardError):
            results[decision.pk] = outcome
            continue
        results[decision.pk] = decision
        voted.append(decision)
        if outcome.standing is not Standing.PENDING:
            decision.status, decision.decided_at = after(decision.status, _EVENT[choice]).value, now
    _write(voted, now)
    cast = mine_among(voted, actor)
    _record(voted, outcomes, cast, choice=choice, comment=comment, actor=actor)
    tell_voted(voted, actor=actor, comment=comment, now=now)


def _write(voted: Sequence[Decision], now: datetime) -> None:
    for status in (DecisionStatus.APPROVED, DecisionStatus.REJECTED):
        settled = [d for d in voted if d.status == status]
        if settled:
            if status is DecisionStatus.APPROVED:
                controls_leaning.begin(settled, now)
            # The columns a rejected one ends with are those of every other end; an approved one has none yet.
            ended = {"ended_at": now, "end_reason": "rejected"} if status is DecisionStatus.REJECTED else {}
            Decision.objects.filter(pk__in=[d.pk for d in settled]).update(status=status.value, decided_at=now, **ended)
    tell([d for d in voted if d.status == DecisionStatus.APPROVED], now)


def _record(
    voted: Sequence[Decision],
    outcomes: dict[int, Outcome | SecGuardError],
    cast: Mapping[int, Vote],
    *,
    choice: Choice,
    actor: User,
    comment: str,
) -> None:
    lines: dict[Action, list[dict[str, Any]]] = {}
    for decision in voted:
        outcome = outcomes[decision.approval_id]
        missing = outcome.missing if isinstance(outcome, Outcome) else {}
        how = _how(cast[decision.approval_id])
        entry = line(decision, vote=choice.value, comment=comment.strip()[:500], missing=missing, **how)
        lines.setdefault(_action(decision), []).append(entry)
    for action, entries in sorted(lines.items()):
        record_many(action, entries, actor=actor)


def _how(vote: Vote) -> dict[str, Any]:
    """In whose seat, and whether in haste: what the audit log says of it."""
    found: dict[str, Any] = {}
    if vote.seat_of is not None and vote.away_until is not None:
        found["for"] = vote.seat_of.username
        found["away_until"] = vote.away_until.isoformat()
    if vote.second_look:
        found["second_look"] = vote.second_look
    return found


def mine_among(decisions: Sequence[Decision], actor: User) -> dict[int, Vote]:
    """{approval request: the vote that ``actor`` cast on it}."""
    rows = Vote.objects.filter(request_id__in=bulk.among([d.approval_id for d in decisions]), voter=actor)
    return {vote.request_id: vote for vote in rows.select_related("seat_of")}


def is_severe(decision: Decision) -> bool:
    """Whether it is among what nobody should approve at a glance."""
    return decision.risk.known_exploited or decision.risk.severity >= Severity.HIGH


def _action(decision: Decision) -> Action:
    match decision.status:
        case DecisionStatus.APPROVED:
            return Action.DECISION_APPROVE
        case DecisionStatus.REJECTED:
            return Action.DECISION_REJECT
    return Action.DECISION_VOTE
