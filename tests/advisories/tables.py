"""Other projects' tables of which version is newer: rows (a, -1 | 0 | 1, b)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator

Row = tuple[str, int, str]
_SIGNS = {"<": -1, "=": 0, ">": 1}
_LINE = re.compile(r"(\S+)\s+([<=>])\s+(\S+)(?:\s.*)?")


def lines(text: str) -> Iterator[Row]:
    """osv-scalibr's and apk-tools': ``1.0 < 1.1``, with comments, and other tests that are no comparisons."""
    for line in text.splitlines():
        found = _LINE.fullmatch(line.strip())
        if found and not line.startswith(("//", "#")):
            yield found[1], _SIGNS[found[2]], found[3]


def rpm_macros(text: str) -> Iterator[Row]:
    """rpm's own autotest macros."""
    for a, b, sign in re.findall(r"^RPMVERCMP\((.*?), *(.*?), *(-?\d)\)", text, re.M):
        yield a.strip(), int(sign), b.strip()


def vers(text: str) -> Iterator[Row]:
    """The vers specification's ``*_version_cmp_test.json``."""
    for case in json.loads(text)["tests"]:
        a, b = case["input"]["versions"]
        if case["test_type"] == "comparison":
            yield a, -1 if case["expected_output"] == [a, b] else 1, b
        elif case["expected_output"]:
            yield a, 0, b


READERS: dict[str, Callable[[str], Iterator[Row]]] = {"lines": lines, "rpm": rpm_macros, "vers": vers}
