"""The decisions that hold for an image now, as VEX says them."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.models import Decision
from secguard.decisions.queries.covering import applicable_for_image
from secguard.decisions.vex import Judgement
from secguard.findings.models import OPEN, Finding
from secguard.images.models import ImageRepository


def judgements_of(image_id: int, now: datetime) -> list[Judgement]:
    """One for each vulnerability that a decision covers at ``now``. A constant number of queries.

    Why it is not affected is told only where one team keeps the image: a document that goes along with an image is
    read by everybody who gets it, and no team's words are another's to publish.
    """
    chosen = {one.id for one in applicable_for_image(image_id, now).values()}
    rows = Decision.objects.filter(pk__in=chosen, risk__vulnerability__isnull=False)
    found = list(rows.select_related("risk__vulnerability").prefetch_related("risk__vulnerability__aliases"))
    purls: dict[int, set[str]] = defaultdict(set)
    open_ones = Finding.objects.filter(image_id=image_id, status=OPEN, risk__in={d.risk_id for d in found})
    for risk, purl in open_ones.values_list("risk_id", "component__purl"):
        if purl:
            purls[risk].add(purl)
    teams = ImageRepository.objects.filter(image_id=image_id).values("repository__application__team_id").distinct()
    is_one_teams = teams.count() == 1
    return [_judgement(decision, sorted(purls[decision.risk_id]), is_one_teams) for decision in found]


def _judgement(decision: Decision, purls: list[str], may_tell: bool) -> Judgement:
    flaw = decision.risk.vulnerability
    assert flaw is not None  # noqa: S101 - as asked for
    return Judgement(
        decision=decision.pk,
        kind=DecisionKind(decision.kind),
        vulnerability=flaw.name,
        aliases=[alias.name for alias in flaw.aliases.all()],
        purls=purls,
        approved_at=decision.decided_at or decision.requested_at,
        expires_at=decision.expires_at,
        why=decision.reason if may_tell else "",
    )
