"""What follows when the set of decisions in force changes: set-based, no loop over rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from secguard import bulk
from secguard.decisions.models import Decision
from secguard.decisions.queries import scoped
from secguard.decisions.scope import Place, ScopedDecision, applicable
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
    """Name, on the present exposures that fit ``where``, the decision that covers each at ``now``; writes what differs.

    Two reads, and the choice is ``scope.applicable``'s as everywhere: a correlated UPDATE would say the rule a second
    time, and SQLite plans it as a walk through all decisions in force for each exposure.
    """
    in_force = Decision.objects.in_force(now)
    decided = Q(risk_id__in=in_force.order_by().values("risk_id")) | Q(decision_id__isnull=False)
    stands = list(Exposure.objects.present().filter(where).filter(decided).order_by("pk").values_list(*_COLUMNS))
    by_risk: dict[int, list[ScopedDecision]] = defaultdict(list)
    for decision in in_force.filter(risk_id__in={row[1] for row in stands}).defer("reason", "conditions", "snapshot"):
        by_risk[decision.risk_id].append(scoped(decision))
    changed = []
    for pk, risk, repository, application, image, *had in stands:
        place = Place(
            image=image or 0,
            repositories=frozenset({repository}),
            applications=frozenset() if application is None else frozenset({application}),
        )
        found = applicable(by_risk.get(risk, ()), place, now)
        has = [found.id, found.expires_at] if found else [None, None]
        if has != had:
            changed.append((pk, *has))
    if changed:
        with transaction.atomic():
            bulk.update(Exposure, ("decision_id", "decided_until"), changed)
    return len(changed)


_COLUMNS = (
    "pk",
    "risk_id",
    "repository_id",
    "application_id",
    "repository__newest_image_id",
    "decision_id",
    "decided_until",
)
