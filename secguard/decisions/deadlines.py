"""The ``ssvc`` section of a risk appetite: deadlines of vulnerabilities by a decision table in place of severity. Pure.

``read`` proves of every combination of the table's points that it has a row, and warns where a worse input would give
more time.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import product
from typing import Final

from msgspec import Struct
from yaml.nodes import Node, ScalarNode

from secguard.decisions.ssvc import (
    ASSUMED,
    DERIVED,
    PUBLISHED,
    UNKNOWN,
    VALUES,
    Cell,
    Held,
    Input,
    Point,
    Table,
    published,
)
from secguard.yamlsource import Problem, Section, count_of, did_you_mean

OWN: Final = "own"
MAX_DAYS: Final = 3650
MAX_ROWS: Final = 200
MAX_APPLICATIONS: Final = 1000
MAX_WARNINGS: Final = 20
NO_DEADLINE: Final = ("none", "null", "~")


class Deadline(Struct, frozen=True, kw_only=True):
    """By when something must be fixed, and the row that says so."""

    row: str
    days: int | None
    outcome: str = ""
    inputs: tuple[Input, ...] = ()

    @property
    def assumed(self) -> int:
        """How many of the inputs nobody knew."""
        return sum(i.is_assumed for i in self.inputs)

    @property
    def label(self) -> str:
        """The row, as a link to it says; a table's rows are called so by themselves."""
        return self.row if self.inputs else f"row {self.row}"

    @property
    def words(self) -> str:
        """The row and what led to it, in one line."""
        time = "no deadline" if self.days is None else f"{self.days} day{'' if self.days == 1 else 's'}"
        if not self.inputs:
            return f"{self.label}: {time}"
        return f"{self.label}: {', '.join(i.words for i in self.inputs)}; {self.outcome}, {time}"


class Plan(Struct, frozen=True, kw_only=True):
    """A table, and the days that each of its outcomes gives."""

    table: Table
    days: dict[str, int | None]
    impact: str = ""
    """Of applications that are not named; empty: it is assumed."""
    applications: dict[str, dict[Point, str]] = {}
    assume: dict[Point, str] = {}
    warnings: tuple[Problem, ...] = ()

    def deadline(self, held: Held) -> Deadline:
        inputs = tuple(self._input(point, held) for point in self.table.points)
        cell = self.table.cells[tuple(i.value for i in inputs)]
        row = f"{self.table.name} {cell.row}"
        return Deadline(row=row, days=self.days[cell.outcome], outcome=cell.outcome, inputs=inputs)

    def _input(self, point: Point, held: Held) -> Input:
        if point is Point.IMPACT and held.impact:
            return Input(point, *self._own_impact(held.impact))
        said = self.applications.get(held.application, {}).get(point)
        if said is not None:
            return Input(point, said, "the risk appetite says so of the application")
        if point is Point.IMPACT and self.impact:
            return Input(point, self.impact, "the risk appetite says so of every application that it does not name")
        found = DERIVED[point](held) if point in DERIVED else None
        if found is not None:
            return Input(point, *found)
        return Input(point, self.assume.get(point, ASSUMED[point]), UNKNOWN[point], is_assumed=True)

    def _own_impact(self, said: str) -> tuple[str, str]:
        """The application's own word; the worst that the table knows where it does not know that."""
        known, why = self.table.values[Point.IMPACT], "it is said of the application itself"
        if said in known:
            return said, why
        return known[-1], f"{why}: {said}, which the table {self.table.name} does not know"


def read(section: Section) -> Plan | None:
    """The plan, or ``None`` with the faults noted in the section's source."""
    faults = len(section.source.problems)
    name = section.take_choice("table", (*PUBLISHED, OWN), required=True)
    days = section.take_section("fix_within_days", "'fix_within_days' of 'ssvc'", required=True)
    table = _table(section, name)
    values = VALUES if table is None else table.values
    impact = section.take_choice("impact", values.get(Point.IMPACT, VALUES[Point.IMPACT]))
    assume = _points(section.take_section("assume", "'assume' of 'ssvc'"), values)
    applications = _applications(section, values)
    section.close()
    if table is None or days is None:
        return None
    within = _days(days, table)
    if len(section.source.problems) > faults:
        return None
    warnings = _warnings(section.node_of("fix_within_days"), table, within)
    return Plan(table=table, days=within, impact=impact, applications=applications, assume=assume, warnings=warnings)


def _points(
    section: Section | None, values: dict[Point, tuple[str, ...]], only: Collection[Point] = tuple(Point)
) -> dict[Point, str]:
    """What is said of points, each at most once."""
    if section is None:
        return {}
    found = {p: section.take_choice(p.value, values.get(p, VALUES[p])) for p in Point if p in only}
    section.close()
    return {point: word for point, word in found.items() if word}


def _applications(section: Section, values: dict[Point, tuple[str, ...]]) -> dict[str, dict[Point, str]]:
    named = section.take_section("applications", "'applications' of 'ssvc'")
    if named is None:
        return {}
    found: dict[str, dict[Point, str]] = {}
    rows = list(named.items())
    if len(rows) > MAX_APPLICATIONS:
        section.fault("applications", f"it names {len(rows):,} applications; expected at most {MAX_APPLICATIONS:,}")
        return {}
    for slug, _, _ in rows:
        inner = named.take_section(slug, f"the application {slug[:60]!r}")
        found[slug] = _points(inner, values, (Point.IMPACT, Point.EXPOSURE))
    return found


