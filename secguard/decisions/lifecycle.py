"""The life of a decision: which step may follow which, whether it holds now, and what re-opens it (DESIGN rule 4)."""

from __future__ import annotations

from collections.abc import Mapping
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
    until_fixed: bool | None = None
    """End in each repository for itself when its newest image is scanned and no longer has it; for good there."""
    max_severity: str | None = None
    """End when it is rated above this, for every kind; beside the rise above what it was when it was asked for."""


EPSS_LINES: Final = (0.1, 0.5)
"""Where nobody named a line: probable (1 in 10) and likely (1 in 2) exploitation within 30 days."""

SEVERITY_LINES: Final = tuple(s.label for s in Severity if Severity.UNKNOWN < s < max(Severity))
"""What ``max_severity`` can be: nothing is rated above the worst."""

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
    if conditions.max_severity is not None and conditions.max_severity not in SEVERITY_LINES:
        raise Invalid(
            f"max_severity is {conditions.max_severity[:40]!r}; expected is one of {', '.join(SEVERITY_LINES)}.",
            code="conditions",
            where="conditions.max_severity",
        )
    if conditions.max_epss is not None and not 0.0 <= conditions.max_epss <= 1.0:
        raise Invalid(
            f"max_epss is {conditions.max_epss:g}; expected is a probability from 0 to 1.",
            code="conditions",
            where="conditions.max_epss",
        )
    return conditions


def condition_line(conditions: Mapping[str, Any]) -> str:
    """Conditions in one line: ``max_epss 0.2, until_fix yes``; for a table."""
    words = {True: "yes", False: "no"}
    return ", ".join(f"{k} {words[v] if isinstance(v, bool) else v}" for k, v in sorted(conditions.items()))


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
    elif conditions.max_severity is not None and current.severity > _line(conditions.max_severity):
        reasons.append(f"severity is {current.severity.label}, above the agreed {conditions.max_severity}")
    if kind is not DecisionKind.NOT_AFFECTED and current.exposed and snapshot.exposed is False:
        reasons.append("it became reachable from outside")
    crossed = _epss_crossed(snapshot, current, conditions, kind)
    return [*reasons, crossed] if crossed else reasons


def still_stands(asked_at: datetime, stands: bool, returned_at: datetime | None) -> bool:
    """Whether what was agreed at ``asked_at`` "until it is fixed" is not fixed yet in one repository.

    ``stands``: the newest image there has it; ``returned_at``: when it last came back there after it had been gone.
    What came back is not what was agreed about.
    """
    return stands and (returned_at is None or returned_at <= asked_at)


FIXED: Final = "it is fixed everywhere it was agreed for"
"""Why a decision with ``until_fixed`` ends."""


class Ending(Struct, frozen=True, kw_only=True):
    """One thing that would end a decision, and how far off that is."""

    by: str
    """``date``, ``control``, ``exploitation``, ``fix``, ``fixed``, ``severity``, ``exposure`` or ``epss``."""
    when: str
    now: str = ""
    at: datetime | None = None
    """Where it is known: the instant."""


def endings(
    snapshot: RiskSnapshot, current: RiskSnapshot | None, conditions: Conditions, kind: DecisionKind
) -> list[Ending]:
    """What ends the decision before its date: each thing that ``material_change`` looks for and that was not so when
    it was asked for, with its present value. ``current`` is ``None`` where the risk no longer stands in the scope."""
    found = []
    if not snapshot.known_exploited:
        now = "known to be exploited" if current and current.known_exploited else "not known to be exploited"
        found.append(Ending(by="exploitation", when="known exploitation begins", now=now))
    if _ends_at_fix(conditions, kind) and not snapshot.fix_available:
        now = "a fix is known" if current and current.fix_available else "no fix known yet"
        found.append(Ending(by="fix", when="a fix appears", now=now))
    if conditions.until_fixed:
        now = "it stands there" if current else "no newest image has it"
        found.append(Ending(by="fixed", when="it is fixed there, in each repository for itself", now=now))
    if (line := _severity_line(snapshot, conditions, kind)) is not None:
        now = f"{current.severity.label} now" if current else ""
        found.append(Ending(by="severity", when=f"severity rises above {line.label}", now=now))
    if kind is not DecisionKind.NOT_AFFECTED and snapshot.exposed is False:
        now = "reachable from outside" if current and current.exposed else "not reachable from outside"
        found.append(Ending(by="exposure", when="it becomes reachable from outside", now=now))
    epss = current.epss if current else snapshot.epss
    if conditions.max_epss is not None:
        found.append(_epss_ending(f"EPSS rises above {conditions.max_epss:g}", epss, conditions.max_epss))
    elif kind is not DecisionKind.NOT_AFFECTED:
        lines = [line for line in EPSS_LINES if (snapshot.epss or 0.0) < line]
        if lines:
            words = " or ".join(f"{line:g}" for line in lines)
            found.append(_epss_ending(f"EPSS reaches {words}", epss, lines[0]))
    return found


def _epss_ending(when: str, epss: float | None, line: float) -> Ending:
    now = "no EPSS known" if epss is None else f"EPSS {epss:.3g} of {line:g}"
    return Ending(by="epss", when=when, now=now)


def _severity_line(snapshot: RiskSnapshot, conditions: Conditions, kind: DecisionKind) -> Severity | None:
    """The lowest rating above which the decision ends; ``None`` where no rating ends it."""
    lines = [] if kind is DecisionKind.NOT_AFFECTED else [snapshot.severity]
    if conditions.max_severity is not None:
        lines.append(_line(conditions.max_severity))
    line = min(lines, default=max(Severity))
    return line if line < max(Severity) else None


def _line(label: str) -> Severity:
    return next(s for s in Severity if s.label == label)


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
