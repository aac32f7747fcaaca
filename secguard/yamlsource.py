"""YAML that people write and others must be able to trust: bounded, plain, and every fault with its line and column.

Read with ``parse``; taken apart with ``Section``, which collects what is wrong instead of stopping at the first. Only
what JSON can say is taken: no anchors and aliases (which expand without bound), no tags, one document, no key twice.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final

import yaml
from msgspec import Struct
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from secguard.errors import Invalid

MAX_DEPTH: Final = 20
MAX_NODES: Final = 20_000
_NUMBER: Final = re.compile(r"[-+]?\d{1,18}(?:\.\d{1,18})?")


class Problem(Struct, frozen=True, order=True):
    """One fault, at a 1-based line and column of the text."""

    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


class Source:
    """A text and what was found wrong with it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._found: set[Problem] = set()

    @property
    def problems(self) -> list[Problem]:
        """In the order of the text, each once."""
        return sorted(self._found)

    def fault(self, node: Node | None, message: str, offset: int | None = None) -> None:
        """Note a fault at ``node`` (the start of the text where there is none), or ``offset`` into its scalar."""
        if node is None:
            self._found.add(Problem(1, 1, message))
        elif offset is not None and isinstance(node, ScalarNode):
            line, column = position_inside(self.text, node, offset)
            self._found.add(Problem(line, column, message))
        else:
            self._found.add(Problem(node.start_mark.line + 1, node.start_mark.column + 1, message))

    def fault_at(self, line: int, column: int, message: str) -> None:
        self._found.add(Problem(line, column, message))


