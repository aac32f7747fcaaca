"""What two policies differ in by meaning."""

from __future__ import annotations

from secguard.policies.differences import differences
from secguard.policies.language import parse_policy
from tests.policies.test_services import BLOCK_ALL

TWO = """\
name: strict
rules:
  - {id: a, each: finding, when: finding.severity == "high", effect: warn, message: m}
  - {id: b, each: image, stages: [build], when: image.exposed, effect: block, message: m}
"""


def told(before: str, after: str) -> list[str]:
    return [str(found) for found in differences(parse_policy(before), parse_policy(after))]


def test_blanks_comments_and_the_order_of_keys_are_no_difference() -> None:
    same = """\
# The same.
rules:
  - message: m
    effect: warn
    each: finding
    when: >-
      (finding.severity
      == 'high')
    id: a
  - {id: b, message: m, each: image, stages: [build], when: image.exposed, effect: block}
name: strict
"""
    assert told(TWO, same) == []


def test_each_key_of_a_rule_is_told_with_what_it_was() -> None:
    changed = TWO.replace("effect: warn", "effect: block, grace_days: 3").replace("[build]", "[build, run]")
    assert told(TWO, changed) == [
        "rule a, grace_days: 0 → 3",
        "rule a, effect: warn → block",
        "rule b, stages: build → build, run",
    ]
    assert told(TWO, TWO.replace('"high"', '"low"')) == [
        'rule a, when: finding.severity == "high" → finding.severity == "low"'
    ]


def test_rules_that_come_go_and_move() -> None:
    assert told(TWO, BLOCK_ALL) == [
        'rule a removed: warns at build, promote, admit, run when finding.severity == "high"',
        "rule b removed: blocks at build when image.exposed",
        "rule nothing-at-all added: blocks at build, promote, admit, run when true",
    ]
    lines = TWO.splitlines(keepends=True)
    assert told(TWO, "".join([*lines[:2], lines[3], lines[2]])) == ["the policy, order of reasons: a, b → b, a"]
