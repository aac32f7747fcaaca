"""What GitHub and Jira tell is read, and what is odd is refused in words; keys, standings, signatures."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Invalid
from secguard.trackers import keeping, reading
from secguard.trackers.keeping import RemoteState, Standing, TrackerKind

GITHUB, CLOUD = TrackerKind.GITHUB, TrackerKind.JIRA_CLOUD
ISSUE: dict[str, Any] = {
    "number": 12, "id": 1, "node_id": "I_x", "title": "Critical: \u202eCVE", "state": "closed",
    "state_reason": "not_planned", "assignee": {"login": "dora"}, "assignees": [{"login": "dora"}, {"login": "vera"}],
    "html_url": "javascript:alert(1)", "updated_at": "2026-11-28T07:00:00Z", "body": None,
}  # fmt: skip
FIELDS: dict[str, Any] = {
    "summary": "A title", "status": {"name": "In Review", "statusCategory": {"id": 4, "key": "indeterminate"}},
    "resolution": None, "assignee": {"displayName": "Dora", "accountId": "x"},
    "updated": "2021-01-20T15:58:12.797+1100",
}  # fmt: skip


def test_githubs_issue() -> None:
    seen = reading.github_issue(ISSUE)
    assert (seen.key, seen.remote_id, seen.state, seen.resolution) == ("#12", "12", RemoteState.CLOSED, "not_planned")
    assert (seen.title, seen.assignee) == ("Critical: CVE", "dora, vera")
    assert seen.updated_at == datetime(2026, 11, 28, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("category", "state"),
    [("new", "open"), ("indeterminate", "in-progress"), ("done", "closed"), ("undefined", "open"), (None, "open")],
)
def test_jiras_issue(category: Any, state: str) -> None:
    status = {"name": "Whatever it is called", "statusCategory": {"key": category}}
    seen = reading.jira_issue({"id": "10073", "key": "SP-10", "fields": FIELDS | {"status": status}})
    assert (seen.key, seen.remote_id, seen.project, seen.state) == ("SP-10", "10073", "SP", state)
    assert seen.assignee == "Dora"
    assert seen.updated_at == datetime(2021, 1, 20, 4, 58, 12, 797_000, tzinfo=UTC)


def test_an_issue_of_jiras_that_is_done_says_how() -> None:
    fields = FIELDS | {
        "resolution": {"name": "Won't Do"},
        "status": {"name": "Done", "statusCategory": {"key": "done"}},
    }
    assert reading.jira_issue({"id": 7, "key": "SP-1", "fields": fields}).resolution == "Won't Do"


@pytest.mark.parametrize(
    "changed",
    [
        {"number": "12"}, {"number": True}, {"number": 0}, {"number": 10**30}, {"state": "new"}, {"updated_at": None},
        {"updated_at": "yesterday"}, {"updated_at": "2026-11-28T07:00:00"}, {"pull_request": {"url": "x"}},
    ],
)  # fmt: skip
def test_what_is_no_issue_of_githubs_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="expected"):
        reading.github_issue(ISSUE | changed)


@pytest.mark.parametrize(
    "issue",
    [
        None, [], {}, {"id": "1", "key": "SP-1"}, {"id": "1", "key": "SP-1", "fields": []},
        {"id": "../x", "key": "SP-1", "fields": FIELDS}, {"id": "1", "key": "../admin", "fields": FIELDS},
        {"id": "1", "key": "SP-1", "fields": FIELDS | {"status": "Done"}},
    ],
)  # fmt: skip
def test_what_is_no_issue_of_jiras_is_refused(issue: Any) -> None:
    with pytest.raises(Invalid, match="expected"):
        reading.jira_issue(issue)


def hook(**told: Any) -> bytes:
    return json.dumps({"action": "edited", "issue": ISSUE, "repository": {"full_name": "Shop/Backlog"}} | told).encode()


def test_githubs_webhook() -> None:
    heard = reading.github_hook("issues", hook(), "shop/backlog")
    assert heard.seen is not None
    assert heard.seen.key == "#12"
    assert reading.github_hook("issues", hook(repository={"full_name": "a/b"}), "shop/backlog").ignored
    assert reading.github_hook("ping", b'{"zen": "x"}', "shop/backlog").ignored
    for action in ("deleted", "transferred"):
        gone = reading.github_hook("issues", hook(action=action), "shop/backlog").seen
        assert gone is not None
        assert (gone.state, gone.status) == (RemoteState.GONE, action)


def test_jiras_webhook() -> None:
    told = {"timestamp": 1, "webhookEvent": "jira:issue_updated", "issue": {"id": "1", "key": "SP-1", "fields": FIELDS}}
    heard = reading.jira_hook(json.dumps(told).encode())
    assert heard.seen is not None
    assert heard.seen.state is RemoteState.IN_PROGRESS
    gone = reading.jira_hook(json.dumps(told | {"webhookEvent": "jira:issue_deleted"}).encode()).seen
    assert gone is not None
    assert gone.state is RemoteState.GONE
    assert reading.jira_hook(json.dumps(told | {"webhookEvent": "sprint_started"}).encode()).ignored


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"payload=%7B%7D", b"\xff", b"[" * 200_000, b'{"a":' * 100_000])
def test_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(Invalid, match="expected an object"):
        reading.github_hook("issues", raw, "a/b")
    with pytest.raises(Invalid, match="expected an object"):
        reading.jira_hook(raw)


NAMES = st.sampled_from([*ISSUE, *FIELDS, "fields", "key", "name"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(JSON, st.sampled_from(list(ISSUE)), st.sampled_from(list(FIELDS)))
def test_whatever_is_told_is_read_or_refused(odd: Any, name: str, other: str) -> None:
    refused: list[str] = []
    for read, told in (
        (reading.github_issue, ISSUE | {name: odd}),
        (reading.jira_issue, {"id": "1", "key": "SP-1", "fields": FIELDS | {other: odd}}),
        (reading.github_issue, odd),
        (reading.jira_issue, odd),
    ):
        try:
            read(told)
        except Invalid as error:
            refused.append(error.detail)
    assert all("expected" in detail for detail in refused)


@pytest.mark.parametrize(
    ("kind", "base", "project", "text", "key"),
    [
        (GITHUB, "https://api.github.com", "shop/backlog", "12", "#12"),
        (GITHUB, "https://api.github.com", "shop/backlog", " #12 ", "#12"),
        (GITHUB, "https://api.github.com", "shop/backlog", "shop/backlog#12", "#12"),
        (
            GITHUB,
            "https://api.github.com",
            "shop/backlog",
            "https://github.com/shop/backlog/issues/12#issuecomment-1",
            "#12",
        ),
        (GITHUB, "https://git.example/api/v3", "a/b", "https://git.example/a/b/issues/3", "#3"),
        (CLOUD, "https://x.atlassian.net", "SHOP", "shop-12", "SHOP-12"),
        (CLOUD, "https://x.atlassian.net", "SHOP", "https://x.atlassian.net/browse/SHOP-12?focusedId=1", "SHOP-12"),
    ],
)
def test_an_issue_is_found_by_what_people_paste(
    kind: TrackerKind, base: str, project: str, text: str, key: str
) -> None:
    assert keeping.checked_key(kind, base, project, text) == key
    assert keeping.checked_key(kind, base, project, keeping.issue_url(kind, base, project, key)) == key


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (GITHUB, "https://github.com/other/backlog/issues/12"), (GITHUB, "https://evil.example/shop/SHOP/issues/1"),
        (GITHUB, "../../user"), (GITHUB, "0"), (GITHUB, ""), (GITHUB, "SHOP-1"), (GITHUB, "1" * 40),
        (CLOUD, "OTHER-1"), (CLOUD, "https://x.atlassian.net/browse/OTHER-1"), (CLOUD, "SHOP-1/../x"), (CLOUD, "12"),
    ],
)  # fmt: skip
def test_another_projects_issue_is_none(kind: TrackerKind, text: str) -> None:
    base = "https://api.github.com" if kind is GITHUB else "https://x.atlassian.net"
    with pytest.raises(Invalid, match="expected"):
        keeping.checked_key(kind, base, "shop/SHOP" if kind is GITHUB else "SHOP", text)


@pytest.mark.parametrize("project", ["", "a", "a/b/c", "a/..", "a/.", "-a/b", "a/b?x", "a/b c", "SHOP"])
def test_a_repository_has_an_owner_and_a_name(project: str) -> None:
    with pytest.raises(Invalid, match="owner/repository"):
        keeping.checked_project(GITHUB, project)


@pytest.mark.parametrize("project", ["", "shop", 'S" OR x', "S", "SHOP-1", "../X"])
def test_a_jira_project_has_a_key(project: str) -> None:
    with pytest.raises(Invalid, match="SHOP"):
        keeping.checked_project(CLOUD, project)


def test_where_a_risk_stands() -> None:
    assert keeping.standing(is_present=False, is_uncovered=False) is Standing.FIXED
    assert keeping.standing(is_present=True, is_uncovered=True) is Standing.OPEN
    assert keeping.standing(is_present=True, is_uncovered=False) is Standing.ACCEPTED
    assert keeping.in_words("closed", "open") == "closed there, still found here"
    assert keeping.in_words("closed", "fixed") == keeping.in_words("open", "open") == ""


def test_githubs_own_example_of_a_signature() -> None:
    """docs.github.com, "Validating webhook deliveries", testing the webhook payload validation."""
    signed = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    secret = "It's a Secret to Everybody"
    assert keeping.is_signed(secret, b"Hello, World!", signed)
    for other in ("", "sha256=", signed[:-1], signed[7:], signed.replace("7", "8"), "sha1=x", "é"):
        assert not keeping.is_signed(secret, b"Hello, World!", other)
    assert not keeping.is_signed("another", b"Hello, World!", signed)


def test_the_secret_address_does_not_tell_the_secret() -> None:
    assert keeping.is_path("secret", keeping.path_word("secret"))
    assert not keeping.is_path("secret", "secret")
    assert not keeping.is_path("secret", "")