def parse(source: Source, max_bytes: int) -> MappingNode | None:
    """The top-level mapping of the text, or ``None`` with the reason among ``source.problems``."""
    size = len(source.text.encode("utf-8", "surrogatepass"))
    if size > max_bytes:
        source.fault_at(1, 1, f"the document has {size:,} bytes; at most {max_bytes:,} are taken")
        return None
    try:
        if not _is_plain(source):
            return None
        node = yaml.compose(source.text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        source.fault_at(line, column, f"not YAML: {e.problem or e.context}")
        return None
    except yaml.reader.ReaderError as e:
        line, column = _place(source.text, e.position)
        source.fault_at(line, column, f"the character U+{e.character:04X} is not allowed in YAML")
        return None
    except (ValueError, OverflowError) as e:  # such as an escape past the last code point
        source.fault_at(1, 1, f"not YAML: {e}")
        return None
    if not isinstance(node, MappingNode):
        found = "nothing" if node is None else describe(node)
        source.fault(node, f"found {found}; expected a mapping, such as 'name: …'")
        return None
    return node


def _is_plain(source: Source) -> bool:
    """Looks at the events before anything is built, so that no bomb is ever composed."""
    depth = 0
    for count, event in enumerate(yaml.parse(source.text, Loader=yaml.SafeLoader)):
        place = (event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else (1, 1)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            source.fault_at(*place, "anchors and aliases (& and *) are not taken; write the value out")
            return False
        if tag := getattr(event, "tag", None):
            source.fault_at(*place, f"the tag {tag!r} is not taken; write a plain value")
            return False
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > MAX_NODES:
            what = f"nested more than {MAX_DEPTH} deep" if depth > MAX_DEPTH else f"more than {MAX_NODES:,} values"
            source.fault_at(*place, f"the document is too large: {what}")
            return False
    return True


class Section:
    """A mapping whose keys are taken one by one; ``close`` reports the keys that nobody asked for.

    Every ``take_…`` returns the value, or the default after noting what was found and what was expected.
    """

    def __init__(self, source: Source, node: MappingNode, what: str) -> None:
        self.source, self.node, self.what = source, node, what
        self._values: dict[str, Node] = {}
        self._keys: dict[str, Node] = {}
        self._asked: list[str] = []
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                source.fault(key, f"a key of {what} must be a word, not {describe(key)}")
            elif key.value in self._values:
                source.fault(key, f"the key {key.value!r} stands twice in {what}")
            else:
                self._keys[key.value], self._values[key.value] = key, value

    def node_of(self, key: str) -> Node | None:
        return self._values.get(key)

    def fault(self, key: str, message: str, offset: int | None = None) -> None:
        """Note a fault at the value of ``key``, or at the section where it has none."""
        self.source.fault(self._values.get(key, self.node), message, offset)

    def close(self) -> None:
        for key, node in self._keys.items():
            if key not in self._asked:
                known = ", ".join(self._asked)
                hint = did_you_mean(key, self._asked)
                self.source.fault(node, f"{self.what} has no key {key!r}{hint}. Known keys: {known}")

    def _take(self, key: str, required: bool) -> Node | None:
        self._asked.append(key)
        node = self._values.get(key)
        if node is None and required:
            self.source.fault(self.node, f"{self.what} needs the key {key!r}")
        return node

    def _wrong(self, key: str, node: Node, expected: str) -> None:
        self.source.fault(node, f"{key!r} of {self.what} is {describe(node)}; expected {expected}")

    def take_text(self, key: str, *, required: bool = False, max_length: int = 500) -> str:
        """A non-empty string where there is one."""
        node = self._take(key, required)
        if node is None:
            return ""
        if not isinstance(node, ScalarNode) or not node.tag.endswith((":str", ":timestamp")) or not node.value.strip():
            self._wrong(key, node, "a text" + (" (in quotes)" if isinstance(node, ScalarNode) else ""))
            return ""
        if len(node.value) > max_length:
            self._wrong(key, node, f"at most {max_length:,} characters, not {len(node.value):,}")
            return ""
        return str(node.value)

    def take_bool(self, key: str) -> bool | None:
        node = self._take(key, False)
        if node is None:
            return None
        if not isinstance(node, ScalarNode) or not node.tag.endswith(":bool"):
            self._wrong(key, node, "true or false")
            return None
        return str(node.value).lower() in ("true", "yes", "on")

    def take_count(self, key: str, least: int, most: int, *, required: bool = False) -> int | None:
        """A whole number from ``least`` to ``most``."""
        node = self._take(key, required)
        return None if node is None else count_of(self.source, node, key, least, most)

    def take_number(self, key: str, least: float, most: float) -> float | None:
        """A number from ``least`` to ``most``, with or without a fraction."""
        node = self._take(key, False)
        if node is None:
            return None
        expected = f"a number from {least:g} to {most:g}"
        if not isinstance(node, ScalarNode) or not _NUMBER.fullmatch(node.value):
            self._wrong(key, node, expected)
            return None
        if not least <= float(node.value) <= most:
            self._wrong(key, node, expected)
            return None
        return float(node.value)

    def take_choice(self, key: str, allowed: Collection[str], *, required: bool = False) -> str:
        node = self._take(key, required)
        return "" if node is None else word_of(self.source, node, key, allowed)

    def take_choices(self, key: str, allowed: Collection[str]) -> tuple[str, ...] | None:
        """A non-empty list of distinct words among ``allowed``; a single word stands for a list of one."""
        node = self._take(key, False)
        if node is None:
            return None
        items = node.value if isinstance(node, SequenceNode) else [node]
        if not items:
            self._wrong(key, node, f"at least one of {', '.join(allowed)}; leave the key out to mean all")
        words = [word_of(self.source, item, key, allowed) for item in items]
        for before, after in pairwise(sorted(zip(words, range(len(items)), strict=True))):
            if before[0] and before[0] == after[0]:
                self.source.fault(items[after[1]], f"{before[0]!r} stands twice in {key!r}")
        return tuple(dict.fromkeys(w for w in words if w))

    def take_texts(self, key: str, most: int, *, max_length: int = 2_000) -> tuple[str, ...]:
        """A list of at most ``most`` texts; one text alone stands for a list of one, none for none."""
        node = self._take(key, False)
        items = node.value if isinstance(node, SequenceNode) else [node] if node is not None else []
        if len(items) > most:
            self.fault(key, f"{key!r} of {self.what} has {len(items):,} entries; expected at most {most:,}")
        for item in items:
            if not isinstance(item, ScalarNode) or not 0 < len(item.value) <= max_length:
                self.source.fault(
                    item, f"{key!r} is {describe(item)}; expected a text of 1 to {max_length:,} characters"
                )
        return tuple(str(item.value) for item in items if isinstance(item, ScalarNode))

    def take_section(self, key: str, what: str, *, required: bool = False) -> Section | None:
        node = self._take(key, required)
        if node is None:
            return None
        if not isinstance(node, MappingNode):
            self._wrong(key, node, "a mapping")
            return None
        return Section(self.source, node, what)

    def take_sections(self, key: str, what: str, most: int) -> list[Section]:
        """A non-empty list of at most ``most`` mappings, each named ``what`` and its number in messages."""
        node = self._take(key, True)
        if node is None:
            return []
        if not isinstance(node, SequenceNode) or not node.value:
            self._wrong(key, node, f"a list with at least one {what}")
            return []
        if len(node.value) > most:
            self._wrong(key, node, f"at most {most} entries, not {len(node.value)}")
            return []
        for item in node.value:
            if not isinstance(item, MappingNode):
                self.source.fault(item, f"a {what} is {describe(item)}; expected a mapping")
        numbered = enumerate(node.value, 1)
        return [Section(self.source, n, f"{what} {i}") for i, n in numbered if isinstance(n, MappingNode)]

    def items(self) -> Iterable[tuple[str, Node, Node]]:
        """(key, key's node, value's node) for a mapping whose keys are data; all count as asked for."""
        self._asked.extend(self._keys)
        return [(key, self._keys[key], value) for key, value in self._values.items()]


def count_of(source: Source, node: Node, key: str, least: int, most: int) -> int | None:
    """The whole number that ``node`` holds, or ``None`` after noting the fault."""
    expected = f"a whole number from {least:,} to {most:,}"
    if isinstance(node, ScalarNode) and node.tag.endswith(":int") and re.fullmatch(r"[-+]?\d{1,18}", node.value):
        if least <= int(node.value) <= most:
            return int(node.value)
        source.fault(node, f"{key!r} is {node.value}; expected {expected}")
        return None
    source.fault(node, f"{key!r} is {describe(node)}; expected {expected}")
    return None


def word_of(source: Source, node: Node, key: str, allowed: Collection[str]) -> str:
    """The word among ``allowed`` that ``node`` holds, or ``""`` after noting the fault."""
    if isinstance(node, ScalarNode) and node.value in allowed:
        return str(node.value)
    hint = did_you_mean(node.value, allowed) if isinstance(node, ScalarNode) else ""
    source.fault(node, f"{key!r} is {describe(node)}{hint}; expected one of {', '.join(allowed)}")
    return ""


def describe(node: Node) -> str:
    """What stands there, short, for messages."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return f"a list of {len(node.value)}"
    if node.tag.endswith(":null"):
        return "empty"
    text = str(node.value)
    return repr(text if len(text) <= 40 else text[:39] + "…")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``" (did you mean 'x'?)"`` for the nearest of ``known``, or ``""``."""
    near = difflib.get_close_matches(word[:100].lower(), list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]!r}?)" if near else ""


