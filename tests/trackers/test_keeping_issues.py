"""An issue is opened once, follows what is found here, and shows what is so there; nobody sees another team's."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from secguard.decisions import services as decisions
from secguard.decisions.models import Decision
from secguard.decisions.queries import find_scope
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.findings.models import Exposure
from secguard.trackers import services
from secguard.trackers.models import Act, Issue
from tests.decisions.conftest import Estate
from tests.fixtures_people import Person
from tests.trackers.conftest import GITHUB_DISABLED, GITHUB_INVALID, GITHUB_LIMIT, JIRA_INVALID, MakeTracker, Remote

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def flaw(estate: Estate, repository: Any, other_repository: Any) -> Any:
    """In a repository of the first team and in one of the other team."""
    risk = estate.risk("CVE-2026-0001", severity=5, fix_available=True, title="@team owns this <!-- x -->")
    for place in (repository, other_repository):
        estate.image(place, [risk], at=timezone.now())
    return risk


def opened(risk: Any, tracker: Any, team: Any, actor: Person, now: Any = None) -> Issue:
    issue = services.open_issue(risk.pk, tracker.pk, team=team, actor=actor)
    services.work(now)
    issue.refresh_from_db()
    return issue


def fixed(estate: Estate, repository: Any) -> None:
    estate.image(repository, [], at=timezone.now())


def test_an_issue_tells_its_team_what_to_do_and_nothing_of_others(
    github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    issue = opened(flaw, make_tracker(github), team, developer)
    assert (issue.status, issue.key, issue.state, issue.stands) == ("linked", "#1", "open", "open")
    assert issue.url == f"{github.url}/shop/backlog/issues/1", "never an address that an answer gave"
    made = github.issues[1]
    assert made["title"] == "Critical: CVE-2026-0001 in pkg:deb/debian/openssl"
    assert "`1.1.1n` to `1.1.1w`" in made["body"]
    assert f"<https://secguard.example.org/risks/{flaw.pk}/>" in made["body"]
    assert "shop/api" in made["body"]
    assert "logistics" not in made["body"], "that is the other team's"
    assert "@team" not in made["body"]


def test_pressing_twice_opens_one(
    github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person, reviewer: Person
) -> None:
    tracker = make_tracker(github)
    first = services.open_issue(flaw.pk, tracker.pk, team=team, actor=developer)
    assert services.open_issue(flaw.pk, tracker.pk, team=team, actor=reviewer) == first
    services.work()
    assert services.open_issue(flaw.pk, tracker.pk, team=team, actor=developer) == first
    services.work()
    assert len(github.issues) == 1
    assert Act.objects.count() == 1


def test_each_team_has_an_issue_of_its_own(
    github: Remote,
    make_tracker: MakeTracker,
    flaw: Any,
    team: Any,
    other_team: Any,
    developer: Person,
    stranger: Person,
) -> None:
    tracker = make_tracker(github)
    mine, theirs = opened(flaw, tracker, team, developer), opened(flaw, tracker, other_team, stranger)
    assert mine.key != theirs.key
    assert "shop/api" not in github.issues[2]["body"]


@pytest.mark.parametrize("remote", ["github", "jira_cloud", "data_center"])
def test_an_answer_that_is_lost_makes_no_second_issue(
    remote: str, request: Any, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    there: Remote = request.getfixturevalue(remote)
    tracker = make_tracker(there)
    there.swallow = "POST /"
    issue = opened(flaw, tracker, team, developer)
    assert (issue.status, len(there.issues)) == ("waiting", 1)
    tracker.refresh_from_db()
    assert "did not take it" in tracker.error
    services.work(timezone.now() + 2 * MINUTE)
    issue.refresh_from_db()
    assert (issue.status, len(there.issues), bool(issue.key)) == ("linked", 1, True)
    assert not Act.objects.filter(status="waiting").exists()


@pytest.mark.parametrize("remote", ["github", "jira_cloud", "data_center"])
def test_it_is_closed_when_fixed_and_opened_again_when_it_comes_back(
    remote: str, request: Any, make_tracker: MakeTracker, flaw: Any, estate: Estate, repository: Any, team: Any,
    developer: Person,
) -> None:  # fmt: skip
    there: Remote = request.getfixturevalue(remote)
    issue = opened(flaw, make_tracker(there), team, developer)
    assert services.follow() == 0
    fixed(estate, repository)
    assert (services.follow(), services.follow()) == (1, 0)
    services.work()
    issue.refresh_from_db()
    assert (issue.stands, issue.state, issue.difference) == ("fixed", "closed", "")
    (said,) = next(iter(there.comments.values()))
    assert "no longer finds this" in (said if isinstance(said, str) else json.dumps(said))
    estate.image(repository, [flaw], at=timezone.now())
    services.follow()
    services.work()
    issue.refresh_from_db()
    assert (issue.stands, issue.state) == ("open", "open")
    assert len(next(iter(there.comments.values()))) == 2


def test_jira_cloud_is_told_in_its_document_format_and_data_center_in_wiki_markup(
    jira_cloud: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    issue = opened(flaw, make_tracker(jira_cloud), team, developer)
    (sent,) = jira_cloud.posts("/rest/api/3/issue")
    assert sent.body["fields"]["description"]["type"] == "doc"
    assert sent.body["fields"]["issuetype"] == {"name": "Task"}
    assert (issue.key, issue.remote_id, issue.remote_status) == ("SHOP-1", "10001", "To Do")
    assert issue.url == f"{jira_cloud.url}/browse/SHOP-1"


def test_data_center_is_told_in_wiki_markup(
    data_center: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    opened(flaw, make_tracker(data_center), team, developer)
    (sent,) = data_center.posts("/rest/api/2/issue")
    assert "*What&#58;*" in sent.body["fields"]["description"]


def accept(risk: Any, repository: Any, developer: Person, reviewer: Person, kind: str = "accept") -> Decision:
    scope = find_scope(developer, "repository", repository.name)
    ask = decisions.Ask(risk.pk, kind, scope, "not reached", timezone.now() + timedelta(days=10))
    return decisions.approve(decisions.request_decision(ask, actor=developer).pk, actor=reviewer)


def test_what_is_accepted_is_closed_as_not_planned_and_opened_when_the_decision_ends(
    github: Remote,
    make_tracker: MakeTracker,
    flaw: Any,
    repository: Any,
    team: Any,
    developer: Person,
    reviewer: Person,
) -> None:
    issue = opened(flaw, make_tracker(github), team, developer)
    decision = accept(flaw, repository, developer, reviewer)
    assert decision.status == "approved"
    services.follow()
    services.work()
    issue.refresh_from_db()
    assert (issue.stands, issue.state, issue.resolution) == ("accepted", "closed", "not_planned")
    services.follow(timezone.now() + timedelta(days=11))
    services.work()
    issue.refresh_from_db()
    assert (issue.stands, issue.state) == ("open", "open")


def test_closing_an_issue_there_changes_nothing_here(
    github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    issue = opened(flaw, make_tracker(github), team, developer)
    github.issues[1] |= {"state": "closed", "state_reason": "completed", "updated_at": github.tick()}
    before = list(Exposure.objects.values())
    services.work(timezone.now() + timedelta(hours=2))
    issue.refresh_from_db()
    assert (issue.state, issue.resolution) == ("closed", "completed")
    assert issue.difference == "closed there, still found here"
    assert list(Exposure.objects.values()) == before
    assert not Decision.objects.exists()
    assert services.follow() == 0
    assert github.issues[1]["state"] == "closed", "nor is it opened again against who closed it"


def test_what_is_not_ours_is_commented_on_and_never_closed(
    github: Remote, make_tracker: MakeTracker, flaw: Any, estate: Estate, repository: Any, team: Any, developer: Person
) -> None:
    github.made({"title": "Somebody's own", "body": "text"})  # type: ignore[attr-defined]
    issue = services.link_issue(flaw.pk, make_tracker(github, team=team).pk, "#1", team=team, actor=developer)
    services.work()
    issue.refresh_from_db()
    assert (issue.status, issue.title, issue.is_ours) == ("linked", "Somebody's own", False)
    assert "SecGuard follows this issue" in github.comments[1][0]
    fixed(estate, repository)
    services.follow()
    services.work()
    assert github.issues[1]["state"] == "open"
    assert len(github.comments[1]) == 2


def test_a_tracker_that_is_set_up_to_comment_alone_does_so(
    github: Remote, make_tracker: MakeTracker, flaw: Any, estate: Estate, repository: Any, team: Any, developer: Person
) -> None:
    issue = opened(flaw, make_tracker(github, closes=False), team, developer)
    fixed(estate, repository)
    services.follow()
    services.work()
    issue.refresh_from_db()
    assert (issue.state, issue.difference) == ("open", "fixed here, still open there")


# --- who may ---


def test_another_teams_tracker_risk_and_issue_are_not_there(
    github: Remote, make_tracker: MakeTracker, flaw: Any, estate: Estate, repository: Any, team: Any, other_team: Any,
    developer: Person, stranger: Person, viewer: Person,
) -> None:  # fmt: skip
    tracker = make_tracker(github, team=team)
    issue = opened(flaw, tracker, team, developer)
    hidden = estate.risk("CVE-2026-0002")
    estate.image(repository, [flaw, hidden], at=timezone.now())
    with pytest.raises(NotFound):
        services.open_issue(flaw.pk, tracker.pk, team=other_team, actor=stranger)
    with pytest.raises(NotFound):
        services.open_issue(hidden.pk, make_tracker(github, name="all").pk, team=other_team, actor=stranger)
    for act in (services.retry, services.unlink):
        with pytest.raises(NotFound):
            act(issue.pk, actor=stranger)
        with pytest.raises(NotAllowed):
            act(issue.pk, actor=viewer)
    with pytest.raises(NotAllowed):
        services.open_issue(flaw.pk, tracker.pk, team=team, actor=viewer)
    with pytest.raises(NotAllowed):
        services.open_issue(flaw.pk, tracker.pk, team=team, actor=stranger)
    page = stranger.client.get(f"/risks/{flaw.pk}/").content.decode()
    assert "CVE-2026-0001 in pkg" not in page
    assert tracker.name not in stranger.api.get("/api/v1/issues/").content.decode()


def test_the_organisations_token_reads_no_issue_for_one_team(
    github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, other_team: Any, developer: Person,
    stranger: Person, reviewer: Person,
) -> None:  # fmt: skip
    tracker = make_tracker(github)
    opened(flaw, tracker, team, developer)
    with pytest.raises(NotAllowed, match="may read what you may not"):
        services.link_issue(flaw.pk, tracker.pk, "#1", team=other_team, actor=stranger)
    with pytest.raises(Conflict, match="another team"):
        services.link_issue(flaw.pk, tracker.pk, "#1", team=other_team, actor=reviewer)
    with pytest.raises(Invalid, match="no issue of this tracker"):
        services.link_issue(flaw.pk, tracker.pk, "https://github.com/a/b/issues/1", team=other_team, actor=reviewer)


def test_an_issue_that_was_moved_to_another_project_tells_nothing_of_it(
    jira_cloud: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    issue = opened(flaw, make_tracker(jira_cloud), team, developer)
    jira_cloud.issues[1]["key"] = "SECRET-9"
    jira_cloud.issues[1]["fields"]["summary"] = "Merger"
    jira_cloud.tick()
    services.work(timezone.now() + timedelta(hours=2))
    issue.refresh_from_db()
    assert (issue.state, issue.key) == ("gone", "SHOP-1")
    assert "Merger" not in str(vars(issue))


# --- what goes wrong there ---


def test_a_limit_is_kept_to_and_counts_as_no_failure_of_the_message(
    github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    tracker, now = make_tracker(github), timezone.now() + MINUTE
    issue = services.open_issue(flaw.pk, tracker.pk, team=team, actor=developer)
    github.refuse = [("POST", GITHUB_LIMIT)]
    assert services.work(now)["failed"] == 1
    tracker.refresh_from_db()
    assert tracker.next_at == now + timedelta(seconds=120), "Retry-After, not our own back-off"
    assert "secondary rate limit" in tracker.error
    assert Act.objects.get().attempts == 0
    assert services.work(now + timedelta(seconds=119)) == {"sent": 0, "failed": 0, "checked": 0}
    assert services.work(now + timedelta(seconds=121))["sent"] == 1
    tracker.refresh_from_db()
    issue.refresh_from_db()
    assert (tracker.failures, tracker.error, issue.status) == (0, "", "linked")


def test_a_primary_limit_waits_for_its_window(
    github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    tracker, now = make_tracker(github), timezone.now()
    services.open_issue(flaw.pk, tracker.pk, team=team, actor=developer)
    reset = int((now + timedelta(minutes=20)).timestamp())
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset)}
    github.refuse = [("GET", (403, headers, b'{"message":"API rate limit exceeded for user ID 1."}'))]
    services.work()
    tracker.refresh_from_db()
    assert timedelta(minutes=19) < tracker.next_at - now < timedelta(minutes=21)


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (GITHUB_DISABLED, "Issues are disabled for this repo"),
        (GITHUB_INVALID, "title is too long"),
        ((404, {}, b'{"message":"Not Found","status":"404"}'), "its token may not see it"),
    ],
)
def test_what_is_refused_for_good_is_given_up_with_its_words_and_can_be_tried_again(
    refusal: Any, words: str, github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    tracker = make_tracker(github)
    github.refuse = [("POST", refusal)]
    issue = opened(flaw, tracker, team, developer)
    assert issue.status == "failed"
    assert words in Act.objects.get().error
    page = developer.client.get(f"/risks/{flaw.pk}/").content.decode()
    assert "could not be opened" in page
    assert words in page
    tracker.refresh_from_db()
    assert tracker.failures == 0, "others are told all the same"
    services.retry(issue.pk, actor=developer)
    services.work()
    issue.refresh_from_db()
    assert issue.status == "linked"


def test_a_field_that_jira_wants_is_named(
    jira_cloud: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    jira_cloud.refuse = [("POST", JIRA_INVALID)]
    assert opened(flaw, make_tracker(jira_cloud), team, developer).status == "failed"
    assert "customfield_10010: Team is required." in Act.objects.get().error


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((401, {}, b'{"message":"Bad credentials"}'), "Give the tracker a token"),
        ((403, {}, b'{"message":"Resource not accessible by personal access token"}'), "Give the tracker a token"),
        ((301, {"Location": "http://169.254.169.254/"}, b""), "a redirect, which is not followed"),
        ((502, {}, b"<html>Bad gateway</html>"), "it answered 502"),
        ((200, {}, b"<html>sign in</html>"), "is no JSON"),
        ((200, {}, b"[" * 100_000), "is no JSON"),
        ((200, {}, b" " * (9 * 2**20)), "larger than"),
        ((429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, b""), "answered 429"),
    ],
)
def test_what_may_pass_is_tried_again_later(
    refusal: Any, words: str, github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    tracker = make_tracker(github)
    github.refuse = [("GET", refusal)]
    issue = opened(flaw, tracker, team, developer)
    tracker.refresh_from_db()
    assert (issue.status, tracker.failures) == ("waiting", 1)
    assert words in tracker.error
    assert "not-a-real-token" not in tracker.error
    assert len(github.asked) == 1
    services.work(tracker.next_at + timedelta(seconds=1))
    issue.refresh_from_db()
    assert issue.status == "linked"


def test_waits_grow_and_end(github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person) -> None:
    tracker, waits = make_tracker(github), []
    issue = services.open_issue(flaw.pk, tracker.pk, team=team, actor=developer)
    at = timezone.now() + MINUTE
    for _ in range(12):
        github.refuse = [("GET", (503, {}, b""))]
        services.work(at)
        tracker.refresh_from_db()
        waits.append(tracker.next_at - at)
        at = tracker.next_at
    assert waits[:4] == [MINUTE, 2 * MINUTE, 4 * MINUTE, 8 * MINUTE]
    issue.refresh_from_db()
    assert issue.status == "failed"
    assert "it answered 503" in Act.objects.get().error


def test_a_workflow_without_a_way_is_said(
    jira_cloud: Remote,
    make_tracker: MakeTracker,
    flaw: Any,
    estate: Estate,
    repository: Any,
    team: Any,
    developer: Person,
) -> None:
    opened(flaw, make_tracker(jira_cloud), team, developer)
    fixed(estate, repository)
    services.follow()
    jira_cloud.refuse = [("GET /rest/api/3/issue/10001/transitions", (200, {}, b'{"transitions":[]}'))]
    services.work()
    assert "no way from here" in Act.objects.get(kind="tell").error


def test_an_issue_that_is_gone_is_said_and_can_be_unlinked(
    github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    tracker = make_tracker(github)
    issue = opened(flaw, tracker, team, developer)
    github.issues.clear()
    services.work(timezone.now() + timedelta(hours=2))
    issue.refresh_from_db()
    assert "gone there" in issue.difference
    services.unlink(issue.pk, actor=developer)
    again = opened(flaw, tracker, team, developer, timezone.now() + timedelta(hours=3))
    assert (again.status, again.pk == issue.pk) == ("linked", False)


def test_two_workers_tell_once(
    github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    tracker = make_tracker(github)
    services.open_issue(flaw.pk, tracker.pk, team=team, actor=developer)
    tracker.claim, tracker.claimed_until = "another", timezone.now() + MINUTE
    tracker.save(update_fields=["claim", "claimed_until"])
    assert services.work()["sent"] == 0
    assert services.work(timezone.now() + 2 * MINUTE)["sent"] == 1, "whoever had it died"


# --- by itself ---


def test_a_rule_opens_what_it_asks_for_and_no_more(
    github: Remote, make_tracker: MakeTracker, flaw: Any, estate: Estate, repository: Any, application: Any, team: Any
) -> None:
    low = estate.risk("CVE-2026-0009", severity=2)
    estate.image(repository, [flaw, low], at=timezone.now())
    make_tracker(github, opens_from="high", opens_application=application.slug)
    assert (services.open_by_rule(), services.open_by_rule()) == (1, 0)
    services.work()
    issue = Issue.objects.get()
    assert (issue.risk, issue.team, issue.is_by_rule, issue.status) == (flaw, team, True, "linked")


def test_a_rule_opens_what_is_overdue_in_the_trackers_own_team(
    github: Remote, make_tracker: MakeTracker, flaw: Any, other_team: Any
) -> None:
    make_tracker(github, team=other_team, opens_overdue=True)
    Exposure.objects.update(due_at=timezone.now() + MINUTE)
    assert services.open_by_rule() == 0
    assert services.open_by_rule(timezone.now() + 2 * MINUTE) == 1
    assert Issue.objects.get().team == other_team


def test_a_first_import_floods_nobody(
    github: Remote, make_tracker: MakeTracker, estate: Estate, repository: Any
) -> None:
    estate.image(repository, [estate.risk(severity=5) for _ in range(30)], at=timezone.now())
    make_tracker(github, opens_from="critical")
    assert (services.open_by_rule(), services.open_by_rule()) == (20, 10)


def test_what_was_unlinked_is_not_opened_again_by_a_rule(
    github: Remote, make_tracker: MakeTracker, flaw: Any, team: Any, developer: Person
) -> None:
    make_tracker(github, team=team, opens_from="low")
    services.open_by_rule()
    services.unlink(Issue.objects.get().pk, actor=developer)
    assert services.open_by_rule() == 0


def test_following_asks_the_same_number_of_queries_at_any_size(
    github: Remote, make_tracker: MakeTracker, estate: Estate, repository: Any, team: Any, developer: Person
) -> None:
    tracker, risks, counts = make_tracker(github), [], []
    for _ in range(3):
        risks.append(estate.risk())
        estate.image(repository, risks, at=timezone.now())
        opened(risks[-1], tracker, team, developer)
        with CaptureQueriesContext(connection) as asked:
            assert services.follow() == 0
        counts.append(len(asked))
    assert counts == [1, 1, 1]
