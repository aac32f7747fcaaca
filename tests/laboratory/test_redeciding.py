"""Decisions asked for anew under the draft of a risk appetite: by pure rules, and over real rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.accounts.roles import Role
from secguard.decisions.appetite import Case, parse_appetite
from secguard.decisions.lifecycle import DecisionKind
from secguard.findings.severity import Severity
from secguard.laboratory.redeciding import Asked, Ends, Needs, again, compared
from tests.decisions.conftest import estate, image, repository, risk  # noqa: F401 - fixtures
from tests.laboratory.test_simulations import document, tried  # noqa: F401 - a fixture

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
REVIEWER, BUSINESS = Role.SECURITY_REVIEWER, Role.BUSINESS_APPROVER
DAY = timedelta(days=1)


def appetite(days: int, approvers: str = "security-reviewer: 1") -> Any:
    return parse_appetite(f"name: a\nrows:\n  - {{name: all, approvers: {{{approvers}}}, max_days: {days}}}\n")


def asked(*, days: int = 30, ago: int = 10, is_in_force: bool = True, approvals: Any = ({REVIEWER},)) -> Asked:
    at = NOW - ago * DAY
    votes = tuple(frozenset(roles) for roles in approvals)
    return Asked(DecisionKind.ACCEPT, Case(severity=Severity.HIGH), at, at + days * DAY, is_in_force, votes)


@pytest.mark.parametrize(
    ("was", "would", "needs"),
    [
        ({REVIEWER: 1}, {REVIEWER: 1}, Needs.SAME),
        ({REVIEWER: 1}, {REVIEWER: 2}, Needs.MORE),
        ({REVIEWER: 1, BUSINESS: 1}, {REVIEWER: 1}, Needs.FEWER),
        ({REVIEWER: 1}, {BUSINESS: 1}, Needs.OTHER),
    ],
)
def test_how_approvals_compare(was: dict[Role, int], would: dict[Role, int], needs: Needs) -> None:
    assert compared(was, would) is needs


def test_the_same_appetite_moves_nothing() -> None:
    assert again(asked(), appetite(60), appetite(60), NOW) is None
    # It may have been agreed for longer than the appetite of then; only what the draft changes is told.
    assert again(asked(days=90), appetite(60), appetite(60), NOW) is None


@pytest.mark.parametrize(
    ("days", "is_in_force", "ends"),
    [(20, True, Ends.SOONER), (5, True, Ends.OVER), (20, False, Ends.REFUSED), (30, True, None), (90, True, None)],
)
def test_what_becomes_of_its_end(days: int, is_in_force: bool, ends: Ends | None) -> None:
    found = again(asked(is_in_force=is_in_force), appetite(60), appetite(days), NOW)
    assert (found and found.ends) == ends


def test_votes_may_not_be_enough() -> None:
    two = "security-reviewer: 1, business-approver: 1"
    short = again(asked(), appetite(60), appetite(60, two), NOW)
    assert short
    assert (short.needs, short.is_short) == (Needs.MORE, True)
    enough = again(asked(approvals=[{REVIEWER}, {BUSINESS, REVIEWER}]), appetite(60), appetite(60, two), NOW)
    assert enough
    assert (enough.needs, enough.is_short) == (Needs.MORE, False)
    waiting = again(asked(is_in_force=False), appetite(60), appetite(60, two), NOW)
    assert waiting
    assert not waiting.is_short


@given(st.integers(1, 100), st.integers(1, 100), st.integers(1, 90), st.integers(0, 60), st.booleans())
def test_a_draft_that_allows_no_less_ends_nothing_sooner(
    before: int, draft: int, days: int, ago: int, is_in_force: bool
) -> None:
    found = again(asked(days=days, ago=ago, is_in_force=is_in_force), appetite(before), appetite(draft), NOW)
    if draft >= before:
        assert found is None
    elif found is not None:
        assert found.after.latest_end(NOW - ago * DAY) < NOW - ago * DAY + days * DAY


# --- over real rows ---


@pytest.fixture
def decisions(
    estate: Any,  # noqa: F811
    repository: Any,  # noqa: F811
    other_repository: Any,
    developer: Any,
    stranger: Any,
    reviewer: Any,
) -> dict[str, Any]:
    """One in force and one that waits, and one of another team that waits."""
    from django.utils import timezone

    from secguard.decisions import queries, services

    risks = [estate.risk(severity=4) for _ in range(2)]
    estate.image(repository, risks)
    estate.image(other_repository, risks)
    now = timezone.now()

    def ask(who: Any, number: int, place: Any) -> Any:
        scope = queries.find_scope(who, "repository", place.name)
        ask = services.Ask(risks[number].pk, "accept", scope, "It is not reachable.", now + 60 * DAY)
        return services.request_decision(ask, actor=who)

    found = {"in force": ask(developer, 0, repository), "waits": ask(developer, 1, repository)}
    services.approve(found["in force"].pk, actor=reviewer, comment="seen")
    return found | {"theirs": ask(stranger, 1, other_repository)}


@pytest.fixture
def other_repository(estate: Any, other_application: Any) -> Any:  # noqa: F811
    return estate.repository("other/web", other_application)


STRICT = """\
name: strict
rows:
  - name: all
    approvers: {security-reviewer: 1, business-approver: 1}
    max_days: 30
    fix_within_days: 90
