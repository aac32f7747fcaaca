"""Conditions made ready to be asked of many facts: compiled once, and asked once for all facts that look alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache, reduce
from itertools import pairwise
from typing import Any, Final

import cel
from msgspec import Struct

from secguard.policies.expressions import (
    Binary,
    Expr,
    ExpressionError,
    Field,
    Literal,
    Name,
    canonical,
    children,
    parse,
)
from secguard.policies.facts import FindingFact
from secguard.policies.vocabulary import DAY, FINDING, FUNCTIONS, RECORDS


class Failed(Struct, frozen=True):
    """A condition that could not be answered: it neither holds nor fails to hold."""

    why: str


Answer = bool | Failed


class Part:
    """One side of the ``&&`` that a condition consists of, with the fields of a finding that it reads."""

    def __init__(self, text: str) -> None:
        self._program = cel.compile(text)
        self.finding_fields = sorted(name for record, name in _fields(parse(text)) if record == "finding")

    def answer(self, context: cel.Context) -> Answer:
        """The condition's value; whatever the engine says instead of true or false is ``Failed``."""
        try:
            value = self._program.execute(context)
        except Exception as e:  # noqa: BLE001 - the engine raises many kinds; none may pass for an answer
            return Failed(f"{type(e).__name__}: {e}"[:300])
        return value if isinstance(value, bool) else Failed(f"it gave {type(value).__name__}, not true or false")


class Condition:
    """A checked condition. ``limits`` are the days with which it compares each field that moves with time."""

    def __init__(self, text: str) -> None:
        tree = parse(text)
        self.whole = Part(text)
        self.parts = [Part(part) for part in _conjuncts(text, tree)]
        self.limits = {field: _limits(tree, field) for field in _fields(tree) if _moves(field)}

    def changes(self, record: str, name: str, moment: datetime, now: datetime) -> datetime | None:
        """When, within a day, a field that counts from ``moment`` can change the answer; else ``None``."""
        word = RECORDS[record][name]
        if word.turns or word.type.name == "bool":
            return moment if moment > now else None
        day = (now - moment) // DAY + 1
        limits = self.limits[(record, name)]
        # Days are counted from 0, and what lies further off than the next day's turn is past every verdict's validity.
        if day < 1 or (limits is not None and not {day, day - 1} & set(limits)):
            return None
        return moment + day * DAY


@lru_cache(maxsize=1024)
def condition(text: str) -> Condition:
    """The compiled condition; raises ``ExpressionError`` or the engine's error where it was not checked before."""
    return Condition(text)


def make_context(**variables: Any) -> cel.Context:
    """A context with the vocabulary's functions and ``variables``."""
    return cel.Context(variables=variables, functions=dict(FUNCTIONS))


class Columns:
    """The findings' fields, each read once for all rules."""

    def __init__(self, findings: Sequence[FindingFact], now: datetime) -> None:
        self._findings = findings
        self._now = now
        self._columns: dict[str, list[Any]] = {}

    def _column(self, name: str) -> list[Any]:
        if name not in self._columns:
            read = FINDING[name].read
            self._columns[name] = [read(finding, self._now) for finding in self._findings]
        return self._columns[name]

    def rows(self, names: Sequence[str], indexes: Sequence[int]) -> Iterable[tuple[Any, ...]]:
        """The values of ``names``, for each of the findings at ``indexes``."""
        if not names:
            return ((),) * len(indexes)
        columns = [self._column(name) for name in names]
        if len(indexes) == len(self._findings):
            return zip(*columns, strict=True)
        return zip(*([column[i] for i in indexes] for column in columns), strict=True)

    def __len__(self) -> int:
        return len(self._findings)


def answers(asked: Condition, columns: Columns, context: cel.Context) -> list[tuple[int, Answer]]:
    """(index, answer) for each finding on which the condition holds or cannot be answered.

    Part by part, each only of the findings that the parts before left over, and once for each distinct row of the
    fields it reads. As in CEL, one part that is false decides, whatever the others say.
    """
    left: Sequence[int] = range(len(columns))
    failed: dict[int, Failed] = {}
    for part in asked.parts:
        replies = _replies(part, set(columns.rows(part.finding_fields, left)), context)
        if not failed and set(replies.values()) == {True}:
            continue  # most often of findings, of which all are of one kind
        rows = columns.rows(part.finding_fields, left)
        left = _left_over([(index, replies[row]) for index, row in zip(left, rows, strict=True)], failed)
    return [(index, failed.get(index, True)) for index in left]


def _left_over(replies: Iterable[tuple[int, Answer]], failed: dict[int, Failed]) -> list[int]:
    """The indexes that a part leaves over; what it could not answer is put among the ``failed``."""
    kept = []
    for index, answer in replies:
        if answer is False:
            failed.pop(index, None)
            continue
        if answer is not True:
            failed.setdefault(index, answer)
        kept.append(index)
    return kept


def _replies(part: Part, rows: Iterable[tuple[Any, ...]], context: cel.Context) -> dict[tuple[Any, ...], Answer]:
    replies = {}
    for row in rows:
        context.add_variable("finding", dict(zip(part.finding_fields, row, strict=True)))
        replies[row] = part.answer(context)
    return replies


def _conjuncts(text: str, tree: Expr) -> list[str]:
    """The texts between the outermost ``&&``; the whole where it is not a chain of them.

    A chain that is partly in parentheses falls into pieces that are no expressions; it stays whole.
    """
    cuts = []
    node = tree
    while isinstance(node, Binary) and node.op == "&&":
        cuts.append(node.at)
        node = node.left
    bounds = [-2, *reversed(cuts), len(text)]
    parts = [text[before + 2 : after] for before, after in pairwise(bounds)]
    try:
        spelled = [canonical(parse(part)) for part in parts]
    except ExpressionError:
        return [text]
    joined = reduce(lambda one, other: f"({one} && {other})", spelled)
    return parts if joined == canonical(tree) else [text]


_COMPARISONS: Final = frozenset({"<", "<=", ">", ">=", "==", "!="})


def _field_of(expr: Expr) -> tuple[str, str] | None:
    if isinstance(expr, Field) and isinstance(expr.operand, Name) and expr.operand.name in RECORDS:
        return expr.operand.name, expr.name
    return None


def _walk(expr: Expr) -> Iterable[Expr]:
    yield expr
    for child in children(expr):
        yield from _walk(child)


def _fields(tree: Expr) -> frozenset[tuple[str, str]]:
    return frozenset(field for expr in _walk(tree) if (field := _field_of(expr)) is not None)


def _moves(field: tuple[str, str]) -> bool:
    record, name = field
    return name in RECORDS[record] and RECORDS[record][name].moment is not None


def _limits(tree: Expr, field: tuple[str, str]) -> tuple[int, ...] | None:
    """The whole numbers that ``field`` is compared with; ``None`` where it is used in any other way."""
    limits = []
    uses = sum(1 for expr in _walk(tree) if _field_of(expr) == field)
    for expr in _walk(tree):
        if not isinstance(expr, Binary) or expr.op not in _COMPARISONS:
            continue
        for one, other in ((expr.left, expr.right), (expr.right, expr.left)):
            if _field_of(one) == field and isinstance(other, Literal) and isinstance(other.value, int):
                limits.append(other.value)
    return tuple(limits) if len(limits) == uses else None
