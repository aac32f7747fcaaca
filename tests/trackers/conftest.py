"""GitHub and Jira on a real socket: an API that answers in their shapes, keeps what it is told, and can be told to
refuse as they do."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from secguard.trackers.models import Tracker
from secguard.trackers.services import TrackerEdit, add_tracker
from tests.decisions.conftest import (  # noqa: F401 - fixtures
    estate,
    image,
    other_repository,
    repository,
    risk,
)

TOKEN = "not-a-real-token-0123456789"
LOGIN = "robot@example.org"
Answer = tuple[int, dict[str, str], bytes]

GITHUB_LIMIT = (
    403,
    {"Retry-After": "120", "X-RateLimit-Remaining": "4990"},
    b'{"documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api","message":"You have '
    b'exceeded a secondary rate limit. Please wait a few minutes before you try again."}',
)
GITHUB_DISABLED = (
    410,
    {},
    b'{"message":"Issues are disabled for this repo","documentation_url":"https://docs.github.com/v3/issues/"}',
)
GITHUB_INVALID = (
    422,
    {},
    b'{"message":"Validation Failed","errors":[{"resource":"Issue","code":"custom","field":"title","message":"title is '
    b'too long (maximum is 256 characters)"}],"documentation_url":"https://docs.github.com/rest/issues/issues#create-an-issue","status":"422"}',
)
JIRA_INVALID = (400, {}, b'{"errorMessages":[],"errors":{"customfield_10010":"Team is required."}}')


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Any


@dataclass
class Remote:
    """What stands in the tracker. ``refuse`` is answered instead, as often as it says; ``swallow`` does what is asked
    and then breaks the connection."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    issues: dict[int, dict[str, Any]] = field(default_factory=dict)
    comments: dict[int, list[Any]] = field(default_factory=dict)
    refuse: list[tuple[str, Answer]] = field(default_factory=list)
    swallow: str = ""
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def posts(self, ending: str) -> list[Asked]:
        return [a for a in self.asked if a.method == "POST" and a.path.endswith(ending)]

    def tick(self) -> str:
        self.now += timedelta(seconds=1)
        return f"{self.now:%Y-%m-%dT%H:%M:%SZ}"

    def answer(self, asked: Asked) -> Answer:
        for index, (what, refusal) in enumerate(self.refuse):
            if f"{asked.method} {asked.path}".startswith(what):
                del self.refuse[index]
                return refusal
        if not self.knows(asked.headers.get("authorization", "")):
            return (
                401,
                {},
                b'{"message":"Bad credentials","documentation_url":"https://docs.github.com/rest","status":"401"}',
            )
        status, told = self.route(asked)
        return (status, {"Content-Type": "application/json"}, b"" if told is None else json.dumps(told).encode())

    def knows(self, authorization: str) -> bool:
        return authorization == f"Bearer {TOKEN}"

    def route(self, asked: Asked) -> tuple[int, Any]:
        raise NotImplementedError


class GitHubRemote(Remote):
    """github.com's answers, with the fields that matter and some that do not."""

    project = "shop/backlog"

    def route(self, asked: Asked) -> tuple[int, Any]:
        path = asked.path.removeprefix(f"/repos/{self.project}")
        if asked.path == "/search/issues":
            return 200, {"total_count": 0, "incomplete_results": False, "items": []}
        if path == asked.path:
            return 404, {"message": "Not Found", "documentation_url": "https://docs.github.com/rest", "status": "404"}
        if path == "":
            return 200, {
                "id": 1,
                "full_name": self.project,
                "has_issues": True,
                "permissions": {"push": True, "pull": True},
            }
        if path == "/issues":
            return self.listed(asked) if asked.method == "GET" else (201, self.made(asked.body))
        found = re.fullmatch(r"/issues/(\d+)(/comments)?", path)
        issue = self.issues.get(int(found[1])) if found else None
        if found is None or issue is None:
            return 404, {"message": "Not Found", "status": "404"}
        if found[2]:
            self.comments.setdefault(int(found[1]), []).append(asked.body["body"])
            issue["updated_at"] = self.tick()
            return 201, {"id": 1, "body": asked.body["body"]}
        if asked.method == "PATCH":
            issue |= asked.body | {"updated_at": self.tick()}
        return 200, issue

    def listed(self, asked: Asked) -> tuple[int, Any]:
        page, per = int(asked.query["page"][0]), int(asked.query["per_page"][0])
        rows = sorted(self.issues.values(), key=lambda i: -i["number"])
        rows = [r for r in rows if r["updated_at"] >= asked.query["since"][0]]
        return 200, rows[(page - 1) * per : page * per]

    def made(self, body: dict[str, Any]) -> dict[str, Any]:
        number = len(self.issues) + 1
        at = self.tick()
        self.issues[number] = {
            "url": f"https://api.github.com/repos/{self.project}/issues/{number}", "id": 3000 + number,
            "node_id": f"I_kw{number}", "html_url": f"javascript:alert({number})", "number": number,
            "title": body["title"],
            "user": {"login": "robot", "id": 1, "type": "Bot"}, "labels": [], "state": "open", "locked": False,
            "assignee": None, "assignees": [], "milestone": None, "comments": 0, "created_at": at, "updated_at": at,
            "closed_at": None, "author_association": "NONE", "body": body["body"], "state_reason": None,
        }  # fmt: skip
        return self.issues[number]


CATEGORIES = {"To Do": "new", "In Progress": "indeterminate", "Done": "done"}