"""


@pytest.mark.django_db
def test_a_draft_shows_which_decisions_it_would_move(decisions: dict[str, Any], reviewer: Any, tried: Any) -> None:  # noqa: F811
    found = tried(reviewer, appetite=STRICT, since=None)
    assert found["totals"]["decisions"] == 3
    assert found["decisions"] == {
        "needs": {"more": 3, "fewer": 0, "other": 0},
        "ends": {"refused": 2, "sooner": 1, "over": 0},
        "short": 1,
        "teams": [{"team": "Payments", "decisions": 2}, {"team": "Logistics", "decisions": 1}],
    }
    rows = reviewer.api.get(f"/api/v1/simulations/{found['id']}/decisions/?is_short=true").json()["results"]
    assert [row["decision"] for row in rows] == [decisions["in force"].pk]
    assert rows[0]["row_was"] == "high"
    assert rows[0]["row_would"] == "all"
    assert rows[0]["approvers_would"] == {"security-reviewer": 1, "business-approver": 1}
    page = reviewer.client.get(f"/policy/simulations/{found['id']}/").content.decode()
    assert "In force, with votes that would not be enough" in page
    listed = reviewer.client.get(f"/policy/simulations/{found['id']}/decisions/?ends=refused").content.decode()
    assert listed.count("it waits with an end too late") == 2


@pytest.mark.django_db
def test_each_sees_their_own_decisions_in_it(
    decisions: dict[str, Any],
    reviewer: Any,
    developer: Any,
    stranger: Any,
    tried: Any,  # noqa: F811
) -> None:
    found = tried(reviewer, appetite=STRICT, since=None)
    assert document(developer, found["id"])["decisions"]["needs"]["more"] == 2
    assert document(stranger, found["id"])["decisions"]["teams"] == [{"team": "Logistics", "decisions": 1}]
    rows = stranger.api.get(f"/api/v1/simulations/{found['id']}/decisions/").json()["results"]
    assert [row["decision"] for row in rows] == [decisions["theirs"].pk]
    own = tried(developer, appetite=STRICT, since=None)
    assert own["totals"]["decisions"] == 2
    assert stranger.api.get(f"/api/v1/simulations/{own['id']}/decisions/").status_code == 404


@pytest.mark.django_db
def test_the_draft_of_a_policy_moves_no_decision(decisions: dict[str, Any], reviewer: Any, tried: Any) -> None:  # noqa: F811
    from secguard.policies.services import active_version

    assert tried(reviewer, source=active_version().source, since=None)["decisions"] is None
