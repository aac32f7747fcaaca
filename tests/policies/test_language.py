from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.policies import language as module
from secguard.policies.facts import Gate
from secguard.policies.language import Each, Effect, PolicyError, Rule, parse_policy

DEFAULT = (Path(module.__file__).parent / "defaults.yaml").read_text(encoding="utf-8")
RULE = """\
  - id: one
    each: finding
    when: finding.overdue
    effect: block
    message: "{count} late: {examples}"
"""


def policy(rules: str) -> str:
    return f"name: mine\nrules:\n{rules}"


def faults(text: str) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        parse_policy(text)
    assert caught.value.status == 422
    assert len(caught.value.extra["errors"]) == len(caught.value.problems)
    return [str(p) for p in caught.value.problems]


def test_a_rule_is_read_with_its_defaults():
    assert parse_policy(policy(RULE)).rules == (
        Rule(
            id="one",
            each=Each.FINDING,
            stages=tuple(Gate),
            when="finding.overdue",
            effect=Effect.BLOCK,
            message="{count} late: {examples}",
            line=3,
        ),
    )


def test_a_rule_is_read_with_everything():
    rule = RULE + "    description: d\n    stages: [run, build]\n    grace_days: 3\n    remedy: r\n"
    found = parse_policy(policy(rule)).rules[0]
    assert (found.description, found.stages, found.grace_days, found.remedy) == ("d", (Gate.BUILD, Gate.RUN), 3, "r")


def test_a_kept_policy_may_loop_deeper_than_a_new_one():
    """What was judged by it must be judged again in the same way, whatever is asked of those who write one today."""
    deep = "image.tags.all(x, image.tags.all(y, image.tags.all(z, x != y || y != z)))"
    text = policy(f"- {{id: a, each: image, when: '{deep}', effect: block, message: m}}")
    with pytest.raises(PolicyError, match="goes through too much"):
        parse_policy(text)
    assert parse_policy(text, is_kept=True).rules[0].when == deep


def test_the_default_policy_is_right_and_asks_at_every_gate():
    default = parse_policy(DEFAULT)
    assert {gate for rule in default.rules for gate in rule.stages} == set(Gate)
    assert all(rule.description for rule in default.rules)


def test_the_documented_example_is_right():
    text = (Path(__file__).parents[2] / "docs" / "policy.md").read_text(encoding="utf-8")
    assert parse_policy(text.split("```yaml\n")[1].split("```")[0]).rules[0].id == "critical-with-fix"


def changed(before: str, after: str) -> str:
    assert before in RULE
    return policy(RULE.replace(before, after))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("finding.overdue", "finding.overdu", "line 5, column 19: rule one: finding has no field 'overdu'"),
        ("finding.overdue", "finding.overdue &&", "line 5, column 29: rule one: found the end; expected a value"),
        ("finding.overdue", "finding.epss > 2", "line 5, column 24: rule one: the condition can never hold"),
        ("finding.overdue", "finding.epss", "line 5, column 19: rule one: a condition must be true or false"),
        ("finding.overdue", "'finding.severity == \"hgih\"'", "line 5, column 32: rule one: 'hgih' never occurs here"),
        (
            "finding.overdue",
            "|\n      true &&\n      finding.x",
            "line 7, column 15: rule one: finding has no field 'x'",
        ),
        ("finding.overdue", ">-\n      true\n\n        && finding.x", "line 8, column 20: rule one: finding has"),
        ("finding.overdue", "true" + " && true" * 250, "line 5, column 11: rule one: the condition has 2,004"),
        ("finding.overdue", "[1]", "line 5, column 11: 'when' of rule 1 is a list of 1; expected a text"),
        ("finding.overdue", "true", "line 5, column 11: 'when' of rule 1 is 'true'; expected a text (in quotes)"),
        ("each: finding", "each: image", "line 5, column 11: rule one: 'finding' is not there in a rule"),
        ("each: finding", "each: findings", "line 4, column 11: 'each' is 'findings' (did you mean 'finding'?)"),
        ("effect: block", "effect: deny", "line 6, column 13: 'effect' is 'deny'; expected one of block, warn"),
        ("    effect: block\n", "", "line 3, column 5: rule 1 needs the key 'effect'"),
        ("id: one", "id: One Rule", "line 3, column 9: 'One Rule' is no rule id"),
        ("id: one", "id: one\n    grace: 3", "line 4, column 5: rule 1 has no key 'grace' (did you mean 'grace_days'"),
        ("id: one", "id: one\n    id: two", "line 4, column 5: the key 'id' stands twice in rule 1"),
        ("id: one", "id: one\n    stages: []", "line 4, column 13: 'stages' of rule 1 is a list of 0; expected"),
        ("id: one", "id: one\n    stages: [bild]", "line 4, column 14: 'stages' is 'bild' (did you mean 'build'?)"),
        ("id: one", "id: one\n    grace_days: 0", "line 4, column 17: 'grace_days' is 0; expected a whole number"),
        ("effect: block", "effect: warn\n    grace_days: 3", "line 7, column 17: rule one: grace turns a block"),
        ("{count}", "{cuont}", "line 7, column 14: rule one: unknown placeholder {cuont} (did you mean 'count'?)"),
        (
            "{count}",
            "{count:03}",
            "rule one: {count} takes no format; write the name in braces, or words that go with it",
        ),
        ("{count}", "{examples:a|b}", "rule one: {examples} takes no format; write the name in braces"),
        ("{count}", "{count!r}", "rule one: {count} takes no format"),
        ("{count}", "{count.__class__}", "unknown placeholder {count.__class__}"),
        ("{count}", "{", "write {{ and }} for braces"),
    ],
)
def test_a_fault_is_told_with_its_place(before, after, expected):
    assert any(f.startswith(expected) or expected in f for f in faults(changed(before, after)))


