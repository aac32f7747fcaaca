from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secguard.accounts.roles import Role
from secguard.decisions import appetite as module
from secguard.decisions.appetite import AppetiteError, Case, check_end, every_case, parse_appetite
from secguard.decisions.lifecycle import DecisionKind
from secguard.decisions.scope import ScopeKind
from secguard.errors import Invalid
from secguard.findings.identity import FindingKind
from secguard.findings.severity import Severity

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DEFAULT = (Path(module.__file__).parent / "appetite.yaml").read_text(encoding="utf-8")
REST = "  - {name: rest, approvers: {security-reviewer: 1}, max_days: 30}\n"


def rows(text: str) -> str:
    return f"name: mine\nrows:\n{text}"


def faults(text: str) -> list[str]:
    with pytest.raises(AppetiteError) as caught:
        parse_appetite(text)
    assert caught.value.extra["errors"] == [
        {"line": p.line, "column": p.column, "message": p.message} for p in caught.value.problems
    ]
    return [str(p) for p in caught.value.problems]


def test_the_default_lets_one_reviewer_decide_all_but_exploited_criticals():
    default = parse_appetite(DEFAULT)
    for case in every_case():
        needed = default.requirement(case, DecisionKind.ACCEPT).approvers
        if case.severity is Severity.CRITICAL and case.known_exploited:
            assert needed == {Role.SECURITY_REVIEWER: 1, Role.BUSINESS_APPROVER: 1}
        else:
            assert needed == {Role.SECURITY_REVIEWER: 1}


def test_the_default_never_gives_the_worse_more_time():
    default = parse_appetite(DEFAULT)
    scale = (Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL)
    for milder, worse in pairwise(scale):
        for exploited in (False, True):
            one = default.row_for(Case(severity=milder, known_exploited=exploited))
            other = default.row_for(Case(severity=worse, known_exploited=exploited))
            assert other.max_days <= one.max_days
            assert (other.fix_within_days or 9999) <= (one.fix_within_days or 9999)


def test_a_deadline_counts_from_when_it_was_first_seen():
    default = parse_appetite(DEFAULT)
    exploited = Case(severity=Severity.CRITICAL, known_exploited=True, scope=ScopeKind.ORGANISATION)
    assert default.due(exploited, NOW) == NOW + timedelta(days=7)
    assert default.due(Case(severity=Severity.LOW, kind=FindingKind.HYGIENE), NOW) is None


def test_not_affected_may_stand_longer():
    default = parse_appetite(DEFAULT)
    case = Case(severity=Severity.CRITICAL)
    assert default.requirement(case, DecisionKind.NOT_AFFECTED).max_days == 365
    assert default.requirement(case, DecisionKind.ACCEPT).max_days == 60


def test_an_end_is_held_against_the_limit():
    need = parse_appetite(rows(REST)).requirement(Case(severity=Severity.LOW), DecisionKind.ACCEPT)
    check_end(need, NOW, NOW + timedelta(days=30))
    with pytest.raises(Invalid, match="allows 30 days, until 2026-12-24"):
        check_end(need, NOW, NOW + timedelta(days=30, seconds=1))
    with pytest.raises(Invalid, match="not after now"):
        check_end(need, NOW, NOW)


def test_the_first_row_that_fits_holds():
    text = rows(
        "  - {name: a, when: {severity: [high], kind: [secret]}, approvers: {business-approver: 2}, max_days: 1}\n"
        + REST
    )
    found = parse_appetite(text)
    assert found.row_for(Case(severity=Severity.HIGH, kind=FindingKind.SECRET)).name == "a"
    assert found.row_for(Case(severity=Severity.HIGH)).name == "rest"


def test_a_scope_can_need_more_people_but_moves_no_deadline():
    wide = "  - {name: wide, when: {scope: [organisation]}, approvers: {business-approver: 1}, max_days: 9%s}\n"
    found = parse_appetite(rows(wide % "" + REST))
    assert found.requirement(Case(severity=Severity.LOW, scope=ScopeKind.ORGANISATION), DecisionKind.FIX).row == "wide"
    assert found.row_for(Case(severity=Severity.LOW)).name == "rest"
    assert "cannot depend on a decision's scope" in faults(rows(wide % ", fix_within_days: 3" + REST))[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  - {name: a, when: {severity: [hgih]}, OK}\n" + REST,
         "line 3, column 33: 'severity' is 'hgih' (did you mean 'high'?)"),
        ("  - {name: a, approvers: {viewer: 1}, max_days: 1}\n", "line 3, column 27: 'viewer' may not approve"),
        ("  - {name: a, approvers: {}, max_days: 1}\n", "line 3, column 26: it names nobody"),
        ("  - {name: a, approvers: {security-reviewer: 0}, max_days: 1}\n",
         "line 3, column 46: 'security-reviewer' is 0; expected a whole number from 1 to 5"),
        ("  - {name: a, approvers: {security-reviewer: 1}, max_days: 9999}\n", "whole number from 1 to 3,650"),
        ("  - {name: a, approvers: {security-reviewer: 1}}\n", "line 3, column 5: row 1 needs the key 'max_days'"),
        ("  - {name: a, aprovers: {security-reviewer: 1}, max_days: 1}\n", "did you mean 'approvers'?"),
        (REST + "  - {name: b, OK}\n",
         "line 4, column 12: the row 'b' can never be reached: row 'rest' took every case"),
        (REST.replace("rest", "a") + REST.replace("rest", "a"), "row 1 already has the name 'a'"),
        ("  - {name: a, when: {exposed: true}, OK}\n", "no row covers every case"),
        ("  - {name: a, when: {exposed: 1}, OK}\n", "expected true or false"),
        ("  - {name: a, not_affected_max_days: 0, OK}\n", "whole number from 1 to 3,650"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_place(text, expected):
    assert any(
        expected in fault
        for fault in faults(rows(text.replace("OK}", "approvers: {security-reviewer: 1}, max_days: 1}")))
    )


def test_the_documented_example_is_right():
    text = (Path(__file__).parents[2] / "docs" / "risk-appetite.md").read_text(encoding="utf-8")
    assert len(parse_appetite(text.split("```yaml\n")[1].split("```")[0]).rows) == 2


def test_a_longer_limit_must_be_longer():
    text = "  - {name: a, approvers: {security-reviewer: 1}, max_days: 9, not_affected_max_days: 3}\n"
    assert "shorter than max_days (9)" in faults(rows(text))[0]


def test_two_rows_together_can_make_a_third_unreachable():
    halves = (
        "".join(
            f"  - {{name: {n}, when: {{exposed: {n}}}, approvers: {{security-reviewer: 1}}, max_days: 9}}\n"
            for n in ("true", "false")
        )
        .replace("name: true", "name: yes-row")
        .replace("name: false", "name: no-row")
    )
    assert "rows 'yes-row', 'no-row' took every case" in faults(rows(halves + REST))[0]


@settings(deadline=None)
@given(st.data())
def test_a_changed_default_is_read_or_refused_and_never_breaks(data):
    at = data.draw(st.integers(0, len(DEFAULT)))
    text = DEFAULT[:at] + data.draw(st.text(max_size=5)) + DEFAULT[at + data.draw(st.integers(0, 20)) :]
    try:
        found = parse_appetite(text)
    except AppetiteError as e:
        places = [(p.line, p.column) for p in e.problems]
    else:
        places = [(1, 1)]
        assert all(found.row_for(case).approvers for case in every_case())
    assert places
    assert min(places) >= (1, 1)
