from __future__ import annotations

from datetime import UTC, datetime, timedelta

import cel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.policies.conditions import Columns, Condition, Failed, answers, make_context
from secguard.policies.facts import FindingFact
from secguard.policies.vocabulary import FINDING

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def finding(id: int, **changes) -> FindingFact:
    return FindingFact(**{"id": id, "risk": id, "kind": "vulnerability", "first_seen_at": NOW, **changes})


def asked(text: str, *findings: FindingFact) -> list[tuple[int, bool | Failed]]:
    return answers(Condition(text), Columns(findings, NOW), make_context(stage="build", counts={"total": 0}, image={}))


def test_what_holds_is_given_by_its_place():
    assert asked("finding.severity == 'high'", finding(1), finding(2, severity="high")) == [(1, True)]
    assert asked("stage == 'build'", finding(1), finding(2)) == [(0, True), (1, True)]
    assert asked("true") == []


def test_a_chain_is_asked_part_by_part():
    assert len(Condition("finding.overdue && finding.epss > 0.5 && finding.has_epss").parts) == 3
    assert len(Condition("finding.overdue && (finding.epss > 0.5 && finding.has_epss)").parts) == 2
    assert len(Condition("(finding.overdue && finding.has_epss) && finding.epss > 0.5").parts) == 1
    assert len(Condition("finding.overdue || finding.has_epss && finding.has_cvss").parts) == 1
    assert len(Condition("finding.name == 'a && b' && finding.overdue // && x").parts) == 2


def test_a_failure_is_neither_true_nor_false():
    found = asked("1 / (finding.age_days - 0) > 0", finding(1), finding(2, first_seen_at=NOW - DAY))
    assert [(i, type(a)) for i, a in found] == [(0, Failed), (1, bool)]
    assert "division by zero" in str(found[0][1])


def test_a_part_that_is_false_decides_whatever_the_others_say():
    broken = "1 / finding.age_days > 0"
    assert asked(f"finding.overdue && {broken}", finding(1)) == []
    assert asked(f"{broken} && finding.overdue", finding(1)) == []
    both = asked(f"{broken} && finding.kind == 'vulnerability'", finding(1))
    assert isinstance(both[0][1], Failed)


def test_equal_rows_are_asked_once(monkeypatch):
    condition = Condition("finding.severity == 'high'")
    count = 0
    answer = condition.parts[0].answer

    def counting(context: cel.Context):
        nonlocal count
        count += 1
        return answer(context)

    monkeypatch.setattr(condition.parts[0], "answer", counting)
    findings = [finding(i, severity="high" if i % 2 else "low", name=str(i)) for i in range(100)]
    assert len(answers(condition, Columns(findings, NOW), make_context())) == 50
    assert count == 2


@pytest.mark.parametrize(
    ("text", "age", "expected"),
    [
        ("finding.age_days >= 3", timedelta(days=2, hours=1), 3 * DAY),
        ("finding.age_days > 3", timedelta(days=2, hours=1), 3 * DAY),  # one look too many, at most a day early
        ("finding.age_days > 3", timedelta(days=3, hours=1), 4 * DAY),
        ("finding.age_days >= 3", timedelta(days=1), None),
        ("finding.age_days >= 3", timedelta(days=9), None),
        ("finding.age_days + 1 >= 3", timedelta(days=9, hours=1), 10 * DAY),
        ("finding.age_days >= 3", timedelta(days=-5), None),
    ],
)
def test_when_an_age_can_change_the_answer(text, age, expected):
    seen = NOW - age
    found = Condition(text).changes("finding", "age_days", seen, NOW)
    assert found == (None if expected is None else seen + expected)


def test_a_deadline_turns_once():
    condition = Condition("finding.overdue")
    assert condition.changes("finding", "overdue", NOW + DAY, NOW) == NOW + DAY
    assert condition.changes("finding", "overdue", NOW, NOW) is None


parts = st.sampled_from(
    [
        "finding.overdue",
        "finding.severity == 'high'",
        "finding.epss > 0.5",
        "1 / finding.age_days > 0",
        "finding.fix_available",
        "true",
    ]
)
findings = st.builds(
    finding,
    id=st.integers(1, 9),
    severity=st.sampled_from(["high", "low"]),
    epss=st.none() | st.sampled_from([0.1, 0.9]),
    fix_available=st.booleans(),
    due_at=st.sampled_from([None, NOW, NOW + DAY]),
    first_seen_at=st.sampled_from([NOW, NOW - DAY]),
)


@given(st.lists(parts, min_size=1, max_size=4), st.lists(findings, max_size=6))
def test_part_by_part_gives_what_the_engine_gives_for_the_whole(chosen, facts):
    text = " && ".join(chosen)
    program = cel.compile(text)
    expected = []
    for index, fact in enumerate(facts):
        values = {name: word.read(fact, NOW) for name, word in FINDING.items()}
        try:
            value = program.execute({"finding": values})
        except ZeroDivisionError:
            value = None
        if value is not False:
            expected.append((index, value))
    found = [(i, None if isinstance(a, Failed) else a) for i, a in asked(text, *facts)]
    assert found == expected
