"""The policy language: YAML with CEL conditions, checked as a whole before it is ever used.

    name: default
    description: what this policy is for
    rules:
      - id: critical-with-fix
        description: Why the rule is there.
        each: finding                  # finding: asked of every finding; image: asked once
        stages: [build, promote]       # all four where left out
        when: finding.kind == "vulnerability" && finding.severity == "critical" && finding.fix_available
        effect: block                  # block or warn
        message: "{count} critical findings with a fix: {examples}"
        grace_days: 3                  # block only from this many days after a finding was first seen
        remedy: What to do, where an upgrade is not the answer.

Every rule is asked; the worst effect of those that fire is the verdict. ``parse_policy`` tells every fault at once.
"""

from __future__ import annotations

import re
import string
from enum import StrEnum
from functools import lru_cache
from typing import Final

import cel
from msgspec import Struct
from yaml.nodes import MappingNode

from secguard.policies.checking import MAX_LOOPS, check
from secguard.policies.costs import MAX_STEPS_OF_ALL, TooMuch, steps_of
from secguard.policies.expressions import ExpressionError, canonical, parse
from secguard.policies.facts import Gate
from secguard.policies.reachability import why_never
from secguard.policies.vocabulary import IMAGE
from secguard.yamlsource import Section, Source, SourceError, did_you_mean
from secguard.yamlsource import parse as parse_yaml

MAX_BYTES: Final = 256 * 1024
MAX_RULES: Final = 200
MAX_GRACE_DAYS: Final = 3650
ALL_GATES: Final = tuple(Gate)


class PolicyError(SourceError):
    """A policy that cannot be used."""

    says = "The policy cannot be used"
    kind = "policy"


class Each(StrEnum):
    FINDING = "finding"
    IMAGE = "image"


class Effect(StrEnum):
    WARN = "warn"
    BLOCK = "block"


class Rule(Struct, frozen=True, kw_only=True):
    id: str
    description: str = ""
    each: Each = Each.FINDING
    stages: tuple[Gate, ...] = ALL_GATES
    when: str
    effect: Effect
    message: str
    grace_days: int = 0
    remedy: str = ""
    line: int = 0
    """Where the rule begins in its text."""


class Policy(Struct, frozen=True, kw_only=True):
    name: str
    description: str = ""
    rules: tuple[Rule, ...]


VARIABLES_OF: Final[dict[Each, tuple[str, ...]]] = {
    Each.FINDING: ("finding", "image", "counts", "stage"),
    Each.IMAGE: ("image", "counts", "stage"),
}
_LISTED: Final = frozenset({"planning_missing"})
"""The lists that a message may name: they hold nothing that another team's readers may not know."""
_IMAGE_PLACEHOLDERS: Final = tuple(
    n for n, word in IMAGE.items() if word.type.name in ("string", "int", "double") or n in _LISTED
)
PLACEHOLDERS: Final[dict[Each, tuple[str, ...]]] = {
    Each.FINDING: ("count", "examples", "packages", "worst", "stage", "reference", "digest", "application"),
    Each.IMAGE: ("stage", *_IMAGE_PLACEHOLDERS),
}
"""What a message may hold in braces."""
NUMBERS: Final = ("count", *(n for n, word in IMAGE.items() if word.type.name == "int"))
"""Of these, what also gives the word that goes with it: ``{count:finding|findings}``."""

_ID: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


@lru_cache(maxsize=64)
def parse_policy(text: str, *, is_kept: bool = False) -> Policy:
    """The policy that ``text`` describes; raises ``PolicyError`` with every fault found, in the order of the text.

    One that ``is_kept`` already was taken when conditions might loop deeper: what was judged by it can be judged again.
    """
    source = Source(text)
    node = parse_yaml(source, MAX_BYTES)
    policy = _policy(source, node, MAX_BYTES if is_kept else MAX_LOOPS) if node is not None else None
    if source.problems or policy is None:
        raise PolicyError(source.problems)
    return policy


def _policy(source: Source, node: MappingNode, max_loops: int) -> Policy:
    top = Section(source, node, "the policy")
    name = top.take_text("name", required=True, max_length=100)
    description = top.take_text("description", max_length=2000)
    sections = top.take_sections("rules", "rule", MAX_RULES)
    top.close()
    rules = [_rule(section, max_loops) for section in sections]
    _check_repetition(sections, rules)
    if max_loops == MAX_LOOPS and not source.problems:
        _check_costs(sections, rules)
    return Policy(name=name, description=description, rules=tuple(rules))


def _rule(section: Section, max_loops: int) -> Rule:
    id_ = _id(section)
    description = section.take_text("description", max_length=1000)
    each = Each(section.take_choice("each", [e.value for e in Each], required=True) or Each.FINDING)
    stages = _stages(section)
    when = section.take_text("when", required=True, max_length=10_000)
    effect = section.take_choice("effect", [e.value for e in (Effect.BLOCK, Effect.WARN)], required=True)
    rule = Rule(
        id=id_,
        description=description,
        each=each,
        stages=stages,
        when=when,
        effect=Effect(effect or Effect.BLOCK),
        message=section.take_text("message", required=True, max_length=500),
        grace_days=section.take_count("grace_days", 1, MAX_GRACE_DAYS) or 0,
        remedy=section.take_text("remedy", max_length=1000),
        line=section.node.start_mark.line + 1,
    )
    section.close()
    _check_condition(section, rule, max_loops)
    _check_message(section, rule)
    _check_grace(section, rule)
    return rule


