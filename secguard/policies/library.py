"""Ready rules (``library.yaml``) to be put into a policy, each with tests that are run with the product's own. Pure."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from textwrap import indent
from typing import Final

from msgspec import Struct

from secguard.policies.language import Rule, parse_policy
from secguard.policies.policytests import PolicyTest, parse_tests
from secguard.yamlsource import Section, Source, parse

FILE: Final = Path(__file__).resolve().parent / "library.yaml"
MAX_BYTES: Final = 256 * 1024


class Ready(Struct, frozen=True, kw_only=True):
    """One rule, as it stands in a policy under ``rules:`` and as its tests stand under ``tests:``."""

    title: str
    description: str
    rule: str
    tests: str

    @property
    def policy(self) -> str:
        """A policy of this rule alone."""
        return f"name: library\nrules:\n{indent(self.rule, '  ')}"

    @property
    def parsed(self) -> Rule:
        return parse_policy(self.policy).rules[0]

    @property
    def parsed_tests(self) -> tuple[PolicyTest, ...]:
        return parse_tests(f"tests:\n{indent(self.tests, '  ')}", parse_policy(self.policy))


@lru_cache(maxsize=1)
def library() -> tuple[Ready, ...]:
    """Every ready rule, in the file's order."""
    source = Source(FILE.read_text(encoding="utf-8"))
    node = parse(source, MAX_BYTES)
    top = Section(source, node, "the library") if node is not None else None
    found = tuple(_ready(section) for section in top.take_sections("rules", "ready rule", 200)) if top else ()
    if source.problems:
        raise ValueError(f"The library of rules is broken: {source.problems[0]}")
    return found


def _ready(section: Section) -> Ready:
    texts = {
        name: section.take_text(name, required=True, max_length=4000)
        for name in ("title", "description", "rule", "tests")
    }
    section.close()
    return Ready(**texts)
