"""Which decision applies to an image's risks."""

from __future__ import annotations

from datetime import datetime

from django.db.models import Q

from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.models import Decision
from secguard.decisions.scope import DecisionIndex, Place, ScopedDecision, ScopeKind
from secguard.findings.models import OPEN, Finding
from secguard.images.models import ImageRepository


def scoped(decision: Decision) -> ScopedDecision:
    return ScopedDecision(
        id=decision.pk,
        risk=decision.risk_id,
        kind=DecisionKind(decision.kind),
        scope=ScopeKind(decision.scope_kind),
        scope_id=decision.image_id or decision.repository_id or decision.application_id,
        scope_label=decision.scope_label,
        approved_at=decision.decided_at,
        expires_at=decision.expires_at,
    )


def applicable_for_image(image_id: int, now: datetime) -> dict[int, ScopedDecision]:
    """{risk id: the decision that applies to it in this image at ``now``}: the narrowest scope wins. Two queries.

    A decision on the repository, its application or the organisation covers the repository's next image as well,
    without a new decision: nothing here is bound to a row of the image.
    """
    rows = ImageRepository.objects.filter(image_id=image_id).values_list("repository_id", "repository__application_id")
    places = list(rows)
    place = Place(
        image=image_id,
        repositories=frozenset(r for r, _ in places),
        applications=frozenset(a for _, a in places if a is not None),
    )
    inside = (
        Q(scope_kind=ScopeKind.ORGANISATION.value)
        | Q(image_id=image_id)
        | Q(repository_id__in=place.repositories)
        | Q(application_id__in=place.applications)
    )
    open_risks = Finding.objects.filter(image_id=image_id, status=OPEN).values("risk_id")
    decisions = Decision.objects.in_force(now).filter(inside, risk_id__in=open_risks).defer("reason", "conditions")
    return DecisionIndex(map(scoped, decisions), place, now).chosen()