def _days(section: Section, table: Table) -> dict[str, int | None]:
    found: dict[str, int | None] = {}
    for outcome, key, node in section.items():
        if outcome not in table.outcomes:
            known = ", ".join(table.outcomes)
            hint = did_you_mean(outcome, table.outcomes)
            section.source.fault(key, f"the table {table.name} has no outcome {outcome[:60]!r}{hint}; it has {known}")
            continue
        found[outcome] = _time(section, outcome, node)
    missing = [outcome for outcome in table.outcomes if outcome not in found]
    if missing:
        section.source.fault(
            section.node,
            f"{section.what} does not say how long {', '.join(missing)} may stand; expected a number of days, or none",
        )
    return found


def _time(section: Section, outcome: str, node: Node) -> int | None:
    if isinstance(node, ScalarNode) and node.value in NO_DEADLINE:
        return None
    return count_of(section.source, node, outcome, 1, MAX_DAYS)


# --- one's own table ---


class _OwnRow(Struct, frozen=True):
    name: str
    when: dict[Point, tuple[str, ...]]
    outcome: str

    def fits(self, combination: tuple[str, ...]) -> bool:
        return all(combination[n] in self.when[p] for n, p in enumerate(Point) if p in self.when)


def _table(section: Section, name: str) -> Table | None:
    if name != OWN:
        if section.node_of("rows") is not None:
            section.fault("rows", f"rows stand in a table of one's own; say 'table: {OWN}', or leave them out")
            section.take_sections("rows", "row of 'ssvc'", MAX_ROWS)
        return published(name) if name else None
    sections = section.take_sections("rows", "row of 'ssvc'", MAX_ROWS)
    before = len(section.source.problems)
    rows = [_own_row(row) for row in sections]
    if not rows or len(section.source.problems) > before:
        return None
    return _completed(sections, rows)


def _own_row(section: Section) -> _OwnRow:
    name = section.take_text("name", required=True, max_length=100)
    outcome = section.take_text("outcome", required=True, max_length=40)
    when = section.take_section("when", f"'when' of {section.what}")
    found: dict[Point, tuple[str, ...]] = {}
    if when is not None:
        taken = {point: when.take_choices(point.value, VALUES[point]) for point in Point}
        when.close()
        found = {point: words for point, words in taken.items() if words is not None}
    section.close()
    return _OwnRow(name, found, outcome)


def _completed(sections: list[Section], rows: list[_OwnRow]) -> Table | None:
    """The table that the rows make, read from the top; what has no row, and a row that has nothing, is a fault."""
    source, faults = sections[0].source, len(sections[0].source.problems)
    seen: dict[str, int] = {}
    for number, (section, row) in enumerate(zip(sections, rows, strict=True), 1):
        if seen.setdefault(row.name, number) != number:
            section.fault("name", f"row {seen[row.name]} already has the name {row.name!r}; names tell rows apart")
    cells: dict[tuple[str, ...], Cell] = {}
    left = list(product(*VALUES.values()))
    for section, row in zip(sections, rows, strict=True):
        rest = [combination for combination in left if not row.fits(combination)]
        if len(rest) == len(left):
            section.fault("name", f"the row {row.name!r} can never be reached: rows before it took all it fits")
        cells |= {combination: Cell(row.outcome, row.name) for combination in left if row.fits(combination)}
        left = rest
    if left:
        such = ", ".join(f"{p.value} {v}" for p, v in zip(Point, left[-1], strict=True))
        source.fault(
            sections[-1].node,
            f"{len(left)} of {len(left) + len(cells)} combinations have no row (such as {such}); end with a row that "
            "has no 'when'",
        )
    if len(source.problems) > faults:
        return None
    return Table(name=OWN, title="A table of one's own", values=dict(VALUES), cells=cells)


# --- more time for what is worse ---


def _warnings(node: Node | None, table: Table, days: dict[str, int | None]) -> tuple[Problem, ...]:
    line, column = (node.start_mark.line + 1, node.start_mark.column + 1) if node is not None else (1, 1)
    return tuple(Problem(line, column, words) for words in longer_for_worse(table, days)[:MAX_WARNINGS])


def longer_for_worse(table: Table, days: dict[str, int | None]) -> list[str]:
    """Where one point is worse, the others are the same, and there is more time: in words."""
    found = []
    for combination in table.combinations():
        for n, point in enumerate(table.points):
            after = table.values[point].index(combination[n]) + 1
            if after == len(table.values[point]):
                continue
            worse = (*combination[:n], table.values[point][after], *combination[n + 1 :])
            milder_cell, worse_cell = table.cells[combination], table.cells[worse]
            if _order(days[worse_cell.outcome]) > _order(days[milder_cell.outcome]):
                more, less = (f"{cell.row}: {_told(days[cell.outcome])}" for cell in (worse_cell, milder_cell))
                found.append(
                    f"{point.words} {worse[n]} ({more}) has more time than {combination[n]} ({less}), the rest being "
                    "the same"
                )
    return list(dict.fromkeys(found))


def _order(days: int | None) -> int:
    return MAX_DAYS + 1 if days is None else days


def _told(days: int | None) -> str:
    return "no deadline" if days is None else f"{days} days"
