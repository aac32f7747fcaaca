"""The risk appetite: who must approve what, for how long at most, and by when what must be fixed.

A table in YAML (``appetite.yaml`` is the default; docs/risk-appetite.md explains it). Rows are read from the top and
the first that fits holds. The space of cases is small and finite, so ``parse`` proves by trying every one that each
case has a row and each row a case.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from itertools import product
from typing import Final

import msgspec
from msgspec import Struct
from yaml.nodes import MappingNode, Node

from secguard.accounts.roles import APPROVERS, Role
from secguard.approvals.quorum import Haste
from secguard.decisions.deadlines import MAX_DAYS, Deadline, Plan
from secguard.decisions.deadlines import read as read_plan
from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.scope import ScopeKind
from secguard.decisions.ssvc import Held
from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import LABELS, Severity
from secguard.yamlsource import Problem, Section, Source, SourceError, count_of, did_you_mean, parse

MAX_BYTES: Final = 64 * 1024
MAX_ROWS: Final = 100
MAX_APPROVERS: Final = 5
MAX_HOURS: Final = 24 * 365
WAITS_HOURS: Final = 72
"""How long a request may wait where a row does not say."""
MAX_APPROVALS: Final = 5_000
NOTHING_HELD: Final = Held()


class AppetiteError(SourceError):
    """A risk appetite that cannot be used."""

    says = "The risk appetite cannot be used"
    kind = "appetite"


class Case(Struct, frozen=True, kw_only=True):
    """What a row may look at. ``scope`` is that of a decision; ``None`` where only the risk is looked at."""

    severity: Severity
    kind: FindingKind = FindingKind.VULNERABILITY
    known_exploited: bool = False
    exposed: bool = False
    fix_available: bool = False
    scope: ScopeKind | None = None


class When(Struct, frozen=True, kw_only=True):
    """The condition of a row; ``None`` stands for any."""

    severity: frozenset[Severity] | None = None
    kind: frozenset[FindingKind] | None = None
    known_exploited: bool | None = None
    exposed: bool | None = None
    fix_available: bool | None = None
    scope: frozenset[ScopeKind] | None = None

    def fits(self, case: Case) -> bool:
        return (
            (self.severity is None or case.severity in self.severity)
            and (self.kind is None or case.kind in self.kind)
            and self.known_exploited in (None, case.known_exploited)
            and self.exposed in (None, case.exposed)
            and self.fix_available in (None, case.fix_available)
            and (self.scope is None or case.scope in self.scope)
        )


class Row(Struct, frozen=True, kw_only=True):
    name: str
    when: When
    approvers: dict[Role, int]
    max_days: int
    not_affected_max_days: int | None = None
    fix_within_days: int | None = None
    escalate_after_hours: int = WAITS_HOURS
    escalate_to: Role | None = None


class Requirement(Struct, frozen=True, kw_only=True):
    """What a decision needs: people by role, and the longest time it may stand."""

    row: str
    approvers: dict[Role, int]
    max_days: int
    waits_hours: int = WAITS_HOURS
    """How long it may wait before everybody concerned is told."""
    then: Role | None = None
    """The role that may fill any of its seats from then on."""
    haste: Haste | None = None
    """What of it needs a second look."""

    @property
    def people(self) -> int:
        return sum(self.approvers.values())

    def latest_end(self, requested_at: datetime) -> datetime:
        return requested_at + timedelta(days=self.max_days)


class Appetite(Struct, frozen=True, kw_only=True):
    name: str
    description: str
    rows: tuple[Row, ...]
    second_look: Haste | None = None
    plan: Plan | None = None
    """What gives vulnerabilities their deadline in place of ``fix_within_days`` of the rows."""

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What it may well mean otherwise, and is no fault."""
        return self.plan.warnings if self.plan is not None else ()

    def row_for(self, case: Case) -> Row:
        """The first row that fits; there always is one (``parse`` proved it)."""
        return next(row for row in self.rows if row.when.fits(case))

    def requirement(self, case: Case, kind: DecisionKind) -> Requirement:
        """What a decision of ``kind`` over ``case`` needs."""
        row = self.row_for(case)
        longer = row.not_affected_max_days if kind is DecisionKind.NOT_AFFECTED else None
        return Requirement(
            row=row.name,
            approvers=dict(row.approvers),
            max_days=longer or row.max_days,
            waits_hours=row.escalate_after_hours,
            then=row.escalate_to,
            haste=self.second_look,
        )

    def deadline(self, case: Case, held: Held) -> Deadline:
        """How long it may stand, and the row that says so.

        The deadline is the risk's own: no row that looks at a decision's scope may hold one. ``held`` is what is known
        of the flaw; without an SSVC table, and of what is no vulnerability, nothing of it is asked.
        """
        if self.plan is not None and case.kind is FindingKind.VULNERABILITY:
            return self.plan.deadline(held)
        row = self.row_for(msgspec.structs.replace(case, scope=None))
        return Deadline(row=row.name, days=row.fix_within_days)

    def due(self, case: Case, first_seen_at: datetime, held: Held = NOTHING_HELD) -> datetime | None:
        """By when it must be fixed; ``None`` where nothing names a deadline."""
        days = self.deadline(case, held).days
        return None if days is None else first_seen_at + timedelta(days=days)


