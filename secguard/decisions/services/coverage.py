"""What follows when the set of decisions in force changes: set-based, no loop over rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from django.db.models import Exists, Q, Subquery

from secguard.decisions.models import Decision
from secguard.decisions.queries import covering
from secguard.errors import Conflict
from secguard.findings.models import Exposure

FOLLOWERS: list[Callable[[list[Decision]], None]] = []
"""Called inside the transaction with the decisions that came into force or left it; upper apps add themselves."""

CHUNK = 5000


def tell(decisions: list[Decision], now: datetime) -> None:
    """The set in force changed by ``decisions``: tell every follower, then bring the exposures in step.

    In this order, because it is the order of a scan's locks (images, then exposures): two writers wait for each other,
    never both ways.
    """
    if not decisions:
        return
    for follow in FOLLOWERS:
        follow(decisions)
    risks = sorted({d.risk_id for d in decisions})
    for start in range(0, len(risks), CHUNK):
        chunk = Q(risk_id__in=risks[start : start + CHUNK])
        len(Exposure.objects.present().filter(chunk).order_by("pk").select_for_update().values_list("pk"))
        refresh_coverage(chunk, now)


def refresh_coverage(where: Q, now: datetime) -> int:
    """Name, on the present exposures that fit ``where``, the decision that covers each at ``now``. One statement.

    Exposures that had no decision and get none are not written.
    """
    decisions = covering(now)
    stands = Exposure.objects.present().filter(where).filter(Exists(decisions) | Q(decision_id__isnull=False))
    return stands.update(
        decision_id=Subquery(decisions.values("pk")[:1]), decided_until=Subquery(decisions.values("expires_at")[:1])
    )


def move_decisions(kept_risk_id: int, gone_risk_ids: Iterable[int]) -> int:
    """Two risks proved to be one: the decisions on the others follow to the kept one, before the others are deleted.

    The database lets a decision follow only to the flaw's other name in the same package. Where both have an open
    request over the same scope, raises ``Conflict``: people have to settle one first.
    """
    gone = list(gone_risk_ids)
    moving = Decision.objects.filter(risk_id__in=gone)
    twice = moving.waiting().filter(
        scope_label__in=Decision.objects.waiting().filter(risk_id=kept_risk_id).values("scope_label")
    )
    if (both := twice.first()) is not None:
        raise Conflict(
            f"Decision {both.pk} and another open request ask for the same scope under two names of one flaw; "
            "withdraw one of them first.",
            code="decision-duplicate",
        )
    return moving.update(risk_id=kept_risk_id)
