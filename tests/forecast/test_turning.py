"""When a gate will turn, asked of the policy's own evaluation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.forecast.turning import Turn, turns
from secguard.policies.evaluation import PolicyRef, evaluate
from secguard.policies.facts import DecisionFact, Facts, FindingFact, Gate, ImageFact, ScanFact
from secguard.policies.language import parse_policy

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
REF = PolicyRef(name="p", version=1)
UNTIL = NOW + timedelta(days=14)
POLICY = parse_policy("""
name: p
rules:
  - id: critical
    each: finding
    when: finding.severity == "critical"
    effect: block
    stages: [build, admit]
    message: "{count} critical."
  - id: high
    each: finding
    when: finding.severity == "high"
    effect: block
    stages: [build]
    grace_days: 30
    message: "{count} high."
  - id: old-data
    each: image
    when: image.scan_age_days > 7.0
    effect: block
    message: "Not scanned for a week."
""")


def finding(pk: int, severity: str = "critical", end: datetime | None = None, **more: Any) -> FindingFact:
    decision = (
        DecisionFact(id=pk * 10, kind="accept", starts_at=NOW - timedelta(days=1), expires_at=end) if end else None
    )
    values = {"first_seen_at": NOW - timedelta(days=1), "vulnerability": f"CVE-2026-{pk}"} | more
    return FindingFact(id=pk, risk=pk, kind="vulnerability", severity=severity, decision=decision, **values)


def facts(*findings: FindingFact, scanned: datetime = NOW) -> Facts:
    scan = ScanFact(id=1, scanner="trivy", finished_at=scanned, covers=("vulnerability",), database_updated_at=scanned)
    return Facts(stage=Gate.BUILD, image=ImageFact(digest="sha256:1"), findings=findings, scans=(scan,))


def foreseen(now: Facts, reread: Callable[[datetime], Facts] | None = None) -> list[Turn]:
    return turns(POLICY, REF, now, Gate, now=NOW, until=UNTIL, reread=reread or (lambda at: now))


def test_a_gate_turns_when_its_decision_ends() -> None:
    end = NOW + timedelta(days=3, hours=5)
    found = foreseen(facts(finding(1, end=end), finding(2, end=NOW + timedelta(days=40))))
    assert [(turn.stage, turn.at) for turn in found] == [(Gate.BUILD, end), (Gate.ADMIT, end)]
    assert found[0].rules == (("critical", "1 critical."),)
    assert (found[0].decisions, found[0].flaws) == ((10,), ("CVE-2026-1",))


def test_the_first_of_several_ends_is_told() -> None:
    ends = [NOW + timedelta(days=days) for days in (9, 2, 5)]
    found = foreseen(facts(*(finding(n, end=end) for n, end in enumerate(ends, 1))))
    assert {turn.at for turn in found} == {ends[1]}
    assert found[0].decisions == (20,)


def test_what_blocks_already_and_what_ends_later_are_no_forecast() -> None:
    assert foreseen(facts(finding(1))) == []
    assert foreseen(facts(finding(1, end=UNTIL))) == []
    assert foreseen(facts(finding(1, "low", end=NOW + timedelta(days=1)))) == []


def test_a_grace_that_runs_out_is_foreseen_without_a_decision() -> None:
    seen = NOW - timedelta(days=26)
    (turn,) = foreseen(facts(finding(1, "high", first_seen_at=seen)))
    assert (turn.stage, turn.at, turn.decisions) == (Gate.BUILD, seen + timedelta(days=30), ())


def test_a_wider_decision_that_takes_over_keeps_the_gate_open() -> None:
    end = NOW + timedelta(days=3)
    wider = finding(1, end=NOW + timedelta(days=60))
    asked: list[datetime] = []

    def reread(at: datetime) -> Facts:
        asked.append(at)
        return facts(wider)

    assert foreseen(facts(finding(1, end=end)), reread) == []
    assert asked
    assert all(end <= at < UNTIL for at in asked)


def test_a_wider_decision_that_ends_too_is_followed_to_its_own_end() -> None:
    narrow, wide = NOW + timedelta(days=3), NOW + timedelta(days=8)

    def reread(at: datetime) -> Facts:
        return facts(finding(1, end=wide) if at < wide else finding(1))

    found = foreseen(facts(finding(1, end=narrow)), reread)
    assert {(turn.at, turn.decisions) for turn in found} == {(wide, (10,))}


def test_scans_are_taken_to_go_on() -> None:
    assert foreseen(facts(finding(1, "low"), scanned=NOW - timedelta(days=6))) == []


@given(st.lists(st.tuples(st.integers(1, 20 * 24), st.sampled_from(["critical", "low"])), max_size=6))
def test_just_before_a_turn_the_gate_passes_and_at_it_the_gate_blocks(ends: list[tuple[int, str]]) -> None:
    stand = facts(*(finding(n, word, end=NOW + timedelta(hours=h)) for n, (h, word) in enumerate(ends, 1)))
    found = {turn.stage: turn.at for turn in foreseen(stand)}
    first = min((NOW + timedelta(hours=h) for h, word in ends if word == "critical"), default=UNTIL)
    assert found == ({Gate.BUILD: first, Gate.ADMIT: first} if first < UNTIL else {})
    for gate, at in found.items():
        for moment, word in ((at - timedelta(seconds=1), "pass"), (at, "block")):
            scans = tuple(
                msgspec.structs.replace(s, finished_at=moment, database_updated_at=moment) for s in stand.scans
            )
            asked = msgspec.structs.replace(stand, stage=gate, scans=scans)
            assert evaluate(POLICY, asked, moment, policy_ref=REF).verdict == word


@pytest.mark.parametrize("days", [1, 13])
def test_what_ends_soon_or_late_is_found(days: int) -> None:
    end = NOW + timedelta(days=days, minutes=1)
    assert {turn.at for turn in foreseen(facts(finding(1, end=end)))} == {end}
