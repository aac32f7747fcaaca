"""The life of a decision: which step may follow which, whether it holds now, and what re-opens it (DESIGN rule 4)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import Struct

from secguard.errors import Conflict, Invalid
from secguard.findings.severity import Severity


class DecisionKind(StrEnum):
    FIX = "fix"
    MITIGATE = "mitigate"
    ACCEPT = "accept"
    NOT_AFFECTED = "not_affected"


class DecisionStatus(StrEnum):
    REQUESTED = "requested"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    REVOKED = "revoked"
    ENDED = "ended"


class DecisionEvent(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    REVOKE = "revoke"
    END = "end"


_S, _E = DecisionStatus, DecisionEvent
TRANSITIONS: Final[dict[tuple[DecisionStatus, DecisionEvent], DecisionStatus]] = {
    (_S.REQUESTED, _E.APPROVE): _S.APPROVED,
    (_S.REQUESTED, _E.REJECT): _S.REJECTED,
    (_S.REQUESTED, _E.WITHDRAW): _S.WITHDRAWN,
    # Nobody answered before the end that was asked for.
    (_S.REQUESTED, _E.END): _S.ENDED,
    (_S.APPROVED, _E.REVOKE): _S.REVOKED,
    # Its date came, or a material change did: what was decided no longer stands and is asked for anew.
    (_S.APPROVED, _E.END): _S.ENDED,
}
_PARTICIPLE: Final = {
    _E.APPROVE: "approved",
    _E.REJECT: "rejected",
    _E.WITHDRAW: "withdrawn",
    _E.REVOKE: "revoked",
    _E.END: "ended",
}


def after(status: str, event: DecisionEvent) -> DecisionStatus:
    """The status after ``event``; raises ``Conflict`` that names the status found and those expected."""
    try:
        return TRANSITIONS[(DecisionStatus(status), event)]
    except (KeyError, ValueError):
        fitting = " or ".join(s.value for s, e in TRANSITIONS if e is event)
        raise Conflict(
            f"The decision is {status}; only one that is {fitting} can be {_PARTICIPLE[event]}. Reload to see what "
            "happened in the meantime.",
            code="decision-state",
        ) from None


def in_force(status: str, starts_at: datetime | None, expires_at: datetime | None, now: datetime) -> bool:
    """Whether an approved decision holds at ``now``: from its start, and not at its end any more (DESIGN rule 5)."""
    if status != DecisionStatus.APPROVED:
        return False
    return (starts_at is None or starts_at <= now) and (expires_at is None or now < expires_at)


class RiskSnapshot(Struct, frozen=True, kw_only=True):
    """What was known of a risk when a decision was asked for, and what is known now."""

    severity: Severity
    known_exploited: bool = False
    epss: float | None = None
    fix_available: bool = False
    exposed: bool | None = None
    """Whether it stands in something reachable from outside; ``None`` where that was not noted yet."""


class Conditions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the requester put on the decision besides its end; anything left out has the default of its kind."""

    until_fix: bool | None = None
    """End when a fix appears that was not there. By default so for ``accept`` and ``mitigate``."""
    max_epss: float | None = None
    """End when EPSS rises above this (0 to 1). By default when it reaches one of ``EPSS_LINES``."""


EPSS_LINES: Final = (0.1, 0.5)
"""Where nobody named a line: probable (1 in 10) and likely (1 in 2) exploitation within 30 days."""

_CONDITION_NAMES: Final = ", ".join(Conditions.__struct_fields__)


def parse_conditions(data: Any) -> Conditions:
    """``{"until_fix": true, "max_epss": 0.2}`` to ``Conditions``; ``None`` is none.

    Raises ``Invalid`` at an unknown name, a wrong type, or a probability outside 0 to 1.
    """
    try:
        conditions = msgspec.convert(data if data is not None else {}, Conditions)
    except msgspec.ValidationError as e:
        raise Invalid(
            f"The conditions cannot be taken: {e}. Known are: {_CONDITION_NAMES}.",
            code="conditions",
            where="conditions",
        ) from e
    if conditions.max_epss is not None and not 0.0 <= conditions.max_epss <= 1.0:
        raise Invalid(
            f"max_epss is {conditions.max_epss:g}; expected is a probability from 0 to 1.",
            code="conditions",
            where="conditions.max_epss",
        )
    return conditions


def check_conditions(conditions: Conditions, snapshot: RiskSnapshot, kind: DecisionKind) -> None:
    """Raises ``Invalid`` where a condition is broken before the decision begins: it would end at once."""
    broken = material_change(snapshot, snapshot, conditions, kind)
    if broken:
        raise Invalid(
            f"The decision would end at once: {'; '.join(broken)}. Ask with a condition that holds now.",
            code="conditions",
            where="conditions",
        )


def material_change(
    snapshot: RiskSnapshot, current: RiskSnapshot, conditions: Conditions, kind: DecisionKind = DecisionKind.ACCEPT
) -> list[str]:
    """Why the decision no longer stands on what it was approved under; empty where it does (DESIGN rule 4).

    Known exploitation counts for every kind. ``not_affected`` says that the flaw cannot be reached, which a fix, a
    score, a severity or an exposed application does not change; ``fix`` is a promise that a fix helps to keep.
    """
    reasons = []
    if current.known_exploited and not snapshot.known_exploited:
        reasons.append("known exploitation began")
    if _ends_at_fix(conditions, kind) and current.fix_available and not snapshot.fix_available:
        reasons.append("a fix appeared")
    if kind is not DecisionKind.NOT_AFFECTED and current.severity > snapshot.severity:
        reasons.append(f"severity rose from {snapshot.severity.label} to {current.severity.label}")
    if kind is not DecisionKind.NOT_AFFECTED and current.exposed and snapshot.exposed is False:
        reasons.append("it became reachable from outside")
    crossed = _epss_crossed(snapshot, current, conditions, kind)
    return [*reasons, crossed] if crossed else reasons


def _ends_at_fix(conditions: Conditions, kind: DecisionKind) -> bool:
    if conditions.until_fix is not None:
        return conditions.until_fix
    return kind in (DecisionKind.ACCEPT, DecisionKind.MITIGATE)


def _epss_crossed(snapshot: RiskSnapshot, current: RiskSnapshot, conditions: Conditions, kind: DecisionKind) -> str:
    if current.epss is None:
        return ""
    if conditions.max_epss is not None:
        over = current.epss > conditions.max_epss
        return f"EPSS is {current.epss:.3g}, above the agreed {conditions.max_epss:g}" if over else ""
    if kind is DecisionKind.NOT_AFFECTED:
        return ""
    before = snapshot.epss or 0.0
    crossed = [line for line in EPSS_LINES if before < line <= current.epss]
    return f"EPSS rose from {before:.3g} to {current.epss:.3g}, past {crossed[-1]:g}" if crossed else ""