def test_grace_is_for_findings():
    rule = RULE.replace("each: finding", "each: image").replace("finding.overdue", "image.exposed")
    text = policy(rule.replace("{count} late: {examples}", "x") + "    grace_days: 3\n")
    assert faults(text) == ["line 8, column 17: rule one: grace runs from when a finding was seen; use 'each: finding'"]


def test_all_faults_are_told_at_once_in_the_order_of_the_text():
    text = (
        policy(RULE.replace("overdue", "overdu") + RULE.replace("one", "two").replace("block", "stop")) + "extra: 1\n"
    )
    assert [f.split(":")[0] for f in faults(text)] == ["line 5, column 19", "line 11, column 13", "line 13, column 1"]


@pytest.mark.parametrize(
    ("first", "second", "is_dead"),
    [
        ("effect: block", "effect: block", True),
        ("effect: block", "effect: warn", True),
        ("effect: warn", "effect: block", False),
        ("effect: block\n    grace_days: 9", "effect: block", False),
        ("effect: block", "effect: block\n    grace_days: 9", True),
        ("effect: block\n    grace_days: 9", "effect: warn", True),
        ("effect: block\n    stages: [build, run]", "effect: block\n    stages: [run]", True),
        ("effect: block\n    stages: [build]", "effect: block\n    stages: [build, run]", False),
    ],
)
def test_a_rule_that_adds_nothing_to_an_earlier_one_is_a_fault(first, second, is_dead):
    one = RULE.replace("effect: block", first)
    two = (
        RULE.replace("effect: block", second)
        .replace("id: one", "id: two")
        .replace("finding.overdue", "(finding . overdue)")
    )
    if is_dead:
        assert "rule 'one' has the same condition and does as much" in faults(policy(one + two))[0]
    else:
        assert len(parse_policy(policy(one + two)).rules) == 2


def test_two_rules_of_one_id_are_a_fault():
    assert (
        "the rule of line 3 already has the id 'one'" in faults(policy(RULE + RULE.replace("overdue", "has_epss")))[0]
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "expected a mapping"),
        ("name: x\n", "the policy needs the key 'rules'"),
        ("name: x\nrules: []\n", "expected a list with at least one rule"),
        ("name: x\nrules: [1]\n", "a rule is '1'; expected a mapping"),
        ("name: &a x\nrules: *a\n", "anchors and aliases"),
        ("name: " + "x" * 300_000, "at most 262,144 are taken"),
        (policy(RULE * 201), "at most 200 entries, not 201"),
    ],
)
def test_bounds_and_shape(text, expected):
    assert expected in faults(text)[0]


LINES = DEFAULT.split("\n")
NAMES = [
    "finding",
    "image",
    "severity",
    "kind",
    "&&",
    "==",
    "(",
    '"',
    "'",
    "in",
    "block",
    "stages",
    "[",
    "{",
    "rank",
    "each",
]


@st.composite
def mutations(draw) -> str:
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "twice", "cut", "insert", "name", "indent"])):
            case "drop":
                del lines[at]
            case "twice":
                lines.insert(at, lines[at])
            case "cut":
                lines[at] = lines[at][: draw(st.integers(0, len(lines[at])))]
            case "insert":
                place = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:place] + draw(st.text(max_size=3)) + lines[at][place:]
            case "name":
                lines[at] = lines[at].replace(draw(st.sampled_from(NAMES)), draw(st.sampled_from(NAMES)))
            case _:
                lines[at] = " " * draw(st.integers(0, 8)) + lines[at].lstrip()
    return "\n".join(lines)


@settings(max_examples=150, deadline=None)
@given(mutations())
def test_a_changed_policy_is_read_or_refused_and_never_breaks(text):
    try:
        rules = parse_policy(text).rules
        places = [(rule.line, 1) for rule in rules]
    except PolicyError as e:
        places = [(p.line, p.column) for p in e.problems]
    assert places
    assert all(1 <= line <= text.count("\n") + 2 and column >= 1 for line, column in places)