class JiraRemote(Remote):
    """Jira's answers; ``is_cloud`` has the REST API 3 and /search/jql, the other the 2 and /search."""

    project = "SHOP"
    is_cloud = True

    @property
    def api(self) -> str:
        return "/rest/api/3" if self.is_cloud else "/rest/api/2"

    def knows(self, authorization: str) -> bool:
        pair = base64.b64encode(f"{LOGIN}:{TOKEN}".encode()).decode()
        return authorization == (f"Basic {pair}" if self.is_cloud else f"Bearer {TOKEN}")

    def route(self, asked: Asked) -> tuple[int, Any]:
        path = asked.path.removeprefix(self.api)
        if path == asked.path or (self.is_cloud and path == "/search"):
            return 410, {
                "errorMessages": [
                    "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API."
                ],
                "errors": {},
            }
        if path == f"/project/{self.project}":
            return 200, {
                "id": "10000",
                "key": self.project,
                "issueTypes": [{"id": "1", "name": "Task"}, {"id": "2", "name": "Bug"}],
            }
        if path in ("/search", "/search/jql"):
            return self.searched(asked.query["jql"][0])
        if path == "/issue":
            return 201, self.made(asked.body["fields"])
        found = re.fullmatch(r"/issue/([A-Z0-9-]+)(/comment|/transitions)?", path)
        issue = self.named(found[1]) if found else None
        if found is None or issue is None:
            return 404, {
                "errorMessages": ["Issue does not exist or you do not have permission to see it."],
                "errors": {},
            }
        return self.about(issue, found[2] or "", asked)

    def named(self, name: str) -> dict[str, Any] | None:
        return next((i for i in self.issues.values() if name in (i["id"], i["key"])), None)

    def about(self, issue: dict[str, Any], part: str, asked: Asked) -> tuple[int, Any]:
        if part == "/comment":
            self.comments.setdefault(int(issue["id"]), []).append(asked.body["body"])
            return 201, {"id": "1", "body": asked.body["body"]}
        if part == "/transitions" and asked.method == "GET":
            ways = [
                {"id": str(n), "name": f"to {name}", "to": {"name": name, "statusCategory": {"key": key}}}
                for n, (name, key) in enumerate(CATEGORIES.items(), 11)
            ]
            return 200, {"expand": "transitions", "transitions": ways}
        if part == "/transitions":
            name = list(CATEGORIES)[int(asked.body["transition"]["id"]) - 11]
            self.moved(issue, name)
            return 204, None
        return 200, issue

    def moved(self, issue: dict[str, Any], name: str) -> None:
        self.tick()
        issue["fields"] |= {
            "status": {"name": name, "id": "1", "statusCategory": {"id": 3, "key": CATEGORIES[name], "name": name}},
            "resolution": {"id": "1", "name": "Done"} if name == "Done" else None,
            "updated": f"{self.now:%Y-%m-%dT%H:%M:%S}.250+0000",
        }

    def searched(self, jql: str) -> tuple[int, Any]:
        word = re.fullmatch(rf'project = "{self.project}" AND description ~ "(secguard[0-9a-f]+)"', jql)
        assert word, jql
        return 200, {"issues": [i for i in self.issues.values() if word[1] in json.dumps(i["text"])], "isLast": True}

    def made(self, fields: dict[str, Any]) -> dict[str, Any]:
        number = len(self.issues) + 1
        made = {
            "expand": "renderedFields,names", "id": str(10000 + number), "key": f"{self.project}-{number}",
            "self": f"https://example.atlassian.net{self.api}/issue/{10000 + number}", "text": fields["description"],
            "fields": {"summary": fields["summary"], "assignee": None, "issuetype": fields["issuetype"]},
        }  # fmt: skip
        self.moved(made, "To Do")
        self.issues[number] = made
        return {"id": made["id"], "key": made["key"], "self": made["self"]}


class DataCenterRemote(JiraRemote):
    is_cloud = False


def _serve(found: Remote, settings: Any) -> Iterator[Remote]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = urlsplit(self.path)
            headers = {k.lower(): v for k, v in self.headers.items()}
            asked = Asked(self.command, parts.path, parse_qs(parts.query), headers, json.loads(raw) if raw else None)
            found.asked.append(asked)
            status, sent, body = found.answer(asked)
            if found.swallow and f"{asked.method} {asked.path}".startswith(found.swallow):
                found.swallow = ""
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **sent}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = _do

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.port = server.server_address[1]
    settings.WEBHOOK_HOSTS = [f"127.0.0.1:{found.port}"]
    settings.PUBLIC_URL = "https://secguard.example.org"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def github(settings: Any) -> Iterator[Remote]:
    yield from _serve(GitHubRemote(), settings)


@pytest.fixture
def jira_cloud(settings: Any) -> Iterator[Remote]:
    yield from _serve(JiraRemote(), settings)


@pytest.fixture
def data_center(settings: Any) -> Iterator[Remote]:
    yield from _serve(DataCenterRemote(), settings)


MakeTracker = Callable[..., Tracker]


@pytest.fixture
def make_tracker(db: None) -> MakeTracker:
    """A tracker to a remote; ``tracker.secret`` is what its owner was shown."""

    def make(remote: Any, *, team: Any = None, name: str = "backlog", **edit: Any) -> Tracker:
        kind = {GitHubRemote: "github", JiraRemote: "jira-cloud", DataCenterRemote: "jira-data-center"}[type(remote)]
        jira = {"issue_type": "Task", "login": LOGIN if kind == "jira-cloud" else ""} if kind != "github" else {}
        entered = TrackerEdit(name=name, base_url=remote.url, token=TOKEN, **jira, **edit)
        tracker, secret = add_tracker(entered, kind=kind, project=remote.project, team=team, actor=None)
        tracker.secret = secret  # type: ignore[attr-defined]
        return tracker

    return make