_DOUBLE_QUOTED: Final = re.compile(r"\\(?:x..|u.{4}|U.{8}|\r?\n[ \t]*|.)|.", re.S)
_SINGLE_QUOTED: Final = re.compile(r"''|.", re.S)
_BLANK_ESCAPES: Final = frozenset({"\\n", "\\t", "\\r", "\\ ", "\\_", "\\N", "\\L", "\\P", "\\x20", "\\x09", "\\x0a"})


def position_inside(text: str, node: ScalarNode, offset: int) -> tuple[int, int]:
    """The 1-based line and column in ``text`` of character ``offset`` of a scalar's value.

    YAML folds and indents, but keeps the order of everything that is not blank: the n-th character of the value that
    is not blank is the n-th of the source.
    """
    wanted = sum(1 for c in node.value[:offset] if not c.isspace())
    last = node.start_mark.index
    for index, blank in _characters(text, node):
        if blank:
            continue
        if wanted == 0:
            return _place(text, index)
        wanted, last = wanted - 1, index
    return _place(text, last + 1)


def _characters(text: str, node: ScalarNode) -> Iterable[tuple[int, bool]]:
    """(index in the text, is it blank) of every character of the value, as the source spells it."""
    start, end = node.start_mark.index, node.end_mark.index
    if node.style in ("|", ">"):
        start = text.find("\n", start) + 1 or end
        return [(i, text[i].isspace()) for i in range(start, end)]
    if node.style == '"':
        found = _DOUBLE_QUOTED.finditer(text, start + 1, end - 1)
        return [(m.start(), m[0].isspace() or m[0] in _BLANK_ESCAPES or m[0][:2] in ("\\\n", "\\\r")) for m in found]
    if node.style == "'":
        return [(m.start(), m[0].isspace()) for m in _SINGLE_QUOTED.finditer(text, start + 1, end - 1)]
    return [(i, text[i].isspace()) for i in range(start, end)]


def _place(text: str, index: int) -> tuple[int, int]:
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


class SourceError(Invalid):
    """A text that cannot be used. ``problems`` lists every fault with its place, one at least; ``extra["errors"]`` is
    the same as an RFC 9457 problem's ``errors`` member."""

    says = "The text cannot be used"
    kind = "source"
    """The problem's code."""
    part = ""
    """Before the place of the first fault, where the text is one of several."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        first = self.problems[0]
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        super().__init__(
            f"{self.says}: {first}{more}.",
            code=self.kind,
            where=f"{self.part}line {first.line}, column {first.column}",
            errors=problem_list(self.problems),
        )


def problem_list(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """As an RFC 9457 problem's ``errors`` member."""
    return [{"line": p.line, "column": p.column, "message": p.message} for p in problems]
