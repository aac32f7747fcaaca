"""What follows when the set of decisions in force changes: set-based, no loop over rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from datetime import datetime

from django.db import transaction
from django.db.models import Q

from secguard import bulk
from secguard.decisions.lifecycle import still_stands
from secguard.decisions.models import Decision
from secguard.decisions.queries import scoped
from secguard.decisions.queries.standing import ends_with_fix_of
from secguard.decisions.scope import Place, applicable
from secguard.findings.models import Exposure

FOLLOWERS: list[Callable[[list[Decision]], None]] = []
"""Called inside the transaction with the decisions that came into force or left it; upper apps add themselves."""

PARTED: list[Callable[[list[Decision], Collection[int]], None]] = []
"""Called inside the transaction with decisions that no longer cover what lies in these repositories (it is fixed there,
and that is how long it was agreed for). The caller holds a scan's locks: take no image's."""

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
    bring_in_step({d.risk_id for d in decisions}, now)


def bring_in_step(risk_ids: Collection[int], now: datetime) -> None:
    """Name the decision that covers each present exposure of these risks; locks them, in one order."""
    risks = sorted(risk_ids)
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
    by_risk: dict[int, list[Decision]] = defaultdict(list)
    for decision in in_force.filter(risk_id__in={row[1] for row in stands}).defer("reason", "snapshot"):
        by_risk[decision.risk_id].append(decision)
    changed = []
    for pk, risk, repository, application, image, returned, *had in stands:
        place = Place(
            image=image or 0,
            repositories=frozenset({repository}),
            applications=frozenset() if application is None else frozenset({application}),
        )
        unfixed = [
            scoped(d)
            for d in by_risk.get(risk, ())
            if not ends_with_fix_of(d) or still_stands(d.requested_at, True, returned)
        ]
        found = applicable(unfixed, place, now)
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
    "returned_at",
    "decision_id",
    "decided_until",
)