def check_end(requirement: Requirement, requested_at: datetime, expires_at: datetime) -> None:
    """Raises ``Invalid`` where a decision would end before it begins or stand longer than the appetite allows."""
    if expires_at <= requested_at:
        raise Invalid(
            f"The decision would end on {expires_at:%Y-%m-%d %H:%M} UTC, which is not after now. Name a later date.",
            code="decision-end",
            where="expires_at",
        )
    latest = requirement.latest_end(requested_at)
    if expires_at > latest:
        raise Invalid(
            f"The decision would end on {expires_at:%Y-%m-%d %H:%M} UTC; the risk appetite (row {requirement.row}) "
            f"allows {requirement.max_days} days, until {latest:%Y-%m-%d %H:%M} UTC. Name an earlier date.",
            code="decision-end",
            where="expires_at",
        )


@lru_cache(maxsize=64)
def parse_appetite(text: str) -> Appetite:
    """The risk appetite that ``text`` describes; raises ``AppetiteError`` with every fault found."""
    source = Source(text)
    node = parse(source, MAX_BYTES)
    appetite = _appetite(source, node) if node is not None else None
    if source.problems or appetite is None:
        raise AppetiteError(source.problems)
    return appetite


def _appetite(source: Source, node: MappingNode) -> Appetite:
    top = Section(source, node, "the risk appetite")
    name = top.take_text("name", required=True, max_length=100)
    description = top.take_text("description", max_length=2000)
    sections = top.take_sections("rows", "row", MAX_ROWS)
    haste = top.take_section("second_look", "'second_look'")
    ssvc = top.take_section("ssvc", "'ssvc'")
    top.close()
    rows = [_row(section) for section in sections]
    _check_names(sections, rows)
    if not source.problems:
        _check_coverage(source, sections, rows)
    second_look = _haste(haste) if haste is not None else None
    plan = read_plan(ssvc) if ssvc is not None else None
    return Appetite(name=name, description=description, rows=tuple(rows), second_look=second_look, plan=plan)


def _haste(section: Section) -> Haste:
    found = Haste(
        approvals=section.take_count("approvals", 1, MAX_APPROVALS) or 0,
        within_minutes=section.take_count("within_minutes", 1, 24 * 60) or Haste().within_minutes,
        seconds=section.take_count("seconds", 1, 600) or 0,
    )
    section.close()
    return found


def _row(section: Section) -> Row:
    name = section.take_text("name", required=True, max_length=100)
    when = section.take_section("when", f"'when' of {section.what}")
    approvers = _approvers(section)
    row = Row(
        name=name,
        when=_when(when) if when is not None else When(),
        approvers=approvers,
        max_days=section.take_count("max_days", 1, MAX_DAYS, required=True) or 1,
        not_affected_max_days=section.take_count("not_affected_max_days", 1, MAX_DAYS),
        fix_within_days=section.take_count("fix_within_days", 1, MAX_DAYS),
        escalate_after_hours=section.take_count("escalate_after_hours", 1, MAX_HOURS) or WAITS_HOURS,
        escalate_to=_next_role(section),
    )
    if row.not_affected_max_days is not None and row.not_affected_max_days < row.max_days:
        section.fault("not_affected_max_days", f"it is shorter than max_days ({row.max_days}); expected at least that")
    if row.fix_within_days is not None and row.when.scope is not None:
        section.fault(
            "fix_within_days", "a deadline cannot depend on a decision's scope; put it in a row without 'scope'"
        )
    section.close()
    return row


