"""The static check of a condition: every name known, every type right, every word one that can occur.

The ``cel`` package compiles a condition without looking at what it is about; its mistakes would show when an image
stands at a gate. Type rules: CEL language definition, section "Standard Definitions", narrowed where a mistake would
pass silently: text has no order (``"10" < "9"`` holds, and ``"critical" < "high"`` too), and a field with a closed
vocabulary is compared with its own words only.
"""

from __future__ import annotations

import re
from typing import Final

import cel
from msgspec import Struct

from secguard.findings.severity import LABELS
from secguard.policies.expressions import (
    Binary,
    Call,
    Conditional,
    Expr,
    Field,
    Index,
    ListOf,
    Literal,
    MapOf,
    Name,
    Unary,
    canonical,
)
from secguard.policies.vocabulary import BOOL, DOUBLE, FUNCTIONS, INT, RECORDS, STRING, VARIABLES, Type
from secguard.yamlsource import did_you_mean

MAX_LOOPS: Final = 2
"""Macros inside of one another: each goes through a list once for every item of the one around it."""
ANY: Final = Type("unknown")
"""Of what was already found wrong, and of an empty list's items: fits everything, so that one mistake is told once."""
_NUMBERS: Final = frozenset({"int", "double"})
_STRING_METHODS: Final = ("contains", "endsWith", "matches", "startsWith")
_MACROS: Final = ("all", "exists", "exists_one", "filter", "map")
_CONVERSIONS: Final[dict[str, Type]] = {"double": DOUBLE, "int": INT, "string": STRING}
_METHODS: Final = (*_MACROS, *_STRING_METHODS, "size")
_FUNCTION_NAMES: Final = (*_CONVERSIONS, *FUNCTIONS, "has", "size")


METHODS: Final = (*_METHODS, *_FUNCTION_NAMES)
"""Everything that a condition may call."""


class Mistake(Struct, frozen=True):
    at: int
    message: str


def check(expr: Expr, variables: tuple[str, ...], max_loops: int = MAX_LOOPS) -> list[Mistake]:
    """What is wrong with a condition that may use ``variables`` of the vocabulary; empty where nothing is."""
    checker = _Checker({name: VARIABLES[name] for name in variables}, max_loops)
    found = checker.type_of(expr)
    if found.name not in ("bool", ANY.name):
        checker.mistake(expr, f"a condition must be true or false; this is {_a(found)}")
    return checker.mistakes


def _a(type_: Type) -> str:
    article = "an" if type_.name[0] in "aeiou" else "a"
    return f"{article} {type_}"


def _fit(one: Type, other: Type) -> bool:
    """Whether values of both may be compared."""
    if ANY.name in (one.name, other.name) or {one.name, other.name} <= _NUMBERS:
        return True
    if one.name != other.name:
        return False
    return one.of is None or other.of is None or _fit(one.of, other.of)


