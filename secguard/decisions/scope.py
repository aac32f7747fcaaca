"""Which decision applies where: the narrowest scope wins, then the latest approved (DESIGN rule 4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from secguard.decisions.lifecycle import DecisionKind


class ScopeKind(StrEnum):
    """Narrowest first."""

    IMAGE = "image"
    REPOSITORY = "repository"
    APPLICATION = "application"
    ORGANISATION = "organisation"


_WIDTH: Final = {kind: width for width, kind in enumerate(ScopeKind)}
_EVER: Final = datetime.min.replace(tzinfo=UTC)


class ScopedDecision(Struct, frozen=True, kw_only=True):
    """An approved decision as far as choosing needs it."""

    id: int
    risk: int
    kind: DecisionKind
    scope: ScopeKind
    scope_id: int | None = None
    """The image's, repository's or application's id; ``None`` for the organisation."""
    scope_label: str = ""
    approved_at: datetime | None = None
    expires_at: datetime | None = None

    def holds_at(self, now: datetime) -> bool:
        started = self.approved_at is None or self.approved_at <= now
        return started and (self.expires_at is None or now < self.expires_at)


class Place(Struct, frozen=True, kw_only=True):
    """Where an image stands: its id, the repositories it lies in, and the applications that own those."""

    image: int
    repositories: frozenset[int] = frozenset()
    applications: frozenset[int] = frozenset()

    def scopes(self) -> list[tuple[ScopeKind, int | None]]:
        return [
            (ScopeKind.IMAGE, self.image),
            *((ScopeKind.REPOSITORY, r) for r in sorted(self.repositories)),
            *((ScopeKind.APPLICATION, a) for a in sorted(self.applications)),
            (ScopeKind.ORGANISATION, None),
        ]


def _rank(decision: ScopedDecision) -> tuple[int, float, int]:
    return (
        _WIDTH[decision.scope],
        -((decision.approved_at or _EVER) - _EVER).total_seconds(),
        -decision.id,
    )


def covers(decision: ScopedDecision, place: Place) -> bool:
    """Whether ``place`` lies inside the decision's scope."""
    return (decision.scope, decision.scope_id) in place.scopes()


def applicable(decisions: Iterable[ScopedDecision], place: Place, now: datetime) -> ScopedDecision | None:
    """The one decision, among those on one risk, that applies at ``place`` and holds at ``now``; ``None`` where none.

    The narrowest scope wins; among equals the latest approved, then the highest id. One that has ended gives way to a
    wider one that has not.
    """
    keys = frozenset(place.scopes())
    fitting = [d for d in decisions if (d.scope, d.scope_id) in keys and d.holds_at(now)]
    return min(fitting, key=_rank, default=None)


class DecisionIndex:
    """Approved decisions by risk, for one place: a look-up a finding, however many decisions there are."""

    def __init__(self, decisions: Iterable[ScopedDecision], place: Place, now: datetime) -> None:
        by_risk: dict[int, list[ScopedDecision]] = defaultdict(list)
        for decision in decisions:
            by_risk[decision.risk].append(decision)
        chosen = {risk: applicable(rows, place, now) for risk, rows in by_risk.items()}
        self._chosen = {risk: decision for risk, decision in chosen.items() if decision is not None}

    def of(self, risk: int) -> ScopedDecision | None:
        """The decision that applies to ``risk``, or ``None``."""
        return self._chosen.get(risk)

    def chosen(self) -> dict[int, ScopedDecision]:
        """{risk: the decision that applies}."""
        return dict(self._chosen)
