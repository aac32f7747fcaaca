"""How much a condition can make a gate do, told before it is ever asked: a bound on its steps and on its texts. Pure.

The engine has no limit of its own: ``map(x, x + x)`` behind itself doubles a text each time, and a list written out is
gone through once for every item of the list around it. What a condition reads is counted as long as facts usually
are; what it writes out, as long as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from secguard.policies.expressions import Binary, Call, Expr, Field, Index, ListOf, Literal, Name, children

MAX_STEPS: Final = 50_000
"""Of one condition, asked once: up to ten milliseconds."""
MAX_STEPS_OF_ALL: Final = 200_000
"""Of all conditions of a policy."""
MAX_CHARACTERS: Final = 20_000
"""Of a text that a condition puts together."""
LIST_LENGTH: Final = 50
"""Items that a list or map of the facts is counted with: tags, labels, aliases, scanners."""
TEXT_LENGTH: Final = 200
_MACROS: Final = frozenset({"all", "exists", "exists_one", "filter", "map"})
_A_STEP: Final = 100
"""Characters that are copied in the time of one step."""


class Size(Struct, frozen=True):
    """At most: ``items`` of it, ``characters`` of it or of each item; ``item`` where the items are lists again."""

    characters: int = TEXT_LENGTH
    items: int = LIST_LENGTH
    item: Size | None = None


class Cost(Struct, frozen=True):
    steps: int
    size: Size = Size()


class TooMuch(Exception):
    """What grows without bound, and at which character of the condition."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


def steps_of(tree: Expr) -> int:
    """The steps that a checked condition takes at most. Raises ``TooMuch`` past ``MAX_STEPS`` or ``MAX_CHARACTERS``."""
    found = _cost(tree, {}).steps
    if found > MAX_STEPS:
        raise _slow(tree, found)
    return found


def _slow(expr: Expr, steps: int) -> TooMuch:
    return TooMuch(
        expr.at,
        f"it can take {steps:,} steps, which holds up a gate; at most {MAX_STEPS:,} are taken. Go through shorter "
        "lists, or not through one inside of another",
    )


def _cost(expr: Expr, names: Mapping[str, Size]) -> Cost:
    """Of the expression, where the variables of macros have the sizes ``names``."""
    match expr:
        case Literal(value=value):
            return Cost(1, Size(characters=len(value) if isinstance(value, str) else 1))
        case Name(name=name):
            return Cost(1, names.get(name, Size()))
        case Call(name=macro, target=target, args=(Name(name=variable), body)) if macro in _MACROS and target:
            return _loop(expr, _cost(target, names), macro, variable, body, names)
        case Index(operand=operand):
            return Cost(_inner(expr, names), _of_item(_cost(operand, names).size))
        case Field():
            return Cost(_inner(expr, names))
        case Binary(op="+", left=left, right=right):
            return _joined(expr, _cost(left, names), _cost(right, names))
        case ListOf(items=items):
            parts = [_cost(item, names) for item in items]
            widest = _widest([part.size for part in parts])
            inside = widest if any(isinstance(item, ListOf) for item in items) else None
            size = Size(characters=widest.characters, items=len(items), item=inside)
            return Cost(1 + sum(part.steps for part in parts), size)
    sizes = [_cost(child, names).size for child in children(expr)]
    return Cost(_inner(expr, names), _widest(sizes))


def _inner(expr: Expr, names: Mapping[str, Size]) -> int:
    return 1 + sum(_cost(child, names).steps for child in children(expr))


def _widest(sizes: list[Size]) -> Size:
    """As large as the largest of them in every way: of a choice any may come out."""
    items = [size.item for size in sizes if size.item is not None]
    return Size(
        characters=max((size.characters for size in sizes), default=1),
        items=max((size.items for size in sizes), default=0),
        item=_widest(items) if items else None,
    )


def _of_item(size: Size) -> Size:
    return size.item or Size(characters=size.characters)


def _joined(expr: Expr, left: Cost, right: Cost) -> Cost:
    characters = left.size.characters + right.size.characters
    if characters > MAX_CHARACTERS:
        raise TooMuch(
            expr.at,
            f"the text that it puts together can have {characters:,} characters; at most {MAX_CHARACTERS:,} are taken",
        )
    return Cost(1 + left.steps + right.steps + characters // _A_STEP, Size(characters=characters))


def _loop(expr: Expr, through: Cost, macro: str, variable: str, body: Expr, names: Mapping[str, Size]) -> Cost:
    """A macro's body is asked once for each item of what it goes through."""
    inside = _cost(body, {**names, variable: _of_item(through.size)})
    steps = 1 + through.steps + through.size.items * (1 + inside.steps)
    if steps > MAX_STEPS:
        raise _slow(expr, steps)
    if macro != "map":
        return Cost(steps, through.size)
    is_list = isinstance(body, ListOf) or (isinstance(body, Call) and body.name in ("map", "filter"))
    item = inside.size if is_list or inside.size.item else None
    return Cost(steps, Size(characters=inside.size.characters, items=through.size.items, item=item))
