"""What follows when the set of decisions in force changes: set-based, no loop over rows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.db.models import Exists, Q, Subquery

from secguard.decisions.models import Decision
from secguard.decisions.queries import covering
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
    # The risks first: of the exposures of a new image few have any decision, and only those are looked at one by one.
    decided = Q(risk_id__in=Decision.objects.in_force(now).order_by().values("risk_id"))
    stands = Exposure.objects.present().filter(where).filter(decided & Exists(decisions) | Q(decision_id__isnull=False))
    return stands.update(
        decision_id=Subquery(decisions.values("pk")[:1]), decided_until=Subquery(decisions.values("expires_at")[:1])
    )