class _Checker:
    def __init__(self, names: dict[str, Type], max_loops: int) -> None:
        self._names, self._max_loops = names, max_loops
        self.mistakes: list[Mistake] = []

    def mistake(self, expr: Expr, message: str) -> Type:
        self.mistakes.append(Mistake(expr.at, message))
        return ANY

    def type_of(self, expr: Expr) -> Type:
        match expr:
            case Literal():
                return self._literal(expr)
            case Name():
                return self._name(expr)
            case Field():
                return self._field(expr)
            case Index():
                return self._index(expr)
            case Call(target=None):
                return self._function(expr)
            case Call():
                return self._method(expr)
            case Unary():
                return self._unary(expr)
            case Binary():
                return self._binary(expr)
            case Conditional():
                return self._conditional(expr)
            case ListOf():
                return self._list(expr)
            case MapOf():
                return self.mistake(expr, "a map written out has no use in a condition; compare field by field")
        raise TypeError(type(expr).__name__)

    def _literal(self, expr: Literal) -> Type:
        if expr.value is None:
            return self.mistake(
                expr, "nothing here is ever null; use has_epss, has_cvss, has_size … or has(image.labels.x)"
            )
        if isinstance(expr.value, bool):
            return BOOL
        if isinstance(expr.value, int):
            return INT
        return DOUBLE if isinstance(expr.value, float) else STRING

    def _name(self, expr: Name) -> Type:
        if expr.name in self._names:
            return self._names[expr.name]
        if expr.name in VARIABLES:
            return self.mistake(expr, f"{expr.name!r} is not there in a rule over the image; write 'each: finding'")
        owner = next((record for record in self._names if expr.name in RECORDS.get(record, {})), None)
        if owner is not None:
            return self.mistake(expr, f"unknown name {expr.name!r} (did you mean '{owner}.{expr.name}'?)")
        known = ", ".join(self._names)
        hint = did_you_mean(expr.name, self._names)
        return self.mistake(expr, f"unknown name {expr.name!r}{hint}; known are {known}. Text stands in quotes")

    def _field(self, expr: Field) -> Type:
        return self._selected(expr, self.type_of(expr.operand))

    def _selected(self, expr: Field, owner: Type) -> Type:
        if owner.name in RECORDS:
            word = RECORDS[owner.name].get(expr.name)
            if word is not None:
                return word.type
            hint = did_you_mean(expr.name, RECORDS[owner.name])
            listing = ", ".join(RECORDS[owner.name])
            return self.mistake(expr, f"{owner.name} has no field {expr.name!r}{hint}. It has: {listing}")
        if owner.name == "map":
            return owner.of or ANY
        if owner is ANY:
            return ANY
        return self.mistake(expr, f"{_a(owner)} has no fields, so no {expr.name!r}")

    def _index(self, expr: Index) -> Type:
        owner, index = self.type_of(expr.operand), self.type_of(expr.index)
        wanted = {"list": "int", "map": "string"}.get(owner.name)
        if wanted is None:
            return ANY if owner is ANY else self.mistake(expr, f"{_a(owner)} has no items to pick by [ ]")
        if index.name not in (wanted, ANY.name):
            return self.mistake(expr.index, f"the index of {_a(owner)} is {_a(index)}; expected {wanted}")
        return owner.of or ANY

    def _want(self, expr: Expr, wanted: Type, what: str) -> None:
        found = self.type_of(expr)
        if found.name not in (wanted.name, ANY.name):
            self.mistake(expr, f"{what} is {_a(found)}; expected {_a(wanted)}")

    def _unary(self, expr: Unary) -> Type:
        if expr.op == "!":
            self._want(expr.operand, BOOL, "what follows '!'")
            return BOOL
        found = self.type_of(expr.operand)
        if found.name in _NUMBERS or found is ANY:
            return Type(found.name)
        return self.mistake(expr, f"'-' stands before {_a(found)}; expected a number")

    def _binary(self, expr: Binary) -> Type:
        if expr.op in ("&&", "||"):
            for side in (expr.left, expr.right):
                self._want(side, BOOL, f"a side of '{expr.op}'")
            return BOOL
        left, right = self.type_of(expr.left), self.type_of(expr.right)
        if expr.op == "in":
            return self._membership(expr, left, right)
        if expr.op in ("==", "!="):
            return self._equality(expr, left, right)
        if expr.op in ("<", "<=", ">", ">="):
            return self._order(expr, left, right)
        return self._arithmetic(expr, left, right)

    def _equality(self, expr: Binary, left: Type, right: Type) -> Type:
        for side in (left, right):
            if side.name in RECORDS:
                return self.mistake(expr, f"{side.name!r} as a whole cannot be compared; compare one of its fields")
        if not _fit(left, right):
            return self.mistake(expr, f"{_a(left)} never equals {_a(right)}")
        self._known_word(left, expr.right)
        self._known_word(right, expr.left)
        return BOOL

    def _known_word(self, type_: Type, other: Expr) -> None:
        """``other`` stands where a value of ``type_`` is expected: a literal must be one of its words."""
        if not type_.words or not isinstance(other, Literal) or not isinstance(other.value, str):
            return
        if other.value not in type_.words:
            hint = did_you_mean(other.value, type_.words)
            self.mistake(other, f"{other.value!r} never occurs here{hint}; it is one of {', '.join(type_.words)}")

    def _order(self, expr: Binary, left: Type, right: Type) -> Type:
        for side in (left, right):
            if side.words == LABELS:
                return self.mistake(
                    expr, f'severity words have no order as text; write finding.severity_rank {expr.op} rank("high")'
                )
            if side.name not in _NUMBERS and side is not ANY:
                why = " (versions and severities would sort wrongly)" if side.name == "string" else ""
                return self.mistake(expr, f"'{expr.op}' compares numbers; found {_a(side)}{why}")
        return BOOL

    def _membership(self, expr: Binary, left: Type, right: Type) -> Type:
        if right.name == "map":
            if left.name not in ("string", ANY.name):
                return self.mistake(expr.left, f"the names in a map are strings; found {_a(left)}")
            return BOOL
        if right.name == "string":
            return self.mistake(expr, "'in' looks into a list or a map; for a part of a text write text.contains(part)")
        if right.name != "list":
            return BOOL if right is ANY else self.mistake(expr, f"'in' looks into a list or a map; found {_a(right)}")
        items = right.of or ANY
        if not _fit(left, items):
            return self.mistake(expr, f"{_a(left)} is never in {_a(right)}")
        self._known_word(items, expr.left)
        if isinstance(expr.right, ListOf):
            for item in expr.right.items:
                self._known_word(left, item)
        return BOOL

    def _arithmetic(self, expr: Binary, left: Type, right: Type) -> Type:
        if ANY in (left, right):
            return ANY
        if left.name != right.name or left.name not in (*_NUMBERS, "string"):
            return self.mistake(expr, f"'{expr.op}' joins {_a(left)} and {_a(right)}; expected two numbers of one type")
        if left.name == "string" and expr.op != "+":
            return self.mistake(expr, f"'{expr.op}' has no meaning for text")
        if left.name == "double" and expr.op == "%":
            return self.mistake(expr, "'%' is for whole numbers")
        if expr.op in "/%" and isinstance(expr.right, Literal) and expr.right.value == 0:
            return self.mistake(expr.right, "division by zero")
        return Type(left.name)

    def _conditional(self, expr: Conditional) -> Type:
        self._want(expr.test, BOOL, "what stands before '?'")
        yes, no = self.type_of(expr.yes), self.type_of(expr.no)
        if yes.name != no.name and ANY not in (yes, no):
            return self.mistake(expr, f"'?:' gives {_a(yes)} or {_a(no)}; expected one type")
        return Type(yes.name, yes.of) if no is not ANY else no

    def _list(self, expr: ListOf) -> Type:
        types = [self.type_of(item) for item in expr.items]
        first = next((t for t in types if t is not ANY), ANY)
        for item, found in zip(expr.items, types, strict=True):
            if found is not ANY and found.name != first.name:
                self.mistake(item, f"this list holds {_a(first)} and {_a(found)}; expected one type")
        return Type("list", first if first is ANY else Type(first.name, first.of))

    def _arity(self, expr: Call, count: int) -> bool:
        if len(expr.args) == count:
            return True
        self.mistake(expr, f"{expr.name}() takes {count} argument{'s' * (count != 1)}, not {len(expr.args)}")
        return False

    def _function(self, expr: Call) -> Type:
        if expr.name == "has":
            return self._has(expr)
        if expr.name == "rank":
            return self._rank(expr)
        if expr.name == "size" and self._arity(expr, 1):
            return self._size(expr, self.type_of(expr.args[0]))
        if expr.name in _CONVERSIONS and self._arity(expr, 1):
            found = self.type_of(expr.args[0])
            if found.name in ("int", "double", "string", ANY.name):
                return _CONVERSIONS[expr.name]
            return self.mistake(expr, f"{expr.name}() converts numbers and text; found {_a(found)}")
        if expr.name in _FUNCTION_NAMES:
            return ANY
        for arg in expr.args:
            self.type_of(arg)
        as_method = expr.name in _METHODS
        hint = f"; write value.{expr.name}(…)" if as_method else did_you_mean(expr.name, _FUNCTION_NAMES)
        known = ", ".join(sorted(_FUNCTION_NAMES))
        return self.mistake(expr, f"unknown function {expr.name!r}{hint}. Known are {known}")

    def _has(self, expr: Call) -> Type:
        if not self._arity(expr, 1):
            return BOOL
        arg = expr.args[0]
        if not isinstance(arg, Field):
            return self.mistake(arg, "has() asks for a label that may be missing, such as has(image.labels.maintainer)")
        owner = self.type_of(arg.operand)
        self._selected(arg, owner)
        if owner.name in RECORDS:
            return self.mistake(arg, f"{canonical(arg)} is always there; has() is for labels")
        return BOOL

    def _rank(self, expr: Call) -> Type:
        if not self._arity(expr, 1):
            return ANY
        word = expr.args[0]
        if not isinstance(word, Literal) or word.value not in LABELS:
            hint = did_you_mean(str(word.value), LABELS) if isinstance(word, Literal) else ""
            return self.mistake(word, f"rank() takes a severity in quotes{hint}; one of {', '.join(LABELS)}")
        return INT

    def _size(self, expr: Call, found: Type) -> Type:
        if found.name in ("list", "map", "string", ANY.name):
            return INT
        return self.mistake(expr, f"size() counts a list, a map or a text; found {_a(found)}")

    def _method(self, expr: Call) -> Type:
        assert expr.target is not None  # noqa: S101 - functions went elsewhere
        owner = self.type_of(expr.target)
        if expr.name in _MACROS:
            return self._macro(expr, owner)
        if expr.name == "size":
            return self._size(expr, owner) if self._arity(expr, 0) else INT
        if expr.name in _STRING_METHODS:
            return self._string_method(expr, owner)
        for arg in expr.args:
            self.type_of(arg)
        hint = did_you_mean(expr.name, _METHODS)
        return self.mistake(expr, f"unknown method {expr.name!r}{hint}. Known are {', '.join(sorted(_METHODS))}")

    def _string_method(self, expr: Call, owner: Type) -> Type:
        if owner.name not in ("string", ANY.name):
            inside = f"; for a list write list.exists(x, x.{expr.name}(…))" if owner.name == "list" else ""
            return self.mistake(expr, f"{expr.name}() belongs to text; found {_a(owner)}{inside}")
        if self._arity(expr, 1):
            self._want(expr.args[0], STRING, f"the argument of {expr.name}()")
            if expr.name == "matches":
                self._pattern(expr.args[0])
        return BOOL

    def _pattern(self, expr: Expr) -> None:
        if not isinstance(expr, Literal) or not isinstance(expr.value, str):
            self.mistake(expr, "the pattern of matches() must be written out in quotes, so that it can be checked")
            return
        try:
            cel.evaluate("''.matches(pattern)", {"pattern": expr.value})
        except (ValueError, RuntimeError, TypeError) as e:
            reason = re.sub(r"\s+", " ", str(e))[:200]
            self.mistake(expr, f"not a regular expression (RE2 syntax): {reason}")

    def _macro(self, expr: Call, owner: Type) -> Type:
        if owner.name not in ("list", "map", ANY.name):
            return self.mistake(expr, f"{expr.name}() goes through a list or a map's names; found {_a(owner)}")
        if not self._arity(expr, 2):
            return ANY
        variable, body = expr.args
        if not isinstance(variable, Name):
            return self.mistake(variable, f"the first argument of {expr.name}() is a new name, such as x")
        if len(self._names.keys() - VARIABLES.keys()) >= self._max_loops:
            return self.mistake(
                expr,
                f"{expr.name}() inside of {self._max_loops} others goes through too much for a gate; split the rule",
            )
        if variable.name in VARIABLES or variable.name in self._names:
            return self.mistake(variable, f"{variable.name!r} already means something; choose another name")
        items = STRING if owner.name == "map" else (owner.of or ANY)
        result = self._body(variable.name, items, body)
        if expr.name == "map":
            return Type("list", result)
        if result.name not in ("bool", ANY.name):
            self.mistake(body, f"the second argument of {expr.name}() is {_a(result)}; expected true or false")
        return Type("list", items) if expr.name == "filter" else BOOL

    def _body(self, name: str, type_: Type, body: Expr) -> Type:
        inner = _Checker({**self._names, name: type_}, self._max_loops)
        result = inner.type_of(body)
        self.mistakes.extend(inner.mistakes)
        return result
