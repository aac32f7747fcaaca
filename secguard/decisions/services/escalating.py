"""Requests that wait too long.

Who may decide them by then follows from the clock alone (``approvals.queries.accepted``); here people are told, once.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from secguard.approvals.models import OPEN, ApprovalRequest
from secguard.audit.actions import Action
from secguard.audit.services import record_many
from secguard.decisions.models import Decision
from secguard.decisions.services.ending import line
from secguard.decisions.services.telling import tell_escalated

BATCH = 500


def escalate_due(now: datetime | None = None) -> int:
    """The job: tell of every request that waits longer than the risk appetite lets it; returns how many. Safe to run
    twice: each is told of once."""
    at = now or timezone.now()
    total = 0
    while True:
        with transaction.atomic():
            late = ApprovalRequest.objects.filter(
                status=OPEN, told_at=None, escalates_at__lte=at, decision__isnull=False
            )
            ids = list(late.select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True)[:BATCH])
            if not ids:
                return total
            ApprovalRequest.objects.filter(pk__in=ids).update(told_at=at)
            total += _tell(ids, at)


def _tell(approval_ids: list[int], at: datetime) -> int:
    rows = Decision.objects.waiting().filter(approval_id__in=approval_ids, expires_at__gt=at)
    decisions = list(rows.select_related("risk__vulnerability", "requested_by", "approval").order_by("pk"))
    tell_escalated(decisions, now=at)
    lines = [line(d, then=d.approval.escalates_to, since=d.requested_at.isoformat()) for d in decisions]
    record_many(Action.DECISION_ESCALATE, lines, actor=None)
    return len(decisions)
