"""Webhooks: only what is signed is read, once, in the tracker's own order; trackers are set up and tell no secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotFound
from secguard.trackers import keeping, services
from secguard.trackers.models import Issue, Tracker
from secguard.trackers.services import TrackerEdit
from tests.decisions.conftest import Estate
from tests.fixtures_people import Person
from tests.trackers.conftest import TOKEN, MakeTracker, Remote

pytestmark = [pytest.mark.django_db, pytest.mark.enable_socket]


@pytest.fixture
def linked(estate: Estate, repository: Any, team: Any, developer: Person) -> Any:
    risk = estate.risk("CVE-2026-0001", severity=5)
    estate.image(repository, [risk], at=timezone.now())

    def make(tracker: Tracker) -> Issue:
        issue = services.open_issue(risk.pk, tracker.pk, team=team, actor=developer)
        services.work()
        issue.refresh_from_db()
        assert issue.status == "linked"
        return issue

    return make


def tell(tracker: Any, remote: Any, *, secret: str = "", event: str = "issues", **changed: Any) -> Any:
    told = {"action": "edited", "issue": remote.issues[1] | changed, "repository": {"full_name": remote.project}}
    raw = json.dumps(told).encode()
    headers = {"X-GitHub-Event": event, "X-Hub-Signature-256": keeping.signature(secret or tracker.secret, raw)}
    return Client().post(f"/hooks/github-issues/{tracker.pk}/", raw, content_type="application/json", headers=headers)


def test_what_github_tells_is_shown(github: Any, make_tracker: MakeTracker, linked: Any) -> None:
    tracker = make_tracker(github)
    issue = linked(tracker)
    closed = {"state": "closed", "state_reason": "not_planned", "assignees": [{"login": "dora"}]}
    answer = tell(tracker, github, updated_at=github.tick(), **closed)
    assert (answer.status_code, answer.json()["issues"]) == (202, 1)
    issue.refresh_from_db()
    assert (issue.state, issue.resolution, issue.assignee) == ("closed", "not_planned", "dora")
    assert issue.difference == "closed there, still found here"


def test_what_comes_twice_or_late_changes_nothing(github: Any, make_tracker: MakeTracker, linked: Any) -> None:
    tracker = make_tracker(github)
    issue = linked(tracker)
    early, late = github.tick(), github.tick()
    assert tell(tracker, github, updated_at=late, state="closed").json()["issues"] == 1
    assert tell(tracker, github, updated_at=late, state="closed").json()["issues"] == 0
    assert tell(tracker, github, updated_at=early, state="open").json()["issues"] == 0
    issue.refresh_from_db()
    assert issue.state == "closed"


def test_of_two_states_at_one_instant_the_tracker_is_asked(github: Any, make_tracker: MakeTracker, linked: Any) -> None:
    tracker = make_tracker(github)
    issue, at = linked(tracker), github.tick()
    tell(tracker, github, updated_at=at, state="closed")
    tell(tracker, github, updated_at=at, state="open")
    issue.refresh_from_db()
    assert (issue.state, issue.checked_at) == ("closed", None)
    github.issues[1] |= {"state": "open", "updated_at": at}
    services.work()
    issue.refresh_from_db()
    assert issue.state == "open"


def test_what_is_not_signed_with_the_trackers_secret_is_not_read(
    github: Any, make_tracker: MakeTracker, linked: Any
) -> None:
    tracker, other = make_tracker(github), make_tracker(github, name="other")
    issue = linked(tracker)
    assert tell(tracker, github, secret=other.secret, state="closed").status_code == 403  # type: ignore[attr-defined]
    url = f"/hooks/github-issues/{tracker.pk}/"
    for headers in ({}, {"X-Hub-Signature-256": "sha256="}, {"X-Hub-Signature-256": "é"}):
        answer = Client().post(url, b"{}", content_type="application/json", headers=headers)
        assert answer.status_code == 403
        assert "X-Hub-Signature-256" in answer.content.decode()
    nowhere = Client().post("/hooks/github-issues/999/", b"{}", content_type="application/json")
    assert nowhere.json()["detail"] == answer.json()["detail"], "who asks learns of no tracker"
    issue.refresh_from_db()
    assert issue.state == "open"


def test_a_new_secret_ends_the_former_one(
    github: Any, make_tracker: MakeTracker, linked: Any, administrator: Person
) -> None:
    tracker = make_tracker(github)
    linked(tracker)
    _, secret = services.renew_secret(tracker.pk, actor=administrator)
    assert tell(tracker, github).status_code == 403
    assert tell(tracker, github, secret=secret).status_code == 202
    assert tell(tracker, github, secret=secret, event="ping").json()["ignored"]


def test_a_large_or_odd_body_is_refused(github: Any, make_tracker: MakeTracker, linked: Any) -> None:
    tracker = make_tracker(github)
    linked(tracker)
    assert tell(tracker, github, body="x" * (3 * 2**20)).status_code == 413
    assert tell(tracker, github, state="strange").status_code == 422
    assert tell(tracker, github, updated_at="yesterday").status_code == 422


def told_by_jira(remote: Any, name: str) -> bytes:
    remote.moved(remote.issues[1], name)
    issue = {k: v for k, v in remote.issues[1].items() if k != "text"}
    return json.dumps({"timestamp": 1, "webhookEvent": "jira:issue_updated", "issue": issue}).encode()


def test_what_jira_tells_is_shown_signed_or_to_the_secret_address(
    jira_cloud: Any, make_tracker: MakeTracker, linked: Any
) -> None:
    tracker = make_tracker(jira_cloud)
    issue, secret = linked(tracker), tracker.secret  # type: ignore[attr-defined]
    url, raw = f"/hooks/jira-issues/{tracker.pk}/", told_by_jira(jira_cloud, "In Progress")
    headers = {"X-Hub-Signature": keeping.signature(secret, raw)}
    assert Client().post(url, raw, content_type="application/json", headers=headers).json()["issues"] == 1
    issue.refresh_from_db()
    assert (issue.state, issue.remote_status) == ("in-progress", "In Progress")
    raw = told_by_jira(jira_cloud, "Done")
    assert Client().post(f"{url}wrong/", raw, content_type="application/json").status_code == 403
    word = keeping.path_word(secret)
    assert Client().post(f"{url}{word}/", raw, content_type="application/json").json()["issues"] == 1
    issue.refresh_from_db()
    assert (issue.state, issue.resolution) == ("closed", "Done")


# --- setting up ---


def test_credentials_are_told_to_nobody(github: Remote, make_tracker: MakeTracker, administrator: Person) -> None:
    tracker = make_tracker(github)
    pages = [administrator.client.get(f"/settings/trackers/{tracker.pk}/").content.decode()]
    pages += [administrator.api.get("/api/v1/trackers/").content.decode()]
    pages += [str(row) for row in AuditEntry.objects.values()] + [str(row) for row in Tracker.objects.values()]
    for text in pages:
        assert TOKEN not in text
        assert tracker.secret not in text  # type: ignore[attr-defined]


def test_a_token_is_never_sent_to_another_host(
    github: Remote, make_tracker: MakeTracker, administrator: Person
) -> None:
    tracker = make_tracker(github)
    with pytest.raises(Invalid, match="enter it anew") as refused:
        services.edit_tracker(tracker.pk, TrackerEdit(base_url="https://8.8.8.8"), actor=administrator)
    assert refused.value.where == "token"
    services.edit_tracker(
        tracker.pk, TrackerEdit(base_url="https://8.8.8.8", token="another-token"), actor=administrator
    )


@pytest.mark.parametrize(
    ("edit", "kind", "project", "where"),
    [
        ({"base_url": "https://169.254.169.254"}, "github", "a/b", "base_url"),
        ({"base_url": "http://8.8.8.8"}, "github", "a/b", "base_url"),
        ({"base_url": "https://8.8.8.8/?x"}, "github", "a/b", "base_url"),
        ({"token": "with space in it"}, "github", "a/b", "token"),
        ({"token": "line\r\nX: y12345"}, "github", "a/b", "token"),
        ({"opens_from": "awful"}, "github", "a/b", "opens_from"),
        ({"opens_application": "nobodys"}, "github", "a/b", "opens_application"),
        ({"issue_type": ""}, "jira-cloud", "SHOP", "issue_type"),
        ({"issue_type": "Task"}, "jira-cloud", "SHOP", "login"),
        ({}, "gitlab", "a/b", "kind"),
        ({}, "github", "SHOP", "project"),
    ],
)
def test_what_cannot_be_a_tracker_is_refused_at_its_field(
    db: None, edit: dict[str, Any], kind: str, project: str, where: str
) -> None:
    entered = {"name": "x", "base_url": "https://8.8.8.8", "token": TOKEN} | edit
    with pytest.raises(Invalid) as refused:
        services.add_tracker(TrackerEdit(**entered), kind=kind, project=project, team=None, actor=None)
    assert refused.value.where == where


def test_a_try_says_what_was_found(
    github: Any, jira_cloud: Any, make_tracker: MakeTracker, settings: Any, administrator: Person
) -> None:
    settings.WEBHOOK_HOSTS = ["127.0.0.1"]
    tracker = make_tracker(github)
    assert services.ask_for_try(tracker.pk, actor=administrator).tried == ""
    assert services.try_now(tracker.pk)
    tracker.refresh_from_db()
    assert "may work with its issues" in tracker.tried
    github.refuse = [("GET", (401, {}, b'{"message":"Bad credentials"}'))]
    assert not services.try_now(tracker.pk)
    tracker.refresh_from_db()
    assert "Bad credentials" in tracker.tried
    jira = make_tracker(jira_cloud, name="jira")
    Tracker.objects.filter(pk=jira.pk).update(issue_type="Epic")
    assert services.try_now(jira.pk)
    jira.refresh_from_db()
    assert "it has Task, Bug" in jira.tried
    assert {a.method for a in [*github.asked, *jira_cloud.asked]} == {"GET"}


def test_a_name_is_taken_once_and_a_team_sets_up_its_own(
    github: Remote, make_tracker: MakeTracker, make_person: Any, team: Any, other_team: Any
) -> None:
    theirs, ours = make_tracker(github, team=other_team), make_tracker(github, team=team)
    with pytest.raises(Conflict):
        make_tracker(github, team=team)
    head = make_person("head", "administrator", team=team)
    assert services.edit_tracker(ours.pk, TrackerEdit(name="new"), actor=head).name == "new"
    with pytest.raises(NotFound):
        services.edit_tracker(theirs.pk, TrackerEdit(name="new"), actor=head)
