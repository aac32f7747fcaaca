"""What a decision would reach beyond the scope itself: gates and environments, which the layers above know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from secguard.accounts.models import User
from secguard.decisions.lifecycle import DecisionStatus
from secguard.decisions.models import Decision
from secguard.decisions.queries.reviewing import effective_status
from secguard.decisions.queries.scopes import Scope

SECONDS = 1.0
"""How long is looked for gates that turn."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A gate whose latest answer on a repository's newest image would be another one."""

    gate: str
    was: str
    would: str
    repository: str
    digest: str


@dataclass(frozen=True, slots=True)
class EnvironmentReach:
    """An environment that images are promoted to."""

    name: str
    images: int
    """Of the covered images, those that stand there."""
    opens: int
    """Repositories whose newest image its gate would no longer block."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Gates that would turn, and where the covered images stand or run; of what the asking person may see."""

    turns: tuple[Turn, ...] = ()
    """The first of them, those that open first."""
    gates: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """{(gate, was, would): repositories}, as far as was looked."""
    environments: tuple[EnvironmentReach, ...] = ()
    clusters: tuple[tuple[str, int], ...] = ()
    """(cluster, workloads there that run a covered image)."""
    looked: int = 0
    """Repositories whose gates were asked."""
    of: int = 0
    """Repositories whose newest image has it."""
    shared: int = 0
    """Repositories among them whose image lies with other teams as well: it turns once they decide their part."""

    @property
    def turned(self) -> list[dict[str, Any]]:
        return [
            {"gate": gate, "was": was, "would": would, "repositories": n}
            for (gate, was, would), n in self.gates.items()
        ]

    @property
    def stands_in(self) -> bool:
        return any(environment.images for environment in self.environments)

    @property
    def is_sample(self) -> bool:
        return len(self.turns) < sum(self.gates.values())

    @property
    def is_complete(self) -> bool:
        return self.looked == self.of


Reaching = Callable[[Sequence[int], Scope, str, User, float], Reach]
REACH: list[Reaching] = []
"""The one app above that knows adds itself: called with risks, scope, kind, the person, and the seconds it may take."""


def reach(risk_ids: Sequence[int], scope: Scope, kind: str, user: User, *, seconds: float = SECONDS) -> Reach | None:
    """What a decision on these risks over ``scope`` would turn; ``None`` where no app is there that knows."""
    return REACH[0](risk_ids, scope, kind, user, seconds) if REACH else None


def reach_of(decision: Decision, scope: Scope, user: User, now: datetime, *, seconds: float = SECONDS) -> Reach | None:
    """``reach`` of one that was asked for; its gates only while it waits, for then they would turn."""
    waits = effective_status(decision, now) is DecisionStatus.REQUESTED
    return reach([decision.risk_id], scope, decision.kind, user, seconds=seconds if waits else 0.0)
