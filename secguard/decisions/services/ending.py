"""How decisions end: revoked by people, by their date, or because what they stood on changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from secguard.accounts.models import User
from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.approvals.services import close
from secguard.audit.actions import Action
from secguard.audit.services import record, record_many
from secguard.decisions.lifecycle import (
    FIXED,
    DecisionEvent,
    DecisionStatus,
    after,
)
from secguard.decisions.models import Decision
from secguard.decisions.queries import snapshots_now, standing
from secguard.decisions.queries.standing import fixed_everywhere
from secguard.decisions.services import telling
from secguard.decisions.services.coverage import tell
from secguard.errors import Conflict, Invalid, NotFound
from secguard.jobs import services as job_services

BATCH = 1000
MAX_END_REASON = 300
DATE_CAME = "its end came"
REVIEW = "decisions.review"


def locked(decision_id: int, actor: User) -> Decision:
    """The decision, its row locked until the transaction ends; ``NotFound`` where ``actor`` may not see it."""
    rows = Decision.objects.visible_to(actor).filter(pk=decision_id).values("pk")
    decision = (
        Decision.objects.select_for_update(of=("self",)).filter(pk__in=rows).select_related("risk__vulnerability")
    )
    found = decision.first()
    if found is None:
        raise NotFound(f"There is no decision {decision_id}.")
    return found


def is_own(decision: Decision, actor: User) -> bool:
    """Whether ``actor`` asked for it and may take it back; a token does so only where its role may ask."""
    if decision.requested_by_id != actor.pk:
        return False
    return actor.token is None or actor.can(Permission.DECISION_REQUEST, decision.team_id)


def line(decision: Decision, **details: Any) -> dict[str, Any]:
    """The decision as an audit entry's subject."""
    is_wide = decision.scope_kind == "organisation"
    where = "the organisation" if is_wide else f"{decision.scope_kind} {decision.scope_label}"
    return {
        "subject_type": "decision",
        "subject_id": decision.pk,
        "subject": f"{decision.kind} {decision.risk.name} in {where}",
        "team_id": decision.team_id,
        "details": {"risk": decision.risk_id, "expires_at": decision.expires_at.isoformat(), **details},
    }


def revoke(decision_id: int, *, reason: str, actor: User, now: datetime | None = None) -> Decision:
    """Take an approved decision back; what it let pass is judged without it at once.

    Whoever asked for it may (it only makes things stricter), and everybody with decision:revoke for the team whose
    it is. Raises ``NotFound``, ``NotAllowed``, ``Invalid`` without a reason, ``Conflict`` where it is not in force.
    """
    at = now or timezone.now()
    words = " ".join(reason.replace("\x00", "").split())
    if not 1 <= len(words) <= MAX_END_REASON:
        raise Invalid(f"Revoking needs a reason of 1 to {MAX_END_REASON} characters.", where="reason")
    with transaction.atomic():
        decision = locked(decision_id, actor)
        if not is_own(decision, actor):
            require(actor, Permission.DECISION_REVOKE, team_id=decision.team_id)
        new = after(decision.status, DecisionEvent.REVOKE)
        if decision.expires_at <= at:
            raise Conflict(f"The decision ended on {decision.expires_at:%Y-%m-%d %H:%M} UTC.", code="decision-state")
        decision.status, decision.ended_at, decision.ended_by, decision.end_reason = new.value, at, actor, words
        decision.save(update_fields=["status", "ended_at", "ended_by", "end_reason"])
        tell([decision], at)
        record(Action.DECISION_REVOKE, actor=actor, **line(decision, reason=words))
        telling.tell_ended([decision], [telling.ENDED], [f"revoked by {actor}: {words}"], now=at, actor=actor)
    return decision


