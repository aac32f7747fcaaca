"""Which decision applies to an image's risks."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
from django.db.models import Q

from secguard.decisions.lifecycle import DecisionKind, RiskSnapshot, still_stands
from secguard.decisions.models import Decision
from secguard.decisions.queries.standing import (
    Lineage,
    Terms,
    changes,
    ends_with_fix_of,
    known_in_image,
    lineage_of,
)
from secguard.decisions.scope import DecisionIndex, Place, ScopedDecision, ScopeKind, covers
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
        expires_at=decision.counts_until,
    )


def applicable_for_image(image_id: int, now: datetime) -> dict[int, ScopedDecision]:
    """{risk id: the decision that applies to it in this image at ``now``}: the narrowest scope wins.

    Four queries at most.

    A decision on the repository, its application or the organisation covers the repository's next image as well,
    without a new decision: nothing here is bound to a row of the image. One that was agreed for less than
    what stands in this image does not.

    A digest that lies with several teams is one image with one verdict, so what one of them decided for what is theirs
    counts once each of them has decided; until then only the image's own scope and the organisation's do. The one named
    is then the first to end, and it does not say where the other teams keep the image.
    """
    return standing_for_image(image_id, now).chosen


class Spot(NamedTuple):
    """One place where an image lies: its repository, whose that is, and whether it is reachable from outside."""

    repository: int
    application: int | None
    team: int | None
    is_exposed: bool | None


SPOT = (
    "repository_id", "repository__application_id", "repository__application__team_id",
    "repository__application__is_exposed",
)  # fmt: skip
"""The columns of a ``Spot``."""


class Standing(NamedTuple):
    """What is decided about an image's risks."""

    chosen: dict[int, ScopedDecision]
    """As ``applicable_for_image`` says it."""
    in_part: frozenset[int]
    """Risks that some of the teams that have the image decided, but not each of them."""


def standing_for_image(image_id: int, now: datetime) -> Standing:
    """``applicable_for_image``, and of what else something is decided. Four queries at most.

    What was agreed under other facts than those that stand in this image lets nothing pass in it, also before the job
    has come round that ends it: a report that finds it more severe is judged in the same breath.
    """
    places = [Spot(*row) for row in ImageRepository.objects.filter(image_id=image_id).values_list(*SPOT)]
    inside = (
        Q(scope_kind=ScopeKind.ORGANISATION.value)
        | Q(image_id=image_id)
        | Q(repository_id__in={p.repository for p in places})
        | Q(application_id__in={p.application for p in places if p.application is not None})
    )
    open_risks = Finding.objects.filter(image_id=image_id, status=OPEN).values("risk_id")
    decided = list(Decision.objects.in_force(now).filter(inside, risk_id__in=open_risks).defer("reason"))
    known = known_in_image(image_id, sorted({d.risk_id for d in decided}))
    lineage = lineage_of(((d.risk_id, d) for d in decided), {p.repository for p in places})
    return standing_in(image_id, places, [(scoped(d), d) for d in decided], known, now, lineage=lineage)


def standing_in(
    image_id: int,
    places: Sequence[Spot],
    decided: Iterable[tuple[ScopedDecision, Terms]],
    known: Mapping[int, RiskSnapshot],
    now: datetime,
    *,
    lineage: Lineage,
) -> Standing:
    """``standing_for_image`` from rows that are read already. No query.

    ``decided`` are the decisions in force, each with what it was agreed under; ``known`` is {risk: what is known of it
    in this image}. One that was agreed for less than that counts for nothing here. Nor does one that was agreed until
    it is fixed, where ``lineage`` (``standing.lineage_of``) says that it was: in none of the image's repositories that
    it covers has the newest image had it ever since.
    """
    outside = {scope for p in places if p.is_exposed for scope in _place(image_id, [p]).scopes()}
    decisions = [
        (one, terms)
        for one, terms in decided
        if (here := known.get(one.risk)) and not changes(terms, _seen_from(one, here, outside))
    ]

    def chosen(spots: Sequence[Spot]) -> dict[int, ScopedDecision]:
        unfixed = (one for one, terms in decisions if not _is_fixed(one, terms, image_id, spots, lineage))
        return DecisionIndex(unfixed, _place(image_id, spots), now).chosen()

    owners = sorted({p.team for p in places if p.team is not None})
    if len(owners) < 2:
        return Standing(chosen(places), frozenset())
    by_team = [chosen([p for p in places if p.team == team]) for team in owners]
    agreed = _agreed(by_team)
    return Standing(agreed, frozenset().union(*by_team) - agreed.keys())


def _seen_from(
    one: ScopedDecision, here: RiskSnapshot, outside: Container[tuple[ScopeKind, int | None]]
) -> RiskSnapshot:
    """What is known where the decision stands: reachable from outside is what of the image lies in its scope."""
    return msgspec.structs.replace(here, exposed=(one.scope, one.scope_id) in outside)


def _is_fixed(one: ScopedDecision, terms: Terms, image_id: int, spots: Iterable[Spot], lineage: Lineage) -> bool:
    if not ends_with_fix_of(terms):
        return False
    inside = ((one.risk, p.repository) for p in spots if covers(one, _place(image_id, [p])))
    return not any(still_stands(terms.requested_at, key in lineage, lineage.get(key)) for key in inside)


def _place(image_id: int, places: Iterable[Spot]) -> Place:
    rows = list(places)
    return Place(
        image=image_id,
        repositories=frozenset(p.repository for p in rows),
        applications=frozenset(p.application for p in rows if p.application is not None),
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
