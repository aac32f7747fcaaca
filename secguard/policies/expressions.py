"""CEL conditions as a tree with places, for checking; running them is the ``cel`` package's business.

Grammar: CEL language definition, section "Syntax" (github.com/google/cel-spec, doc/langdef.md), without message
construction, ``bytes`` and ``uint`` literals, which no policy needs. Offsets count characters from the start.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct

MAX_LENGTH: Final = 2_000
MAX_DEPTH: Final = 60
"""Of nesting, and of a chain of operators: checker and engine walk the tree by recursion."""


class ExpressionError(Exception):
    """What is wrong, and at which character of the condition."""

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at
        self.message = message


class Expr(Struct, frozen=True):
    at: int


class Literal(Expr, frozen=True):
    value: bool | int | float | str | None


class Name(Expr, frozen=True):
    name: str


class Field(Expr, frozen=True):
    operand: Expr
    name: str


class Index(Expr, frozen=True):
    operand: Expr
    index: Expr


class Call(Expr, frozen=True):
    name: str
    target: Expr | None
    args: tuple[Expr, ...]


class Unary(Expr, frozen=True):
    op: str
    operand: Expr


class Binary(Expr, frozen=True):
    op: str
    left: Expr
    right: Expr


class Conditional(Expr, frozen=True):
    test: Expr
    yes: Expr
    no: Expr


class ListOf(Expr, frozen=True):
    items: tuple[Expr, ...]


class MapOf(Expr, frozen=True):
    entries: tuple[tuple[Expr, Expr], ...]


class Token(Struct, frozen=True):
    kind: str
    text: str
    at: int


_TOKEN: Final = re.compile(
    r"""
    (?P<blank>\s+|//[^\n]*)
  | (?P<string>[rR](?:"{3}.*?"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')
      |"{3}(?:\\.|[^\\])*?"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
  | (?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
  | (?P<int>0[xX][0-9a-fA-F]+|\d+)
  | (?P<ident>[_a-zA-Z]\w*)
  | (?P<op>&&|\|\||[<>=!]=|[<>!?:+\-*/%.,()\[\]{}])
    """,
    re.X | re.S | re.A,
)
_RAW: Final = re.compile(r"""[rR]("{3}|'{3}|"|')""")
_BINDING: Final = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("<", "<=", ">", ">=", "==", "!=", "in"), 3),
    **dict.fromkeys("+-", 4),
    **dict.fromkeys("*/%", 5),
}
_RESERVED: Final = frozenset(
    "as break const continue else for function if import let loop package namespace return var void while".split(" ")  # noqa: SIM905
)
_WORD_LITERALS: Final = {"true": True, "false": False, "null": None}
_INT64: Final = range(-(2**63), 2**63)
_SIMPLE_ESCAPES: Final = dict(zip("abfnrtv\\?\"'`", "\a\b\f\n\r\t\v\\?\"'`", strict=True))
_ESCAPE: Final = re.compile(r"\\(?:[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.))", re.S)


def parse(text: str) -> Expr:
    """The tree of a condition; raises ``ExpressionError`` at the first character that does not fit the grammar."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(0, f"the condition has {len(text):,} characters; at most {MAX_LENGTH:,} are taken")
    return _Parser(_tokens(text)).whole()


def _tokens(text: str) -> list[Token]:
    tokens, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            unclosed = text[at] in "\"'"
            shown = f"the text that begins with {text[at : at + 12]!r} never ends" if unclosed else repr(text[at])
            raise ExpressionError(at, shown if unclosed else f"{shown} has no meaning here")
        if match.lastgroup != "blank":
            tokens.append(Token(match.lastgroup or "", match[0], at))
        at = match.end()
    return [*tokens, Token("end", "", at)]


class _Parser:
    """Operator precedence by binding power (Pratt)."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self) -> Expr:
        expr = self._expr()
        if self._peek().kind != "end":
            raise self._unexpected("an operator or the end")
        return expr

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _at(self, text: str) -> bool:
        token = self._peek()
        return token.text == text and token.kind in ("op", "ident")

    def _accept(self, text: str) -> bool:
        found = self._at(text)
        self._next += found
        return found

    def _expect(self, text: str) -> Token:
        if not self._at(text):
            raise self._unexpected(repr(text))
        return self._take()

    def _unexpected(self, expected: str) -> ExpressionError:
        token = self._peek()
        found = "the end" if token.kind == "end" else repr(token.text[:40])
        return ExpressionError(token.at, f"found {found}; expected {expected}")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(self._peek().at, f"nested or chained more than {MAX_DEPTH} deep; split the rule")

    def _expr(self) -> Expr:
        self._deeper()
        test = self._binary(1)
        if self._at("?"):
            at = self._take().at
            yes = self._binary(1)
            self._expect(":")
            test = Conditional(at, test, yes, self._expr())
        self._depth -= 1
        return test

    def _binary(self, least: int) -> Expr:
        before = self._depth
        left = self._unary()
        while (power := _BINDING.get(self._peek().text, 0)) >= least and self._peek().kind in ("op", "ident"):
            self._deeper()
            token = self._take()
            left = Binary(token.at, token.text, left, self._binary(power + 1))
        self._depth = before
        return left

    def _unary(self) -> Expr:
        token = self._peek()
        if token.kind != "op" or token.text not in ("!", "-"):
            return self._member()
        self._take()
        number = self._peek()
        if token.text == "-" and number.kind in ("int", "float"):
            # The sign belongs to the number: the least int64 has no positive twin.
            return self._postfix(self._number(self._take(), "-"))
        self._deeper()
        operand = self._unary()
        self._depth -= 1
        return Unary(token.at, token.text, operand)

    def _member(self) -> Expr:
        return self._postfix(self._primary())

    def _postfix(self, expr: Expr) -> Expr:
        before = self._depth
        while self._at(".") or self._at("["):
            self._deeper()
            if self._take().text == "[":
                at = self._peek().at
                expr = Index(at, expr, self._expr())
                self._expect("]")
            else:
                expr = self._selected(expr)
        self._depth = before
        return expr

    def _selected(self, operand: Expr) -> Expr:
        token = self._take()
        if token.kind != "ident":
            self._next -= 1
            raise self._unexpected("the name of a field")
        if self._accept("("):
            return Call(token.at, token.text, operand, self._arguments(")"))
        return Field(token.at, operand, token.text)

    def _arguments(self, closing: str) -> tuple[Expr, ...]:
        return tuple(self._several(closing, self._expr))

    def _several(self, closing: str, one: Callable[[], Expr]) -> list[Expr]:
        found: list[Expr] = []
        while not self._at(closing):
            found.append(one())
            if not self._accept(","):
                break
        self._expect(closing)
        return found

    def _primary(self) -> Expr:
        token = self._peek()
        if token.kind in ("int", "float"):
            return self._number(self._take(), "")
        if token.kind == "string":
            return Literal(token.at, _string(self._take()))
        if token.kind == "ident":
            return self._word(self._take())
        if self._accept("("):
            inner = self._expr()
            self._expect(")")
            return inner
        if self._accept("["):
            return ListOf(token.at, self._arguments("]"))
        if self._accept("{"):
            return self._map(token.at)
        raise self._unexpected("a value")

    def _word(self, token: Token) -> Expr:
        if token.text in _WORD_LITERALS:
            return Literal(token.at, _WORD_LITERALS[token.text])
        if token.text in _RESERVED or token.text == "in":
            raise ExpressionError(token.at, f"{token.text!r} is a reserved word of CEL; expected a value")
        if self._accept("("):
            return Call(token.at, token.text, None, self._arguments(")"))
        return Name(token.at, token.text)

    def _map(self, at: int) -> Expr:
        entries = []
        while not self._at("}"):
            key = self._expr()
            self._expect(":")
            entries.append((key, self._expr()))
            if not self._accept(","):
                break
        self._expect("}")
        return MapOf(at, tuple(entries))

    def _number(self, token: Token, sign: str) -> Literal:
        following = self._peek()
        if following.kind == "ident" and following.at == token.at + len(token.text):
            raise ExpressionError(following.at, f"found {following.text!r} after a number; expected an operator")
        if token.kind == "float":
            return Literal(token.at, float(sign + token.text))
        value = int(sign + token.text, 16 if token.text[:2].lower() == "0x" else 10)
        if value not in _INT64:
            raise ExpressionError(token.at, f"the number {sign}{token.text[:30]} is outside 64 bits")
        return Literal(token.at, value)


def _string(token: Token) -> str:
    raw = _RAW.match(token.text)
    body = token.text[1:] if raw else token.text
    quotes = 3 if body[:3] in ('"""', "'''") and len(body) >= 6 else 1
    inner = body[quotes:-quotes]
    return inner if raw else _ESCAPE.sub(lambda m: _unescaped(m, token.at), inner)


def _unescaped(match: re.Match[str], at: int) -> str:
    *codes, octal, simple = match.groups()
    code = next((int(c, 16) for c in codes if c), int(octal, 8) if octal else None)
    if code is not None and code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
        return chr(code)
    if code is None and simple in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[simple]
    raise ExpressionError(at, f"{match[0]!r} is no escape of CEL; write a backslash as \\\\ or the text as r'…'")


def canonical(expr: Expr) -> str:
    """One spelling for trees that mean the same text: blanks, quotes, parentheses and comments do not count."""
    match expr:
        case Literal(value=value):
            return {True: "true", False: "false"}[value] if isinstance(value, bool) else repr(value)
        case Name(name=name):
            return name
        case Field(operand=operand, name=name):
            return f"{canonical(operand)}.{name}"
        case Index(operand=operand, index=index):
            return f"{canonical(operand)}[{canonical(index)}]"
        case Call(name=name, target=target, args=args):
            inner = ",".join(canonical(a) for a in args)
            return f"{canonical(target)}.{name}({inner})" if target is not None else f"{name}({inner})"
        case Unary(op=op, operand=operand):
            return f"{op}({canonical(operand)})"
        case Binary(op=op, left=left, right=right):
            return f"({canonical(left)} {op} {canonical(right)})"
        case Conditional(test=test, yes=yes, no=no):
            return f"({canonical(test)}?{canonical(yes)}:{canonical(no)})"
        case ListOf(items=items):
            return f"[{','.join(canonical(i) for i in items)}]"
        case MapOf(entries=entries):
            return f"{{{','.join(f'{canonical(k)}:{canonical(v)}' for k, v in entries)}}}"
    raise TypeError(type(expr).__name__)


def children(expr: Expr) -> tuple[Expr, ...]:
    """The expressions directly inside ``expr``."""
    match expr:
        case Field(operand=operand) | Unary(operand=operand):
            return (operand,)
        case Index(operand=operand, index=index):
            return (operand, index)
        case Call(target=target, args=args):
            return args if target is None else (target, *args)
        case Binary(left=left, right=right):
            return (left, right)
        case Conditional(test=test, yes=yes, no=no):
            return (test, yes, no)
        case ListOf(items=items):
            return items
        case MapOf(entries=entries):
            return tuple(part for entry in entries for part in entry)
    return ()