def _id(section: Section) -> str:
    id_ = section.take_text("id", required=True, max_length=60)
    if id_ and not _ID.fullmatch(id_):
        section.fault("id", f"{id_!r} is no rule id; expected small letters, digits and hyphens, such as no-malware")
    return id_


def _stages(section: Section) -> tuple[Gate, ...]:
    words = section.take_choices("stages", [g.value for g in Gate])
    return ALL_GATES if words is None else tuple(g for g in Gate if g.value in words)


def _check_condition(section: Section, rule: Rule, max_loops: int) -> None:
    if not rule.when:
        return
    try:
        expr = parse(rule.when)
    except ExpressionError as e:
        section.fault("when", f"rule {rule.id}: {e.message}", e.at)
        return
    mistakes = check(expr, VARIABLES_OF[rule.each], max_loops)
    for mistake in mistakes:
        section.fault("when", f"rule {rule.id}: {mistake.message}", mistake.at)
    if mistakes:
        return
    never = why_never(expr, [g.value for g in rule.stages]) if rule.stages else None
    if never is not None:
        section.fault("when", f"rule {rule.id}: {never[1]}", never[0])
    _check_compiles(section, rule)


def _check_compiles(section: Section, rule: Rule) -> None:
    """The engine has the last word: what it does not take must not wait for a gate to show."""
    try:
        cel.compile(rule.when)
    except (ValueError, RuntimeError) as e:
        reason = re.sub(r"\s+", " ", str(e))[:300]
        section.fault("when", f"rule {rule.id}: the engine refuses the condition: {reason}")


def _check_costs(sections: list[Section], rules: list[Rule]) -> None:
    """No condition, and not all of them together, may hold up a gate."""
    together = 0
    for section, rule in zip(sections, rules, strict=True):
        try:
            together += steps_of(parse(rule.when))
        except TooMuch as e:
            section.fault("when", f"rule {rule.id}: {e.message}", e.at)
            continue
        if together > MAX_STEPS_OF_ALL:
            section.fault(
                "when",
                f"rule {rule.id}: with it the conditions can take {together:,} steps, which holds up a gate; at most "
                f"{MAX_STEPS_OF_ALL:,} are taken",
            )
            return


def _check_message(section: Section, rule: Rule) -> None:
    known = PLACEHOLDERS[rule.each]
    try:
        parts = list(string.Formatter().parse(rule.message))
    except ValueError as e:
        section.fault("message", f"rule {rule.id}: {e}; write {{{{ and }}}} for braces")
        return
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if (spec and not (name in NUMBERS and re.fullmatch(r"[^|{}]+\|[^|{}]+", spec))) or conversion:
            words = f", or words that go with it: {{{name}:finding|findings}}" if name in NUMBERS else ""
            section.fault("message", f"rule {rule.id}: {{{name}}} takes no format; write the name in braces{words}")
        elif name not in known:
            hint = did_you_mean(name, known)
            listing = ", ".join(known)
            section.fault("message", f"rule {rule.id}: unknown placeholder {{{name}}}{hint}; known are {listing}")


def _check_grace(section: Section, rule: Rule) -> None:
    if not rule.grace_days:
        return
    if rule.each is Each.IMAGE:
        section.fault("grace_days", f"rule {rule.id}: grace runs from when a finding was seen; use 'each: finding'")
    if rule.effect is Effect.WARN:
        section.fault("grace_days", f"rule {rule.id}: grace turns a block into a warning; this rule only warns")


def _check_repetition(sections: list[Section], rules: list[Rule]) -> None:
    ids: dict[str, Rule] = {}
    conditions: dict[tuple[Each, str], list[Rule]] = {}
    for section, rule in zip(sections, rules, strict=True):
        if rule.id and rule.id in ids:
            section.fault("id", f"the rule of line {ids[rule.id].line} already has the id {rule.id!r}")
        ids.setdefault(rule.id, rule)
        earlier = conditions.setdefault((rule.each, _spelled(rule.when)), [])
        for other in earlier:
            if rule.when and rule.stages and _says_all(other, rule):
                section.fault(
                    "when", f"rule {rule.id}: rule {other.id!r} has the same condition and does as much; drop it"
                )
                break
        earlier.append(rule)


def _spelled(when: str) -> str:
    try:
        return canonical(parse(when))
    except ExpressionError:
        return when


def _says_all(earlier: Rule, later: Rule) -> bool:
    """Whether the later of two rules with one condition adds nothing."""
    if not set(later.stages) <= set(earlier.stages):
        return False
    if later.effect is Effect.WARN:
        return True  # a block in its grace warns too
    return earlier.effect is Effect.BLOCK and earlier.grace_days <= later.grace_days
