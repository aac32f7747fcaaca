"""A draft beside what is in force, by pure rules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.decisions.appetite import parse_appetite
from secguard.laboratory.comparing import Deadlines, Judged, Reason, Trial, is_named, judge, why, with_deadlines
from secguard.laboratory.lifecycle import Change, change_of
from secguard.policies.facts import Facts, FindingFact, Gate, ImageFact
from secguard.policies.language import parse_policy

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
VERDICTS = ("pass", "warn", "block")


def policy(effect: str = "block", stages: str = "[build]", more: str = "") -> str:
    return f"""\
name: draft
rules:
  - id: severe
    each: finding
    stages: {stages}
    when: finding.severity == "critical"
    effect: {effect}
    message: "{{count}} in {{reference}}"
{more}"""


def appetite(days: int | None) -> str:
    within = f"\n    fix_within_days: {days}" if days else ""
    return f"""\
name: ours
rows:
  - name: critical
    when: {{severity: critical}}
    approvers: {{security-reviewer: 1}}
    max_days: 30{within}
  - name: rest
    when: {{}}
    approvers: {{security-reviewer: 1}}
    max_days: 90
    fix_within_days: 90
"""


def facts(*severities: str, due: datetime | None = None) -> Facts:
    findings = tuple(
        FindingFact(id=n, risk=n, kind="vulnerability", severity=s, first_seen_at=NOW - timedelta(days=20), due_at=due)
        for n, s in enumerate(severities)
    )
    return Facts(stage=Gate.BUILD, image=ImageFact(digest="sha256:1", reference="reg.example/a:1"), findings=findings)


@given(st.sampled_from(VERDICTS), st.sampled_from(VERDICTS))
def test_a_change_is_told_of_every_two_answers_that_differ_and_of_no_others(was: str, would: str) -> None:
    found = change_of(was, would)
    assert (found is None) == (was == would)
    assert (found is Change.BLOCKED) == (would == "block" and was != "block")
    assert (found is Change.UNBLOCKED) == (was == "block" and would != "block")


def test_the_reasons_are_those_of_the_worse_answer() -> None:
    blocked = Judged("block", (Reason("a", "block", "It is bad.", 2), Reason("b", "warn", "Hm.", 1)))
    for was, would in ((blocked, Judged("pass", ())), (Judged("pass", ()), blocked)):
        assert [reason["rule"] for reason in why(was, would, named=True)] == ["a"]
    assert why(blocked, Judged("pass", ()), named=False)[0]["message"] == "Rule a blocks."


def test_only_gates_with_other_rules_are_asked() -> None:
    in_force = parse_policy(policy(stages="[build, promote]"))
    same = parse_policy("# moved\n\n" + policy(stages="[promote, build]"))
    other = parse_policy(policy("warn", stages="[build, promote]"))
    assert Trial(in_force, same, None).gates == ()
    assert Trial(in_force, other, None).gates == (Gate.BUILD, Gate.PROMOTE)
    assert Trial(in_force, parse_policy(policy()), None).gates == (Gate.PROMOTE,)


def test_both_judge_the_same_facts() -> None:
    trial = Trial(parse_policy(policy("warn")), parse_policy(policy()), None)
    was, would = trial.now(facts("critical", "low"), Gate.BUILD, NOW)
    assert (was.verdict, would.verdict) == ("warn", "block")
    assert would.reasons[0].message == "1 in reg.example/a:1"


def test_a_shorter_deadline_makes_overdue_what_was_not() -> None:
    overdue = parse_policy(policy().replace('finding.severity == "critical"', "finding.overdue"))
    deadlines = Deadlines(parse_appetite(appetite(30)), parse_appetite(appetite(14)))
    trial = Trial(overdue, overdue, deadlines)
    # Seen 20 days ago; the deadline in force was counted from there.
    was, would = trial.now(facts("critical", due=NOW + timedelta(days=10)), Gate.BUILD, NOW)
    assert (was.verdict, would.verdict) == ("pass", "block")


def test_a_deadline_is_moved_from_where_it_was_counted_from() -> None:
    deadlines = Deadlines(parse_appetite(appetite(30)), parse_appetite(appetite(14)))
    due = NOW + timedelta(days=3)  # of a repository that got it 27 days ago
    (finding,) = with_deadlines(facts("critical", due=due), deadlines).findings
    assert finding.due_at == due - timedelta(days=16)
    none = with_deadlines(facts("critical", due=due), Deadlines(deadlines.before, parse_appetite(appetite(None))))
    assert none.findings[0].due_at is None


@given(st.lists(st.sampled_from(["critical", "high", "low", "unknown"]), max_size=6), st.integers(-40, 40))
def test_an_appetite_that_changes_nothing_moves_nothing(severities: list[str], days: int) -> None:
    given_facts = facts(*severities, due=NOW + timedelta(days=days))
    same = Deadlines(parse_appetite(appetite(30)), parse_appetite(appetite(30).replace("ours", "theirs")))
    assert with_deadlines(given_facts, same) == given_facts
    shorter = with_deadlines(given_facts, Deadlines(same.before, parse_appetite(appetite(7))))
    pairs = zip(shorter.findings, given_facts.findings, strict=True)
    assert all(f.due_at == g.due_at for f, g in pairs if f.severity != "critical")


@pytest.mark.parametrize(
    ("reference", "places", "told"),
    [
        ("", [("reg.example/a", 1), ("reg.example/b", 2)], True),
        ("reg.example/a:1", [("reg.example/a", 1)], True),
        ("reg.example/a", [("reg.example/a", 1), ("reg.example/b", 1)], True),
        ("reg.example/a:1", [("reg.example/a", 1), ("reg.example/b", 2)], False),
        ("reg.example/a:1", [("reg.example/b", 2)], False),
        ("reg.example:5000/a:1", [("reg.example:5000/a", None)], True),
    ],
)
def test_a_place_is_named_only_where_all_who_read_may_see_it(
    reference: str, places: list[tuple[str, int | None]], told: bool
) -> None:
    assert is_named(reference, places) is told


def test_judging_is_what_a_gate_does() -> None:
    found = judge(parse_policy(policy()), msgspec.structs.replace(facts("critical"), stage=Gate.PROMOTE), NOW)
    assert found == Judged("pass", ())


CISA = """\
ssvc:
  table: cisa
  impact: medium
  fix_within_days: {act: 3, attend: 14, "track*": 60, track: none}
"""
TOTAL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


@pytest.mark.parametrize(("flaws", "days"), [({}, 60), ({0: (TOTAL, False)}, None), ({0: (TOTAL, True)}, 60)])
def test_a_draft_with_an_ssvc_table_counts_by_what_is_known_of_the_flaw(
    flaws: dict[int, tuple[str, bool]], days: int | None
) -> None:
    before, after = parse_appetite(appetite(30)), parse_appetite(appetite(30) + CISA)
    stored = facts("critical", due=NOW)
    known = msgspec.structs.replace(stored.findings[0], epss=0.01 if flaws else None)
    stored = msgspec.structs.replace(stored, findings=(known,))
    deadlines = Deadlines(before, after, flaws)
    assert deadlines.ask_for_flaws
    assert not Deadlines(before, before).ask_for_flaws
    found = with_deadlines(stored, deadlines).findings[0].due_at
    assert found == (None if days is None else NOW - timedelta(days=30) + timedelta(days=days))
