"""Decisions asked for anew under the draft of a risk appetite: by pure rules, and over real rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.accounts.roles import Role
from secguard.approvals.quorum import Choice, Standing, VoteFact
from secguard.decisions.appetite import Case, parse_appetite
from secguard.decisions.lifecycle import DecisionKind
from secguard.findings.severity import Severity
from secguard.laboratory.redeciding import Again, Asked, Ends, Needs, Part, Reach, Votes, again, compared, standing
from tests.decisions.conftest import estate, image, repository, risk  # noqa: F401 - fixtures
from tests.laboratory.test_simulations import document, tried  # noqa: F401 - a fixture

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
REVIEWER, BUSINESS = Role.SECURITY_REVIEWER, Role.BUSINESS_APPROVER
DAY = timedelta(days=1)


def appetite(days: int, approvers: str = "security-reviewer: 1") -> Any:
    return parse_appetite(f"name: a\nrows:\n  - {{name: all, approvers: {{{approvers}}}, max_days: {days}}}\n")


PLENTY = {n: frozenset({REVIEWER, BUSINESS}) for n in range(100, 120)}
"""Who could vote besides."""


def approval(voter: int, then: Any, now: Any = None) -> VoteFact:
    held = frozenset(then if now is None else now)
    return VoteFact(voter=voter, choice=Choice.APPROVE, roles_then=frozenset(then), roles_now=held)


def asked(
    *,
    days: int = 30,
    ago: int = 10,
    is_in_force: bool = True,
    approvals: Any = ({REVIEWER},),
    parts: tuple[Part, ...] | None = None,
) -> Asked:
    at = NOW - ago * DAY
    votes = [approval(n, roles) for n, roles in enumerate(approvals, 1)]
    told = (Part(votes, PLENTY, PLENTY),) if parts is None else parts
    return Asked(DecisionKind.ACCEPT, Case(severity=Severity.HIGH), at, at + days * DAY, is_in_force, 999, told)


def moved(asked: Asked, approvers: str) -> Again:
    found = again(asked, appetite(60), appetite(60, approvers), NOW)
    assert found is not None
    return found


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


BOTH = "security-reviewer: 1, business-approver: 1"


def test_who_approved_may_have_lost_the_role() -> None:
    votes = [approval(1, {REVIEWER}, ()), approval(2, {BUSINESS})]
    found = moved(asked(parts=(Part(votes, PLENTY, PLENTY),)), BOTH)
    assert (found.votes, found.is_short, found.missing) == (Votes.LOST, False, {REVIEWER: 1})
    # In force by one vote: that it was lost since is nothing that the draft brings about by asking for another role.
    assert moved(asked(parts=(Part(votes[:1], PLENTY, PLENTY),)), BOTH).votes is Votes.SHORT


def test_what_waits_may_have_enough() -> None:
    votes = [approval(1, {REVIEWER})]
    waits = asked(is_in_force=False, parts=(Part(votes, PLENTY, PLENTY),))
    assert again(waits, appetite(60, BOTH), appetite(60), NOW).votes is Votes.ENOUGH  # type: ignore[union-attr]
    lost = asked(is_in_force=False, parts=(Part([approval(1, {REVIEWER}, ())], PLENTY, PLENTY),))
    assert again(lost, appetite(60, BOTH), appetite(60), NOW).votes is Votes.SAME  # type: ignore[union-attr]


def test_each_team_has_its_part() -> None:
    votes = [approval(1, {REVIEWER}), approval(2, {BUSINESS})]
    whole, half = Part(votes, PLENTY, PLENTY), Part(votes[:1], PLENTY, PLENTY)
    found = moved(asked(parts=(whole, half)), BOTH)
    assert (found.votes, found.missing, found.open_parts) == (Votes.SHORT, {BUSINESS: 1}, 1)
    assert moved(asked(parts=(whole, whole)), BOTH).votes is Votes.SAME


@pytest.mark.parametrize(
    ("able", "everybody", "reach"),
    [
        ({}, {}, Reach.NOBODY),
        ({7: {REVIEWER}}, {7: {REVIEWER}}, Reach.NOBODY),
        ({}, {7: {BUSINESS}}, Reach.AWAY),
        ({7: {BUSINESS}}, {7: {BUSINESS}}, Reach.SOMEBODY),
        # Who voted already fills one seat, whatever else they hold.
        ({1: {BUSINESS}}, {1: {BUSINESS}}, Reach.NOBODY),
    ],
)
def test_whether_anybody_could_approve(able: Any, everybody: Any, reach: Reach) -> None:
    part = Part([approval(1, {REVIEWER})], able, everybody)
    assert moved(asked(is_in_force=False, parts=(part,)), BOTH).reach is reach
    fine = Part([approval(1, {REVIEWER})], PLENTY, PLENTY)
    worst = moved(asked(is_in_force=False, parts=(fine, part)), BOTH).reach
    assert worst is reach


ROLES = st.frozensets(st.sampled_from([REVIEWER, BUSINESS]))
VOTES = st.lists(
    st.builds(
        VoteFact,
        voter=st.integers(1, 4),
        choice=st.sampled_from(Choice),
        roles_then=ROLES,
        roles_now=ROLES,
        needs_second=st.booleans(),
    ),
    max_size=5,
)


@given(st.lists(VOTES, min_size=1, max_size=3), st.integers(1, 2), st.integers(0, 2), st.integers(0, 2))
def test_what_stands_by_the_roles_of_today_stood_as_it_was_cast(
    parts: list[list[VoteFact]], reviewers: int, business: int, more: int
) -> None:
    """Without a rejection: votes that still count counted then, and a draft that asks for more is never met sooner."""
    kept = [[v for v in votes if v.choice is Choice.APPROVE and not v.needs_second] for votes in parts]
    one = asked(parts=tuple(Part(votes) for votes in kept))
    least, most = {REVIEWER: reviewers, BUSINESS: business}, {REVIEWER: reviewers + more, BUSINESS: business}
    today = standing(one, least).standing
    if today is Standing.APPROVED and all(v.roles_now <= v.roles_then for votes in kept for v in votes):
        assert standing(one, least, as_cast=True).standing is Standing.APPROVED
    if standing(one, most).standing is Standing.APPROVED:
        assert today is Standing.APPROVED


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
        "votes": {"short": 1, "lost": 0, "enough": 0},
        "reach": {"away": 0, "nobody": 3},
        "teams": [{"team": "Payments", "decisions": 2}, {"team": "Logistics", "decisions": 1}],
    }
    rows = reviewer.api.get(f"/api/v1/simulations/{found['id']}/decisions/?is_short=true").json()["results"]
    assert [row["decision"] for row in rows] == [decisions["in force"].pk]
    assert rows[0]["row_was"] == "high"
    assert rows[0]["row_would"] == "all"
    assert rows[0]["approvers_would"] == {"security-reviewer": 1, "business-approver": 1}
    assert (rows[0]["votes"], rows[0]["reach"]) == ("short", "nobody")
    assert (rows[0]["missing"], rows[0]["open_parts"]) == ({"business-approver": 1}, 1)
    page = reviewer.client.get(f"/policy/simulations/{found['id']}/").content.decode()
    assert "In force, with votes that would not be enough" in page
    assert "ould be approved by nobody" in page
    listed = reviewer.client.get(f"/policy/simulations/{found['id']}/decisions/?ends=refused").content.decode()
    assert listed.count("it waits with an end too late") == 2


TWO = "name: two\nrows:\n  - {name: all, approvers: {security-reviewer: 2}, max_days: 90, fix_within_days: 90}\n"
ONE = TWO.replace(": 2}", ": 1}").replace("name: two", "name: one")


@pytest.mark.django_db
def test_roles_lost_and_people_away_count_as_they_do_for_a_request(
    decisions: dict[str, Any],
    reviewer: Any,
    make_person: Any,
    tried: Any,  # noqa: F811
) -> None:
    from django.utils import timezone

    from secguard.approvals.models import Absence

    def row() -> Any:
        found = tried(reviewer, appetite=TWO, since=None)
        results = reviewer.api.get(f"/api/v1/simulations/{found['id']}/decisions/").json()["results"]
        return next(r for r in results if r["decision"] == decisions["waits"].pk)

    assert row()["reach"] == "nobody"
    second = make_person("second", "security-reviewer")
    assert row()["reach"] == ""
    now = timezone.now()
    deputy = make_person("deputy", "viewer")
    away = Absence.objects.create(person=second, deputy=deputy, starts_at=now - DAY, ends_at=now + DAY)
    assert row()["reach"] == ""
    type(deputy).objects.filter(pk=deputy.pk).update(is_active=False)
    assert row()["reach"] == "away"
    away.delete()
    second.memberships.all().delete()
    assert row()["reach"] == "nobody"


@pytest.mark.django_db
def test_what_the_draft_says_is_what_the_same_request_meets(
    decisions: dict[str, Any],
    developer: Any,
    reviewer: Any,
    make_person: Any,
    tried: Any,  # noqa: F811
) -> None:
    """The replay of the requirement that is in force stands as the request itself does, whoever lost what since."""
    from secguard.approvals import queries as approvals
    from secguard.decisions import queries as decided
    from secguard.decisions.models import Decision
    from secguard.laboratory.services import redeciding as replaying

    third = make_person("third", "security-reviewer", "business-approver")
    decision = decisions["waits"]
    third.api.post(f"/api/v1/decisions/{decision.pk}/reject/", {"comment": "Not so."}, format="json")
    for lost in (False, True):
        if lost:
            reviewer.memberships.all().delete()
        for found in Decision.objects.filter(pk__in=[decisions["in force"].pk, decision.pk]).select_related(
            "approval", "risk", "appetite"
        ):
            votes = approvals.votes_of([found.approval])
            grants = approvals.grants_of_votes(votes[found.approval_id])
            teams = decided.teams_of([found])[found.pk]
            live = approvals.outcome_of(found.approval, votes[found.approval_id], grants, teams)
            again_asked = replaying._asked(
                found, parse_appetite(found.appetite.source), votes[found.approval_id], grants, teams,
                approvals.electorate(NOW), {},
            )  # fmt: skip
            asked_for = {Role(role): n for role, n in found.approval.required.items()}
            assert standing(again_asked, asked_for) == live


@pytest.mark.django_db
def test_each_team_that_an_image_lies_with_needs_its_own_approver(
    estate: Any,  # noqa: F811
    repository: Any,  # noqa: F811
    other_repository: Any,
    developer: Any,
    reviewer: Any,
    make_person: Any,
    tried: Any,  # noqa: F811
) -> None:
    from django.utils import timezone

    from secguard.decisions import queries, services
    from secguard.images.models import ImageRepository

    risk = estate.risk(severity=4)  # noqa: F811
    shared = estate.image(repository, [risk])
    ImageRepository.objects.create(image=shared, repository=other_repository, first_seen_at=timezone.now())
    scope = queries.find_scope(developer, "image", shared.digest)
    ask = services.Ask(risk.pk, "accept", scope, "It is not reachable.", timezone.now() + 20 * DAY)
    decision = services.request_decision(ask, actor=developer)

    def row() -> Any:
        found = tried(reviewer, appetite=STRICT, since=None)
        (one,) = reviewer.api.get(f"/api/v1/simulations/{found['id']}/decisions/").json()["results"]
        assert one["decision"] == decision.pk
        return one

    make_person("payer", "business-approver", team=repository.application.team)
    assert (row()["reach"], row()["open_parts"]) == ("nobody", 2)
    make_person("mover", "business-approver", team=other_repository.application.team)
    assert (row()["reach"], row()["open_parts"]) == ("", 2)


@pytest.mark.django_db
def test_a_batch_costs_as_many_queries_however_many_decisions_it_holds(
    decisions: dict[str, Any],
    estate: Any,  # noqa: F811
    repository: Any,  # noqa: F811
    developer: Any,
    reviewer: Any,
    tried: Any,  # noqa: F811
) -> None:
    from unittest.mock import Mock

    from django.db import connection
    from django.test.utils import CaptureQueriesContext
    from django.utils import timezone

    from secguard.decisions import queries, services
    from secguard.laboratory.models import Redecided, Simulation
    from secguard.laboratory.services.redeciding import redecide

    simulation = Simulation.objects.get(pk=tried(reviewer, appetite=STRICT, since=None)["id"])

    def cost() -> tuple[int, int]:
        Redecided.objects.all().delete()
        with CaptureQueriesContext(connection) as seen:
            redecide(simulation, timezone.now(), Mock())
        return len(seen), Redecided.objects.count()

    queried, rows = cost()
    risks = [estate.risk(severity=4) for _ in range(4)]
    estate.image(repository, risks)
    scope = queries.find_scope(developer, "repository", repository.name)
    for one in risks:
        ask = services.Ask(one.pk, "accept", scope, "It is not reachable.", timezone.now() + 60 * DAY)
        services.approve(services.request_decision(ask, actor=developer).pk, actor=reviewer, comment="seen")
    assert cost() == (queried, rows + 4)


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
