"""Issues of a GitHub repository, over its REST API (github.com or Enterprise)."""

from __future__ import annotations

from datetime import datetime, timedelta

from secguard.trackers import reading
from secguard.trackers.adapters.client import Client
from secguard.trackers.reading import Seen
from secguard.trackers.wording import Document, Story, body, headline, markdown

PAGE = 50
PAGES = 6
SKEW = timedelta(minutes=10)
"""How far the tracker's clock may be behind ours."""


def headers(token: str) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {token}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }


class GitHub:
    def __init__(self, client: Client, project: str) -> None:
        self._client = client
        self._issues = f"/repos/{project}/issues"
        self._project = project

    def look(self) -> str:
        """What the token sees of the repository, in words."""
        found = reading.maybe(self._client.ask("GET", f"/repos/{self._project}"))
        if found.get("has_issues") is False:
            return f"{self._project} is there, but its issues are turned off: turn them on in its settings."
        rights = reading.maybe(found.get("permissions"))
        if rights and not (rights.get("push") or rights.get("triage")):
            return f"{self._project} answers, but the token may only read it: issues can be opened, not closed."
        return f"{self._project} answers, and the token may work with its issues."

    def find(self, marker: str, since: datetime) -> Seen | None:
        """The issue that a former attempt made. Its list is read, newest first: what search knows comes later."""
        query = {"state": "all", "sort": "created", "direction": "desc", "per_page": str(PAGE)}
        query["since"] = (since - SKEW).strftime("%Y-%m-%dT%H:%M:%SZ")
        for page in range(1, PAGES + 1):
            rows = self._client.ask("GET", self._issues, query={**query, "page": str(page)})
            found = [r for r in rows if isinstance(r, dict)] if isinstance(rows, list) else []
            for row in found:
                if marker in str(row.get("body") or "") and "pull_request" not in row:
                    return reading.github_issue(row)
            if len(found) < PAGE:
                return None
        told = reading.maybe(
            self._client.ask("GET", "/search/issues", query={"q": f'"{marker}" repo:{self._project} is:issue'})
        )
        rows = told.get("items")
        hits = rows if isinstance(rows, list) else []
        return next((reading.github_issue(r) for r in hits if marker in str(reading.maybe(r).get("body"))), None)

    def create(self, story: Story) -> Seen:
        sent = {"title": headline(story), "body": markdown(body(story))}
        return reading.github_issue(self._client.ask("POST", self._issues, sent))

    def fetch(self, remote_id: str) -> Seen:
        found = self._client.ask("GET", f"{self._issues}/{remote_id}")
        return reading.github_issue(found)

    def say(self, remote_id: str, document: Document) -> None:
        self._client.ask("POST", f"{self._issues}/{remote_id}/comments", {"body": markdown(document)})

    def close(self, remote_id: str, *, is_fixed: bool) -> Seen:
        sent = {"state": "closed", "state_reason": "completed" if is_fixed else "not_planned"}
        return reading.github_issue(self._client.ask("PATCH", f"{self._issues}/{remote_id}", sent))

    def reopen(self, remote_id: str) -> Seen:
        sent = {"state": "open", "state_reason": "reopened"}
        return reading.github_issue(self._client.ask("PATCH", f"{self._issues}/{remote_id}", sent))

    def number_of(self, key: str) -> str:
        """What an issue is fetched by, from its key."""
        return key.removeprefix("#")
