"""Promotions that are under way, and those that stopped for somebody to look at."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Q

from secguard.accounts.models import User
from secguard.promotion.lifecycle import PromotionStatus
from secguard.promotion.models import Promotion
from secguard.promotion.queries import promotions


@dataclass(frozen=True, slots=True)
class Moving:
    running: int
    failed: int
    latest: list[Promotion]
    """Of both kinds, the newest first."""


def moving(user: User, limit: int) -> Moving | None:
    """None where nothing is under way and nothing failed. Two queries."""
    running, failed = Q(status=PromotionStatus.RUNNING), Q(status=PromotionStatus.FAILED)
    rows = promotions(user).filter(running | failed)
    counts = rows.aggregate(running=Count("pk", filter=running), failed=Count("pk", filter=failed))
    if not any(counts.values()):
        return None
    return Moving(counts["running"], counts["failed"], list(rows.order_by("-pk")[:limit]))