def _when(section: Section) -> When:
    severity = section.take_choices("severity", LABELS)
    kind = section.take_choices("kind", [k.value for k in FindingKind])
    scope = section.take_choices("scope", [s.value for s in ScopeKind])
    when = When(
        severity=None if severity is None else frozenset(Severity[s.upper()] for s in severity),
        kind=None if kind is None else frozenset(FindingKind(k) for k in kind),
        known_exploited=section.take_bool("known_exploited"),
        exposed=section.take_bool("exposed"),
        fix_available=section.take_bool("fix_available"),
        scope=None if scope is None else frozenset(ScopeKind(s) for s in scope),
    )
    section.close()
    return when


def _approvers(section: Section) -> dict[Role, int]:
    table = section.take_section("approvers", f"'approvers' of {section.what}", required=True)
    if table is None:
        return {}
    found = {}
    for key, key_node, value in table.items():
        role = _role(section.source, key, key_node)
        count = count_of(section.source, value, key, 1, MAX_APPROVERS)
        if role is not None and count is not None:
            found[role] = count
    if not table.node.value:
        section.fault("approvers", "it names nobody; expected at least one role, such as {security-reviewer: 1}")
    return found


def _next_role(section: Section) -> Role | None:
    word = section.take_choice("escalate_to", sorted(role.value for role in APPROVERS))
    return Role(word) if word else None


def _role(source: Source, word: str, node: Node) -> Role | None:
    names = sorted(role.value for role in APPROVERS)
    if word in names:
        return Role(word)
    source.fault(node, f"{word!r} may not approve{did_you_mean(word, names)}; expected one of {', '.join(names)}")
    return None


def _check_names(sections: list[Section], rows: list[Row]) -> None:
    seen: dict[str, int] = {}
    for number, (section, row) in enumerate(zip(sections, rows, strict=True), 1):
        if row.name and row.name in seen:
            section.fault("name", f"row {seen[row.name]} already has the name {row.name!r}; names tell rows apart")
        seen.setdefault(row.name, number)


def every_case() -> list[Case]:
    """All cases there are."""
    flags = (False, True)
    scopes: tuple[ScopeKind | None, ...] = (None, *ScopeKind)
    return [
        Case(severity=s, kind=k, known_exploited=e, exposed=x, fix_available=f, scope=c)
        for s, k, e, x, f, c in product(Severity, FindingKind, flags, flags, flags, scopes)
    ]


def _check_coverage(source: Source, sections: list[Section], rows: list[Row]) -> None:
    left = every_case()
    for number, (section, row) in enumerate(zip(sections, rows, strict=True)):
        rest = [case for case in left if not row.when.fits(case)]
        if len(rest) == len(left):
            takers = _takers(rows[:number], row)
            section.fault("name", f"the row {row.name!r} can never be reached: {takers} took every case before it")
        left = rest
    if left:
        case = left[-1]
        source.fault(
            sections[-1].node,
            f"no row covers every case (such as {case.severity.label} {case.kind}, known_exploited "
            f"{str(case.known_exploited).lower()}); end with a row that has no 'when'",
        )


def _takers(earlier: list[Row], row: Row) -> str:
    fitting = [case for case in every_case() if row.when.fits(case)]
    first = sorted({next(i for i, e in enumerate(earlier) if e.when.fits(case)) for case in fitting})
    names = [repr(earlier[i].name) for i in first]
    if len(names) == 1:
        return f"row {names[0]}"
    return f"rows {', '.join(names[:4])}" + (f" and {len(names) - 4} more" if len(names) > 4 else "")
