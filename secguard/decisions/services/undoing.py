"""Taking back one's own vote, within seconds: a key that was pressed too soon.

A vote stays as it was cast, for ever. So nothing is rubbed out: what it led to ends, and the same request stands open
again as it was asked, by whoever asked and since when they did. Where others voted as well there is no undoing: it
would undo theirs.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import PERMISSIONS, Permission, Role
from secguard.approvals.models import OPEN, ApprovalRequest, Vote
from secguard.approvals.services import close
from secguard.audit.actions import Action
from secguard.audit.services import record
from secguard.decisions.lifecycle import DecisionEvent, DecisionStatus, after
from secguard.decisions.models import Decision, DecisionControl, VexProposal
from secguard.decisions.services import telling
from secguard.decisions.services.coverage import tell
from secguard.decisions.services.ending import line, locked
from secguard.errors import Conflict, NotAllowed

UNDO = timedelta(seconds=15)
_EVENT = {DecisionStatus.REQUESTED: DecisionEvent.WITHDRAW, DecisionStatus.APPROVED: DecisionEvent.REVOKE}


def undo(decision_id: int, *, actor: User, now: datetime | None = None) -> Decision:
    """Take back ``actor``'s vote; returns the request that stands open again in the place of that decision.

    Raises ``NotFound``, ``NotAllowed`` with a token that may not vote, and ``Conflict`` where they did not vote on it,
    did so longer ago than ``UNDO``, others voted too, it has ended since, or the same was asked for again.
    """
    at = now or timezone.now()
    _check_token(actor)
    with transaction.atomic():
        decision = locked(decision_id, actor)
        vote = _undoable(decision, actor, at)
        _end(decision, actor, at)
        again = _reopened(decision)
        record(
            Action.DECISION_UNDO,
            actor=actor,
            **line(decision, vote=vote.choice, status=decision.status, reopened_as=again.pk),
        )
        telling.tell_undone(decision, again, now=at)
    return again


def _check_token(actor: User) -> None:
    """What casts no vote takes none back: a narrow token of a reviewer's ends nothing that is in force."""
    if actor.token is not None and Permission.DECISION_APPROVE not in PERMISSIONS[Role(actor.token.role)]:
        raise NotAllowed(
            f"{Permission.DECISION_APPROVE.value} is not allowed here: the token {actor.token.prefix}… "
            f"({actor.token.role}) casts no votes, and takes none back. Undo it where you are signed in.",
            code="not-allowed",
        )


def last_vote(user: User, now: datetime) -> Vote | None:
    """The vote that ``user`` could take back at ``now``: their latest, where nobody else voted on the same."""
    recent = Vote.objects.filter(voter=user, created_at__gt=now - UNDO, request__decision__isnull=False)
    vote = recent.select_related("request__decision__risk__vulnerability").order_by("-created_at", "-pk").first()
    if vote is None or vote.request.decision.status in (DecisionStatus.WITHDRAWN, DecisionStatus.REVOKED):
        return None
    undone = Decision.objects.filter(
        risk=vote.request.decision.risk_id,
        requested_at=vote.request.decision.requested_at,
        pk__gt=vote.request.decision.pk,
    )
    if undone.exists() or Vote.objects.filter(request=vote.request_id).exclude(pk=vote.pk).exists():
        return None
    return vote


def _undoable(decision: Decision, actor: User, now: datetime) -> Vote:
    votes = list(Vote.objects.filter(request=decision.approval_id))
    mine = next((v for v in votes if v.voter_id == actor.pk), None)
    if mine is None:
        raise Conflict(f"You did not vote on decision {decision.pk}; there is nothing of yours to undo.", code="undo")
    if now - mine.created_at > UNDO:
        raise Conflict(
            f"You voted {int((now - mine.created_at).total_seconds())} seconds ago; a vote is undone within "
            f"{int(UNDO.total_seconds())}. A decision in force can be revoked, and asked for again.",
            code="undo-late",
        )
    if len(votes) > 1:
        raise Conflict(
            "Somebody else voted on it as well, and to undo your vote would undo theirs. A decision in force can be "
            "revoked, and asked for again.",
            code="undo-others",
        )
    return mine


def _end(decision: Decision, actor: User, now: datetime) -> None:
    """What the vote led to is over: approved is revoked, waiting for more is withdrawn, rejected stays so."""
    was = DecisionStatus(decision.status)
    if was is DecisionStatus.REJECTED:
        return
    if was not in _EVENT:
        raise Conflict(f"Decision {decision.pk} is {was.value} meanwhile; there is nothing to undo.", code="undo")
    decision.status = after(was, _EVENT[was]).value
    decision.ended_at, decision.ended_by, decision.end_reason = now, actor, "the vote was undone"
    decision.save(update_fields=["status", "ended_at", "ended_by", "end_reason"])
    close([decision.approval_id], now=now)
    if was is DecisionStatus.APPROVED:
        tell([decision], now)


def _reopened(decision: Decision) -> Decision:
    """The same request once more, as if nobody had voted: who asked, since when and for what stays."""
    same = Decision.objects.waiting().filter(
        risk=decision.risk_id,
        scope_kind=decision.scope_kind,
        image=decision.image_id,
        repository=decision.repository_id,
        application=decision.application_id,
    )
    if other := same.first():
        raise Conflict(f"Decision {other.pk} asks for the same already; decide that one.", code="decision-duplicate")
    approval = ApprovalRequest.objects.get(pk=decision.approval_id)
    # Since when it is asked decides who may vote: whom the requester made able after that may not.
    approval.pk, approval.status, approval.closed_at, approval._state.adding = None, OPEN, None, True
    approval.save(force_insert=True)
    again = Decision.objects.select_related("risk__vulnerability", "requested_by").get(pk=decision.pk)
    again.pk, again.approval, again._state.adding = None, approval, True
    again.status, again.decided_at, again.controls_until = DecisionStatus.REQUESTED.value, None, None
    again.ended_at, again.ended_by, again.end_reason = None, None, ""
    again.save(force_insert=True)
    leans = DecisionControl.objects.filter(decision=decision.pk).values_list("control_id", flat=True)
    DecisionControl.objects.bulk_create([DecisionControl(decision=again, control_id=pk) for pk in leans])
    VexProposal.objects.filter(decision=decision.pk).update(decision=again)
    return again
