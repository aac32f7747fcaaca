"""Which decision applies to an image's risks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
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

    A digest that lies with several teams is one image with one verdict, so what one of them decided for what is theirs
    counts once each of them has decided; until then only the image's own scope and the organisation's do. The one named
    is then the first to end, and it does not say where the other teams keep the image.
    """
    return standing_for_image(image_id, now).chosen


class Standing(NamedTuple):
    """What is decided about an image's risks."""

    chosen: dict[int, ScopedDecision]
    """As ``applicable_for_image`` says it."""
    in_part: frozenset[int]
    """Risks that some of the teams that have the image decided, but not each of them."""


def standing_for_image(image_id: int, now: datetime) -> Standing:
    """``applicable_for_image``, and of what else something is decided. Two queries."""
    columns = ("repository_id", "repository__application_id", "repository__application__team_id")
    places = list(ImageRepository.objects.filter(image_id=image_id).values_list(*columns))
    inside = (
        Q(scope_kind=ScopeKind.ORGANISATION.value)
        | Q(image_id=image_id)
        | Q(repository_id__in={r for r, _, _ in places})
        | Q(application_id__in={a for _, a, _ in places if a is not None})
    )
    open_risks = Finding.objects.filter(image_id=image_id, status=OPEN).values("risk_id")
    rows = Decision.objects.in_force(now).filter(inside, risk_id__in=open_risks).defer("reason", "conditions")
    decisions = [scoped(d) for d in rows]
    owners = sorted({t for _, _, t in places if t is not None})
    if len(owners) < 2:
        return Standing(DecisionIndex(decisions, _place(image_id, places), now).chosen(), frozenset())
    of_team = [_place(image_id, (p for p in places if p[2] == team)) for team in owners]
    by_team = [DecisionIndex(decisions, place, now).chosen() for place in of_team]
    agreed = _agreed(by_team)
    return Standing(agreed, frozenset().union(*by_team) - agreed.keys())


def _place(image_id: int, places: Iterable[tuple[int, int | None, int | None]]) -> Place:
    rows = list(places)
    return Place(
        image=image_id,
        repositories=frozenset(r for r, _, _ in rows),
        applications=frozenset(a for _, a, _ in rows if a is not None),
    )


def _agreed(by_team: Sequence[Mapping[int, ScopedDecision]]) -> dict[int, ScopedDecision]:
    """{risk: the decision among the teams' that ends first}, of the risks that every team has one on."""
    found = {}
    for risk in set.intersection(*(set(chosen) for chosen in by_team)):
        first = min((chosen[risk] for chosen in by_team), key=lambda d: (d.expires_at or _EVER, d.id))
        is_shared = first.scope in (ScopeKind.IMAGE, ScopeKind.ORGANISATION)
        found[risk] = first if is_shared else msgspec.structs.replace(first, scope_label=first.scope.value)
    return found


_EVER = datetime.max.replace(tzinfo=UTC)
