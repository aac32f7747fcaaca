"""Approving, rejecting and withdrawing. Nobody approves their own (DESIGN rule 6): ``approvals`` and the database see
to that."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.approvals import services as approvals
from secguard.approvals.models import Vote
from secguard.approvals.quorum import Choice, Standing
from secguard.approvals.services import Ballot
from secguard.audit.actions import Action
from secguard.errors import Conflict, NotFound, SecGuardError
from secguard.jobs.services import cancel_if_open
from secguard.promotion import queries
from secguard.promotion.lifecycle import PromotionEvent, PromotionStatus, Step, after
from secguard.promotion.models import Promotion
from secguard.promotion.services.asking import begin
from secguard.promotion.services.recording import note, team_of
from secguard.promotion.services.telling import tell_ended, tell_waiting
from secguard.promotion.services.undoing import undo_later


def approve(pk: int, *, actor: User, comment: str = "") -> Promotion:
    """Cast ``actor``'s approving vote; the last one that is needed sets the promotion going.

    Raises ``NotFound``; ``NotAllowed`` for one's own, or without a role that the environment asks for; ``Conflict``
    where it does not wait, or this person voted already.
    """
    return _vote(pk, Choice.APPROVE, actor, comment)


def reject(pk: int, *, comment: str, actor: User) -> Promotion:
    """Cast ``actor``'s rejecting vote; one settles it. As ``approve``, and ``Invalid`` without a comment."""
    return _vote(pk, Choice.REJECT, actor, comment)


@transaction.atomic
def _vote(pk: int, choice: Choice, actor: User, comment: str) -> Promotion:
    found, now = _locked(pk, actor), timezone.now()
    event = PromotionEvent.APPROVE if choice is Choice.APPROVE else PromotionEvent.REFUSE
    if found.approval_id is None or found.status != PromotionStatus.WAITING:
        raise Conflict(
            f"The promotion is {found.status}; only one that waits for approval takes votes.", code="promotion-state"
        )
    target = after(found.status, event)
    ballot = Ballot(found.approval_id, queries.teams_of(found))
    outcome = approvals.vote([ballot], actor=actor, choice=choice, comment=comment, now=now)[found.approval_id]
    if isinstance(outcome, SecGuardError):
        raise outcome
    seat = Vote.objects.filter(request=found.approval_id, voter=actor).select_related("seat_of").get().seat_of
    standing_in = {"for": seat.username} if seat else {}
    note(Action.PROMOTION_VOTE, found, actor, vote=choice.value, comment=comment.strip()[:500], **standing_in)
    if outcome.standing is Standing.PENDING:
        tell_waiting(found, now=now)
        return found
    found.status = target.value
    if target is PromotionStatus.RUNNING:
        found.save(update_fields=["status"])
        begin(found)
    else:
        found.why, found.finished_at = f"{actor} rejected it: {comment.strip()}"[:4500], now
        found.save(update_fields=["status", "why", "finished_at"])
    tell_ended(found, now=now)
    return found


@transaction.atomic
def withdraw(pk: int, *, actor: User) -> Promotion:
    """Call it off, until its tags are moved: whoever asked for it, and whoever may ask for it.

    Raises ``NotFound``, ``NotAllowed``, ``Conflict`` where it has ended, or its tags are being moved or may have been.
    """
    found, now = _locked(pk, actor), timezone.now()
    if found.requested_by_id != actor.pk:
        require(actor, Permission.PROMOTION_REQUEST, team_id=team_of(found.source))
    if found.status == PromotionStatus.RUNNING and Step.TAG in found.steps:
        raise Conflict("Its tags are being moved; it is as good as done. Recall the digest instead.", code="too-late")
    if found.status == PromotionStatus.FAILED and Step.TAG in found.steps:
        raise Conflict(
            "It failed while its tags were being moved, and some of them may show it. Try it again, or recall the "
            "digest.",
            code="too-late",
        )
    found.status = after(found.status, PromotionEvent.WITHDRAW).value
    found.finished_at, found.why = now, f"Withdrawn by {actor}."
    found.save(update_fields=["status", "finished_at", "why"])
    if found.approval_id:
        approvals.close([found.approval_id], now=now)
    if found.job_id:
        cancel_if_open(found.job_id)
    undo_later(found)
    note(Action.PROMOTION_WITHDRAW, found, actor)
    tell_ended(found, now=now)
    return found


def _locked(pk: int, actor: User) -> Promotion:
    seen = Promotion.objects.visible_to(actor).filter(pk=pk).values("pk")
    rows = Promotion.objects.select_for_update(of=("self",)).select_related(*queries.RELATED)
    found = rows.filter(pk__in=seen).first()
    if found is None:
        raise NotFound(f"There is no promotion {pk}.")
    return found
