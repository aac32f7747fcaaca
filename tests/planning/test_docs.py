"""docs/planning.md: its checks are those that there are, its template and its rule can be used as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import indent

from secguard.planning.checks import CHECKS
from secguard.planning.template import parse_template, shipped
from secguard.policies.language import parse_policy

TEXT = (Path(__file__).parents[2] / "docs" / "planning.md").read_text()
FENCED = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.M | re.S)


def test_every_check_is_told_and_no_other() -> None:
    rows = re.findall(r"^\| (`[^|]*`) \|.*\|.*\|$", TEXT, re.M)
    assert sorted(name for row in rows for name in re.findall(r"`([a-z-]+)`", row)) == sorted(CHECKS)


def test_the_number_of_requirements_is_that_of_the_shipped_template() -> None:
    assert f"SecGuard: {len(parse_template(shipped()).requirements)} requirements" in TEXT


def test_the_template_and_the_rule_can_be_used() -> None:
    template, rule = FENCED
    assert [r.answer_days for r in parse_template(template, CHECKS).requirements] == [365, 180]
    policy = parse_policy(f"name: ours\nrules:\n{indent(rule, '  ')}")
    named = set(re.findall(r'"([a-z-]+)"', policy.rules[0].when))
    assert named <= {r.id for r in parse_template(shipped()).requirements}