def end(decisions: Sequence[Decision], reasons: Sequence[str], *, now: datetime) -> None:
    """End these locked rows, each for its reason; inside the caller's transaction."""
    in_force = []
    kinds = [_told_as(d, r) for d, r in zip(decisions, reasons, strict=True)]
    for decision, reason in zip(decisions, reasons, strict=True):
        if decision.status == DecisionStatus.APPROVED:
            in_force.append(decision)
        decision.status = after(decision.status, DecisionEvent.END).value
        # What leaned on a control that lapsed counts for nothing since then, whenever this is written down.
        decision.ended_at, decision.end_reason = min(now, decision.controls_until or now), reason[:MAX_END_REASON]
    Decision.objects.bulk_update(decisions, ["status", "ended_at", "end_reason"], batch_size=500)
    close([d.approval_id for d in decisions], now=now)
    tell(in_force, now)
    lines = [line(d, reason=r) for d, r in zip(decisions, reasons, strict=True)]
    record_many(Action.DECISION_END, lines, actor=None)
    telling.tell_ended(decisions, kinds, reasons, now=now)


def _told_as(decision: Decision, reason: str) -> str:
    if decision.status != DecisionStatus.APPROVED:
        return telling.UNANSWERED
    return telling.ENDED if reason in (DATE_CAME, FIXED) else telling.REOPENED


def end_due(now: datetime | None = None) -> int:
    """Write down what ended by its date; returns how many. Bookkeeping: nothing past its end counts anyway (rule 5)."""
    at = now or timezone.now()
    open_ones = [DecisionStatus.REQUESTED.value, DecisionStatus.APPROVED.value]
    total = 0
    while True:
        with transaction.atomic():
            due = Decision.objects.select_for_update(of=("self",), skip_locked=_can_skip()).filter(
                status__in=open_ones, expires_at__lte=at
            )
            rows = list(due.select_related("risk__vulnerability").order_by("pk")[:BATCH])
            if not rows:
                return total
            end(rows, [DATE_CAME] * len(rows), now=at)
        total += len(rows)


def _can_skip() -> bool:
    return bool(transaction.get_connection().features.has_select_for_update_skip_locked)


def review_material_changes(risk_ids: Sequence[int], now: datetime | None = None) -> list[Decision]:
    """End the decisions in force on these risks that no longer stand on what they were approved under (rule 4).

    Called by the job that follows a change of risks (``findings.services.RISKS_CHANGED``); safe to run twice. Returns
    those that ended.
    """
    at = now or timezone.now()
    with transaction.atomic():
        rows = list(
            Decision.objects.select_for_update(of=("self",))
            .in_force(at)
            .filter(risk_id__in=list(risk_ids))
            .select_related("risk__vulnerability")
            .order_by("pk")
        )
        if not rows:
            return []
        found = changed(rows)
        ended = [d for d in rows if d.pk in found]
        if ended:
            end(ended, ["; ".join(found[d.pk]) for d in ended], now=at)
    return ended


def review_soon(where: Q, at: datetime) -> None:
    """Ask for a job that ends those of the decisions in force that fit ``where`` and no longer stand on what they were
    approved under. A job, because ending locks images, and the caller holds some already (``coverage.tell``)."""
    rows = list(Decision.objects.in_force(at).filter(where).order_by("pk"))
    found = changed(rows)
    risks = sorted({d.risk_id for d in rows if d.pk in found})
    for start in range(0, len(risks), BATCH):
        part = risks[start : start + BATCH]
        job_services.enqueue(REVIEW, {"risks": part}, key=f"{part[0]}-{len(part)}-{at.timestamp()}", again=True)


def changed(decisions: Sequence[Decision]) -> dict[int, list[str]]:
    """{decision: why it no longer stands on what it was asked for under}, of those that do not: what changed for the
    worse (``lifecycle.material_change``), or that it is fixed and was agreed until then. Six queries at most."""
    if not decisions:
        return {}
    current, fixed = snapshots_now(decisions), fixed_everywhere(decisions)
    found: dict[int, list[str]] = {}
    for d in decisions:
        reasons = [FIXED] if d.pk in fixed else []
        reasons += standing.changes(d, current[d.pk]) if d.pk in current else []
        if reasons:
            found[d.pk] = reasons
    return found
