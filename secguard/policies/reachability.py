"""Whether a condition can ever hold.

The condition is spread into alternatives (disjunctive normal form), and for each the values left to every field are
intersected: words of a closed vocabulary, a range of numbers, a set of texts. Where each alternative leaves some
field without a value, the rule could never fire, and its author means something else. What is not understood counts
as possible: no rule that can fire is ever refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import product
from typing import Final

from msgspec import Struct

from secguard.findings.severity import LABELS
from secguard.policies.expressions import (
    Binary,
    Call,
    Conditional,
    Expr,
    Field,
    ListOf,
    Literal,
    Name,
    Unary,
    canonical,
)
from secguard.policies.vocabulary import RECORDS, VARIABLES, Type, rank

MAX_ALTERNATIVES: Final = 2_000
Constant = bool | int | float | str


class Words(Struct, frozen=True):
    """One of a closed vocabulary."""

    left: frozenset[str]

    @property
    def is_empty(self) -> bool:
        return not self.left

    def meet(self, other: Domain) -> Domain:
        return Words(self.left & other.left) if isinstance(other, Words) else self


class Texts(Struct, frozen=True):
    """One of ``only`` (any text where ``None``), and none of ``never``."""

    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()

    @property
    def is_empty(self) -> bool:
        return self.only is not None and not self.only - self.never

    def meet(self, other: Domain) -> Domain:
        if not isinstance(other, Texts):
            return self
        only = other.only if self.only is None else self.only if other.only is None else self.only & other.only
        return Texts(only, self.never | other.never)


class Numbers(Struct, frozen=True):
    """From ``least`` to ``most``, ends included unless open, without ``never``."""

    least: float = -math.inf
    most: float = math.inf
    is_least_open: bool = False
    is_most_open: bool = False
    never: frozenset[float] = frozenset()

    @property
    def is_empty(self) -> bool:
        if self.least != self.most:
            return self.least > self.most
        return self.is_least_open or self.is_most_open or self.least in self.never

    def meet(self, other: Domain) -> Domain:
        if not isinstance(other, Numbers):
            return self
        least, least_open = max((self.least, self.is_least_open), (other.least, other.is_least_open))
        most, most_closed = min((self.most, not self.is_most_open), (other.most, not other.is_most_open))
        return Numbers(least, most, least_open, not most_closed, self.never | other.never)


Domain = Words | Texts | Numbers
Alternative = dict[str, Domain]


class _TooMany(Exception):
    """More alternatives than are worth looking at."""


def why_never(expr: Expr, stages: Iterable[str]) -> tuple[int, str] | None:
    """(offset, reason) where a checked condition can never hold at ``stages``; ``None`` where it may."""
    search = _Search()
    start: Alternative = {"stage": Words(frozenset(stages))}
    try:
        left = search.joined([start], search.alternatives(expr, True), expr)
    except _TooMany:
        return None
    if left:
        return None
    if search.conflict is None:
        return expr.at, "the condition is always false, so the rule can never fire"
    at, path = search.conflict
    return at, f"the condition can never hold: nothing is left for {path} here, so the rule can never fire"


class _Search:
    def __init__(self) -> None:
        self.conflict: tuple[int, str] | None = None

    def alternatives(self, expr: Expr, holds: bool) -> list[Alternative]:
        """The ways in which ``expr`` is ``holds``."""
        match expr:
            case Literal(value=bool(value)):
                return [{}] if value is holds else []
            case Unary(op="!", operand=operand):
                return self.alternatives(operand, not holds)
            case Binary(op="&&" | "||" as op, left=left, right=right):
                sides = self.alternatives(left, holds), self.alternatives(right, holds)
                return self.joined(*sides, right) if (op == "&&") is holds else _bounded(sides[0] + sides[1])
            case Conditional(test=test, yes=yes, no=no):
                if_true = self.joined(self.alternatives(test, True), self.alternatives(yes, holds), yes)
                if_false = self.joined(self.alternatives(test, False), self.alternatives(no, holds), no)
                return _bounded(if_true + if_false)
        return self._atom(expr, holds)

    def joined(self, left: list[Alternative], right: list[Alternative], at: Expr) -> list[Alternative]:
        """Every way in which both hold."""
        if len(left) * len(right) > MAX_ALTERNATIVES:
            raise _TooMany
        return [both for one, other in product(left, right) if (both := self._meet(one, other, at)) is not None]

    def _meet(self, one: Alternative, other: Alternative, at: Expr) -> Alternative | None:
        both = dict(one)
        for path, domain in other.items():
            met = both[path].meet(domain) if path in both else domain
            if met.is_empty:
                self.conflict = (at.at, path)
                return None
            both[path] = met
        return both

    def _atom(self, expr: Expr, holds: bool) -> list[Alternative]:
        atom = _compared(expr, holds)
        if atom is None:
            word = "true" if holds else "false"
            return [{canonical(expr): Words(frozenset({word}))}]
        path, domain = atom
        if not path:
            return [] if domain.is_empty else [{}]
        if domain.is_empty:
            self.conflict = (expr.at, path)
            return []
        return [{path: domain}]


def _bounded(found: list[Alternative]) -> list[Alternative]:
    if len(found) > MAX_ALTERNATIVES:
        raise _TooMany
    return found


_TURNED: Final = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_OPPOSITE: Final = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "==": "!=", "!=": "=="}
_NOTHING: Final = Texts(only=frozenset())


def _compared(expr: Expr, holds: bool) -> tuple[str, Domain] | None:
    """(path, values left to it) for a comparison of one path with constants; ``None`` for anything else.

    The path is empty for a comparison of two constants: its domain is empty or not.
    """
    if not isinstance(expr, Binary):
        return None
    if expr.op == "in":
        return _member(expr, holds)
    left, right = _constant(expr.left), _constant(expr.right)
    if expr.op not in _TURNED or (left is None) is (right is None):
        return _both_constant(expr.op, left, right, holds)
    path, constant, op = (expr.left, right, expr.op) if left is None else (expr.right, left, _TURNED[expr.op])
    return _limited(path, op if holds else _OPPOSITE[op], constant)


def _both_constant(op: str, left: Constant | None, right: Constant | None, holds: bool) -> tuple[str, Domain] | None:
    if left is None or right is None or op not in _TURNED:
        return None
    if op in ("==", "!="):
        truth = (left == right) is (op == "==")
    else:
        order = {"<": float.__lt__, "<=": float.__le__, ">": float.__gt__, ">=": float.__ge__}
        truth = bool(order[op](float(left), float(right)))
    return "", Texts() if truth is holds else _NOTHING


def _constant(expr: Expr) -> Constant | None:
    match expr:
        case Literal(value=value):
            return value
        case Call(name="rank", target=None, args=(Literal(value=str(word)),)):
            return rank(word)
        case Unary(op="-", operand=Literal(value=int(number) | float(number))):
            return -number
    return None


def _limited(path: Expr, op: str, constant: Constant | None) -> tuple[str, Domain] | None:
    type_, name = _type_of(path), canonical(path)
    if isinstance(constant, bool):
        return name, Words(frozenset({"true" if constant is (op == "==") else "false"}))
    if isinstance(constant, str):
        return (name, _texts(type_, frozenset({constant}), op == "==")) if op in ("==", "!=") else None
    if constant is None:
        return None
    if name == "finding.severity_rank":
        return "finding.severity", _severities(op, constant)
    return name, _numbers(type_, op, constant)


def _texts(type_: Type, words: frozenset[str], holds: bool) -> Domain:
    if type_.words:
        return Words(words & set(type_.words) if holds else frozenset(type_.words) - words)
    return Texts(only=words) if holds else Texts(never=words)


def _severities(op: str, constant: float) -> Domain:
    range_ = _numbers(Type("int"), op, constant)
    return Words(
        frozenset(w for w in LABELS if not range_.meet(Numbers(rank(w), rank(w))).is_empty),
    )


def _numbers(type_: Type, op: str, constant: float) -> Numbers:
    """What is left of the field's own range; whole numbers have no open ends."""
    own = Numbers(
        least=-math.inf if type_.least is None else type_.least, most=math.inf if type_.most is None else type_.most
    )
    is_whole = type_.name == "int"
    limit: dict[str, Numbers] = {
        "==": Numbers(constant, constant, is_whole and constant != math.floor(constant)),
        "!=": Numbers(never=frozenset({constant})),
        "<=": Numbers(most=math.floor(constant) if is_whole else constant),
        ">=": Numbers(least=math.ceil(constant) if is_whole else constant),
        "<": Numbers(most=math.ceil(constant) - 1) if is_whole else Numbers(most=constant, is_most_open=True),
        ">": Numbers(least=math.floor(constant) + 1) if is_whole else Numbers(least=constant, is_least_open=True),
    }
    met = own.meet(limit[op])
    assert isinstance(met, Numbers)  # noqa: S101 - two ranges meet in a range
    return met


def _member(expr: Binary, holds: bool) -> tuple[str, Domain] | None:
    if not isinstance(expr.right, ListOf):
        return None
    items = [_constant(item) for item in expr.right.items]
    if not items:
        return "", _NOTHING if holds else Texts()
    words = frozenset(item for item in items if isinstance(item, str))
    if len(words) != len(set(items)) or _constant(expr.left) is not None:
        return None
    return canonical(expr.left), _texts(_type_of(expr.left), words, holds)


def _type_of(path: Expr) -> Type:
    match path:
        case Name(name=name):
            return VARIABLES.get(name, Type("unknown"))
        case Field(operand=Name(name=record), name=name) if name in RECORDS.get(record, {}):
            return RECORDS[record][name].type
        case Call(name="size"):
            return Type("int", least=0)
    return Type("unknown")
